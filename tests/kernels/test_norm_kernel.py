"""The Triton norms against float32 torch, on the interpreter (a process of its own) or on a GPU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from oxiformers_kernels.norm import layer_norm, rms_norm
from tests.kernels.grids import pairwise
from tests.kernels.support import DTYPES, assert_close_as_torch, device, poisoned_empty  # noqa: F401

kernel = pytest.importorskip("oxiformers_kernels.norm.kernel", reason="triton is not installed")

pytestmark = pytest.mark.usefixtures("poisoned_empty")

KINDS = ["layer", "llama", "gemma"]
# Not so small that a row of one column has its gradient amplified a thousandfold.
EPS = 0.1


def norm(
    kind: str, x: Tensor, residual: Tensor | None, weight: Tensor | None, bias: Tensor | None, backend: str
):  # type: ignore[no-untyped-def]
    if kind == "layer":
        return layer_norm(x, weight, bias, EPS, residual=residual, backend=backend)  # type: ignore[call-overload]
    offset = 1.0 if kind == "gemma" and weight is not None else 0.0
    return rms_norm(x, weight, EPS, casting=kind, offset=offset, residual=residual, backend=backend)  # type: ignore[call-overload]


def check(
    kind: str,
    x: Tensor,
    residual: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    only_sum: bool = False,
) -> None:
    """Forward and gradients of the kernel, of the twin in the same dtypes, and of the twin in float32."""
    torch.manual_seed(1)
    slopes = 0.3 * torch.randn(2, *x.shape).to(x)
    used = [tensor for tensor in (x, residual, weight, bias) if tensor is not None]

    def run(backend: str, wide: bool) -> list[Tensor]:
        own = iter([(tensor.float() if wide else tensor).detach().requires_grad_() for tensor in used])
        given = [None if tensor is None else next(own) for tensor in (x, residual, weight, bias)]
        result = norm(kind, *given, backend)  # type: ignore[arg-type]
        outputs = [result] if residual is None else list(result)
        assert backend == "torch" or all(output.is_contiguous() for output in outputs)
        terms = [
            (output * slope.to(output.dtype)).sum() for output, slope in zip(outputs, slopes, strict=False)
        ]
        leaves = [tensor for tensor in given if tensor is not None]
        total = terms[1] if only_sum else sum(terms[1:], start=terms[0])
        gradients = torch.autograd.grad(total, leaves, allow_unused=only_sum)
        return [output.detach() for output in outputs] + [
            torch.zeros(()) if gradient is None else gradient for gradient in gradients
        ]

    ours, torchs, truth = run("triton", False), run("torch", False), run("torch", True)
    for place, (mine, plain, exact) in enumerate(zip(ours, torchs, truth, strict=True)):
        assert_close_as_torch(mine, plain, exact, f"{kind} output {place}")


def tensors(device: str, dtype: torch.dtype, *shape: int) -> list[Tensor]:  # noqa: F811
    """x, residual, weight and bias."""
    torch.manual_seed(0)
    wide = [torch.randn(shape).to(device, dtype) for _ in range(2)]
    # Small, as the bound is absolute: errors grow with what multiplies the normalised rows.
    return wide + [(0.3 * torch.randn(shape[-1])).to(device, dtype) for _ in range(2)]


@pairwise(
    {
        "dtype": DTYPES,
        "columns": [
            *(1, 63, 100),
            *(pytest.param(n, marks=pytest.mark.gpu) for n in (768, 2000, 5000, 8192, 16384, 20000)),
        ],
        "kind": KINDS,
    }
)
def test_forward_and_backward(device: str, dtype: torch.dtype, columns: int, kind: str) -> None:  # noqa: F811
    x, residual, weight, bias = tensors(device, dtype, 2, 5, columns)
    check(kind, x, None, weight, bias if kind == "layer" else None)
    check(kind, x, residual, weight, bias if kind == "layer" else None)


@pytest.mark.parametrize("kind", KINDS)
def test_without_weight_or_bias(device: str, kind: str) -> None:  # noqa: F811
    x, residual, weight, bias = tensors(device, torch.float32, 3, 20)
    check(kind, x)
    if kind == "layer":
        check(kind, x, residual, weight)
        check(kind, x, residual, None, bias)


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_of_another_dtype(device: str, kind: str) -> None:  # noqa: F811
    x, residual, weight, bias = tensors(device, torch.float16, 3, 20)
    check(kind, x, residual, weight.float(), bias.float() if kind == "layer" else None)
    check(kind, x.float(), residual.float(), weight, bias if kind == "layer" else None)


@pytest.mark.parametrize("kind", KINDS)
def test_many_rows_share_programs(device: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Each program of the backward takes several steps, the last one partly beyond the rows."""
    tile = kernel.Tile(2, 32, 4, stages=2, programs=3)
    monkeypatch.setattr(kernel, "backward_tile", lambda n_columns, kept: tile)
    monkeypatch.setattr(kernel, "processors", lambda device: 1)
    x, residual, weight, bias = tensors(device, torch.float32, 21, 20)
    check(kind, x, residual, weight, bias if kind == "layer" else None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_wider_than_a_block(
    device: str, dtype: torch.dtype, kind: str, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    for name, value in (("FORWARD_COLUMNS", 16), ("BACKWARD_COLUMNS", 16), ("WIDE_BLOCK_COLUMNS", 32)):
        monkeypatch.setattr(kernel, name, value)
    x, residual, weight, bias = tensors(device, dtype, 3, 100)
    x = x + 3  # a mean far from 0, which a sum of squares alone would not survive
    check(kind, x, None, weight, bias if kind == "layer" else None)
    check(kind, x, residual, weight, bias if kind == "layer" else None)


def test_a_large_mean_costs_no_precision(device: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    x = torch.randn(4, 100).to(device) + 1000
    expected = torch.nn.functional.layer_norm(x.double(), (100,), eps=EPS).float()
    torch.testing.assert_close(layer_norm(x, eps=EPS, backend="triton"), expected, atol=2e-4, rtol=0)
    monkeypatch.setattr(kernel, "FORWARD_COLUMNS", 16)
    monkeypatch.setattr(kernel, "WIDE_BLOCK_COLUMNS", 32)
    torch.testing.assert_close(layer_norm(x, eps=EPS, backend="triton"), expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize("layout", ["transposed", "strided", "expanded", "wider rows"])
def test_any_strides(device: str, layout: str) -> None:  # noqa: F811
    torch.manual_seed(0)
    base = torch.randn(6, 4, 12).to(device)
    x = {
        "transposed": base.transpose(0, 2),
        "strided": base[::2, :, ::3],
        "expanded": base[:, :1].expand(6, 4, 12),
        "wider rows": base[..., :7],
    }[layout]
    assert not x.is_contiguous()
    weight = torch.randn(2 * x.shape[-1]).to(device)[::2]
    check("layer", x, x.flip(0), weight, weight)
    check("gemma", x, None, weight)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_sum_is_used(device: str, kind: str) -> None:  # noqa: F811
    x, residual, weight, _ = tensors(device, torch.float32, 3, 20)
    check(kind, x, residual, weight, only_sum=True)


def test_a_gradient_that_is_expanded(device: str) -> None:  # noqa: F811
    x = torch.randn(3, 5, 20, device=device, requires_grad=True)
    layer_norm(x, eps=EPS, backend="triton").sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.zeros_like(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (7,)])
def test_empty_and_flat_shapes(device: str, shape: tuple[int, ...]) -> None:  # noqa: F811
    x, residual, weight, bias = (tensor.requires_grad_() for tensor in tensors(device, torch.float32, *shape))
    for normed, total in (
        layer_norm(x, weight, bias, residual=residual, backend="triton"),
        rms_norm(x, weight, residual=residual, backend="triton"),
    ):
        assert normed.shape == total.shape == shape
        (normed.sum() + total.sum()).backward()
    assert weight.grad is not None and torch.isfinite(weight.grad).all()


def test_nan_stays_in_its_row(device: str) -> None:  # noqa: F811
    x = torch.ones(3, 20, device=device)
    x[1, 4] = torch.nan
    for out in (layer_norm(x, backend="triton"), rms_norm(x, backend="triton")):
        assert out[1].isnan().all() and torch.isfinite(out[[0, 2]]).all()


def test_the_same_gradients_every_time(device: str) -> None:  # noqa: F811
    x, residual, weight, bias = (tensor.requires_grad_() for tensor in tensors(device, torch.float32, 40, 20))
    runs = []
    for _ in range(2):
        normed, total = layer_norm(x, weight, bias, residual=residual, backend="triton")
        runs.append(torch.autograd.grad((normed * total).sum(), (x, residual, weight, bias)))
    assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("columns", [20, 100])
def test_statistics_are_for_a_backward_alone(
    device: str, kind: str, columns: int, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    monkeypatch.setattr(kernel, "FORWARD_COLUMNS", 64)
    monkeypatch.setattr(kernel, "WIDE_BLOCK_COLUMNS", 32)
    asked, op = [], kernel.norm_op

    def recorded(*arguments):  # type: ignore[no-untyped-def]
        asked.append(arguments[-1])
        outputs = op(*arguments)
        assert all(kept.numel() == 0 for kept in outputs[2:]) or asked[-1]
        return outputs

    monkeypatch.setattr(kernel, "norm_op", recorded)
    x, residual, weight, bias = tensors(device, torch.float32, 3, columns)
    arguments = (x, residual, weight, bias if kind == "layer" else None, "triton")
    plain = norm(kind, *arguments)
    weight.requires_grad_()
    recording = norm(kind, *arguments)
    with torch.no_grad():
        inference = norm(kind, *arguments)
    assert asked == [False, True, False]
    for first, second, third in zip(plain, recording, inference, strict=True):
        assert torch.equal(first, second) and torch.equal(first, third)


def test_no_backward_without_statistics(device: str) -> None:  # noqa: F811
    x = torch.randn(3, 20, device=device, requires_grad=True)
    out = kernel.norm_op(x, None, None, None, EPS, 0.0, kernel.LAYER, False)[0]
    with pytest.raises(RuntimeError, match="statistics"):
        out.sum().backward()


def test_the_ops_as_torch_sees_them(device: str) -> None:  # noqa: F811
    """Schema, fake implementation, autograd registration and tracing agree."""
    x, residual, weight, bias = (
        tensor.requires_grad_() for tensor in tensors(device, torch.float32, 2, 3, 20)
    )
    torch.library.opcheck(kernel.norm_op, (x, residual, weight, bias, EPS, 0.0, kernel.LAYER, True))
    torch.library.opcheck(kernel.norm_op, (x, None, weight, None, EPS, 1.0, kernel.GEMMA, True))
    for kind in (kernel.LAYER, kernel.LLAMA):
        torch.library.opcheck(
            kernel.norm_op, (x.detach(), None, weight.detach(), None, EPS, 0.0, kind, False)
        )
    with torch.no_grad():
        _, total, mean, deviation = kernel.norm_op(x, residual, weight, bias, EPS, 0.0, kernel.LAYER, True)
    arguments = (x, None, total, weight, bias, mean, deviation, 0.0, kernel.LAYER, True, True)
    torch.library.opcheck(
        kernel.norm_backward_op, [a.detach() if isinstance(a, Tensor) else a for a in arguments]
    )
