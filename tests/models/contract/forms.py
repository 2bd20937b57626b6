"""The same batch of tokens in other forms: packed, or with more padding."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from oxiformers.layers.layout import Layout
from tests.models.answer import Tensors
from tests.models.contract.inputs import ROWS, WIDTH
from tests.models.contract.subjects import config_of, row_of, subject, takes

#: Arguments and outputs that hold something for each token, and what padding holds.
TOKENWISE = {
    "input_ids": 0, "attention_mask": 0, "token_type_ids": 0, "position_ids": 0, "inputs_embeds": 0.0,
    "labels": -100, "probe.last_hidden_state": 0.0,
}  # fmt: skip
SPANS = {"start_positions", "end_positions"}


def is_tokenwise(tensor: torch.Tensor) -> bool:
    """Whether a tensor of the batch is ``[B, S, ...]``."""
    return tensor.dim() >= 2 and tuple(tensor.shape[:2]) == (ROWS, WIDTH)


def padded_further(name: str, inputs: Tensors, columns: int) -> Tensors:
    """The batch with so many more columns of right padding."""
    values = TOKENWISE | {"input_ids": config_of(name).pad_token_id or 0}
    wider = {}
    for key, tensor in inputs.items():
        if is_tokenwise(tensor):
            tensor = F.pad(tensor, (0, 0) * (tensor.dim() - 2) + (0, columns), value=values[key])
        wider[key] = tensor
    return wider


def may_be_packed(name: str, case: str) -> bool:
    """Whether the batch of a case has a packed form.

    Without positions of its own a packed batch has no holes; nor where attention counts columns, as a window does.
    Where positions are columns that no argument changes, its sequences begin with the first.
    """
    if case == "right" or row_of(name).counts_tokens:
        return True
    base = subject(name).base_model
    if "position_ids" in takes(name):
        return case != "holes" or not base.by_distance
    return case != "holes" and all(getattr(part, "position_limit", None) is None for part in base.modules())


def packed(name: str, inputs: Tensors) -> tuple[Tensors, Layout]:
    """The batch without padding, ``[T, ...]``, in the order of its rows; with the positions it has padded."""
    mask = inputs["attention_mask"].bool()
    rest = {key: tensor for key, tensor in inputs.items() if key != "attention_mask"}
    if "position_ids" in takes(name) and not row_of(name).counts_tokens and "position_ids" not in rest:
        rest["position_ids"] = torch.arange(WIDTH).expand(ROWS, WIDTH)
    flat = {key: tensor[mask] if is_tokenwise(tensor) else tensor for key, tensor in rest.items()}
    for key in SPANS & flat.keys():
        # A packed batch counts the tokens of a sequence, a padded one its columns.
        column = flat[key].clamp(max=WIDTH - 1).unsqueeze(1)
        rank = (mask.long().cumsum(1) - 1).gather(1, column).squeeze(1)
        flat[key] = torch.where(flat[key] < WIDTH, rank, flat[key])
    return flat, Layout.from_lengths(mask.sum(1))


def repacked(outputs: Tensors, inputs: Tensors) -> Tensors:
    """Outputs of a padded batch as the packed batch gives them: ``[B, S, ...]`` without padding."""
    mask = inputs["attention_mask"].bool()
    return {key: tensor[mask] if is_tokenwise(tensor) else tensor for key, tensor in outputs.items()}
