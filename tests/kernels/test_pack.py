"""Packing and pooling without Triton: the torch twins, the argument checks and the dispatch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from oxiformers_kernels.dispatch import BackendError
from oxiformers_kernels.pack import pack, pool, ref, unpack

LENGTHS = [3, 0, 1, 4, 0]


@pytest.fixture(autouse=True)
def _no_choice_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OXIFORMERS_KERNELS", raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


def bounds() -> Tensor:
    return torch.tensor([0, *LENGTHS]).cumsum(0)


@pytest.mark.parametrize("features", [(), (5,), (2, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
def test_there_and_back(features: tuple[int, ...], dtype: torch.dtype) -> None:
    padded = (torch.randn(3, 4, *features) * 9).to(dtype)
    mask = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 0]]).bool()
    packed = pack(padded, mask)
    assert torch.equal(packed, padded[mask])
    back = unpack(packed, mask.flatten().nonzero().squeeze(1), 3, 4)
    kept = mask.view(3, 4, *(1 for _ in features))
    assert torch.equal(back, padded.masked_fill(~kept, 0))


@pytest.mark.parametrize("how", ["mean", "first", "last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pooling(how: str, dtype: torch.dtype) -> None:
    packed = torch.randn(8, 6).to(dtype)
    parts = packed.split(LENGTHS)
    chosen: dict[str, Callable[[Tensor], Tensor]] = {
        "mean": lambda part: part.float().mean(0).to(dtype),
        "first": lambda part: part[0],
        "last": lambda part: part[-1],
    }
    expected = torch.stack(
        [chosen[how](part) if len(part) else torch.zeros(6, dtype=dtype) for part in parts]
    )
    out = pool(packed, bounds(), how)  # type: ignore[arg-type]
    torch.testing.assert_close(out, expected)
    assert torch.equal(out[1], torch.zeros_like(out[1])) and out.dtype == dtype


@pytest.mark.parametrize("how", ["mean", "first", "last"])
def test_gradients_in_float64(how: str) -> None:
    packed = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([0, 2, 5, 6, 7, 9, 10, 11])
    assert torch.autograd.gradcheck(lambda x: ref.pool(x, bounds(), how), (packed,))
    assert torch.autograd.gradcheck(lambda x: ref.unpack(x, index, 12), (packed,))
    padded = torch.randn(12, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: ref.pack(x, index), (padded,))


def test_one_graph_for_all_lengths() -> None:
    def there_and_back(padded: Tensor, index: Tensor, cu_seqlens: Tensor) -> tuple[Tensor, Tensor]:
        packed = pack(padded, index)
        return pool(packed, cu_seqlens), unpack(packed, index, padded.shape[0], padded.shape[1])

    compiled = torch.compile(there_and_back, fullgraph=True, dynamic=True, backend="eager")
    for width in (4, 6, 9):
        arguments = (
            torch.randn(3, width, 5),
            torch.arange(0, 3 * width, 2),
            torch.tensor([0, 2, 2, 3 * width // 2]),
        )
        arguments[2][-1] = arguments[1].numel()
        torch.testing.assert_close(compiled(*arguments), there_and_back(*arguments))


X, INDEX, CU = torch.ones(2, 3, 4), torch.tensor([0, 5]), torch.tensor([0, 1, 2])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: pack(X[0, 0], INDEX), ValueError, r"padded has shape \(4,\)"),
        (lambda: pack(X, INDEX.int()), TypeError, "where has dtype torch.int32"),
        (lambda: pack(X, INDEX[None]), ValueError, r"where has shape \(1, 2\), expected \[T\] or a mask"),
        (lambda: pack(X, torch.ones(2, 4).bool()), ValueError, r"mask has shape \(2, 4\), expected \(2, 3\)"),
        (lambda: pack(X, INDEX.to("meta")), ValueError, "where is on meta"),
        (lambda: pack(X, INDEX + 1), IndexError, "out of range"),
        (lambda: unpack(X[0], INDEX, 2, 3), ValueError, "2 places for 3 packed tokens"),
        (lambda: unpack(X[:, 0], INDEX, -1, 3), ValueError, r"packed \(2, 4\) to -1 rows of 3"),
        (lambda: pool(X[0].long(), CU), TypeError, "packed has dtype torch.int64"),
        (lambda: pool(X, CU), ValueError, r"packed has shape \(2, 3, 4\)"),
        (lambda: pool(X[0], CU.float()), TypeError, "cu_seqlens has dtype torch.float32"),
        (lambda: pool(X[0], CU[:0]), ValueError, r"cu_seqlens has shape \(0,\)"),
        (lambda: pool(X[0], CU.to("meta")), ValueError, "cu_seqlens is on meta"),
        (lambda: pool(X[0], CU, "max"), ValueError, "how='max', expected mean, first or last"),  # type: ignore[arg-type]
        (lambda: pack(X, INDEX, backend="cuda"), ValueError, "backend='cuda'"),  # type: ignore[arg-type]
    ],
)
def test_wrong_arguments(call: Callable[[], Tensor], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


class TestDispatch:
    """Each branch of each op, by what then ran."""

    @pytest.fixture
    def ran(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        kernel = pytest.importorskip("oxiformers_kernels.pack.kernel", reason="triton is not installed")
        calls: list[str] = []
        twins: dict[str, Callable[..., Tensor]] = {"pack": ref.pack, "unpack": ref.unpack, "pool": ref.pool}
        for backend, module in (("torch", ref), ("triton", kernel)):
            for name, twin in twins.items():

                def record(
                    *arguments: object, what: str = f"{backend} {name}", twin: Callable[..., Tensor] = twin
                ) -> Tensor:
                    calls.append(what)
                    return twin(*arguments)

                monkeypatch.setattr(module, name, record)
        return calls

    @staticmethod
    def run(dtype: torch.dtype = torch.float32, **options: str) -> None:
        packed = pack(X.to(dtype), INDEX, **options)  # type: ignore[arg-type]
        unpack(packed, INDEX, 2, 3, **options)  # type: ignore[arg-type]
        pool(packed, CU, **options)  # type: ignore[arg-type]

    def test_auto_on_the_cpu_is_torch(self, ran: list[str]) -> None:
        self.run()
        assert ran == ["torch pack", "torch unpack", "torch pool"]
        with pytest.raises(BackendError, match="pack: backend=triton, but the tensors are on cpu"):
            self.run(backend="triton")

    def test_under_the_interpreter_it_is_triton(
        self, ran: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        self.run()
        assert ran == ["triton pack", "triton unpack", "triton pool"]
        ran.clear()
        self.run(torch.float64)
        assert ran == ["triton pack", "triton unpack", "torch pool"], "rows of any dtype can be moved"
        pack(X.to(torch.complex64), INDEX)
        assert ran[-1] == "torch pack"
        with pytest.raises(BackendError, match=r"pool: backend=triton, but .* packed is torch\.float64"):
            pool(X[0].double(), CU, backend="triton")
