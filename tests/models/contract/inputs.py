"""The batches every class is tried with: arguments of forward as tensors, for transformers and for us."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from tests.models.contract.rows import BOTH, Row

ROWS, WIDTH, DECODER_WIDTH = 4, 9, 6
MASKS = {
    "unpadded": None,
    "right": [9, 4, 1, 6],
    "left": [-5, -9, -2, -7],
    "holes": [[1, 0, 1, 1, 0, 1, 1, 0, 0], [1] * 9, [0, 1, 1, 0, 0, 0, 0, 0, 1], [1, 1, 0, 0, 0, 0, 0, 0, 0]],
}
#: Cases of another dtype than float64, right padded.
DTYPES = {"float32": BOTH, "bfloat16": ("523",)}
#: Optional inputs, each tried in a case of its own, right padded.
EXTRAS = ("token_type_ids", "position_ids", "inputs_embeds", "mask_3d", "mask_4d", "head_mask")


def padding_mask(case: str) -> Tensor | None:
    """The int64 mask ``[B, S]`` of a case of MASKS; lengths are of right padding, negative ones of left."""
    rows = MASKS[case]
    if rows is None:
        return None
    full = [row if isinstance(row, list) else [1] * row + [0] * (WIDTH - row) for row in rows]  # type: ignore[operator]
    if case == "left":
        full = [[0] * (WIDTH + row) + [1] * -row for row in rows]  # type: ignore[operator]
    return torch.tensor(full)


def cases(row: Row, kind: str) -> Iterator[tuple[str, tuple[str, ...], dict[str, Any]]]:
    """Every case of a class: its name, the environments it is compared with, the options of the call."""
    everything: dict[str, Any] = {"output_hidden_states": True, "output_attentions": True}
    if not row.exact:
        everything["dtype"] = "float32"
    for name in MASKS:
        yield name, BOTH, everything
    for name in EXTRAS:
        if name in row.takes:
            yield name, row.takes[name], everything
    for dtype, environments in DTYPES.items():
        yield dtype, environments, {"dtype": dtype}
    if kind == "sequence":
        yield "multi_label", BOTH, {}
        yield "regression", BOTH, {"problem_type": "regression"}


def make(row: Row, kind: str, case: str) -> dict[str, Tensor]:
    """The arguments of one case.

    Args:
        row: the architecture.
        kind: of the class: base, sequence, token, question, words (a label for each token), causal (the same,
            of the next token), seq2seq and seq2seq base (with tokens for a decoder).
        case: see `cases`.
    """
    random = torch.Generator().manual_seed(zlib.crc32(f"{kind} {case}".encode()))

    def ids(high: int, *shape: int, low: int = 0) -> Tensor:
        return torch.randint(low, high, shape, generator=random)

    def real(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    mask = padding_mask(case if case in MASKS else "right")
    inputs = {"input_ids": ids(row.vocabulary, ROWS, WIDTH, low=1)}
    if mask is not None:
        inputs["attention_mask"] = mask
        inputs["input_ids"] = inputs["input_ids"].masked_fill(mask == 0, 0)
    keep = torch.ones(ROWS, WIDTH) if mask is None else mask
    if case == "token_type_ids":
        inputs["token_type_ids"] = ids(2, ROWS, WIDTH)
    elif case == "position_ids":
        inputs["position_ids"] = ids(row.positions, ROWS, WIDTH)
    elif case == "inputs_embeds":
        del inputs["input_ids"]
        inputs["inputs_embeds"] = real(ROWS, WIDTH, row.size)
    elif case == "mask_3d":
        inputs["attention_mask"] = (ids(3, ROWS, WIDTH, WIDTH) > 0).long() | torch.eye(WIDTH).long()
        keep = torch.ones(ROWS, WIDTH)
    elif case == "mask_4d":
        inputs["attention_mask"] = real(ROWS, 1, WIDTH, WIDTH)
        keep = torch.ones(ROWS, WIDTH)
    elif case == "head_mask":
        inputs["head_mask"] = (ids(3, row.layers, row.heads) > 0).double()
    return inputs | _labels(row, kind, case, keep, ids, real)


def _labels(row, kind, case, keep, ids, real):  # type: ignore[no-untyped-def]
    if kind == "seq2seq base":
        probe = {"probe.last_hidden_state": real(ROWS, DECODER_WIDTH, row.size)}
        return probe | {"decoder_input_ids": ids(row.vocabulary, ROWS, DECODER_WIDTH)}
    if kind == "seq2seq":
        labels = ids(row.vocabulary, ROWS, DECODER_WIDTH)
        return {"labels": labels.masked_fill(ids(4, ROWS, DECODER_WIDTH) == 0, -100)}
    if kind == "base":
        return {"probe.last_hidden_state": real(ROWS, WIDTH, row.size) * keep.unsqueeze(-1)}
    if kind == "sequence":
        if case == "regression":
            return {"labels": real(ROWS, 3)}
        return {"labels": ids(2, ROWS, 3).double() if case == "multi_label" else ids(3, ROWS)}
    if kind == "question":
        columns = [line.nonzero().flatten() for line in keep]
        first, last = (torch.stack([line[end] for line in columns]) for end in (0, -1))
        # One span ends beyond the batch and is left out; transformers clamps it.
        return {"start_positions": first, "end_positions": last.index_fill(0, torch.tensor(2), WIDTH + 3)}
    labels = ids(3 if kind == "token" else row.vocabulary, ROWS, WIDTH)
    ignored = (keep == 0) | (ids(4, ROWS, WIDTH) == 0)
    if kind == "causal":
        # transformers predicts a token after padding from the padding.
        ignored[:, 1:] |= keep[:, :-1] == 0
    return {"labels": labels.masked_fill(ignored, -100)}
