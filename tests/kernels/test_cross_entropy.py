"""Cross entropy without Triton: the torch twin, the argument checks and the dispatch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from oxiformers_kernels.cross_entropy import cross_entropy, linear_cross_entropy, ref
from oxiformers_kernels.dispatch import BackendError


@pytest.fixture(autouse=True)
def _no_choice_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OXIFORMERS_KERNELS", raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


def example(dtype: torch.dtype = torch.float32, rows: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """hidden [rows, 5], weight [7, 5], bias [7] and labels [rows], the second of them ignored."""
    torch.manual_seed(0)
    labels = torch.randint(0, 7, (rows,))
    labels[1] = -100
    return torch.randn(rows, 5).to(dtype), torch.randn(7, 5).to(dtype), torch.randn(7).to(dtype), labels


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_plain_losses_equal_torch(reduction: str, smoothing: float) -> None:
    hidden, weight, bias, labels = example()
    logits = F.linear(hidden, weight, bias)
    expected = F.cross_entropy(logits, labels, reduction=reduction, label_smoothing=smoothing)
    options = {"reduction": reduction, "label_smoothing": smoothing}
    torch.testing.assert_close(cross_entropy(logits, labels, **options), expected)
    torch.testing.assert_close(linear_cross_entropy(hidden, weight, labels, bias, **options), expected)


def test_the_loss_is_float32_of_logits_rounded_once() -> None:
    hidden, weight, _, labels = example(torch.bfloat16)
    expected = F.cross_entropy((hidden @ weight.t()).float(), labels)
    loss = linear_cross_entropy(hidden, weight, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)


def test_cap_and_penalty_by_their_formulas() -> None:
    hidden, weight, _, labels = example()
    logits = hidden @ weight.t()
    capped = 3.0 * torch.tanh(logits / 3.0)
    expected = F.cross_entropy(capped, labels, reduction="none") + 0.1 * capped.logsumexp(-1) ** 2
    expected[1] = 0.0
    out = cross_entropy(logits, labels, softcap=3.0, z_loss=0.1, reduction="none")
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize("num_items", [9, torch.tensor(9), torch.tensor([9.0])])
def test_the_mean_over_given_items(num_items: int | Tensor) -> None:
    hidden, weight, _, labels = example()
    total = linear_cross_entropy(hidden, weight, labels, reduction="sum")
    torch.testing.assert_close(linear_cross_entropy(hidden, weight, labels, num_items=num_items), total / 9)


def test_another_index_is_ignored_and_all_of_them_give_nan() -> None:
    hidden, weight, _, labels = example()
    labels = labels.clamp(min=0)
    expected = F.cross_entropy(hidden @ weight.t(), labels, ignore_index=2)
    torch.testing.assert_close(linear_cross_entropy(hidden, weight, labels, ignore_index=2), expected)
    assert linear_cross_entropy(hidden, weight, torch.full_like(labels, -100)).isnan()


def test_a_label_out_of_range_raises() -> None:
    hidden, weight, _, labels = example()
    labels[0] = 7
    with pytest.raises(IndexError, match="out of bounds"):
        linear_cross_entropy(hidden, weight, labels)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_gradients_in_float64(reduction: str) -> None:
    hidden, weight, bias, labels = example(torch.float64)
    inputs = tuple(tensor.requires_grad_() for tensor in (hidden, weight, bias))

    def loss(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return linear_cross_entropy(
            hidden, weight, labels, bias, label_smoothing=0.1, softcap=2.0, z_loss=0.1, reduction=reduction
        )

    assert torch.autograd.gradcheck(loss, inputs)


def test_one_graph_for_all_lengths() -> None:
    def loss(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        own = linear_cross_entropy(hidden, weight, labels, softcap=5.0)
        return own + cross_entropy(hidden @ weight.t(), labels, label_smoothing=0.1)

    compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend="eager")
    for rows in (4, 6, 9):
        hidden, weight, _, labels = example(rows=rows)
        torch.testing.assert_close(compiled(hidden, weight, labels), loss(hidden, weight, labels))


def test_autocast_casts_as_it_does_for_a_linear_layer() -> None:
    hidden, weight, bias, labels = example()
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(hidden, weight, labels, bias)
        logits = F.linear(hidden, weight, bias)
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(loss, F.cross_entropy(logits.float(), labels))


LABELS = torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("logits", "labels", "options", "error", "words"),
    [
        (torch.ones(2, 3, dtype=torch.int64), LABELS, {}, TypeError, "logits has dtype torch.int64"),
        (torch.ones(2), LABELS, {}, ValueError, r"logits has shape \(2,\), expected \[T, V\]"),
        (torch.ones(2, 0), LABELS, {}, ValueError, r"shape \(2, 0\)"),
        (torch.ones(2, 3), LABELS.int(), {}, TypeError, "labels has dtype torch.int32, expected torch.int64"),
        (torch.ones(3, 3), LABELS, {}, ValueError, r"labels has shape \(2,\), expected \(3,\)"),
        (torch.ones(2, 3), LABELS.to("meta"), {}, ValueError, "labels is on meta, expected cpu"),
        (torch.ones(2, 3), LABELS, {"label_smoothing": 1.5}, ValueError, "label_smoothing=1.5"),
        (torch.ones(2, 3), LABELS, {"softcap": -1.0}, ValueError, "softcap=-1.0"),
        (torch.ones(2, 3), LABELS, {"reduction": "max"}, ValueError, "reduction='max'"),
        (torch.ones(2, 3), LABELS, {"num_items": 0}, ValueError, "num_items=0"),
        (torch.ones(2, 3), LABELS, {"num_items": torch.ones(2)}, ValueError, r"num_items has shape \(2,\)"),
        (torch.ones(2, 3), LABELS, {"num_items": 2, "reduction": "sum"}, ValueError, "reduction is sum"),
        (torch.ones(2, 3), LABELS, {"backend": "cuda"}, ValueError, "backend='cuda'"),
    ],
)
def test_wrong_arguments(
    logits: Tensor, labels: Tensor, options: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        cross_entropy(logits, labels, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("weight", "bias", "error", "words"),
    [
        (torch.ones(4, 2), None, ValueError, r"hidden \(2, 3\) and weight \(4, 2\)"),
        (torch.ones(4, 3).half(), None, TypeError, "weight has dtype torch.float16, expected torch.float32"),
        (torch.ones(4, 3, device="meta"), None, ValueError, "weight is on meta"),
        (torch.ones(4, 3), torch.ones(3), ValueError, r"bias has shape \(3,\), expected \(4,\)"),
        (torch.ones(4, 3), torch.ones(4).half(), TypeError, "bias has dtype torch.float16"),
    ],
)
def test_wrong_layers(weight: Tensor, bias: Tensor | None, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        linear_cross_entropy(torch.ones(2, 3), weight, LABELS, bias)


class TestDispatch:
    """Each branch of both ops, by what then ran."""

    @pytest.fixture
    def ran(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What runs, in order; the kernels are stood in for, as there may be no device."""
        kernel = pytest.importorskip(
            "oxiformers_kernels.cross_entropy.kernel", reason="triton is not installed"
        )
        from oxiformers_kernels.cross_entropy import linear

        calls: list[str] = []
        for name, module, function in (
            ("torch", ref, "cross_entropy"),
            ("torch, linear", ref, "linear_cross_entropy"),
            ("triton", kernel, "cross_entropy"),
            ("triton, linear", linear, "linear_cross_entropy"),
        ):

            def record(*arguments: object, name: str = name) -> Tensor:
                calls.append(name)
                return torch.zeros(2)

            monkeypatch.setattr(module, function, record)
        return calls

    @staticmethod
    def run(dtype: torch.dtype = torch.float32, **options: object) -> None:
        rows = torch.ones(2, 3, dtype=dtype)
        cross_entropy(rows, LABELS, **options)  # type: ignore[arg-type]
        linear_cross_entropy(rows, rows, LABELS, **options)  # type: ignore[arg-type]

    def test_auto_on_the_cpu_is_torch(self, ran: list[str]) -> None:
        self.run()
        assert ran == ["torch", "torch, linear"]

    def test_auto_and_by_name_under_the_interpreter(
        self, ran: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        self.run()
        self.run(backend="triton")
        assert ran == ["triton", "triton, linear"] * 2

    def test_auto_gives_float64_to_torch(self, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        self.run(torch.float64)
        assert ran == ["torch", "torch, linear"]
        with pytest.raises(BackendError, match=r"cross_entropy: backend=triton, but .* torch\.float64"):
            self.run(torch.float64, backend="triton")

    def test_triton_by_name_raises_where_it_cannot_run(self) -> None:
        with pytest.raises(
            BackendError, match="linear_cross_entropy: backend=triton, but the tensors are on"
        ):
            linear_cross_entropy(torch.ones(2, 3), torch.ones(4, 3), LABELS, backend="triton")
