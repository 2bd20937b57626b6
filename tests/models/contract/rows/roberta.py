"""RoBERTa under contract."""

from tests.models.contract import inert
from tests.models.contract.row import BOTH, ENCODER, TINY, Class, Row

ROW = Row(
    classes={
        "RobertaModel": "base",
        "RobertaForSequenceClassification": "sequence",
        "RobertaForTokenClassification": "token",
        "RobertaForQuestionAnswering": "question",
        "RobertaForMaskedLM": "words",
        "RobertaForCausalLM": Class(
            "causal",
            config={"is_decoder": True, "add_cross_attention": True},
            takes={"encoder_hidden_states": BOTH},
            exact=False,
        ),
    },
    config=TINY | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    takes=ENCODER | {"token_type_ids": BOTH},
    parts=(
        "model.embeddings(input_ids=ids)",
        "model.embeddings(ids, None, None, None, 2)",
        "model.embeddings(inputs_embeds=hidden)",
        "model.encoder(hidden, added, output_attentions=True, output_hidden_states=True)",
        "model.encoder.layer[0](hidden, added, output_attentions=True)",
        "model.pooler(hidden)",
    ),
    inert={"decoder_start_token_id": inert.ENCODER["decoder_start_token_id"]},
    counts_tokens=True,
)
