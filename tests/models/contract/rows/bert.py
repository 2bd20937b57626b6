"""BERT under contract."""

from tests.models.contract import inert
from tests.models.contract.row import BOTH, ENCODER, TINY, Class, Row

ROW = Row(
    classes={
        "BertModel": "base",
        "BertForSequenceClassification": "sequence",
        "BertForTokenClassification": "token",
        "BertForQuestionAnswering": "question",
        "BertForMaskedLM": "words",
        "BertLMHeadModel": Class(
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
        "model.encoder(hidden)",
        "model.encoder(hidden, added, output_attentions=True, output_hidden_states=True)",
        "model.encoder(hidden, return_dict=False)",
        "model.encoder.layer[0](hidden)[0]",
        "model.encoder.layer[1](hidden, added, heads[None, :, None, None], output_attentions=True)",
        "model.encoder.layer[0].attention(hidden, added, output_attentions=True)",
        "model.encoder.layer[0].output(model.encoder.layer[0].intermediate(hidden), hidden)",
        "model.pooler(hidden)",
    ),
    inert={"decoder_start_token_id": inert.ENCODER["decoder_start_token_id"]},
)
