"""The torch Philox gives the bits of Triton's, on the interpreter or on a GPU."""

from __future__ import annotations

import pytest
import torch

from oxiformers_kernels.philox import philox
from tests.kernels.support import device  # noqa: F401

triton = pytest.importorskip("triton", reason="triton is not installed")
tl = pytest.importorskip("triton.language", reason="triton is not installed")


@triton.jit
def _words(seed, counters, out, BLOCK: tl.constexpr):
    index = tl.arange(0, BLOCK)
    c0 = tl.load(counters + index)
    c1 = tl.load(counters + BLOCK + index)
    c2 = tl.load(counters + 2 * BLOCK + index)
    c3 = tl.load(counters + 3 * BLOCK + index)
    w0, w1, w2, w3 = tl.philox(tl.load(seed), c0, c1, c2, c3)
    tl.store(out + index, w0.to(tl.int64))
    tl.store(out + BLOCK + index, w1.to(tl.int64))
    tl.store(out + 2 * BLOCK + index, w2.to(tl.int64))
    tl.store(out + 3 * BLOCK + index, w3.to(tl.int64))


@pytest.mark.parametrize("seed", [0, 1, 2**40 + 3, -5])
def test_the_same_bits(device: str, seed: int) -> None:  # noqa: F811
    torch.manual_seed(0)
    counters = torch.randint(-(2**31), 2**31, (4, 64), device=device).to(torch.int32)
    key = torch.tensor(seed, device=device)
    out = torch.empty(4, 64, dtype=torch.int64, device=device)
    _words[(1,)](key, counters, out, BLOCK=64)
    assert torch.equal(out, torch.stack(philox(key, *counters)))
    assert torch.equal(out, torch.stack(philox(seed, *counters)))
