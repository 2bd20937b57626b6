"""Qwen3 under contract."""

from tests.models.contract import inert
from tests.models.contract.row import DECODER, TINY, Class, Row

ROW = Row(
    classes={
        "Qwen3Model": "base",
        "Qwen3ForCausalLM": "causal",
        "Qwen3ForSequenceClassification": Class("last", config={"pad_token_id": 0}),
        "Qwen3ForTokenClassification": "token",
        "Qwen3ForQuestionAnswering": "question",
    },
    config=TINY | {
        "num_key_value_heads": 2, "head_dim": 8, "rope_theta": 500.0, "attention_dropout": 0.0,
        "use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1,
    },
    takes=DECODER,
    variants={
        "biased": {
            "attention_bias": True,
            "tie_word_embeddings": True,
            "layer_types": ["sliding_attention", "full_attention"],
            "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8},
        },
    },
    parts=(
        "model.rotary_emb(hidden, positions)",
        "model.layers[0](hidden, added, positions, position_embeddings=model.rotary_emb(hidden, positions))",
        "model.layers[1](hidden, causal, None, None, False, None, model.rotary_emb(hidden, positions))",
        "model.layers[0].self_attn(hidden, model.rotary_emb(hidden, positions), added)",
        "model.layers[1].mlp(model.layers[1].post_attention_layernorm(hidden))",
        "model.norm(model.embed_tokens(ids))",
    ),
    inert={
        **inert.ALWAYS_A_DECODER,
        "max_position_embeddings": "rotations that are not scaled have no end",
    },
    flips={
        "rope_parameters": {"rope_type": "linear", "factor": 2.0},
        "layer_types": [["sliding_attention", "full_attention"]],
    },
    exact=False,
)  # fmt: skip
