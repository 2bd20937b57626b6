"""Keys of configs that may change nothing, and why; rows share these lists."""

from __future__ import annotations

#: Keys of every config that forward does not read. They may matter to a class and need not.
GENERIC = {
    "architectures": "names the class that was saved",
    "bos_token_id": "for generation",
    "eos_token_id": "for generation and for heads that look for it",
    "sep_token_id": "for generation",
    "label2id": "names of labels",
    "problem_type": "taken from the labels where it is unset",
    "chunk_size_feed_forward": "computes the same in pieces",
    "is_encoder_decoder": "says which kind of model it is, and does not change it",
    "transformers_version": "names the program that wrote the config",
}

#: For rows none of whose classes has labels.
NO_LABELS = {"id2label": "no class has labels"}

#: For encoders that may be decoders.
ENCODER = {
    "use_cache": "an encoder keeps nothing",
    "decoder_start_token_id": "an encoder starts nothing",
}

#: For models that read no tokens.
NO_TOKENS = {
    "pad_token_id": "there are no tokens",
    "tie_word_embeddings": "there are no tokens",
}

#: For encoders that never are.
NEVER_A_DECODER = ENCODER | {
    "is_decoder": "an encoder alone, in transformers too",
    "add_cross_attention": "an encoder alone, in transformers too",
}

#: For decoders without cross-attention.
ALWAYS_A_DECODER = {
    "is_decoder": "always one",
    "decoder_start_token_id": "continues what it is given",
}

#: For encoder-decoders, whose halves are given their own values.
ENCODER_DECODER = {
    "is_decoder": "each half is given its own",
    "add_cross_attention": "always there",
}
