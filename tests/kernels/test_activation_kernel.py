"""The Triton gated activations against float32 torch, on the interpreter (a process of its own) or on a GPU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from oxiformers_kernels.activation import geglu, swiglu
from tests.kernels.grids import pairwise
from tests.kernels.support import DTYPES, assert_close_as_torch, device, poisoned_empty  # noqa: F401

kernel = pytest.importorskip("oxiformers_kernels.activation.kernel", reason="triton is not installed")

pytestmark = pytest.mark.usefixtures("poisoned_empty")

KINDS = ["silu", "tanh", "none"]


def gated(kind: str, *tensors: Tensor | None, backend: str) -> Tensor:
    if kind == "silu":
        return swiglu(*tensors, backend=backend)  # type: ignore[arg-type]
    return geglu(*tensors, approximate=kind, backend=backend)  # type: ignore[arg-type]


def check(
    kind: str, gate: Tensor, up: Tensor, gate_bias: Tensor | None = None, up_bias: Tensor | None = None
) -> None:
    """Forward and gradients of the kernel, of the twin in the same dtypes, and of the twin in float32."""
    torch.manual_seed(1)
    slope = 0.3 * torch.randn(gate.shape).to(gate)

    def run(backend: str, wide: bool) -> list[Tensor]:
        given = [
            None if tensor is None else (tensor.float() if wide else tensor).detach().requires_grad_()
            for tensor in (gate, up, gate_bias, up_bias)
        ]
        out = gated(kind, *given, backend=backend)
        assert backend == "torch" or out.is_contiguous()
        leaves = [tensor for tensor in given if tensor is not None]
        return [out.detach(), *torch.autograd.grad((out * slope.to(out.dtype)).sum(), leaves)]

    ours, torchs, truth = run("triton", False), run("torch", False), run("torch", True)
    for place, (mine, plain, exact) in enumerate(zip(ours, torchs, truth, strict=True)):
        assert_close_as_torch(mine, plain, exact, f"{kind} output {place}")


@pairwise(
    {
        "dtype": DTYPES,
        "columns": [1, 63, 100, *(pytest.param(n, marks=pytest.mark.gpu) for n in (2000, 11008))],
        "kind": KINDS,
    }
)
def test_forward_and_backward(device: str, dtype: torch.dtype, columns: int, kind: str) -> None:  # noqa: F811
    torch.manual_seed(0)
    gate, up = (torch.randn(4, 25, columns).to(device, dtype) for _ in range(2))
    gate_bias, up_bias = ((0.3 * torch.randn(columns)).to(device, dtype) for _ in range(2))
    check(kind, gate, up)
    if columns > 1:  # the rounding of a single sum is luck
        check(kind, gate, up, gate_bias, up_bias)


@pytest.mark.parametrize("biases", [(True, False), (False, True)])
def test_one_bias_and_another_dtype(device: str, biases: tuple[bool, bool]) -> None:  # noqa: F811
    gate, up = torch.randn(2, 3, 20).to(device).half()
    check("silu", gate, up, *(torch.randn(20).to(device) if there else None for there in biases))


def test_rows_in_several_blocks(device: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(kernel, "BLOCK_COLUMNS", 16)
    monkeypatch.setattr(kernel, "TILE_ELEMENTS", 32)
    gate, up = torch.randn(2, 7, 40).to(device)
    check("tanh", gate, up, gate[0], up[0])


def test_far_from_zero(device: str) -> None:  # noqa: F811
    gate = torch.tensor([[-1e4, -100.0, -30.0, -5.0, 0.0, 5.0, 30.0, 100.0, 1e4]], device=device)
    for kind in KINDS:
        check(kind, gate, torch.ones_like(gate))


@pytest.mark.parametrize("layout", ["halves", "transposed", "strided", "expanded"])
def test_any_strides(device: str, layout: str) -> None:  # noqa: F811
    torch.manual_seed(0)
    base = torch.randn(6, 4, 16).to(device)
    gate, up = {
        "halves": base.chunk(2, dim=-1),
        "transposed": (base.transpose(0, 2), base.flip(0).transpose(0, 2)),
        "strided": (base[::2, :, ::3], base[1::2, :, ::3]),
        "expanded": (base[:, :1].expand(6, 4, 16), base),
    }[layout]
    assert not gate.is_contiguous()
    if layout == "halves":
        assert kernel._rows(gate).data_ptr() == gate.data_ptr(), "no copy is made"
    check("silu", gate, up)


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (7,)])
def test_empty_and_flat_shapes(device: str, shape: tuple[int, ...]) -> None:  # noqa: F811
    gate, up, bias = (
        torch.randn(one, device=device, requires_grad=True) for one in (shape, shape, shape[-1:])
    )
    out = swiglu(gate, up, bias, backend="triton")
    torch.testing.assert_close(out, swiglu(gate, up, bias, backend="torch"))
    out.sum().backward()
    assert all(tensor.grad is not None and torch.isfinite(tensor.grad).all() for tensor in (gate, up, bias))


def test_the_ops_as_torch_sees_them(device: str) -> None:  # noqa: F811
    """Schema, fake implementation, autograd registration and tracing agree."""
    gate, up = (torch.randn(2, 3, 20, device=device, requires_grad=True) for _ in range(2))
    bias = torch.randn(20, device=device, requires_grad=True)
    torch.library.opcheck(kernel.gated_op, (gate, up, bias, None, kernel.SILU))
    plain = gate.detach()
    torch.library.opcheck(kernel.gated_backward_op, (plain, plain, plain, None, None, kernel.GELU_TANH))
