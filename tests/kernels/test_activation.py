"""SwiGLU and GeGLU without Triton: the torch twins, the argument checks and the dispatch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from oxiformers_kernels.activation import geglu, ref, swiglu
from oxiformers_kernels.dispatch import BackendError


@pytest.fixture(autouse=True)
def _no_choice_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OXIFORMERS_KERNELS", raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_steps_of_torch(dtype: torch.dtype) -> None:
    gate, up, a, b = (torch.randn(*shape).to(dtype) for shape in ((3, 5, 63), (3, 5, 63), (63,), (63,)))
    assert torch.equal(swiglu(gate, up), functional.silu(gate) * up)
    assert torch.equal(swiglu(gate, up, a, b), functional.silu(gate + a) * (up + b))
    assert torch.equal(geglu(gate, up), functional.gelu(gate, approximate="tanh") * up)
    assert torch.equal(geglu(gate, up, a, approximate="none"), functional.gelu(gate + a) * up)


@pytest.mark.parametrize("kind", ["silu", "tanh", "none"])
def test_gradients_in_float64(kind: str) -> None:
    torch.manual_seed(0)
    inputs = tuple(
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in ((2, 3, 6), (2, 3, 6), (6,), (6,))
    )

    def run(*tensors: Tensor) -> Tensor:
        return ref.swiglu(*tensors) if kind == "silu" else ref.geglu(*tensors, kind)

    assert torch.autograd.gradcheck(run, inputs)


def test_one_graph_for_all_lengths() -> None:
    def both(x: Tensor) -> Tensor:
        return swiglu(*x.chunk(2, dim=-1)) + geglu(*x.chunk(2, dim=-1))

    compiled = torch.compile(both, fullgraph=True, dynamic=True, backend="eager")
    for rows in (2, 3, 5):
        x = torch.randn(rows, 8)
        torch.testing.assert_close(compiled(x), both(x))


X, W = torch.ones(2, 3), torch.ones(3)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: swiglu(X.long(), X), TypeError, "swiglu: gate has dtype torch.int64"),
        (lambda: geglu(torch.tensor(1.0), X), ValueError, "geglu: gate has shape"),
        (lambda: swiglu(X, X.double()), TypeError, "up has dtype torch.float64, expected torch.float32"),
        (lambda: swiglu(X, W), ValueError, r"up has shape \(3,\), expected \(2, 3\)"),
        (lambda: swiglu(X, X.to("meta")), ValueError, "up is on meta, expected cpu"),
        (lambda: geglu(X, X, X), ValueError, r"gate_bias has shape \(2, 3\), expected \(3,\)"),
        (lambda: geglu(X, X, W, W.long()), TypeError, "up_bias has dtype torch.int64"),
        (lambda: geglu(X, X, approximate="erf"), ValueError, "approximate='erf', expected one of none, tanh"),  # type: ignore[arg-type]
        (lambda: swiglu(X, X, backend="triton"), BackendError, "swiglu: backend=triton, but the tensors are on cpu"),
    ],
)  # fmt: skip
def test_wrong_arguments(call: Callable[[], object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


class TestDispatch:
    @pytest.fixture
    def ran(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The implementations that run, in order; the kernel is stood in for, as there may be no device."""
        kernel = pytest.importorskip("oxiformers_kernels.activation.kernel", reason="triton is not installed")
        calls: list[str] = []
        for op in ("swiglu", "geglu"):
            twin = getattr(ref, op)
            for name, module in (("torch", ref), ("triton", kernel)):

                def record(*args: object, name: str = name, op: str = op, twin: Any = twin) -> object:
                    calls.append(f"{op} {name}")
                    return twin(*args)

                monkeypatch.setattr(module, op, record)
        return calls

    def test_each_branch(self, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        swiglu(X, X)
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        geglu(X, X, backend="torch")
        swiglu(X, X)
        geglu(X, X, backend="triton")
        swiglu(X.double(), X.double())
        assert ran == ["swiglu torch", "geglu torch", "swiglu triton", "geglu triton", "swiglu torch"]
        with pytest.raises(BackendError, match=r"geglu: .*gate is torch\.float64"):
            geglu(X.double(), X.double(), backend="triton")
