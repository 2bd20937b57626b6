"""The plan of a window: every token once, batches within their limits, the order restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import oxiformers
from oxiformers.errors import ArgumentError
from oxiformers.pipelines.batching import Encoded, Outputs, encode, forward_arguments, plan_window
from oxiformers.pipelines.texts import Texts

A = "The story is not bad, we never see it end."
LENGTHS = st.lists(st.integers(1, 20), min_size=1, max_size=30)


def window(lengths: list[int]) -> Encoded:
    """Texts whose tokens say which text they are of and where: 1000 * text + place."""
    ids = np.concatenate([1000 * text + np.arange(length) for text, length in enumerate(lengths)])
    return Encoded(ids.astype(np.int64), ids % 2, np.cumsum([0, *lengths]))


@given(lengths=LENGTHS, budget=st.integers(1, 60), rows=st.none() | st.integers(1, 5))
def test_plan(lengths: list[int], budget: int, rows: int | None) -> None:
    plan = plan_window(window(lengths), budget, rows, types=True)
    texts: list[Any] = []
    order: list[int] = []
    for rows_of_batch, inputs, batch in plan.batches(1000 + np.arange(len(lengths))):
        assert len(rows_of_batch) == batch.lengths.numel()
        assert (inputs == 1000 + rows_of_batch).all()
        order += rows_of_batch.tolist()
        assert batch.lengths.sum() == batch.input_ids.numel()
        assert batch.lengths.numel() == 1 or batch.lengths.sum() <= budget
        assert rows is None or batch.lengths.numel() <= rows
        assert batch.token_type_ids is not None
        assert torch.equal(batch.token_type_ids, batch.input_ids % 2)
        texts += batch.input_ids.split(batch.lengths.tolist())
    assert [len(text) for text in texts] == sorted(lengths, reverse=True)
    assert sorted(order) == list(range(len(lengths)))
    for text, found in zip(order, texts, strict=True):
        assert found.tolist() == list(range(1000 * text, 1000 * text + lengths[text]))


def test_token_types_are_left_out_where_no_model_takes_them() -> None:
    [batch] = plan_window(window([3, 2]), 100, None, types=False).batches(np.arange(2))
    assert batch.data.token_type_ids is None


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"add_special_tokens": False},
        {"truncation": True},
        {"truncation": True, "max_length": 7},
        {"max_length": 7},
        {"truncation": "only_second", "max_length": 80},
        {"truncation": True, "max_length": 7, "truncation_side": "left"},
        {"padding": "max_length", "max_length": 7},
    ],
)
def test_texts_are_encoded_as_by_a_call_of_the_tokenizer(
    arguments: dict[str, Any], folders: dict[str, Path]
) -> None:
    tokenizer = oxiformers.AutoTokenizer.from_pretrained(folders["bert"])
    rows = Texts([A, A + A, "dull " * 70, "plot"], ["the film", "dull " * 9, A, None])
    own = dict(arguments)
    expected_by = oxiformers.AutoTokenizer.from_pretrained(
        folders["bert"], truncation_side=own.pop("truncation_side", "right")
    )
    if own.pop("padding", None):
        own["truncation"] = False
    for pairs in (rows.pairs, None):
        if pairs is None and arguments.get("truncation") == "only_second":
            continue
        found = encode(tokenizer, Texts(rows.texts, pairs), arguments)
        for index, text in enumerate(rows.texts):
            pair = None if pairs is None else pairs[index]
            if pair is None and arguments.get("truncation") == "only_second":
                continue
            expected = expected_by(text, pair, **own)
            tokens = slice(*found.cu_seqlens[index : index + 2])
            assert found.input_ids[tokens].tolist() == expected["input_ids"]
            assert found.token_type_ids[tokens].tolist() == expected["token_type_ids"]


def test_a_tokenizer_of_another_kind(folders: dict[str, Path]) -> None:
    """Anything that is called like a tokenizer and returns lists."""
    tokenizer = oxiformers.AutoTokenizer.from_pretrained(folders["bert"])

    class Wrapped:
        def __call__(self, text: str, pair: str | None = None, **arguments: Any) -> dict[str, list[int]]:
            found = tokenizer(text, pair, **arguments)
            return {name: found[name] for name in ("input_ids", "token_type_ids")}

    rows = Texts([A, "plot"], ["the film", None])
    arguments = {"truncation": True, "max_length": 9, "padding": "max_length", "return_attention_mask": False}
    for ours, theirs in zip(
        encode(Wrapped(), rows, arguments), encode(tokenizer, rows, arguments), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def outputs(values: Any, lengths: list[int], keep: torch.Tensor | None = None) -> Outputs:
    return Outputs(values, torch.tensor(lengths), keep)


def test_outputs_by_text() -> None:
    tokens, rows = torch.arange(10.0).view(5, 2), torch.arange(6.0).view(2, 3)
    packed = outputs({"last_hidden_state": tokens}, [3, 2])
    assert packed.named("last_hidden_state") is tokens
    assert packed.named("logits") is None
    assert [len(part) for part in packed.sequences(tokens)] == [3, 2]
    assert [part.tolist() for part in packed.sequences(rows)] == rows.tolist()
    keep = torch.tensor([[True, True, True], [False, True, True]])
    padded = torch.zeros(2, 3, 2)
    padded[keep] = tokens
    parts = outputs((padded,), [3, 2], keep).sequences(padded)
    assert torch.equal(torch.cat(parts), tokens)
    with pytest.raises(
        ArgumentError, match=r"a first output of shape \(5, \.\.\.\), a row a token, .* got \(4, 2\)"
    ):
        packed.sequences(torch.zeros(4, 2))


def test_outputs_of_several_kinds() -> None:
    tensor = torch.zeros(2, 3)
    for values in (tensor, (tensor,), [tensor]):
        assert outputs(values, [1, 1]).first() is tensor
        assert outputs(values, [1, 1]).named("logits") is tensor


@pytest.mark.filterwarnings(
    "ignore:.*script_method:DeprecationWarning"
)  # torch's compiler, as it is imported
def test_which_models_take_packed_batches(folders: dict[str, Path]) -> None:
    """The package's own, compiled ones too, and any whose forward takes `layout`."""

    class Plain(torch.nn.Module):
        def forward(self, input_ids: Any, **more: Any) -> Any: ...

    class Packed(torch.nn.Module):
        def forward(self, input_ids: Any, layout: Any) -> Any: ...

    class Own(oxiformers.BertModel):
        def forward(self, input_ids: Any, attention_mask: Any) -> Any: ...  # type: ignore[override]

    model = oxiformers.BertModel.from_pretrained(folders["bert-base"])
    models = (model, torch.compile(model), Packed(), Plain(), torch.compile(Plain()), Own(model.config))
    assert [forward_arguments(one).packed for one in models] == [True, True, True, False, False, False]
    assert "token_type_ids" in forward_arguments(torch.compile(model)).names
