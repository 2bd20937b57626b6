"""DistilBERT under contract."""

from tests.models.contract import inert
from tests.models.contract.row import ENCODER, NEW, Row

ROW = Row(
    classes={
        "DistilBertModel": "base",
        "DistilBertForSequenceClassification": "sequence",
        "DistilBertForTokenClassification": "token",
        "DistilBertForQuestionAnswering": "question",
        "DistilBertForMaskedLM": "words",
    },
    config={
        "vocab_size": 61, "dim": 24, "n_layers": 2, "n_heads": 4, "hidden_dim": 40,
        "max_position_embeddings": 16, "dropout": 0.0, "attention_dropout": 0.0, "qa_dropout": 0.0,
        "seq_classif_dropout": 0.0, "initializer_range": 0.4,
    },
    takes={key: versions for key, versions in ENCODER.items() if key != "mask_3d"} | {"position_ids": NEW},
    parts=(
        "model.embeddings(ids)",
        "model.transformer(hidden, mask, [None, None])",
        "model.transformer.layer[0](hidden, mask)",
        "model.transformer.layer[1](hidden, mask, output_attentions=True)",
        "model.transformer.layer[0].ffn(hidden)",
    ),
    inert=inert.ENCODER,
)  # fmt: skip
