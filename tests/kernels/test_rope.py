"""Rotary position embedding without Triton: the torch twin, the argument checks and the dispatch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from oxiformers_kernels.dispatch import BackendError
from oxiformers_kernels.rope import apply_rope, ref


@pytest.fixture(autouse=True)
def _no_choice_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OXIFORMERS_KERNELS", raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


def angles(*shape: int) -> Tensor:
    return torch.rand(shape, dtype=torch.float64) * 7


@pytest.mark.parametrize("interleaved", [False, True])
def test_pairs_turn_as_complex_numbers(interleaved: bool) -> None:
    """(a + ib) e^{it}, which is what the paper defines."""
    q, angle = torch.randn(5, 3, 8, dtype=torch.float64), angles(5, 4)
    pair = (q[..., 0::2], q[..., 1::2]) if interleaved else (q[..., :4], q[..., 4:])
    turned = torch.complex(*pair) * torch.polar(torch.ones_like(angle), angle)[:, None]
    halves = (turned.real, turned.imag)
    expected = torch.stack(halves, -1).flatten(-2) if interleaved else torch.cat(halves, -1)
    out, none = apply_rope(q, None, angle.cos(), angle.sin(), interleaved=interleaved)
    assert none is None
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_order_of_casts_is_that_of_hugging_face(dtype: torch.dtype) -> None:
    q, k = torch.randn(2, 5, 3, 8).to(dtype), torch.randn(2, 5, 1, 8).to(dtype)
    angle = angles(2, 5, 4).float()
    cos, sin = (torch.cat((table, table), -1).to(dtype) for table in (angle.cos(), angle.sin()))
    for x, out in zip((q, k), apply_rope(q, k, cos, sin), strict=True):
        turned = torch.cat((-x[..., 4:], x[..., :4]), -1)
        expected = x * cos.unsqueeze(-2) + turned * sin.unsqueeze(-2)
        assert out is not None and out.dtype == dtype
        torch.testing.assert_close(out, expected, rtol=0, atol=0)


def test_tables_are_read_at_the_positions() -> None:
    q, k, angle = torch.randn(6, 2, 8), torch.randn(6, 1, 8), angles(10, 2).float()
    positions = torch.tensor([0, 1, 2, 0, 1, 9])
    out = apply_rope(q, k, angle.cos(), angle.sin(), positions, rotary_dim=4)
    own = angle[positions]
    expected = apply_rope(q, k, own.cos(), own.sin(), rotary_dim=4)
    for ours, theirs in zip(out, expected, strict=True):
        assert ours is not None and torch.equal(ours, theirs)  # type: ignore[arg-type]
    assert torch.equal(out[0][..., 4:], q[..., 4:]), "what is not turned stays"
    batched = apply_rope(q.view(1, 6, 2, 8), None, angle.cos(), angle.sin(), positions, rotary_dim=4)
    assert torch.equal(batched[0][0], out[0])


@pytest.mark.parametrize("interleaved", [False, True])
def test_values_that_stand_twice(interleaved: bool) -> None:
    q, angle = torch.randn(5, 3, 8), angles(5, 4).float()
    twice = angle.repeat_interleave(2, -1) if interleaved else torch.cat((angle, angle), -1)
    once = apply_rope(q, None, angle.cos(), angle.sin(), interleaved=interleaved)[0]
    assert torch.equal(apply_rope(q, None, twice.cos(), twice.sin(), interleaved=interleaved)[0], once)


def test_in_place() -> None:
    q, k, angle = torch.randn(5, 3, 8), torch.randn(5, 1, 8), angles(5, 4).float()
    expected = apply_rope(q, k, angle.cos(), angle.sin())
    out = apply_rope(q, k, angle.cos(), angle.sin(), inplace=True)
    assert out[0] is q and out[1] is k
    assert torch.equal(q, expected[0]) and torch.equal(k, expected[1])  # type: ignore[arg-type]


@pytest.mark.parametrize("interleaved", [False, True])
def test_gradients_in_float64(interleaved: bool) -> None:
    q = torch.randn(3, 2, 6, dtype=torch.float64, requires_grad=True)
    angle = angles(3, 2)
    assert torch.autograd.gradcheck(
        lambda x: ref.apply_rope(x, angle.cos(), angle.sin(), None, 4, interleaved), (q,)
    )


def test_one_graph_for_all_lengths() -> None:
    compiled = torch.compile(apply_rope, fullgraph=True, dynamic=True, backend="eager")
    angle = angles(20, 4).float()
    for tokens in (4, 6, 9):
        q, k = torch.randn(tokens, 3, 8), torch.randn(tokens, 1, 8)
        arguments = (q, k, angle.cos(), angle.sin(), torch.arange(tokens))
        torch.testing.assert_close(compiled(*arguments), apply_rope(*arguments))


Q, K, TABLE = torch.ones(2, 3, 8), torch.ones(2, 1, 8), torch.ones(2, 4)


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"q": Q.long()}, TypeError, "q has dtype torch.int64"),
        ({"q": Q[0]}, ValueError, r"q has shape \(3, 8\)"),
        ({"k": K.half()}, TypeError, "k has dtype torch.float16, expected torch.float32"),
        ({"k": torch.ones(3, 1, 8)}, ValueError, r"k \(3, 1, 8\) and q \(2, 3, 8\) differ in more than"),
        ({"k": K.to("meta")}, ValueError, "k is on meta"),
        ({"rotary_dim": 5}, ValueError, "rotary_dim=5, expected an even number up to 8"),
        ({"rotary_dim": 10}, ValueError, "rotary_dim=10"),
        ({"cos": TABLE.long()}, TypeError, "cos has dtype torch.int64"),
        ({"cos": torch.ones(2, 3)}, ValueError, r"cos \(2, 3\) and sin \(2, 4\), expected .* end in 8 or 4"),
        ({"cos": torch.ones(3, 4), "sin": torch.ones(3, 4)}, ValueError, r"cos for tokens \(3,\) does not"),
        ({"positions": torch.zeros(2)}, TypeError, "positions has dtype torch.float32"),
        ({"positions": torch.zeros(3).long()}, ValueError, r"positions for tokens \(3,\) does not"),
        ({"positions": torch.zeros(2).long(), "cos": TABLE[None], "sin": TABLE[None]}, ValueError, "a table"),
        ({"positions": torch.tensor([0, 2])}, IndexError, "out of range"),
        ({"q": Q.clone().requires_grad_(), "inplace": True}, ValueError, "overwrites what autograd needs"),
        ({"q": Q[:1].expand(2, 3, 8), "inplace": True}, ValueError, r"strides are \(0, 8, 1\)"),
        ({"backend": "cuda"}, ValueError, "backend='cuda'"),
    ],
)
def test_wrong_arguments(changed: dict[str, object], error: type[Exception], words: str) -> None:
    arguments = {"q": Q, "k": K, "cos": TABLE, "sin": TABLE} | changed
    with pytest.raises(error, match=words):
        apply_rope(**arguments)  # type: ignore[arg-type]


class TestDispatch:
    """Each branch, by what then ran."""

    @pytest.fixture
    def ran(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        kernel = pytest.importorskip("oxiformers_kernels.rope.kernel", reason="triton is not installed")
        calls: list[str] = []

        def torchs(x: Tensor, *_: object) -> Tensor:
            calls.append("torch")
            return x

        def tritons(tensors: list[Tensor], *_: object) -> list[Tensor]:
            calls.append("triton")
            return tensors

        monkeypatch.setattr(ref, "apply_rope", torchs)
        monkeypatch.setattr(kernel, "apply_rope", tritons)
        return calls

    def test_auto_on_the_cpu_is_torch(self, ran: list[str]) -> None:
        apply_rope(Q, K, TABLE, TABLE)
        assert ran == ["torch", "torch"]
        with pytest.raises(BackendError, match="rope: backend=triton, but the tensors are on cpu"):
            apply_rope(Q, K, TABLE, TABLE, backend="triton")

    def test_under_the_interpreter_it_is_triton(
        self, ran: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        apply_rope(Q, K, TABLE, TABLE)
        apply_rope(Q, None, TABLE, TABLE, backend="triton")
        assert ran == ["triton", "triton"]
        apply_rope(Q.double(), None, TABLE, TABLE)
        assert ran[-1] == "torch"
        with pytest.raises(BackendError, match=r"the kernel takes .* q is torch\.float64"):
            apply_rope(Q.double(), None, TABLE, TABLE, backend="triton")
