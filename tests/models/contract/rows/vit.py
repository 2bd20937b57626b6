"""ViT under contract."""

from tests.models.contract import inert
from tests.models.contract.row import BOTH, OLD, Row

ROW = Row(
    classes={
        "ViTModel": "base",
        "ViTForImageClassification": "sequence",
        "ViTForMaskedImageModeling": "masked image",
    },
    config={
        "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40,
        "image_size": 12, "patch_size": 4, "encoder_stride": 4, "initializer_range": 0.4,
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    },
    modality="pixels",
    # Attention's softmax is in float32 whatever the dtype.
    exact=False,
    takes={"interpolate": BOTH, "head_mask": OLD},
    variants={"plain": {"qkv_bias": False, "pooler_output_size": 10, "pooler_act": "relu"}},
    parts=(
        "model.embeddings(pixels)",
        "model.embeddings(larger, None, True)",
        "model.embeddings.patch_embeddings(pixels)",
        "model.encoder(hidden)",
        "model.encoder(hidden, heads.expand(2, 1, -1)[..., None, None])",
        "model.encoder.layer[0](hidden)",
        "model.encoder.layer[1](hidden, heads[None, :, None, None])",
        "model.encoder.layer[0].attention(hidden)",
        "model.encoder.layer[0].attention.attention(hidden)[0]",
        "model.encoder.layer[0].attention.output(hidden, states)",
        "model.encoder.layer[0].output(model.encoder.layer[0].intermediate(hidden), hidden)",
        "model.layernorm(hidden)",
        "model.pooler(hidden)",
    ),
    flips={"pooler_act": ["relu", "silu"]},
    inert=inert.ENCODER | inert.NO_TOKENS,
)  # fmt: skip
