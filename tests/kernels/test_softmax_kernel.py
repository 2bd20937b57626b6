"""The Triton softmax against float32 torch, on the interpreter (a process of its own) or on a GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from oxiformers_kernels.softmax import ref, softmax

kernel = pytest.importorskip("oxiformers_kernels.softmax.kernel", reason="triton is not installed")

LOWEST = {dtype: torch.finfo(dtype).min for dtype in (torch.float16, torch.bfloat16, torch.float32)}
DTYPES = [torch.float32, torch.float16, pytest.param(torch.bfloat16, marks=pytest.mark.gpu)]


@pytest.fixture(
    params=[
        pytest.param("cpu", marks=pytest.mark.interpreter),
        pytest.param("cuda", marks=pytest.mark.gpu),
    ]
)
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cpu":
        assert os.environ.get("TRITON_INTERPRET") == "1", "run the interpreter lane with TRITON_INTERPRET=1"
    return str(request.param)


@pytest.fixture(autouse=True)
def _poisoned_empty() -> Iterator[None]:
    """torch.empty gives NaN, so that an element the kernel leaves unwritten shows."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def assert_close_as_torch(ours: Tensor, torchs: Tensor, truth: Tensor) -> None:
    """The error against the float32 truth is at most twice that of torch in the same dtype."""
    assert ours.dtype == torchs.dtype and ours.shape == truth.shape
    own = (ours.float() - truth).abs().max().item()
    bound = 2 * (torchs.float() - truth).abs().max().item() + 1e-5
    assert own <= bound, f"error {own:.3e}, torch's own allows {bound:.3e}"


def check(x: Tensor, mask: Tensor | None, scale: float, seed: int = 1) -> None:
    """Forward and gradients of the kernel, of the twin in the same dtype, and of the twin in float32."""
    bias = mask is not None and mask.is_floating_point()
    torch.manual_seed(seed)
    weight = torch.randn(x.shape, device=x.device).to(x.dtype)

    def run(backend: str, dtype: torch.dtype) -> list[Tensor]:
        own = x.to(dtype).detach().requires_grad_()
        own_mask = mask
        if mask is not None and bias:
            own_mask = mask.to(dtype).detach()
            # Rounding to the wider dtype must not turn a removed entry into a kept one.
            own_mask = own_mask.masked_fill(mask <= LOWEST[mask.dtype], LOWEST[dtype]).requires_grad_()
        out = softmax(own, own_mask, scale=scale, backend=backend)  # type: ignore[arg-type]
        assert out.is_contiguous()
        inputs = [own, own_mask] if bias else [own]
        return [out.detach(), *torch.autograd.grad((out * weight.to(dtype)).sum(), inputs)]

    ours, torchs, truth = run("triton", x.dtype), run("torch", x.dtype), run("torch", torch.float32)
    for mine, plain, exact in zip(ours, torchs, truth, strict=True):
        assert_close_as_torch(mine, plain, exact)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [1, 63, 100, pytest.param(2000, marks=pytest.mark.gpu)])
@pytest.mark.parametrize("kind", ["none", "boolean", "additive"])
def test_forward_and_backward(device: str, dtype: torch.dtype, columns: int, kind: str) -> None:
    torch.manual_seed(0)
    x = (torch.randn(2, 3, 5, columns, device=device) * 3).to(dtype)
    keep = torch.rand(2, 1, 5, columns, device=device) > 0.3
    masks = {
        "none": None,
        "boolean": keep,
        "additive": torch.randn(1, 3, 1, columns, device=device).to(dtype),
    }
    check(x, masks[kind], scale=0.37)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["boolean", "lowest", "infinity"])
def test_fully_masked_rows_are_zero(device: str, dtype: torch.dtype, kind: str) -> None:
    keep = torch.ones(4, 1, 63, dtype=torch.bool, device=device)
    keep[1] = False
    keep[2, :, 10:] = False
    removed = -torch.inf if kind == "infinity" else LOWEST[dtype]
    additive = torch.zeros(keep.shape, device=device, dtype=dtype).masked_fill(~keep, removed)
    mask = keep if kind == "boolean" else additive
    x = torch.randn(4, 3, 63, device=device).to(dtype).requires_grad_()
    out = softmax(x, mask, backend="triton")
    out.sum().backward()
    assert torch.equal(out[1], torch.zeros_like(out[1]))
    assert torch.equal(out[2, :, 10:], torch.zeros_like(out[2, :, 10:]))
    assert x.grad is not None and torch.isfinite(x.grad).all() and not x.grad[1].any()
    expected = ref.softmax(x.detach().float(), keep, 1.0)
    assert_close_as_torch(out.detach(), ref.softmax(x.detach(), keep, 1.0), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_wider_than_a_block(device: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "ONE_BLOCK_COLUMNS", 16)
    monkeypatch.setattr(kernel, "WIDE_BLOCK_COLUMNS", 32)
    assert kernel.tile_for(100) == kernel.Tile(1, 32, False, 8)
    torch.manual_seed(0)
    x = (torch.randn(3, 100, device=device) * 4).to(dtype)
    x[1] = torch.linspace(-9, 9, 100).to(dtype)  # the peak rises in every block
    keep = torch.rand(3, 100, device=device) > 0.2
    keep[2] = False
    check(x, None, 1.0)
    check(x, keep, 0.5)
    check(x, torch.randn(1, 100, device=device).to(dtype), 0.5)
    assert not softmax(x, keep, backend="triton")[2].any()


@pytest.mark.parametrize("layout", ["transposed", "strided", "expanded", "five dimensions"])
def test_any_strides(device: str, layout: str) -> None:
    torch.manual_seed(0)
    base = torch.randn(6, 4, 8, 10, device=device)
    mask = torch.rand(6, 1, 1, 10, device=device) > 0.4
    x, mask = {
        "transposed": (base.transpose(1, 3), mask.transpose(1, 3)),
        "strided": (base[::2, :, 1::3, ::2], mask[::2, ..., ::2]),
        "expanded": (base[:, :1].expand(6, 4, 8, 10), mask),
        "five dimensions": (base.reshape(2, 3, 4, 8, 10).transpose(0, 2), mask[0]),
    }[layout]
    assert layout == "five dimensions" or not x.is_contiguous()
    check(x, mask, 0.7)


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (7,)])
def test_empty_and_flat_shapes(device: str, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, device=device, requires_grad=True)
    out = softmax(x, backend="triton")
    torch.testing.assert_close(out, torch.softmax(x, -1))
    out.sum().backward()
    assert x.grad is not None and x.grad.shape == x.shape


def test_a_gradient_that_is_expanded(device: str) -> None:
    """The backward takes any strides too: the gradient of a sum has stride 0."""
    x = torch.randn(3, 5, 20, device=device, requires_grad=True)
    softmax(x, backend="triton").sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.zeros_like(x), atol=1e-6, rtol=0)


def test_nan_stays_in_its_row(device: str) -> None:
    x = torch.zeros(3, 20, device=device)
    x[1, 4] = torch.nan
    out = softmax(x, backend="triton")
    assert out[1].isnan().all() and torch.isfinite(out[[0, 2]]).all()


def test_the_op_as_torch_sees_it(device: str) -> None:
    """Schema, fake implementation, autograd registration and tracing agree."""
    x = torch.randn(2, 3, 20, device=device, requires_grad=True)
    bias = torch.randn(3, 20, device=device, requires_grad=True)
    torch.library.opcheck(kernel.softmax_op, (x, bias, 0.5))
    torch.library.opcheck(kernel.softmax_op, (x, None, 1.0))
    torch.library.opcheck(kernel.softmax_backward_op, (x.detach(), x.detach(), 0.5))
