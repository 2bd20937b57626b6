"""The Triton sampler against its twin that sorts, on the interpreter (a process of its own) or on a GPU."""

# ruff: noqa: F811
from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from oxiformers_kernels.sampling import ref, sample
from tests.kernels.grids import pairwise
from tests.kernels.support import DTYPES, device, poisoned_empty  # noqa: F401

kernel = pytest.importorskip("oxiformers_kernels.sampling.kernel", reason="triton is not installed")

pytestmark = pytest.mark.usefixtures("poisoned_empty")

PLAIN: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "top-k": {"top_k": 5},
    "one": {"top_k": 1, "temperature": 0.7},
    "top-p": {"top_p": 0.7},
    "min-p": {"min_p": 0.1},
    "all": {"temperature": 0.7, "top_k": 9, "top_p": 0.8, "min_p": 0.05},
    "greedy": {"temperature": 0.0},
    "by row": {
        "temperature": torch.tensor([0.0, 0.5, 1.0, 2.0]),
        "top_k": torch.tensor([1, 20, 0, 500]),
        "top_p": torch.tensor([0.5, 1.0, 0.9, 0.0]),
        "min_p": torch.tensor([0.0, 0.0, 0.02, 0.0]),
    },
}


def check(logits: Tensor, settings: dict[str, Any]) -> None:
    """The same tokens may be drawn, and the same ones are."""
    device = logits.device
    arguments = [
        value.to(device) if isinstance(value, Tensor) else value for value in (PLAIN | settings).values()
    ]
    key = torch.tensor([7], device=device)
    tokens, threshold = kernel.sample(logits, *arguments, key)
    expected, least = ref.sample(logits, *arguments, key)
    temperature = torch.as_tensor(arguments[0], device=device, dtype=torch.float32).expand(logits.shape[0])
    scaled = logits.float() * torch.where(temperature == 0, 1.0, temperature).reciprocal()[:, None]
    assert torch.equal(scaled >= threshold[:, None], scaled >= least[:, None])
    assert torch.equal(tokens, expected)


@pairwise(
    {
        "dtype": DTYPES,
        "columns": [1, 63, 100, pytest.param(2000, marks=pytest.mark.gpu)],
        "settings": SETTINGS.values(),
    }
)
def test_equals_the_twin(device: str, dtype: torch.dtype, columns: int, settings: dict[str, Any]) -> None:
    torch.manual_seed(columns)
    check((torch.randn(4, columns, device=device) * 3).to(dtype), settings)


@pytest.mark.parametrize("settings", ["plain", "all", "by row"])
def test_rows_of_several_blocks(device: str, settings: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "BLOCK", 32)
    torch.manual_seed(0)
    check(torch.randn(4, 100, device=device) * 3, SETTINGS[settings])


@pytest.mark.parametrize("columns", [pytest.param(128256, marks=pytest.mark.gpu)])
def test_a_large_vocabulary(device: str, columns: int) -> None:
    """At the edge of top-p, sums in float32 part tokens of a probability of 1e-6 or so by chance."""
    torch.manual_seed(0)
    logits = torch.randn(16, columns, device=device) * 2
    check(logits, {"top_k": 50})
    key = torch.tensor([7], device=device)
    threshold = kernel.sample(logits, 1.0, 0, 0.9, 0.0, key)[1]
    mass = logits.double().softmax(-1).masked_fill(logits < threshold[:, None], 0.0).sum(-1)
    torch.testing.assert_close(mass, torch.full_like(mass, 0.9), atol=1e-4, rtol=0)


@pytest.mark.filterwarnings("ignore:All-NaN slice")
def test_equal_and_removed_logits(device: str) -> None:
    logits = torch.tensor(
        [[2.0, 1.0, 1.0, 1.0, 0.0], [-torch.inf, 3.0, 3.0, -torch.inf, -1.0]], device=device
    )
    for settings in ({"top_k": 2}, {"top_p": 0.5}, {"top_p": 0.0}, {"min_p": 1.0}, {"top_k": 4}):
        check(logits, settings)
    nothing = torch.stack((torch.full((5,), -torch.inf), torch.full((5,), torch.nan), torch.zeros(5))).to(
        device
    )
    for settings in ({}, {"top_k": 2, "top_p": 0.5}):
        tokens = sample(nothing, seed=0, backend="triton", **settings)
        assert tokens[:2].tolist() == [-1, -1] and 0 <= tokens[2] < 5


def test_any_strides_and_no_rows(device: str) -> None:
    torch.manual_seed(0)
    base = torch.randn(40, 12, device=device)
    check(base.t()[:4], {"top_k": 6, "top_p": 0.9})
    check(base[::10, ::2], {"min_p": 0.2})
    check(base[:1].expand(4, 12), SETTINGS["by row"] | {"top_p": torch.rand(8, device=device)[::2]})
    assert sample(base[:0], backend="triton").shape == (0,)


def test_another_seed_draws_others(device: str) -> None:
    """And on a GPU, where many rows take no time, shares lie within five standard deviations."""
    row = torch.tensor([0.0, 2.0, -torch.inf, 1.0, 0.5], device=device)
    count = 200000 if device == "cuda" else 20
    rows = row.expand(count, 5)
    tokens = sample(rows, seed=1, backend="triton")
    assert torch.equal(tokens, sample(rows, seed=1, backend="triton"))
    assert not torch.equal(tokens, sample(rows, seed=2**40, backend="triton"))
    expected = row.softmax(-1)
    shares = torch.bincount(tokens, minlength=5) / count
    assert ((shares - expected).abs() <= 5 * (expected * (1 - expected) / count).sqrt()).all()


def test_the_op_as_torch_sees_it(device: str) -> None:
    """Schema, fake implementation and tracing agree."""
    logits, key = torch.randn(3, 20, device=device), torch.tensor([7], device=device)
    torch.library.opcheck(kernel.sample_op, (logits, None, None, None, None, 0.7, 5, 0.9, 0.1, key))
    temperatures = torch.tensor([0.0, 1.0, 2.0], device=device)
    torch.library.opcheck(kernel.sample_op, (logits, temperatures, None, None, None, 0.0, 5, 1.0, 0.0, key))
    compiled = torch.compile(sample, fullgraph=True, backend="aot_eager")
    options: dict[str, Any] = {"top_k": 5, "seed": key, "backend": "triton"}
    assert torch.equal(compiled(logits, **options), sample(logits, **options))
