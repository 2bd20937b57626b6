"""The batches every class is tried with: arguments of forward as tensors, for transformers and for us."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tests.models.contract.labels import DECODER_WIDTH, KINDS, ROWS, WIDTH, Draw
from tests.models.contract.row import BOTH, NEW, Versions
from tests.models.contract.subjects import (
    class_of,
    config_of,
    is_exact,
    is_full,
    kind_of,
    row_of,
    takes,
    versions_of,
)

__all__ = ["DECODER_WIDTH", "MASKS", "ROWS", "WIDTH", "Case", "cases", "kept", "make", "masks_of", "usual"]

MASKS: dict[str, Any] = {
    "unpadded": None,
    "right": [9, 4, 1, 6],
    "left": [-5, -9, -2, -7],
    "holes": [[1, 0, 1, 1, 0, 1, 1, 0, 0], [1] * 9, [0, 1, 1, 0, 0, 0, 0, 0, 1], [1, 1, 0, 0, 0, 0, 0, 0, 0]],
}
#: The masks that a modality has; the last one is what everything else is tried with.
MODALITIES = {
    "tokens": ("unpadded", "left", "holes", "right"),
    "pixels": ("unpadded",),
    "samples": ("unpadded", "right"),
}
#: Optional inputs that a row may name: each a case of its own. "encoder_hidden_states" is no case: a class that takes
#: them gets them, with their mask, in every case.
EXTRAS = {
    "tokens": (
        "token_type_ids", "position_ids", "inputs_embeds", "mask_3d", "mask_4d", "head_mask",
        # Of encoder-decoders; the last one gives the decoder nothing, so that it reads the encoder's tokens shifted.
        "decoder_attention_mask", "decoder_inputs_embeds", "shifted_input_ids",
    ),
    # A larger image, with interpolate_pos_encoding=True.
    "pixels": ("interpolate", "head_mask"),
    "samples": (),
}  # fmt: skip
#: Cases of another dtype than float64, with the usual mask.
DTYPES = {"float32": BOTH, "bfloat16": NEW}


@dataclass(frozen=True)
class Case:
    """One batch.

    Attributes:
        name: see MASKS, EXTRAS and DTYPES.
        versions: of transformers it is compared with.
        options: of the call that are no tensors, see `answer`.
    """

    name: str
    versions: Versions
    options: dict[str, Any] = field(default_factory=dict)


def masks_of(name: str) -> tuple[str, ...]:
    """The masks a subject is tried with."""
    return MODALITIES[row_of(name).modality]


def usual(name: str) -> str:
    """The mask of a subject that everything else is tried with."""
    return masks_of(name)[-1]


def cases(name: str) -> list[Case]:
    """Every case of a subject."""
    known, has = versions_of(name), takes(name)
    precision: dict[str, Any] = {} if is_exact(name) else {"dtype": "float32"}
    everything = {"output_hidden_states": True, "output_attentions": True} | precision
    full = is_full(name)
    found = [Case(mask, BOTH, everything) for mask in masks_of(name) if full or mask == usual(name)]
    if full:
        found += [
            Case(extra, has[extra], everything | OPTIONS.get(extra, {}))
            for extra in EXTRAS[row_of(name).modality]
            if extra in has and not (kind_of(name) == "last" and extra == "inputs_embeds")
        ]
        found += [Case(dtype, versions, {"dtype": dtype}) for dtype, versions in DTYPES.items()]
    else:
        own = class_of(name).takes.items()
        found += [Case(extra, versions, everything) for extra, versions in own if extra in EVERY_CASE]
    if kind_of(name) in ("sequence", "last") and row_of(name).modality != "samples" and "-" not in name:
        found += [
            Case("multi_label", BOTH, precision),
            Case("regression", BOTH, {"problem_type": "regression"} | precision),
        ]
    limited = [
        Case(case.name, tuple(version for version in case.versions if version in known), case.options)
        for case in found
    ]
    return [case for case in limited if case.versions]


#: Arguments of the call that go with an optional input.
OPTIONS = {"interpolate": {"interpolate_pos_encoding": True}}


def make(name: str, case: str) -> dict[str, Tensor]:
    """The arguments of one case of a subject."""
    config, kind = config_of(name), kind_of(name)
    draw = Draw(zlib.crc32(f"{kind} {case}".encode()))
    inputs = MAKERS[row_of(name).modality](config, case if case in EVERY_CASE else usual(name), draw)
    if "encoder_hidden_states" in takes(name):
        inputs |= encoder_states(config, ROWS, draw)
    if kind == "seq2seq sequence":
        _end_sequences(config, inputs)
    return inputs | KINDS[kind](config, case, kept(name, inputs), draw)


def kept(name: str, inputs: dict[str, Tensor]) -> Tensor | None:
    """Which tokens come out of a model that are not padding, ``[B, S]``; None for pixels."""
    modality, mask = row_of(name).modality, inputs.get("attention_mask")
    if modality == "pixels":
        return None
    if modality == "samples":
        samples = inputs["input_values"]
        lengths = torch.full((ROWS,), samples.shape[1]) if mask is None else mask.sum(1)
        config = config_of(name)
        return (torch.arange(frames(config, samples.shape[1])) < frames(config, lengths).unsqueeze(1)).long()
    plain = mask is None or mask.dim() != 2
    return torch.ones(ROWS, WIDTH, dtype=torch.int64) if plain else mask


# Tokens


def padding_mask(case: str) -> Tensor | None:
    """The int64 mask ``[B, S]`` of a case of MASKS; lengths are of right padding, negative ones of left."""
    rows = MASKS[case]
    if rows is None:
        return None
    full = [row if isinstance(row, list) else [1] * row + [0] * (WIDTH - row) for row in rows]
    if case == "left":
        full = [[0] * (WIDTH + row) + [1] * -row for row in rows]
    return torch.tensor(full)


def _tokens(config: Any, case: str, draw: Draw) -> dict[str, Tensor]:
    mask = padding_mask(case if case in MASKS else "right")
    padding = config.pad_token_id or 0
    inputs = {"input_ids": draw.ids(config.vocab_size, ROWS, WIDTH, without=padding)}
    if mask is not None:
        inputs["attention_mask"] = mask
        inputs["input_ids"] = inputs["input_ids"].masked_fill(mask == 0, padding)
    if case == "token_type_ids":
        inputs[case] = draw.ids(2, ROWS, WIDTH)
    elif case == "position_ids":
        inputs[case] = draw.ids(config.max_position_embeddings, ROWS, WIDTH)
    elif case == "inputs_embeds":
        del inputs["input_ids"]
        inputs[case] = draw.real(ROWS, WIDTH, config.hidden_size)
    elif case == "mask_3d":
        inputs["attention_mask"] = (draw.ids(3, ROWS, WIDTH, WIDTH) > 0).long() | torch.eye(WIDTH).long()
    elif case == "mask_4d":
        inputs["attention_mask"] = draw.real(ROWS, 1, WIDTH, WIDTH)
    elif case == "head_mask":
        inputs[case] = _head_mask(config, draw)
    return inputs


def encoder_states(config: Any, rows: int, draw: Draw) -> dict[str, Tensor]:
    """What a decoder with cross-attention reads."""
    lengths = torch.tensor([[6], [2], [5], [1]])[:rows]
    return {
        "encoder_hidden_states": draw.real(rows, DECODER_WIDTH, config.hidden_size),
        "encoder_attention_mask": (torch.arange(DECODER_WIDTH) < lengths).long(),
    }


def _head_mask(config: Any, draw: Draw) -> Tensor:
    return (draw.ids(3, config.num_hidden_layers, config.num_attention_heads) > 0).double()


def _end_sequences(config: Any, inputs: dict[str, Tensor]) -> None:
    """Makes the last real token of each row, and no other, the end of the sequence."""
    if "input_ids" not in inputs:
        return
    ids, end = inputs["input_ids"], config.eos_token_id
    ids = ids.masked_fill(ids == end, end + 1 if end + 1 != config.pad_token_id else end + 2)
    mask = inputs.get("attention_mask", torch.ones(ROWS, WIDTH))
    keep = mask if mask.dim() == 2 else torch.ones(ROWS, WIDTH)
    last = (keep.cumsum(1) * keep).argmax(1, keepdim=True)
    inputs["input_ids"] = ids.scatter(1, last, end)


# Pixels


def _pixels(config: Any, case: str, draw: Draw) -> dict[str, Tensor]:
    size = config.image_size if isinstance(config.image_size, int) else config.image_size[0]
    if case == "interpolate":
        patch = config.patch_size if isinstance(config.patch_size, int) else config.patch_size[0]
        size += patch
    inputs = {"pixel_values": draw.real(ROWS, config.num_channels, size, size)}
    if case == "head_mask":
        inputs[case] = _head_mask(config, draw)
    return inputs


# Samples


def frames(config: Any, samples: Any) -> Any:
    """How many frames the convolutions make of so many samples, an int or a tensor."""
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        samples = (samples - kernel) // stride + 1
    return samples


def _samples(config: Any, case: str, draw: Draw) -> dict[str, Tensor]:
    lengths = torch.tensor(MASKS["right"])
    for kernel, stride in reversed(list(zip(config.conv_kernel, config.conv_stride, strict=True))):
        lengths = (lengths - 1) * stride + kernel
    # One sample more than the frames need.
    width = int(lengths.max()) + 1
    values = draw.real(ROWS, width)
    if case == "unpadded":
        return {"input_values": values}
    mask = (torch.arange(width) < lengths.unsqueeze(1) + 1).long()
    return {"input_values": values.masked_fill(mask == 0, 0.0), "attention_mask": mask}


MAKERS = {"tokens": _tokens, "pixels": _pixels, "samples": _samples}
EVERY_CASE = {*MASKS, *(case for extras in EXTRAS.values() for case in extras)}
