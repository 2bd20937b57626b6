"""Trains small tokenizers of every form, for comparison; run under an interpreter that has sentencepiece.

As a program: python make_families.py <a text file> <an empty folder>.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDPIECES = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[QUESTION]", ".", "<s>", "</s>", "<pad>", "<unk>", "<mask>",
    "<cls>", "<sep>", "hello", "world", "the", "test", *LETTERS, *(f"##{letter}" for letter in LETTERS),
]  # fmt: skip
BYTE_LEVEL = {
    "gpt2": ["<|endoftext|>"],
    "roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
    "deberta": ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"],
}
WORDS = {"clip": ["<|startoftext|>", "<|endoftext|>"], "gpt1": ["<unk>"]}
BYTES: dict[str, Any] = {
    "vocab_size": 1000,
    "model_type": "bpe",
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "split_digits": True,
    "allow_whitespace_only_pieces": True,
}
SENTENCEPIECE: dict[str, dict[str, Any]] = {
    "unigram": {"vocab_size": 700},
    "bpe": {"vocab_size": 700, "model_type": "bpe"},
    "t5": {"vocab_size": 700, "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
    "xlnet": {
        "vocab_size": 700,
        "control_symbols": ["<cls>", "<sep>", "<pad>", "<mask>", "<eod>"],
        "user_defined_symbols": ["<eop>", ".", "(", ")"],
    },
    "albert": {
        "vocab_size": 700,
        "pad_id": 0,
        "unk_id": 1,
        "bos_id": -1,
        "eos_id": -1,
        "control_symbols": ["[CLS]", "[SEP]", "[MASK]"],
        "user_defined_symbols": ["(", ")", '"', "-", "."],
        "normalization_rule_name": "nmt_nfkc_cf",
    },
    "characters": {"vocab_size": 150, "model_type": "char"},
    "llama": BYTES,
    "gemma": {
        **BYTES,
        "pad_id": 0,
        "eos_id": 1,
        "bos_id": 2,
        "unk_id": 3,
        "pad_piece": "<pad>",
        "eos_piece": "<eos>",
        "bos_piece": "<bos>",
        "user_defined_symbols": ["<mask>", "<start_of_turn>", "<end_of_turn>", "\n\n"],
        "add_dummy_prefix": False,
    },
}


def main() -> None:
    """Trains them all."""
    import sentencepiece
    from tokenizers import ByteLevelBPETokenizer, CharBPETokenizer

    text, root = sys.argv[1], Path(sys.argv[2])
    for name, options in SENTENCEPIECE.items():
        sentencepiece.SentencePieceTrainer.train(
            input=text,
            model_prefix=str(root / name),
            minloglevel=2,
            hard_vocab_limit=False,
            character_coverage=0.98,
            **options,
        )
    for name, special in BYTE_LEVEL.items():
        (root / name).mkdir()
        tokenizer = ByteLevelBPETokenizer()
        tokenizer.train([text], vocab_size=700, special_tokens=special, show_progress=False)
        tokenizer.save_model(str(root / name))
    for name, special in WORDS.items():
        (root / name).mkdir()
        words = CharBPETokenizer(lowercase=True, unk_token=special[0])
        words.train([text], vocab_size=700, special_tokens=special, show_progress=False)
        words.save_model(str(root / name))
    (root / "wordpiece").mkdir()
    (root / "wordpiece" / "vocab.txt").write_text("\n".join(WORDPIECES) + "\n")


if __name__ == "__main__":
    main()
