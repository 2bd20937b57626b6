"""The Triton softmax against float32 torch, on the interpreter (a process of its own) or on a GPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from oxiformers_kernels.softmax import log_softmax, ref, softmax
from tests.kernels.grids import pairwise
from tests.kernels.support import DTYPES, assert_close_as_torch, device, poisoned_empty  # noqa: F401

kernel = pytest.importorskip("oxiformers_kernels.softmax.kernel", reason="triton is not installed")

pytestmark = pytest.mark.usefixtures("poisoned_empty")

LOWEST = {dtype: torch.finfo(dtype).min for dtype in (torch.float16, torch.bfloat16, torch.float32)}


def dropping(*args: object, **options: object) -> Tensor:
    return softmax(*args, dropout=0.3, seed=2**40 + 3, **options)  # type: ignore[arg-type]


OPS: dict[str, Callable[..., Tensor]] = {"softmax": softmax, "log_softmax": log_softmax, "dropout": dropping}


def check(
    op: str,
    x: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    scale: float = 1.0,
    seed: int = 1,
) -> None:
    """Forward and gradients of the kernel, of the twin in the same dtype, and of the twin in float32."""
    torch.manual_seed(seed)
    weight = torch.randn(x.shape).to(x)

    def run(backend: str, dtype: torch.dtype) -> list[Tensor]:
        own = x.to(dtype).detach().requires_grad_()
        inputs, own_mask, own_bias = [own], mask, None
        if mask is not None and mask.is_floating_point():
            # Rounding to the wider dtype must not turn a removed entry into a kept one.
            own_mask = mask.to(dtype).detach().masked_fill(mask <= LOWEST[mask.dtype], LOWEST[dtype])
            inputs.append(own_mask.requires_grad_())
        if bias is not None:
            own_bias = bias.to(dtype).detach().requires_grad_()
            inputs.append(own_bias)
        out = OPS[op](own, own_mask, bias=own_bias, scale=scale, backend=backend)
        assert backend == "torch" or out.is_contiguous()
        counted = out.masked_fill(out == -torch.inf, 0.0)
        return [out.detach(), *torch.autograd.grad((counted * weight.to(dtype)).sum(), inputs)]

    ours, torchs, truth = run("triton", x.dtype), run("torch", x.dtype), run("torch", torch.float32)
    for place, (mine, plain, exact) in enumerate(zip(ours, torchs, truth, strict=True)):
        assert torch.equal(mine == -torch.inf, exact == -torch.inf)
        finite = [tensor.masked_fill(exact == -torch.inf, 0.0) for tensor in (mine, plain, exact)]
        assert_close_as_torch(*finite, f"{op} output {place}")


@pairwise(
    {
        "dtype": DTYPES,
        "columns": [1, 63, 100, *(pytest.param(n, marks=pytest.mark.gpu) for n in (2000, 4096, 9000))],
        "kind": ["none", "boolean", "additive", "bias", "both"],
        "op": OPS,
    }
)
def test_forward_and_backward(device: str, dtype: torch.dtype, columns: int, kind: str, op: str) -> None:  # noqa: F811
    torch.manual_seed(0)
    x = (torch.randn(2, 3, 5, columns).to(device) * 3).to(dtype)
    keep = torch.rand(2, 1, 5, columns).to(device) > 0.3
    bias = torch.randn(1, 3, 1, columns).to(device, dtype)
    mask = {"boolean": keep, "both": keep, "additive": bias}.get(kind)
    check(op, x, mask, bias if kind in ("bias", "both") else None, scale=0.37)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["boolean", "lowest", "infinity", "bias"])
def test_fully_masked_rows_are_zero(device: str, dtype: torch.dtype, kind: str) -> None:  # noqa: F811
    keep = torch.ones(4, 1, 63, dtype=torch.bool, device=device)
    keep[1] = False
    keep[2, :, 10:] = False
    removed = LOWEST[dtype] if kind == "lowest" else -torch.inf
    additive = torch.zeros(keep.shape, device=device, dtype=dtype).masked_fill(~keep, removed)
    added = {"bias": additive} if kind == "bias" else {"mask": keep if kind == "boolean" else additive}
    x = torch.randn(4, 3, 63).to(device, dtype).requires_grad_()
    out = softmax(x, **added, backend="triton")
    out.sum().backward()
    assert torch.equal(out[1], torch.zeros_like(out[1]))
    assert torch.equal(out[2, :, 10:], torch.zeros_like(out[2, :, 10:]))
    assert x.grad is not None and torch.isfinite(x.grad).all() and not x.grad[1].any()
    expected = ref.softmax(x.detach().float(), keep, None, 1.0, 0.0, None)
    assert_close_as_torch(out.detach(), ref.softmax(x.detach(), keep, None, 1.0, 0.0, None), expected)
    logarithms = log_softmax(x, **added, backend="triton")
    (gradient,) = torch.autograd.grad(logarithms, x, torch.ones_like(x))
    assert (logarithms[1] == -torch.inf).all() and not logarithms.isnan().any()
    assert torch.isfinite(gradient).all() and not gradient[1].any() and not gradient[2, :, 10:].any()


@pairwise({"processors": [1, 4], "dtype": DTYPES, "op": OPS})
def test_rows_wider_than_a_block(
    device: str, dtype: torch.dtype, op: str, processors: int, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    """By one program a row (one processor), and by several (four)."""
    for name, value in (("ONE_BLOCK_COLUMNS", 16), ("WIDE_LANES", 16), ("WIDE_STEPS", 4)):
        monkeypatch.setattr(kernel, name, value)
    monkeypatch.setattr(kernel, "processors", lambda device: processors)
    assert kernel.tile_for(100) == kernel.Tile(1, 32, False, 16)
    assert kernel.shares_for(3, 100, 32, processors) == ((128, 1) if processors == 1 else (64, 2))
    torch.manual_seed(0)
    x = (torch.randn(3, 100).to(device) * 4).to(dtype)
    x[1] = torch.linspace(-9, 9, 100).to(dtype)  # the peak rises in every block
    keep = torch.rand(3, 100).to(device) > 0.2
    keep[2] = False
    keep[0, 64:] = False  # a whole share is removed
    check(op, x)
    check(op, x, keep, scale=0.5)
    check(op, x, torch.randn(1, 100).to(device, dtype), torch.randn(3, 100).to(device, dtype), 0.5)
    assert op == "log_softmax" or not OPS[op](x, keep, backend="triton")[2].any()


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [(3, 200_000), (300, 33_000), (2, 70_001)])
@pytest.mark.parametrize("op", OPS)
def test_rows_of_a_vocabulary(shape: tuple[int, int], op: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape).to("cuda").bfloat16()
    check(op, x)
    check(op, x, torch.rand(shape).to("cuda") > 0.3, scale=0.5)


def test_shares_cover_rows_of_any_width() -> None:
    for n_rows, n_columns in ((1, 16385), (8, 1_000_000), (131, 128_000), (132, 128_000), (5000, 300_000)):
        shares = kernel.shares_for(n_rows, n_columns, 8192, 132)
        assert (shares.number - 1) * shares.columns < n_columns <= shares.number * shares.columns
        assert shares.columns % 8192 == 0 and (shares.number == 1) == (n_rows >= 132)


@pytest.mark.parametrize("columns", [1, 6, 63, pytest.param(5000, marks=pytest.mark.gpu)])
def test_dropout_drops_what_the_twin_drops(
    device: str, columns: int, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    x = torch.zeros(2, 5, columns, device=device)
    for seed in (0, -9, 2**62 + 1):
        dropped = ref.dropped(x, 0.4, torch.tensor(seed, device=device))
        assert torch.equal(softmax(x, dropout=0.4, seed=seed, backend="triton") == 0, dropped)
    for name, value in (("ONE_BLOCK_COLUMNS", 4), ("WIDE_LANES", 16), ("WIDE_STEPS", 4)):
        monkeypatch.setattr(kernel, name, value)
    assert torch.equal(softmax(x, dropout=0.4, seed=seed, backend="triton") == 0, dropped)


@pytest.mark.parametrize("columns", [20, 100])
def test_in_place(device: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    for name, value in (("ONE_BLOCK_COLUMNS", 64), ("WIDE_LANES", 16), ("WIDE_STEPS", 4)):
        monkeypatch.setattr(kernel, name, value)
    x = torch.randn(3, 5, columns).to(device)
    keep = x > 0
    expected = softmax(x, keep, scale=0.5, backend="triton")
    pointer = x.data_ptr()
    out = softmax(x, keep, scale=0.5, inplace=True, backend="triton")
    assert out is x and out.data_ptr() == pointer and torch.equal(out, expected)


@pytest.mark.parametrize("layout", ["transposed", "strided", "expanded", "five dimensions"])
def test_any_strides(device: str, layout: str) -> None:  # noqa: F811
    torch.manual_seed(0)
    base = torch.randn(6, 4, 8, 10).to(device)
    mask = torch.rand(6, 1, 1, 10).to(device) > 0.4
    x, mask = {
        "transposed": (base.transpose(1, 3), mask.transpose(1, 3)),
        "strided": (base[::2, :, 1::3, ::2], mask[::2, ..., ::2]),
        "expanded": (base[:, :1].expand(6, 4, 8, 10), mask),
        "five dimensions": (base.reshape(2, 3, 4, 8, 10).transpose(0, 2), mask[0]),
    }[layout]
    assert layout == "five dimensions" or not x.is_contiguous()
    check("softmax", x, mask, torch.randn(x.shape[-1]).to(device), 0.7)


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (7,)])
@pytest.mark.parametrize("op", OPS)
def test_empty_and_flat_shapes(device: str, shape: tuple[int, ...], op: str) -> None:  # noqa: F811
    x = torch.randn(shape, device=device, requires_grad=True)
    out = OPS[op](x, backend="triton")
    torch.testing.assert_close(out, OPS[op](x, backend="torch"))
    out.sum().backward()
    assert x.grad is not None and x.grad.shape == x.shape


def test_a_gradient_that_is_expanded(device: str) -> None:  # noqa: F811
    """The backward takes any strides too: the gradient of a sum has stride 0."""
    x = torch.randn(3, 5, 20, device=device, requires_grad=True)
    softmax(x, backend="triton").sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.zeros_like(x), atol=1e-6, rtol=0)


@pytest.mark.parametrize("op", OPS)
def test_nan_stays_in_its_row(device: str, op: str) -> None:  # noqa: F811
    x = torch.zeros(3, 20, device=device)
    x[1, 4] = torch.nan
    out = OPS[op](x, backend="triton")
    assert out[1, OPS[op](x[0], backend="triton") != 0].isnan().any() and torch.isfinite(out[[0, 2]]).all()


def test_the_ops_as_torch_sees_them(device: str) -> None:  # noqa: F811
    """Schema, fake implementation, autograd registration and tracing agree."""
    x = torch.randn(2, 3, 20, device=device, requires_grad=True)
    bias = torch.randn(3, 20, device=device, requires_grad=True)
    seed = torch.tensor(5, device=device)
    torch.library.opcheck(kernel.softmax_op, (x, bias, bias, seed, 0.5, 0.25, False, True))
    plain = x.detach()
    torch.library.opcheck(kernel.softmax_inplace_op, (plain.clone(), None, None, None, 1.0, 0.0))
    torch.library.opcheck(kernel.softmax_backward_op, (plain, plain, seed, 0.5, 0.25, False))
