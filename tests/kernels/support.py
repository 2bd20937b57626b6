"""What the tests of every kernel share: devices, poisoned memory, and the bound on errors."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

#: bf16 products are wrong in Triton's interpreter, so that dtype is tried on a GPU only.
DTYPES = [torch.float32, torch.float16, pytest.param(torch.bfloat16, marks=pytest.mark.gpu)]


@pytest.fixture(
    params=[
        pytest.param("cpu", marks=pytest.mark.interpreter),
        pytest.param("cuda", marks=pytest.mark.gpu),
    ]
)
def device(request: pytest.FixtureRequest) -> str:
    """The device kernels run on: the interpreter's (a process started for it) or a GPU."""
    if request.param == "cpu":
        assert os.environ.get("TRITON_INTERPRET") == "1", "run the interpreter lane with TRITON_INTERPRET=1"
    return str(request.param)


@pytest.fixture
def poisoned_empty() -> Iterator[None]:
    """torch.empty gives NaN, so that an element the kernel leaves unwritten shows."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(before)


def assert_close_as_torch(ours: Tensor, torchs: Tensor, truth: Tensor, what: str = "") -> None:
    """The error against the float32 truth is at most twice that of torch in the same dtype."""
    assert ours.dtype == torchs.dtype and ours.shape == truth.shape, what
    if truth.numel() == 0:
        return
    assert torch.equal(ours.isnan(), truth.isnan()), f"{what}: NaN"
    own = (ours.double() - truth.double()).nan_to_num().abs().max().item()
    bound = 2 * (torchs.double() - truth.double()).nan_to_num().abs().max().item() + 1e-5
    assert own <= bound, f"{what}: error {own:.3e}, torch's own allows {bound:.3e}"
