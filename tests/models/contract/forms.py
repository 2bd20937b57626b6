"""The same batch in other forms: packed, or with more padding."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from oxiformers.layers.layout import Layout
from tests.models.answer import Tensors
from tests.models.contract.inputs import ROWS, WIDTH

#: Arguments and outputs that hold something for each token, and what padding holds.
TOKENWISE = {
    "input_ids": 0, "attention_mask": 0, "token_type_ids": 0, "position_ids": 0, "inputs_embeds": 0.0,
    "labels": -100, "probe.last_hidden_state": 0.0,
}  # fmt: skip
SPANS = {"start_positions", "end_positions"}


def is_tokenwise(tensor: torch.Tensor) -> bool:
    """Whether a tensor of the batch is ``[B, S, ...]``."""
    return tensor.dim() >= 2 and tuple(tensor.shape[:2]) == (ROWS, WIDTH)


def padded_further(inputs: Tensors, columns: int) -> Tensors:
    """The batch with so many more columns of right padding."""
    wider = {}
    for name, tensor in inputs.items():
        if is_tokenwise(tensor):
            tensor = F.pad(tensor, (0, 0) * (tensor.dim() - 2) + (0, columns), value=TOKENWISE[name])
        wider[name] = tensor
    return wider


def packed(inputs: Tensors, takes_positions: bool) -> tuple[Tensors, Layout]:
    """The batch without padding, ``[T, ...]``, in the order of its rows; its columns are the positions."""
    mask = inputs["attention_mask"].bool()
    rest = {name: tensor for name, tensor in inputs.items() if name != "attention_mask"}
    if takes_positions and "position_ids" not in rest:
        rest["position_ids"] = torch.arange(WIDTH).expand(ROWS, WIDTH)
    flat = {name: tensor[mask] if is_tokenwise(tensor) else tensor for name, tensor in rest.items()}
    for name in SPANS & flat.keys():
        # A packed batch counts the tokens of a sequence, a padded one its columns.
        column = flat[name].clamp(max=WIDTH - 1).unsqueeze(1)
        rank = (mask.long().cumsum(1) - 1).gather(1, column).squeeze(1)
        flat[name] = torch.where(flat[name] < WIDTH, rank, flat[name])
    return flat, Layout.from_lengths(mask.sum(1))


def repacked(outputs: Tensors, inputs: Tensors) -> Tensors:
    """Outputs of a padded batch as the packed batch gives them: ``[B, S, ...]`` without padding."""
    mask = inputs["attention_mask"].bool()
    return {name: tensor[mask] if is_tokenwise(tensor) else tensor for name, tensor in outputs.items()}
