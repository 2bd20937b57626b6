"""GPT-2 under contract."""

from tests.models.contract.row import BOTH, DECODER, NEW, Class, Row

ROW = Row(
    classes={
        "GPT2Model": "base",
        "GPT2LMHeadModel": Class(
            "causal", config={"add_cross_attention": True}, takes={"encoder_hidden_states": BOTH}
        ),
        "GPT2ForSequenceClassification": Class("last", config={"pad_token_id": 0}),
        "GPT2ForTokenClassification": "token",
        "GPT2ForQuestionAnswering": "question",
    },
    config={
        "vocab_size": 61, "n_embd": 24, "n_inner": 40, "n_layer": 2, "n_head": 4, "n_positions": 16,
        "initializer_range": 0.4, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
    },
    # In 4.57 eager attention is causal under an explicit mask, too.
    takes=DECODER | {"token_type_ids": BOTH, "mask_4d": NEW},
    variants={"by_layer": {"scale_attn_by_inverse_layer_idx": True}},
    parts=(
        "model.h[0](hidden)",
        "model.h[1](hidden, attention_mask=causal, output_attentions=True)",
        "model.h[0].mlp(hidden)",
        "model.ln_f(model.wte(ids) + model.wpe(positions))",
    ),
    inert={
        "is_decoder": "always one",
        "decoder_start_token_id": "continues what it is given",
        **dict.fromkeys(
            (
                "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels",
                "summary_first_dropout",
            ),
            "of a head that is not here",
        ),
    },
    # The last token of the first row.
    flips={"pad_token_id": 17},
    exact=False,
)  # fmt: skip
