"""Packing and pooling in Triton against torch, on the interpreter (a process of its own) or on a GPU."""

# ruff: noqa: F811
from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from oxiformers_kernels.pack import pack, pool, unpack
from tests.kernels.grids import pairwise
from tests.kernels.support import DTYPES, assert_close_as_torch, device, poisoned_empty  # noqa: F401

kernel = pytest.importorskip("oxiformers_kernels.pack.kernel", reason="triton is not installed")

pytestmark = pytest.mark.usefixtures("poisoned_empty")

ODD = [1, 63, 100, pytest.param(2000, marks=pytest.mark.gpu)]


def index_for(rows: int, width: int, device: str) -> Tensor:
    """Places of a batch with holes and an empty row, not in order."""
    mask = torch.rand(rows, width, device=device) > 0.4
    mask[rows // 2] = False
    places = mask.flatten().nonzero().squeeze(1)
    return places[torch.randperm(places.numel(), device=device)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", ODD)
def test_pack_and_unpack_move_exactly(device: str, dtype: torch.dtype, columns: int) -> None:
    torch.manual_seed(0)
    index = index_for(5, 7, device)
    padded = torch.randn(5, 7, columns, device=device).to(dtype)
    packed = torch.randn(index.numel(), columns, device=device).to(dtype)
    results = []
    for backend in ("triton", "torch"):
        a, b = padded.detach().requires_grad_(), packed.detach().requires_grad_()
        there, back = pack(a, index, backend=backend), unpack(b, index, 5, 7, backend=backend)  # type: ignore[arg-type]
        torch.manual_seed(1)
        slopes = [torch.randn(x.shape, device=device).to(dtype) for x in (there, back)]
        results.append([there, back, *torch.autograd.grad([there, back], [a, b], slopes)])
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.bool, torch.float64, torch.uint8])
def test_other_dtypes_masks_and_strides(device: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    base = (torch.randn(6, 4, 2, 6, device=device) * 5).to(dtype)
    mask = torch.rand(4, 6, device=device) > 0.3
    for padded in (
        base[:, :, 0, 0].t(),
        base.transpose(0, 1)[..., ::2],
        base.transpose(0, 1)[:, :1].expand(4, 6, 2, 6),
    ):
        packed = pack(padded, mask, backend="triton")
        assert torch.equal(packed, padded[mask])
        back = unpack(packed, mask, 4, 6, backend="triton")
        assert torch.equal(back, unpack(packed, mask, 4, 6, backend="torch"))


@pairwise({"dtype": DTYPES, "columns": ODD, "how": ["mean", "first", "last"], "splits": [1, 3]})
def test_pool(
    device: str, dtype: torch.dtype, columns: int, how: str, splits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "pool_splits", lambda *_: splits)
    torch.manual_seed(0)
    # One sequence takes several steps of a program, whole or in parts.
    cu_seqlens = torch.tensor([0, 0, 5, 6, 436, 436, 443], device=device, dtype=torch.int32)
    packed = torch.randn(443, columns, device=device).to(dtype)
    slope = torch.randn(6, columns, device=device).to(dtype)

    def run(backend: str, dtype: torch.dtype) -> list[Tensor]:
        x = packed.to(dtype).detach().requires_grad_()
        out = pool(x, cu_seqlens, how, backend=backend)  # type: ignore[arg-type]
        return [out.detach(), *torch.autograd.grad(out, x, slope.to(dtype))]

    for ours, torchs, truth in zip(
        run("triton", dtype), run("torch", dtype), run("torch", torch.float32), strict=True
    ):
        assert_close_as_torch(ours, torchs, truth)
        assert not ours[[0, 4]].any() or ours.shape == packed.shape


def test_pooling_any_strides_and_what_lies_beyond(device: str) -> None:
    torch.manual_seed(0)
    packed = torch.randn(30, 20, device=device)[:, ::2].detach().requires_grad_()
    out = pool(packed, torch.tensor([0, 4], device=device), backend="triton")
    torch.testing.assert_close(out, packed[:4].mean(0, keepdim=True))
    out.sum().backward()
    assert packed.grad is not None and not packed.grad[4:].any(), "no sequence, no gradient"
    strided = torch.tensor([0, -1, 4, -1, 30, -1], device=device)[::2]
    torch.testing.assert_close(
        pool(packed, strided, backend="triton"), pool(packed, strided, backend="torch")
    )


def test_long_sequences_are_read_in_parts() -> None:
    assert kernel.pool_splits(16384, 1, 768) == 170
    assert kernel.pool_splits(16384, 256, 768) == 1 and kernel.pool_splits(0, 0, 1) == 1


def test_nothing(device: str) -> None:
    none = torch.zeros(0, dtype=torch.int64, device=device)
    x = torch.ones(2, 3, 4, device=device, requires_grad=True)
    packed = pack(x, none, backend="triton")
    assert packed.shape == (0, 4)
    back = unpack(packed, none, 2, 3, backend="triton")
    back.sum().backward()
    assert not back.any() and x.grad is not None and not x.grad.any()
    assert (
        pool(packed.detach(), torch.zeros(3, dtype=torch.int64, device=device), backend="triton").tolist()
        == [[0.0] * 4] * 2
    )
    assert pool(
        packed.detach(), torch.zeros(1, dtype=torch.int64, device=device), backend="triton"
    ).shape == (0, 4)


def test_places_out_of_range_are_left_out(device: str) -> None:
    x = torch.ones(1, 3, 2, device=device)
    index = torch.tensor([1, 3, -1, 2**40], device=device)
    assert pack(x, index, backend="triton").sum(1).tolist() == [2, 0, 0, 0]
    assert unpack(torch.ones(4, 2, device=device), index, 1, 3, backend="triton").sum(2).tolist() == [
        [0, 2, 0]
    ]


def test_compiled_as_one_graph(device: str) -> None:
    torch.manual_seed(0)
    index, cu_seqlens = torch.tensor([0, 2, 3, 5], device=device), torch.tensor([0, 1, 4], device=device)

    def pooled(x: Tensor) -> Tensor:
        packed = pack(x, index, backend="triton")
        return (
            pool(packed * 2, cu_seqlens, backend="triton").sum()
            + unpack(packed, index, 2, 3, backend="triton").square().sum()
        )

    def gradient(function: Any) -> Tensor:
        torch.manual_seed(0)
        x = torch.randn(2, 3, 4, device=device, requires_grad=True)
        return torch.autograd.grad(function(x), x)[0]

    compiled = torch.compile(pooled, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(gradient(compiled), gradient(pooled))


def test_the_ops_as_torch_sees_them(device: str) -> None:
    """Schemas, fake implementations, autograd registrations and tracing agree."""
    x = torch.randn(6, 4, device=device, requires_grad=True)
    index, cu_seqlens = torch.tensor([0, 2, 3, 5], device=device), torch.tensor([0, 1, 6], device=device)
    torch.library.opcheck(kernel.pack_op, (x, index))
    torch.library.opcheck(kernel.unpack_op, (x.detach()[:4].requires_grad_(), index, 7))
    torch.library.opcheck(kernel.pool_op, (x, cu_seqlens, kernel.HOW["mean"]))
    torch.library.opcheck(kernel.pool_backward_op, (x.detach()[:2], cu_seqlens, 6, kernel.HOW["last"]))
