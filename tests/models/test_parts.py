"""Parts of a model that are called alone, with transformers 4.57.6's arguments and outputs."""

from __future__ import annotations

import pytest
import torch

from tests.models.answer import parts
from tests.models.contract.labels import Draw
from tests.models.contract.marks import each
from tests.models.contract.subjects import ROWS, base_of, config_of, row_of, subject

pytestmark = pytest.mark.contract
WITH_PARTS = [row for row, entry in ROWS.items() if entry.parts]


@each("name", ((base_of(row),) for row in WITH_PARTS))
def test_parts_alone(name, oracle_of):
    config, draw, rows, width = config_of(name), Draw(0), 2, 5
    heads = config.num_attention_heads
    inputs = {
        **(_images(config, rows, draw) if row_of(name).modality == "pixels" else {}),
        "ids": draw.ids(getattr(config, "vocab_size", 2), rows, width),
        "hidden": draw.real(rows, width, config.hidden_size).float(),
        "states": draw.real(rows, width, config.hidden_size).float(),
        "mask": torch.tensor([[1] * 5, [1, 1, 1, 0, 0]]),
        "added": (draw.ids(2, rows, 1, width, width) - 1) * torch.finfo(torch.float32).max,
        "positions": torch.arange(width).unsqueeze(0),
        "heads": torch.arange(heads) / heads,
    }
    # Every query sees itself: transformers gives the mean of all values where it sees nothing.
    inputs["added"] = inputs["added"].masked_fill(torch.eye(width, dtype=torch.bool), 0.0)
    inputs["causal"] = torch.full((1, 1, width, width), torch.finfo(torch.float32).min).triu(1)
    expressions = list(ROWS[row_of_base(name)].parts)
    ours = parts(subject(name).float(), expressions, inputs)
    subject(name).double()
    theirs = oracle_of("457").parts(name, expressions, inputs)
    assert ours.keys() == theirs.keys()
    for key, expected in theirs.items():
        torch.testing.assert_close(
            ours[key], expected, rtol=1e-4, atol=1e-5, msg=lambda text, k=key: f"{k}: {text}"
        )


def _images(config, rows, draw):
    return {
        name: draw.real(rows, config.num_channels, size, size).float()
        for name, size in (("pixels", config.image_size), ("larger", config.image_size + config.patch_size))
    }


def row_of_base(name):
    return next(row for row in WITH_PARTS if base_of(row) == name)
