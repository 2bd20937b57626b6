"""The softmax over packed sequences without Triton: its torch twin, its argument checks and its dispatch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from oxiformers_kernels.dispatch import BackendError
from oxiformers_kernels.softmax import packed_softmax, ref

LENGTHS = [3, 0, 5, 1, 0]
OFFSETS = torch.tensor([0, 3, 3, 8, 9, 9])


@pytest.fixture(autouse=True)
def _no_choice_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OXIFORMERS_KERNELS", raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(9,), (9, 4), (9, 2, 3)])
def test_each_sequence_for_itself(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    x = (torch.randn(shape) * 5).to(dtype)
    expected = torch.cat([part.softmax(0) for part in x.split(LENGTHS)])
    for offsets in (OFFSETS, OFFSETS.int()):
        out = packed_softmax(x, offsets)
        assert out.dtype == dtype
        torch.testing.assert_close(out, expected)


def test_nothing_but_minus_infinity() -> None:
    x = torch.randn(9, 2)
    x[3:8, 1] = -torch.inf
    x.requires_grad_()
    out = packed_softmax(x, OFFSETS)
    (gradient,) = torch.autograd.grad(out, x, torch.randn(9, 2))
    assert not out[3:8, 1].any() and not out.isnan().any()
    assert not gradient[3:8, 1].any() and not gradient.isnan().any()


def test_gradients_in_float64() -> None:
    torch.manual_seed(0)
    x = torch.randn(9, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: ref.packed_softmax(x, OFFSETS), (x,))


def test_one_graph_for_all_lengths() -> None:
    compiled = torch.compile(packed_softmax, fullgraph=True, dynamic=True, backend="eager")
    for tokens in (5, 9, 17):
        x, offsets = torch.randn(tokens, 2), torch.tensor([0, 2, tokens])
        torch.testing.assert_close(compiled(x, offsets), packed_softmax(x, offsets))


@pytest.mark.parametrize(
    ("x", "offsets", "error", "words"),
    [
        (torch.ones(9, dtype=torch.int64), OFFSETS, TypeError, "x has dtype torch.int64"),
        (torch.tensor(1.0), OFFSETS, ValueError, r"x has shape \(\), expected \[T, ...\]"),
        (torch.ones(9), OFFSETS.float(), TypeError, "cu_seqlens has dtype torch.float32"),
        (torch.ones(9), OFFSETS[None], ValueError, r"cu_seqlens has shape \(1, 6\)"),
        (torch.ones(9), OFFSETS[:0], ValueError, r"cu_seqlens has shape \(0,\)"),
        (torch.ones(9), OFFSETS.to("meta"), ValueError, "cu_seqlens is on meta, expected cpu"),
    ],
)
def test_wrong_arguments(x: torch.Tensor, offsets: torch.Tensor, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"packed_softmax: {words}"):
        packed_softmax(x, offsets)


def test_each_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = pytest.importorskip("oxiformers_kernels.softmax.packed_kernel", reason="triton is not installed")
    ran: list[str] = []
    twin = ref.packed_softmax
    for name, module in (("torch", ref), ("triton", kernel)):

        def record(*args: Any, name: str = name) -> torch.Tensor:
            ran.append(name)
            return twin(*args)

        monkeypatch.setattr(module, "packed_softmax", record)
    x = torch.ones(9)
    packed_softmax(x, OFFSETS)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    packed_softmax(x, OFFSETS)
    packed_softmax(x, OFFSETS, backend="torch")
    packed_softmax(x.double(), OFFSETS)
    assert ran == ["torch", "triton", "torch", "torch"]
    with pytest.raises(BackendError, match=r"packed_softmax: .*x is torch\.float64"):
        packed_softmax(x.double(), OFFSETS, backend="triton")
