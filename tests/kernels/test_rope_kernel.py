"""The Triton rotary embedding against float32 torch, on the interpreter (a process of its own) or on a GPU."""

# ruff: noqa: F811
from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from oxiformers_kernels.rope import apply_rope
from tests.kernels.grids import pairwise
from tests.kernels.support import DTYPES, assert_close_as_torch, device, poisoned_empty  # noqa: F401

kernel = pytest.importorskip("oxiformers_kernels.rope.kernel", reason="triton is not installed")

pytestmark = pytest.mark.usefixtures("poisoned_empty")


def check(
    q: Tensor, k: Tensor | None, angle: Tensor, positions: Tensor | None = None, **options: Any
) -> None:
    """Results and gradients of the kernel, of torch in the same dtype, and in float32."""
    inputs = [q] if k is None else [q, k]
    torch.manual_seed(1)
    weights = [torch.randn(x.shape, device=x.device).to(q.dtype) for x in inputs]

    def run(backend: str, dtype: torch.dtype) -> list[Tensor]:
        # The layout of a tensor is kept: a slice of a leaf, not a copy of the slice.
        own = [x.detach().to(dtype, memory_format=torch.preserve_format).requires_grad_() for x in inputs]
        cos, sin = angle.cos().to(q.dtype).to(dtype), angle.sin().to(q.dtype).to(dtype)
        out = apply_rope(
            own[0], own[1] if k is not None else None, cos, sin, positions, backend=backend, **options
        )  # type: ignore[arg-type]
        turned = [x for x in out if x is not None]
        grads = torch.autograd.grad(turned, own, [weight.to(dtype) for weight in weights])
        return [*(x.detach() for x in turned), *grads]

    for ours, torchs, truth in zip(
        run("triton", q.dtype), run("torch", q.dtype), run("torch", torch.float32), strict=True
    ):
        assert_close_as_torch(ours, torchs, truth)


@pairwise(
    {
        "dtype": DTYPES,
        "interleaved": [False, True],
        ("tokens", "heads", "kv_heads", "features", "rotary_dim"): [
            (1, 1, 1, 2, 2),
            (63, 3, 1, 24, 24),
            (100, 4, 2, 16, 6),
            pytest.param(2000, 32, 8, 128, 128, marks=pytest.mark.gpu),
            pytest.param(100, 71, 1, 80, 32, marks=pytest.mark.gpu),
            pytest.param(63, 2, 2, 512, 512, marks=pytest.mark.gpu),
        ],
    }
)
def test_packed(
    device: str,
    dtype: torch.dtype,
    interleaved: bool,
    tokens: int,
    heads: int,
    kv_heads: int,
    features: int,
    rotary_dim: int,
) -> None:
    torch.manual_seed(0)
    q = torch.randn(tokens, heads, features, device=device).to(dtype)
    k = torch.randn(tokens, kv_heads, features, device=device).to(dtype)
    angle = torch.rand(50, rotary_dim // 2, device=device) * 7
    positions = torch.randint(0, 50, (tokens,), device=device)
    check(q, k, angle, positions, rotary_dim=rotary_dim, interleaved=interleaved)


@pairwise(
    {
        "dtype": DTYPES,
        "layout": ["contiguous", "transposed", "fused", "features apart"],
        "shared": [False, True],
    }
)
def test_uniform_in_any_layout(device: str, dtype: torch.dtype, layout: str, shared: bool) -> None:
    torch.manual_seed(0)
    base = torch.randn(3, 7, 6, 16, device=device).to(dtype)
    q, k = {
        "contiguous": (base, base.clone()[:, :, :2]),
        "transposed": (base.transpose(1, 2).contiguous().transpose(1, 2), base[:, :, :2].flip(0)),
        "fused": (base[:, :, :4], base[:, :, 4:]),
        "features apart": (base[..., ::2], base[:, :, :3, 1::2]),
    }[layout]  # fmt: skip
    angle = torch.rand(*(() if shared else (3,)), 7, q.shape[-1] // 2, device=device) * 7
    check(q, k, angle)
    check(q, None, torch.cat((angle, angle), -1))


def test_positions_for_a_batch(device: str) -> None:
    torch.manual_seed(0)
    q, angle = torch.randn(3, 7, 2, 16, device=device), torch.rand(20, 8, device=device)
    check(q, None, angle, torch.randint(0, 20, (3, 7), device=device))
    check(q, None, angle, torch.randint(0, 20, (1, 7), device=device))
    check(q, None, angle, torch.randint(0, 20, (14,), device=device)[::2])


def test_many_heads_are_split(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "TILE_PAIRS", 16)
    assert kernel.tile_for(5, 8) == kernel.Tile(1, 2) and kernel.tile_for(1, 4) == kernel.Tile(4, 1)
    torch.manual_seed(0)
    q, k = torch.randn(9, 5, 16, device=device), torch.randn(9, 1, 16, device=device)
    check(q, k, torch.rand(9, 8, device=device))


@pytest.mark.parametrize("interleaved", [False, True])
def test_in_place(device: str, interleaved: bool) -> None:
    torch.manual_seed(0)
    fused = torch.randn(9, 6, 16, device=device)
    q, k, angle = fused[:, :4], fused[:, 4:5], torch.rand(9, 6, device=device)
    options: dict[str, Any] = {"rotary_dim": 12, "interleaved": interleaved}
    expected = fused.clone()
    expected[:, :4], expected[:, 4:5] = apply_rope(q, k, angle.cos(), angle.sin(), backend="torch", **options)  # type: ignore[assignment]
    out = apply_rope(q, k, angle.cos(), angle.sin(), inplace=True, backend="triton", **options)
    assert out[0] is q and out[1] is k
    torch.testing.assert_close(fused, expected)


@pytest.mark.parametrize("position", [10, -1, 2**40])
def test_a_position_out_of_range_is_nan_in_its_token(device: str, position: int) -> None:
    q, angle = torch.ones(3, 2, 8, device=device), torch.rand(10, 4, device=device)
    positions = torch.tensor([0, position, 9], device=device)
    out = apply_rope(q, None, angle.cos(), angle.sin(), positions, backend="triton")[0]
    assert out.isnan().flatten(1).all(1).tolist() == [False, True, False] and out[::2].isfinite().all()


@pytest.mark.parametrize("shape", [(0, 2, 8), (3, 0, 8), (2, 0, 2, 8)])
def test_nothing_to_turn(device: str, shape: tuple[int, ...]) -> None:
    q = torch.ones(shape, device=device, requires_grad=True)
    table = torch.ones(1, 4, device=device)
    out = apply_rope(q, q.detach(), table, table, backend="triton")[0]
    out.sum().backward()
    assert out.shape == shape and q.grad is not None and q.grad.shape == shape


def test_compiled_as_one_graph(device: str) -> None:
    torch.manual_seed(0)
    angle = torch.rand(9, 4, device=device)

    def turn(q: Tensor, k: Tensor) -> Tensor:
        a, b = apply_rope(q, k, angle.cos(), angle.sin(), backend="triton")
        return (a * b).sum()

    def gradients(function: Any) -> tuple[Tensor, ...]:
        torch.manual_seed(0)
        q = torch.randn(9, 4, 8, device=device, requires_grad=True)
        k = torch.randn(9, 1, 8, device=device, requires_grad=True)
        return torch.autograd.grad(function(q, k), (q, k))

    compiled = torch.compile(turn, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(gradients(compiled), gradients(turn))


def test_the_ops_as_torch_sees_them(device: str) -> None:
    """Schemas, fake implementations, autograd registrations and tracing agree."""
    q = torch.randn(5, 2, 8, device=device, requires_grad=True)
    k = torch.randn(5, 1, 8, device=device, requires_grad=True)
    cos, sin = torch.rand(2, 5, 4, device=device)
    positions = torch.arange(5, device=device)
    torch.library.opcheck(kernel.rope_op, ([q, k], cos, sin, positions, 8, False, False))
    torch.library.opcheck(kernel.rope_inplace_op, ([q.detach(), k.detach()], cos, sin, None, 8, True))
