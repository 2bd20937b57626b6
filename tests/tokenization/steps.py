"""The tokenizers and texts of the tests, and how a job's steps are written."""

from __future__ import annotations

from typing import Any

WORDPIECE = ("bert-base-uncased", "bert-base-cased", "bert-base-multilingual-uncased", "all-MiniLM-L6-v2")
TICKETS = "bert-ticket-classifier"
TOKENIZERS = (*WORDPIECE, TICKETS)

#: Texts made to be difficult.
DIFFICULT = (
    "",
    " ",
    "\t\n",
    "[MASK] in the [SEP] middle[CLS]",
    "naïve Café ŞİŞLİ straße ﬁ",
    "don't can't I'm you've we're 's",
    "🤗 👩‍👩‍👧 e\u0301 \u200b\ufeff\u00ad x\u0000y\ufffd",
    "日本語とEnglish混在，中文。",
    "a" * 250,
    "supercalifragilisticexpialidocious " * 9,
    "http://example.com/a_b?c=d&e=f#g (x+y)*z != 0",
    "ᄒ\u1161\u11ab한국어 हिन्दी ไทย العربية",
)


def call(*args: Any, then: list[dict[str, Any]] | None = None, **kwargs: Any) -> dict[str, Any]:
    """The step that calls the tokenizer."""
    return step("__call__", *args, then=then, **kwargs)


def step(do: str, *args: Any, then: list[dict[str, Any]] | None = None, **kwargs: Any) -> dict[str, Any]:
    """A step: a method with its arguments, or an attribute."""
    return {"do": do, "args": list(args), "kwargs": kwargs, **({} if then is None else {"then": then})}


def named_alone(answers: list[Any], steps: list[dict[str, Any]]) -> list[Any]:
    """The answers with `special_tokens_map` as version 5 gives it: without the list of those that have no name."""
    return [
        {
            "mapping": {
                key: value for key, value in answer["mapping"].items() if key != "additional_special_tokens"
            }
        }
        if asked["do"] == "special_tokens_map" and "mapping" in answer
        else answer
        for answer, asked in zip(answers, steps, strict=True)
    ]
