"""LayerNorm and RMSNorm without Triton: the torch twins, the argument checks and the dispatch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from oxiformers_kernels.dispatch import BackendError
from oxiformers_kernels.norm import layer_norm, ref, rms_norm


@pytest.fixture(autouse=True)
def _no_choice_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OXIFORMERS_KERNELS", raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_layer_norm_equals_torch(dtype: torch.dtype) -> None:
    x, weight, bias = (torch.randn(*shape).to(dtype) for shape in ((3, 5, 63), (63,), (63,)))
    for w, b in ((weight, bias), (weight, None), (None, None)):
        assert torch.equal(layer_norm(x, w, b, 1e-3), functional.layer_norm(x, (63,), w, b, 1e-3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_rms_norm_rounds_where_the_models_do(dtype: torch.dtype) -> None:
    x, weight = torch.randn(3, 5, 63).to(dtype), torch.randn(63).to(dtype)
    wide = x.float()
    normal = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
    assert torch.equal(rms_norm(x, weight), weight * normal.to(dtype))
    gemma = (normal * (1.0 + weight.float())).to(dtype)
    assert torch.equal(rms_norm(x, weight, casting="gemma", offset=1.0), gemma)
    assert torch.equal(rms_norm(x), normal.to(dtype))


def test_the_dtype_of_a_wider_weight() -> None:
    x, weight = torch.randn(2, 8).bfloat16(), torch.randn(8)
    assert rms_norm(x, weight).dtype == torch.float32
    assert rms_norm(x, weight, casting="gemma").dtype == torch.bfloat16
    assert layer_norm(x, weight).dtype == torch.bfloat16


@pytest.mark.parametrize("norm", [layer_norm, rms_norm])
def test_the_sum_with_the_residual_is_rounded_first(norm: Callable[..., Any]) -> None:
    x, residual, weight = (torch.randn(*shape).bfloat16() for shape in ((4, 16), (4, 16), (16,)))
    normed, total = norm(x, weight, residual=residual)
    assert torch.equal(total, x + residual)
    assert torch.equal(normed, norm(x + residual, weight))


@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("kind", ["layer", "llama", "gemma"])
def test_gradients_in_float64(kind: str, with_residual: bool) -> None:
    torch.manual_seed(0)
    x, residual = (torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    weight, bias = (torch.randn(6, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def run(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        added = residual if with_residual else None
        if kind == "layer":
            return ref.layer_norm(x, added, weight, bias, 1e-3)
        return ref.rms_norm(x, added, weight, 1e-3, kind, float(kind == "gemma"))

    inputs = (x, residual, weight, bias)
    used = tuple(
        tensor
        for tensor, use in zip(inputs, (True, with_residual, True, kind == "layer"), strict=True)
        if use
    )

    def of_used(*tensors: Tensor) -> tuple[Tensor, ...]:
        given = iter(tensors)
        full = [next(given) if any(tensor is kept for kept in used) else tensor for tensor in inputs]
        return run(*full)

    assert torch.autograd.gradcheck(of_used, used)


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (7,)])
def test_empty_and_flat_shapes(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    weight = torch.randn(shape[-1])
    assert layer_norm(x, weight, weight).shape == shape
    assert rms_norm(x, weight).shape == shape


def test_one_graph_for_all_lengths() -> None:
    def both(x: Tensor, weight: Tensor) -> Tensor:
        normed, total = layer_norm(x, weight, residual=x)
        return rms_norm(normed, weight) + total

    compiled = torch.compile(both, fullgraph=True, dynamic=True, backend="eager")
    weight = torch.randn(8)
    for rows in (2, 3, 5):
        x = torch.randn(rows, 8)
        torch.testing.assert_close(compiled(x, weight), both(x, weight))


X, W = torch.ones(2, 3), torch.ones(3)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: layer_norm(X.long()), TypeError, "layer_norm: x has dtype torch.int64"),
        (lambda: rms_norm(torch.tensor(1.0)), ValueError, "rms_norm: x has shape"),
        (lambda: layer_norm(X, torch.ones(2)), ValueError, r"weight has shape \(2,\), expected \(3,\)"),
        (lambda: layer_norm(X, W, W.long()), TypeError, "bias has dtype torch.int64"),
        (lambda: layer_norm(X, W.to("meta")), ValueError, "weight is on meta, expected cpu"),
        (lambda: rms_norm(X, residual=X.double()), TypeError, "residual has dtype .*, expected torch.float32"),
        (lambda: rms_norm(X, residual=W), ValueError, r"residual has shape \(3,\), expected \(2, 3\)"),
        (lambda: rms_norm(X, residual=X.to("meta")), ValueError, "residual is on meta"),
        (lambda: rms_norm(X, W, casting="t5"), ValueError, "casting='t5', expected one of llama, gemma"),  # type: ignore[call-overload]
        (lambda: rms_norm(X, W, offset=1.0), ValueError, "offset=1.0 needs a weight and casting='gemma'"),
        (lambda: rms_norm(X, casting="gemma", offset=1.0), ValueError, "needs a weight"),
        (lambda: layer_norm(X, backend="triton"), BackendError, "layer_norm: backend=triton, but the tensors"),
    ],
)  # fmt: skip
def test_wrong_arguments(call: Callable[[], object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


class TestDispatch:
    @pytest.fixture
    def ran(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The implementations that run, in order; the kernel is stood in for, as there may be no device."""
        kernel = pytest.importorskip("oxiformers_kernels.norm.kernel", reason="triton is not installed")
        calls: list[str] = []
        for op in ("layer_norm", "rms_norm"):
            twin = getattr(ref, op)
            for name, module in (("torch", ref), ("triton", kernel)):

                def record(*args: object, name: str = name, op: str = op, twin: Any = twin) -> object:
                    calls.append(f"{op} {name}")
                    return twin(*args)

                monkeypatch.setattr(module, op, record)
        return calls

    def test_the_twin_on_the_cpu_and_by_name(self, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        layer_norm(X)
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        rms_norm(X, backend="torch")
        assert ran == ["layer_norm torch", "rms_norm torch"]

    def test_the_kernel_where_it_can_run(self, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        layer_norm(X)
        rms_norm(X, backend="triton")
        assert ran == ["layer_norm triton", "rms_norm triton"]

    def test_float64_is_the_twins(self, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        layer_norm(X.double())
        rms_norm(X, W.double())
        assert ran == ["layer_norm torch", "rms_norm torch"]
        with pytest.raises(BackendError, match=r"rms_norm: .*weight is torch\.float64"):
            rms_norm(X, W.double(), backend="triton")
