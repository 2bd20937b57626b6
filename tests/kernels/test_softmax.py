"""The softmax ops without Triton: their torch twins, argument checks and dispatch."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from oxiformers_kernels import dispatch
from oxiformers_kernels.dispatch import BackendError, choose
from oxiformers_kernels.philox import dropout_threshold, philox_uint32
from oxiformers_kernels.softmax import log_softmax, ref, softmax

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _no_choice_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OXIFORMERS_KERNELS", raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    for cached in (dispatch._say_once, dispatch._triton_installed, dispatch._capability_obstacle):
        cached.cache_clear()


def test_plain_rows_equal_torch() -> None:
    x = torch.randn(3, 4, 63)
    assert torch.equal(softmax(x), torch.softmax(x, -1))
    assert torch.equal(softmax(x, scale=0.5), torch.softmax(x * 0.5, -1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_masks_and_dtypes(dtype: torch.dtype) -> None:
    x = torch.randn(2, 3, 5, 7).to(dtype)
    keep = torch.rand(2, 1, 1, 7) > 0.4
    keep[..., 0] = True
    expected = torch.softmax((x * 0.5).double().masked_fill(~keep, -torch.inf), -1)
    for removed in (torch.finfo(dtype).min, -torch.inf):
        additive = torch.zeros(keep.shape, dtype=dtype).masked_fill(~keep, removed)
        for mask in (keep, additive):
            out = softmax(x, mask, scale=0.5)
            assert out.dtype == dtype
            torch.testing.assert_close(out.double(), expected, atol=4 * torch.finfo(dtype).eps, rtol=1e-6)
            assert not out[(~keep).expand(x.shape)].any()


def test_fully_masked_rows_are_zero_and_pass_no_gradient() -> None:
    x = torch.randn(3, 5, requires_grad=True)
    keep = torch.ones(3, 5, dtype=torch.bool)
    keep[1] = False
    out = softmax(x, keep)
    (out * torch.randn(3, 5)).sum().backward()
    assert x.grad is not None
    assert not out[1].any() and not x.grad[1].any() and torch.isfinite(x.grad).all() and x.grad[0].any()


@pytest.mark.parametrize("kind", ["none", "boolean", "additive", "bias", "both"])
@pytest.mark.parametrize("op", ["softmax", "dropout", "log"])
def test_gradients_in_float64(op: str, kind: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True)
    keep = torch.rand(2, 1, 6) > 0.3
    keep[1] = False
    added = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)

    def run(x: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
        mask = {"additive": added, "boolean": keep, "both": keep}.get(kind)
        bias = added if kind in ("bias", "both") else None
        if op == "log":
            out = ref.log_softmax(x, mask, bias, 0.7)
            return out.masked_fill(out == -torch.inf, 0.0)
        return ref.softmax(x, mask, bias, 0.7, 0.4 if op == "dropout" else 0.0, torch.tensor(5))

    if kind in ("none", "boolean"):
        assert torch.autograd.gradcheck(lambda x: run(x, added), (x,))
    else:
        assert torch.autograd.gradcheck(run, (x, added))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_log_softmax(dtype: torch.dtype) -> None:
    x = torch.randn(3, 4, 63).to(dtype)
    torch.testing.assert_close(log_softmax(x), torch.log_softmax(x.double(), -1).to(dtype))
    keep = torch.rand(3, 1, 63) > 0.4
    keep[1] = False
    out = log_softmax(x, keep, scale=0.5)
    assert out.dtype == dtype and (out[(~keep).expand(x.shape)] == -torch.inf).all()
    expected = (x * 0.5).masked_fill(~keep, -torch.inf).log_softmax(-1)
    torch.testing.assert_close(out[[0, 2]], expected[[0, 2]], atol=4 * torch.finfo(dtype).eps, rtol=1e-3)


def test_gradients_given_to_what_is_removed_count_for_nothing() -> None:
    x = torch.randn(2, 5, requires_grad=True)
    keep = torch.tensor([True, True, False, True, False])
    (gradient,) = torch.autograd.grad(log_softmax(x, keep), x, torch.ones(2, 5))
    (expected,) = torch.autograd.grad(torch.log_softmax(x[:, keep], -1).sum(), x)
    torch.testing.assert_close(gradient, expected)


def test_bias_and_mask_together() -> None:
    x, bias, keep = torch.randn(2, 3, 5, 7), torch.randn(1, 3, 5, 7), torch.rand(2, 1, 1, 7) > 0.3
    keep[..., 0] = True
    expected = torch.softmax((x * 0.5 + bias).masked_fill(~keep, -torch.inf), -1)
    torch.testing.assert_close(softmax(x, keep, bias=bias, scale=0.5), expected)
    mask = torch.zeros(keep.shape).masked_fill(~keep, torch.finfo(torch.float32).min)
    torch.testing.assert_close(softmax(x, mask, bias=bias, scale=0.5), expected)


def test_dropout_is_of_the_seed() -> None:
    x = torch.randn(40, 103)
    plain = torch.softmax(x, -1)
    out = softmax(x, dropout=0.3, seed=7)
    kept = out != 0
    torch.testing.assert_close(out[kept], plain[kept] / 0.7)
    assert abs(kept.float().mean().item() - 0.7) < 0.03
    assert torch.equal(out, softmax(x, dropout=0.3, seed=torch.tensor(7)))
    assert not torch.equal(out, softmax(x, dropout=0.3, seed=8))
    assert not torch.equal(softmax(x, dropout=0.3), softmax(x, dropout=0.3)), "each call draws a seed"
    assert torch.equal(softmax(x, seed=7), plain)
    # The first word of a counter is the bit of its first column.
    zero, rows = torch.tensor(0), torch.arange(40)[:, None]
    words = philox_uint32(7, torch.arange(26), rows, zero, zero)
    assert torch.equal(kept[:, ::4], words >= dropout_threshold(0.3))


def test_in_place() -> None:
    x = torch.randn(3, 7)
    keep, expected = x > 0, softmax(x, x > 0, dropout=0.2, seed=1)
    assert softmax(x, keep, dropout=0.2, seed=1, inplace=True) is x
    assert torch.equal(x, expected)
    with pytest.raises(ValueError, match="inplace=True overwrites x"):
        softmax(x, bias=torch.zeros(7, requires_grad=True), inplace=True)
    with pytest.raises(ValueError, match=r"needs a contiguous x, its strides are \(1, 7\)"):
        softmax(x.T, inplace=True)
    with torch.no_grad():
        softmax(x.requires_grad_(), inplace=True)


def test_one_graph_for_all_lengths() -> None:
    def all_of_them(x: torch.Tensor) -> torch.Tensor:
        return log_softmax(softmax(x, x > 0, scale=0.5, dropout=0.2, seed=3), bias=x)

    compiled = torch.compile(all_of_them, fullgraph=True, dynamic=True, backend="eager")
    for columns in (5, 9, 17):
        x = torch.randn(3, columns)
        torch.testing.assert_close(compiled(x), all_of_them(x))


@pytest.mark.parametrize(
    ("x", "mask", "error", "words"),
    [
        (torch.ones(3, dtype=torch.int64), None, TypeError, "int64"),
        (torch.tensor(1.0), None, ValueError, r"x has shape \(\)"),
        (torch.ones(2, 3), torch.ones(2, 3, dtype=torch.int64), TypeError, "mask has dtype torch.int64"),
        (torch.ones(2, 3), torch.ones(4, 2, 3), ValueError, r"\(4, 2, 3\) does not broadcast to x \(2, 3\)"),
        (torch.ones(2, 3), torch.ones(2, 2), ValueError, "does not broadcast"),
        (torch.ones(2, 3), torch.ones(2, 3, device="meta"), ValueError, "mask is on meta"),
    ],
)
def test_wrong_arguments(
    x: torch.Tensor, mask: torch.Tensor | None, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        softmax(x, mask)


class TestDispatch:
    """Each branch, by the choice and by what then ran."""

    @pytest.fixture
    def ran(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The implementations that run, in order; the kernel is stood in for, as there may be no device."""
        kernel = pytest.importorskip("oxiformers_kernels.softmax.kernel", reason="triton is not installed")
        calls: list[str] = []
        for op in ("softmax", "log_softmax"):
            twin = getattr(ref, op)
            for name, module in (("torch", ref), ("triton", kernel)):

                def record(*args: object, name: str = name, twin: Any = twin) -> object:
                    calls.append(name)
                    return twin(*args)

                monkeypatch.setattr(module, op, record)
        return calls

    def test_auto_on_the_cpu_is_torch_and_says_why_once(
        self, ran: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, logger="oxiformers_kernels"):
            softmax(torch.ones(2))
            softmax(torch.ones(2))
        assert ran == ["torch", "torch"]
        assert [record.message for record in caplog.records] == [
            "softmax runs in plain torch: the tensors are on cpu, Triton needs cuda"
        ]

    def test_auto_under_the_interpreter_is_triton(
        self, ran: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        softmax(torch.ones(2))
        softmax(torch.ones(2), backend="triton")
        log_softmax(torch.ones(2))
        assert ran == ["triton", "triton", "triton"]

    def test_auto_gives_float64_to_torch(self, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        softmax(torch.ones(2, dtype=torch.float64))
        assert ran == ["torch"]
        with pytest.raises(
            BackendError, match=r"softmax: backend=triton, but the kernel takes .* x is torch\.float64"
        ):
            softmax(torch.ones(2, dtype=torch.float64), backend="triton")

    def test_torch_by_argument_and_by_variable(self, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        softmax(torch.ones(2), backend="torch")
        monkeypatch.setenv("OXIFORMERS_KERNELS", "torch")
        softmax(torch.ones(2))
        assert ran == ["torch", "torch"]
        softmax(torch.ones(2), backend="triton")
        assert ran[-1] == "triton", "the argument wins over the variable"

    def test_triton_by_name_raises_where_it_cannot_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(BackendError, match="backend=triton, but the tensors are on cpu"):
            softmax(torch.ones(2), backend="triton")
        monkeypatch.setenv("OXIFORMERS_KERNELS", "triton")
        with pytest.raises(BackendError, match="OXIFORMERS_KERNELS=triton, but the tensors are on cpu"):
            softmax(torch.ones(2))

    def test_an_unknown_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ValueError, match="backend='cuda': expected one of auto, triton, torch"):
            softmax(torch.ones(2), backend="cuda")  # type: ignore[arg-type]
        monkeypatch.setenv("OXIFORMERS_KERNELS", "fast")
        with pytest.raises(ValueError, match="OXIFORMERS_KERNELS='fast'"):
            softmax(torch.ones(2))

    def test_without_triton(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "triton", None)
        monkeypatch.setattr(dispatch, "_triton_installed", lambda: False)
        choice = choose("softmax", None, torch.device("cuda", 0))
        assert choice == ("torch", f"triton is not installed (platform {sys.platform})")
        with pytest.raises(BackendError, match="triton is not installed"):
            choose("softmax", "triton", torch.device("cuda", 0))

    @pytest.mark.parametrize(
        ("capability", "backend"), [((7, 5), "torch"), ((8, 0), "triton"), ((9, 0), "triton")]
    )
    def test_on_a_gpu_by_compute_capability(
        self,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        capability: tuple[int, int],
        backend: str,
    ) -> None:
        monkeypatch.setattr(dispatch, "_triton_installed", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
        choice = choose("softmax", None, torch.device("cuda", 0))
        assert choice.backend == backend
        # Falling back with a GPU at hand is worth a warning, not a note.
        assert [record.levelname for record in caplog.records] == (["WARNING"] if backend == "torch" else [])

    def test_cuda_tensors_under_the_interpreter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        with pytest.raises(BackendError, match="runs on the CPU, the tensors are on cuda:0"):
            choose("softmax", "triton", torch.device("cuda", 0))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dropout": 1.0}, r"dropout=1.0, expected a probability in \[0, 1\)"),
        ({"dropout": -0.1}, "dropout=-0.1"),
        ({"dropout": 0.5, "seed": torch.zeros(2, dtype=torch.int64)}, r"seed is torch.int64 of shape \(2,\)"),
        ({"dropout": 0.5, "seed": torch.zeros((), dtype=torch.int32)}, "expected one int64"),
        ({"dropout": 0.5, "seed": torch.zeros((), dtype=torch.int64, device="meta")}, "seed is on meta"),
        ({"bias": torch.ones(2, 2)}, "bias of shape"),
    ],
)
def test_wrong_options(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        softmax(torch.ones(2, 3), **arguments)


def test_a_boolean_bias() -> None:
    with pytest.raises(TypeError, match=r"log_softmax: bias has dtype torch.bool, expected a floating dtype"):
        log_softmax(torch.ones(2, 3), bias=torch.ones(3, dtype=torch.bool))


def test_only_kernel_files_import_triton(repository: Path) -> None:
    for path in (repository / "kernels" / "oxiformers_kernels").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert ("import triton" in text) <= path.name.endswith("kernel.py"), path
        assert "import oxiformers\n" not in text and "from oxiformers " not in text, path
