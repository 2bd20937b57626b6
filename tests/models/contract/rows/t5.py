"""T5 under contract."""

from tests.models.contract import inert
from tests.models.contract.row import BOTH, OLD, Row

ROW = Row(
    classes={
        "T5Model": "seq2seq base",
        "T5ForConditionalGeneration": "seq2seq",
        "T5EncoderModel": "base",
    },
    config={
        "vocab_size": 61, "d_model": 24, "d_kv": 6, "d_ff": 40, "num_layers": 2, "num_heads": 4,
        "relative_attention_num_buckets": 8, "relative_attention_max_distance": 7, "dropout_rate": 0.0,
        "decoder_start_token_id": 0,
    },
    takes={"inputs_embeds": BOTH, "decoder_attention_mask": BOTH, "head_mask": OLD},
    variants={
        "gated": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "num_decoder_layers": 3}
    },
    parts=(
        "model.encoder(ids)",
        "model.encoder(inputs_embeds=hidden)",
        "model.decoder(ids, encoder_hidden_states=states)[0]",
        "model.encoder.block[0].layer[-1].DenseReluDense(hidden)",
    ),
    inert={
        **inert.ENCODER_DECODER,
        **inert.NO_LABELS,
        "classifier_dropout": "of a head that is not here",
        "dense_act_fn": "feed_forward_proj decides",
        "is_gated_act": "feed_forward_proj decides",
    },
    exact=False,
)  # fmt: skip
