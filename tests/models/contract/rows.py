"""The architectures under contract: a tiny config, its classes, and the inputs they take. One row each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One architecture.

    Attributes:
        config: arguments of its config class; sizes are tiny, dropouts 0.
        classes: the name of each public class, and its kind: what labels it takes (see `inputs`).
        takes: optional inputs (see `inputs.EXTRAS`), and the environments whose transformers takes them too.
        vocabulary, positions, layers, heads, size: of the config; size is D.
        scaled: end of the names of weights drawn with initializer_range / sqrt(2 * layers); "" for none.
        exact: whether transformers computes all of it, losses and norms too, in float64 where asked for; else it is
            run in float32.
    """

    config: dict[str, Any]
    classes: dict[str, str]
    takes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    vocabulary: int = 61
    positions: int = 16
    layers: int = 2
    heads: int = 4
    size: int = 24
    scaled: str = ""
    exact: bool = True


BOTH = ("457", "523")

ROWS: dict[str, Row] = {
    "bert": Row(
        config={
            "vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": 40, "max_position_embeddings": 16, "num_labels": 3,
            "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.4,
        },
        classes={
            "BertModel": "base",
            "BertForSequenceClassification": "sequence",
            "BertForTokenClassification": "token",
            "BertForQuestionAnswering": "question",
            "BertForMaskedLM": "words",
        },
        takes={
            "token_type_ids": BOTH, "position_ids": BOTH, "inputs_embeds": BOTH, "mask_3d": ("457",),
            "mask_4d": ("523",), "head_mask": ("457",),
        },
    ),
    "distilbert": Row(
        config={
            "vocab_size": 61, "dim": 24, "n_layers": 2, "n_heads": 4, "hidden_dim": 40, "num_labels": 3,
            "max_position_embeddings": 16, "dropout": 0.0, "attention_dropout": 0.0, "qa_dropout": 0.0,
            "seq_classif_dropout": 0.0, "initializer_range": 0.4,
        },
        classes={
            "DistilBertModel": "base",
            "DistilBertForSequenceClassification": "sequence",
            "DistilBertForTokenClassification": "token",
            "DistilBertForQuestionAnswering": "question",
            "DistilBertForMaskedLM": "words",
        },
        takes={
            "position_ids": ("523",), "inputs_embeds": BOTH, "mask_4d": ("523",), "head_mask": ("457",),
        },
    ),
    "gpt2": Row(
        config={
            "vocab_size": 61, "n_embd": 24, "n_inner": 40, "n_layer": 2, "n_head": 4, "n_positions": 16,
            "initializer_range": 0.4, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
            "scale_attn_by_inverse_layer_idx": True,
        },
        classes={"GPT2Model": "base", "GPT2LMHeadModel": "causal"},
        # In 4.57 eager attention is causal under an explicit mask, too.
        takes={"token_type_ids": BOTH, "position_ids": BOTH, "inputs_embeds": BOTH, "mask_4d": ("523",)},
        scaled="c_proj.weight",
        exact=False,
    ),
    "llama": Row(
        config={
            "vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 16,
            "initializer_range": 0.4, "rope_theta": 500.0, "attention_dropout": 0.0,
        },
        classes={"LlamaModel": "base", "LlamaForCausalLM": "causal"},
        takes={"position_ids": BOTH, "inputs_embeds": BOTH, "mask_4d": BOTH},
        exact=False,
    ),
    "t5": Row(
        config={
            "vocab_size": 61, "d_model": 24, "d_kv": 6, "d_ff": 40, "num_layers": 2, "num_heads": 4,
            "relative_attention_num_buckets": 8, "relative_attention_max_distance": 7, "dropout_rate": 0.0,
            "decoder_start_token_id": 0,
        },
        classes={
            "T5Model": "seq2seq base",
            "T5EncoderModel": "base",
            "T5ForConditionalGeneration": "seq2seq",
        },
        takes={"inputs_embeds": BOTH},
        exact=False,
    ),
}  # fmt: skip
