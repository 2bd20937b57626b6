"""Llama under contract."""

from tests.models.contract import inert
from tests.models.contract.row import DECODER, TINY, Class, Row

ROW = Row(
    classes={
        "LlamaModel": "base",
        "LlamaForCausalLM": "causal",
        "LlamaForSequenceClassification": Class("last", config={"pad_token_id": 0}),
        "LlamaForTokenClassification": "token",
        "LlamaForQuestionAnswering": "question",
    },
    config=TINY | {"num_key_value_heads": 2, "rope_theta": 500.0, "attention_dropout": 0.0},
    takes=DECODER,
    variants={"biased": {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}},
    parts=(
        "model.rotary_emb(hidden, positions)",
        "model.layers[0](hidden, added, position_embeddings=model.rotary_emb(hidden, positions))",
        "model.layers[1](hidden, causal, None, None, False, None, model.rotary_emb(hidden, positions))",
        "model.layers[1].self_attn(hidden, model.rotary_emb(hidden, positions), added)",
        "model.layers[0].mlp(hidden)",
        "model.norm(hidden)",
    ),
    inert={
        **inert.ALWAYS_A_DECODER,
        "max_position_embeddings": "rotations that are not scaled have no end",
        "pretraining_tp": "computes the same in pieces",
    },
    flips={"rope_parameters": {"rope_type": "linear", "factor": 2.0}},
    exact=False,
)
