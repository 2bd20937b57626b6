"""Cached decoding against both versions of transformers, call by call, and against a call without a cache."""

from __future__ import annotations

import itertools
import zlib
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.models.contract.inputs import encoder_states
from tests.models.contract.labels import Draw
from tests.models.contract.marks import SUBJECTS, each
from tests.models.contract.subjects import build, config_of, kind_of, row_of, subject, takes, versions_of

pytestmark = pytest.mark.contract
ROWS, WIDTH = 3, 6
MASKS: dict[str, Any] = {
    "unpadded": None,
    "left": [[0, 0, 1, 1, 1, 1], [1] * 6, [0] * 5 + [1]],
    "right": [[1, 1, 1, 1, 0, 0], [1] * 6, [1] + [0] * 5],
    "holes": [[1, 0, 1, 1, 0, 1], [1] * 6, [0, 0, 1, 0, 1, 0]],
}
NEW = (1, 3, 1)  # how many tokens each later call brings
CACHED = [name for name in SUBJECTS if kind_of(name) in ("causal", "seq2seq")]


def calls_of(name: str, case: str) -> list[dict[str, Tensor]]:
    """The arguments of every call."""
    config, draw = config_of(name), Draw(zlib.crc32(case.encode()))
    mask = None if MASKS[case] is None else torch.tensor(MASKS[case])
    decoder, calls, start = kind_of(name) == "seq2seq", [], 0
    padding = config.pad_token_id or 0
    ids = draw.ids(config.vocab_size, ROWS, WIDTH + sum(NEW), without=padding)
    if mask is not None:
        mask = torch.cat((mask, torch.ones(ROWS, sum(NEW), dtype=torch.int64)), 1)
        ids = ids.masked_fill(mask == 0, padding)
    source = draw.ids(config.vocab_size, ROWS, 5, without=padding)
    read = encoder_states(config, ROWS, draw) if "encoder_hidden_states" in takes(name) else {}
    for count in (WIDTH, *NEW):
        end, prefix = start + count, "decoder_" if decoder else ""
        call = {f"{prefix}input_ids": ids[:, start:end].clone()}
        call |= {
            key: tensor.clone().float() if tensor.is_floating_point() else tensor.clone()
            for key, tensor in read.items()
        }
        if mask is not None:
            call[f"{prefix}attention_mask"] = mask[:, :end].clone()
        if decoder:
            call["input_ids"] = source.clone()
            call["attention_mask"] = torch.tensor([[1, 1, 1, 0, 0], [0, 1, 1, 1, 1], [1] * 5])
        elif case == "left" and "position_ids" in takes(name):
            # As generation counts: tokens, not columns.
            call["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, start:end].clone()
        calls.append(call)
        start = end
    return calls


def real_columns(case: str) -> Tensor:
    """Which columns of the first call are tokens."""
    return torch.ones(ROWS, WIDTH).bool() if MASKS[case] is None else torch.tensor(MASKS[case]).bool()


def masks_of(name: str) -> list[str]:
    """Every mask for a class, one for a variant of it."""
    return ["left"] if "-" in name else list(MASKS)


@each("name,case,version", ((n, case, v) for n in CACHED for case in masks_of(n) for v in versions_of(n)))
def test_every_call_equals_transformers(name, case, version, oracle_of):
    calls = calls_of(name, case)
    given = {f"{number}.{key}": value for number, call in enumerate(calls) for key, value in call.items()}
    theirs = oracle_of(version).calls(name, given)
    for attention in (None, "eager") if case in ("left", "holes") else (None,):
        compare(build(name, attn_implementation=attention), calls, real_columns(case), theirs)


def compare(model: Any, calls: list[dict[str, Tensor]], keep: Tensor, theirs: dict[str, Tensor]) -> None:
    past = None
    for number, call in enumerate(calls):
        with torch.inference_mode():
            output = model(**call, past_key_values=past, use_cache=True)
        past = output.past_key_values
        ours, expected = output.logits, theirs[str(number)]
        if number == 0:
            assert ours[~keep].numel() == 0 or ours[~keep].abs().max() == 0
            ours, expected = ours[keep], expected[keep]
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=2e-5)
    whole = torch.cat((keep, torch.ones(ROWS, sum(NEW)).bool()), 1)
    own = getattr(past, "self_attention_cache", past)
    assert past.get_seq_length() == whole.shape[1]
    for ours, key in ((own.layers[1].keys, "self.keys"), (own.layers[1].values, "self.values")):
        # transformers drops what a window does not reach any more.
        count = theirs[key].shape[2]
        ours, expected = (side[:, :, -count:].transpose(1, 2) for side in (ours, theirs[key]))
        real = whole[:, -count:]
        torch.testing.assert_close(ours[real], expected[real], rtol=1e-4, atol=2e-5)
    if "cross.keys" in theirs:
        read = "encoder_attention_mask" if "encoder_attention_mask" in calls[0] else "attention_mask"
        shown = calls[0][read].bool()
        ours = past.cross_attention_cache.layers[1].keys.transpose(1, 2)[shown]
        torch.testing.assert_close(ours, theirs["cross.keys"].transpose(1, 2)[shown], rtol=1e-4, atol=2e-5)


@each("name,case", ((name, case) for name in CACHED if "-" not in name for case in ("left", "holes")))
def test_calls_equal_one_call_without_a_cache(name, case):
    calls, past, logits = calls_of(name, case), None, []
    model = subject(name)
    calls = [
        {key: tensor.double() if tensor.is_floating_point() else tensor for key, tensor in call.items()}
        for call in calls
    ]
    if row_of(name).counts_tokens:
        # Where a model counts tokens itself, later calls count on from the columns, padding included; so does
        # transformers.
        for call, end in zip(calls, itertools.accumulate((WIDTH, *NEW)), strict=True):
            columns = torch.arange(end - call["input_ids"].shape[1], end)
            call.setdefault("position_ids", columns.unsqueeze(0))
    last = calls[-1]
    decoder = "decoder_input_ids" in last
    ids, positions = ("decoder_input_ids" if decoder else "input_ids"), "position_ids"
    whole = last | {
        key: torch.cat([call[key] for call in calls], 1) for key in (ids, positions) if key in last
    }
    with torch.inference_mode():
        for call in calls:
            output = model(**call, past_key_values=past, use_cache=True)
            past = output.past_key_values
            logits.append(output.logits)
        expected = model(**whole, use_cache=False).logits
    torch.testing.assert_close(torch.cat(logits, 1), expected, rtol=1e-9, atol=1e-11)
