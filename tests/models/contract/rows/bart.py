"""BART under contract."""

from tests.models.contract import inert
from tests.models.contract.row import BOTH, OLD, Class, Row

ROW = Row(
    classes={
        "BartModel": "seq2seq base",
        "BartForConditionalGeneration": "seq2seq",
        "BartForSequenceClassification": "seq2seq sequence",
        "BartForQuestionAnswering": "seq2seq question",
        "BartForCausalLM": Class(
            "causal", config={"encoder_attention_heads": 3}, takes={"encoder_hidden_states": BOTH, "head_mask": OLD}
        ),
    },
    config={
        "vocab_size": 61, "d_model": 24, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 3, "encoder_ffn_dim": 40, "decoder_ffn_dim": 32,
        "max_position_embeddings": 16, "init_std": 0.4, "dropout": 0.0,
    },
    takes={
        "inputs_embeds": BOTH, "decoder_attention_mask": BOTH, "decoder_inputs_embeds": BOTH,
        "shifted_input_ids": BOTH, "head_mask": OLD,
    },
    variants={"scaled": {"scale_embedding": True, "activation_function": "relu", "decoder_layers": 3}},
    parts=(
        "model.encoder(input_ids=ids)",
        "model.encoder(inputs_embeds=hidden, output_attentions=True, output_hidden_states=True)",
        "model.encoder.embed_positions(ids)",
        "model.encoder.layers[0](hidden, added, heads, output_attentions=True)",
        "model.encoder.layers[0](hidden, None, None)",
        "model.decoder(ids, encoder_hidden_states=states)[0]",
        "model.decoder(ids)[0]",
        "model.decoder.layers[0](hidden, causal)",
        "model.decoder.layers[0](hidden, causal, states, added, output_attentions=True)",
        "model.decoder.layers[0].encoder_attn(hidden, states, attention_mask=added)[0]",
        "model.decoder.layers[0].self_attn(hidden, attention_mask=causal)[0]",
    ),
    inert={
        **inert.ENCODER_DECODER,
        "num_hidden_layers": "encoder_layers decides",
        "forced_bos_token_id": "for generation",
        "forced_eos_token_id": "for generation",
    },
)  # fmt: skip
