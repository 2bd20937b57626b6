"""The Triton cross entropies against float32 torch, on the interpreter (a process of its own) or on a GPU."""

# ruff: noqa: F811
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from oxiformers_kernels.cross_entropy import cross_entropy, linear_cross_entropy, ref
from tests.kernels.grids import pairwise
from tests.kernels.support import DTYPES, assert_close_as_torch, device, poisoned_empty  # noqa: F401

kernel = pytest.importorskip("oxiformers_kernels.cross_entropy.kernel", reason="triton is not installed")
linear = pytest.importorskip("oxiformers_kernels.cross_entropy.linear", reason="triton is not installed")

pytestmark = pytest.mark.usefixtures("poisoned_empty")

EVERYTHING = {"label_smoothing": 0.1, "softcap": 4.0, "z_loss": 0.01}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "sum": {"reduction": "sum"},
    "every option": EVERYTHING,
    "rows": {"reduction": "none", "softcap": 4.0},
    "items": {"num_items": torch.tensor([50]), "label_smoothing": 0.1},
}


def labels_for(rows: int, columns: int, device: str) -> Tensor:
    torch.manual_seed(0)
    labels = torch.randint(0, columns, (rows,), device=device)
    labels[1::4] = -100
    return labels


def check(
    op: Any, labels: Tensor, draw: Callable[[], list[Tensor]], options: dict[str, Any], draws: int = 1
) -> None:
    """Losses and gradients of `op(*draw())` by the kernel, by torch in the same dtype, and in float32.

    The largest of a few errors is a matter of luck: those of several draws are compared together, and of losses those
    of the rows, of which the reduced one has to be made.
    """
    torch.manual_seed(0)
    problems = [draw() for _ in range(draws)]
    device, dtype = problems[0][0].device, problems[0][0].dtype
    num_items = options.get("num_items")
    if isinstance(num_items, Tensor):
        num_items = num_items.to(device)
    options = options | {"num_items": num_items}

    def run(backend: str, dtype: torch.dtype) -> list[Tensor]:
        results = []
        for tensors in problems:
            own = [tensor.to(dtype).detach().requires_grad_() for tensor in tensors]
            loss = op(*own, backend=backend, **options)
            assert loss.dtype == torch.float32
            weight = torch.linspace(0.5, 1.5, loss.numel(), device=device).reshape(loss.shape)
            losses = op(*own, backend=backend, **options | {"reduction": "none", "num_items": None})
            reduced = ref.reduce(losses, labels, -100, options.get("reduction", "mean"), num_items)
            torch.testing.assert_close(loss, reduced)
            results.append([losses.detach(), *torch.autograd.grad((loss * weight).sum(), own)])
        return [torch.stack(each) for each in zip(*results, strict=True)]

    runs = run("triton", dtype), run("torch", dtype), run("torch", torch.float32)
    for name, ours, torchs, truth in zip(("losses", "rows", "weight", "bias"), *runs, strict=False):
        assert_close_as_torch(ours, torchs, truth, name)


@pairwise(
    {
        "dtype": DTYPES,
        "columns": [1, 63, 100, pytest.param(2000, marks=pytest.mark.gpu)],
        "options": ["plain", "every option", "rows"],
    }
)
def test_of_logits(device: str, dtype: torch.dtype, columns: int, options: str) -> None:
    labels = labels_for(8, columns, device)
    check(
        lambda x, **own: cross_entropy(x, labels, **own),
        labels,
        lambda: [(torch.randn(8, columns, device=device) * 3).to(dtype)],
        OPTIONS[options],
    )


@pairwise(
    {
        "dtype": DTYPES,
        ("rows", "columns", "features"): [
            (1, 1, 1), (9, 63, 100), pytest.param(300, 2000, 128, marks=pytest.mark.gpu),
        ],
        "options": OPTIONS.values(),
    }
)  # fmt: skip
def test_of_a_linear_layer(
    device: str,
    dtype: torch.dtype,
    rows: int,
    columns: int,
    features: int,
    options: dict[str, Any],
) -> None:
    labels = labels_for(rows, columns, device)

    def draw() -> list[Tensor]:
        bias = [] if options == {} else [torch.randn(columns, device=device)]
        weight = torch.randn(columns, features, device=device) * 0.5
        return [tensor.to(dtype) for tensor in (torch.randn(rows, features, device=device), weight, *bias)]

    draws = 8 if device == "cuda" else 1 if dtype == torch.float32 else 3
    check(lambda h, w, *b, **own: linear_cross_entropy(h, w, labels, *b, **own), labels, draw, options, draws)


@pairwise({"dtype": DTYPES, "summed_apart": [False, True], "reduction": ["mean", "none"]})
def test_several_chunks(
    device: str, dtype: torch.dtype, summed_apart: bool, reduction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        linear, "chunks_for", lambda *_: linear.Chunks(5 if summed_apart else 6, summed_apart)
    )
    # A vocabulary that cuBLAS wants padded, and one it takes as it is.
    columns = 33 if reduction == "mean" else 40
    labels = labels_for(12, columns, device)

    def draw() -> list[Tensor]:
        shapes = ((12, 30), (columns, 30), (columns,))
        return [torch.randn(shape, device=device).to(dtype) for shape in shapes]

    draws = 16 if device == "cuda" else 1 if dtype == torch.float32 else 3
    options = {"reduction": reduction, "z_loss": 0.01}
    check(lambda h, w, b, **own: linear_cross_entropy(h, w, labels, b, **own), labels, draw, options, draws)


def test_the_chunks_of_large_problems() -> None:
    """Few roundings of a 16-bit sum where the memory allows, a float32 sum beside it where not."""
    assert linear.chunks_for(100, 4096, torch.bfloat16) == linear.Chunks(1024, False)
    assert linear.chunks_for(8192, 4096, torch.bfloat16) == linear.Chunks(4096, False)
    assert linear.chunks_for(10000, 4096, torch.float16) == linear.Chunks(5120, False)
    assert linear.chunks_for(131072, 4096, torch.bfloat16) == linear.Chunks(4096, True)
    assert linear.chunks_for(131072, 4096, torch.float32) == linear.Chunks(2048, False)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_several_blocks(device: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "BLOCK_BYTES", 64)
    logits = (torch.randn(5, 100, device=device) * 3).to(dtype)
    logits[0] = torch.linspace(-9, 9, 100).to(dtype)  # the peak rises in every block
    logits[2, :70] = -torch.inf
    labels = torch.tensor([3, -100, 99, 50, 0], device=device)
    check(lambda x, **own: cross_entropy(x, labels, **own), labels, lambda: [logits], {})
    check(
        lambda x, **own: cross_entropy(x, labels[::2], **own),
        labels[::2],
        lambda: [logits[[0, 1, 3]]],
        EVERYTHING,
    )


@pytest.mark.parametrize("layout", ["transposed", "strided", "expanded"])
def test_any_strides(device: str, layout: str) -> None:
    torch.manual_seed(0)
    base = torch.randn(12, 40, device=device)
    rows = {"transposed": base.t()[:12], "strided": base[::2, ::3], "expanded": base[:1].expand(9, 40)}[
        layout
    ]
    labels = labels_for(2 * rows.shape[0], 12, device)[::2]
    assert not rows.is_contiguous()
    weight = torch.randn(rows.shape[1], 30, device=device).t()
    check(lambda x, **own: cross_entropy(x, labels, **own), labels, lambda: [rows], {})
    options: dict[str, Any] = {"softcap": 4.0, "backend": "triton"}
    ours = linear_cross_entropy(rows, weight, labels, **options)
    torch.testing.assert_close(
        ours, linear_cross_entropy(rows, weight, labels, **(options | {"backend": "torch"}))
    )


def test_no_rows(device: str) -> None:
    hidden = torch.ones(0, 5, device=device, requires_grad=True)
    weight = torch.ones(7, 5, device=device, requires_grad=True)
    labels = torch.ones(0, dtype=torch.int64, device=device)
    loss = linear_cross_entropy(hidden, weight, labels, reduction="sum", backend="triton")
    loss.backward()
    assert loss == 0 and weight.grad is not None and hidden.grad is not None and not weight.grad.any()
    assert linear_cross_entropy(hidden, weight, labels, reduction="none", backend="triton").shape == (0,)
    assert linear_cross_entropy(hidden, weight, labels, backend="triton").isnan()
    assert cross_entropy(hidden, labels, reduction="none", backend="triton").shape == (0,)


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_rows_ignored(device: str, dtype: torch.dtype) -> None:
    hidden = torch.ones(3, 5, device=device, dtype=dtype, requires_grad=True)
    weight = torch.ones(7, 5, device=device, dtype=dtype, requires_grad=True)
    loss = linear_cross_entropy(hidden, weight, torch.full((3,), -100, device=device), backend="triton")
    loss.backward()
    assert loss.isnan()
    assert weight.grad is not None and hidden.grad is not None
    assert not weight.grad.any() and not hidden.grad.any()


@pytest.mark.parametrize("label", [20, -1, 2**40])
def test_a_label_out_of_range_is_nan_in_its_row(device: str, label: int) -> None:
    logits = torch.randn(3, 20, device=device, requires_grad=True)
    labels = torch.tensor([4, label, -100], device=device)
    losses = cross_entropy(logits, labels, reduction="none", backend="triton")
    losses.sum().backward()
    assert losses.isnan().tolist() == [False, True, False]
    assert logits.grad is not None and logits.grad.isnan().any(1).tolist() == [False, True, False]


def test_the_backward_scales_in_place_and_a_retained_graph_in_copies(device: str) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(6, 8, device=device, requires_grad=True)
    weight = torch.randn(20, 8, device=device, requires_grad=True)
    labels = labels_for(6, 20, device)
    loss = linear_cross_entropy(hidden, weight, labels, backend="triton")
    node: Any = loss.grad_fn
    address = node.saved_tensors[2].data_ptr()
    first = torch.autograd.grad(loss * 3.0, weight, retain_graph=True)[0]
    assert first.data_ptr() != address
    (loss * 3.0).backward(retain_graph=True)
    (loss * -2.0).backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, first / 3.0)

    weight.grad = None
    loss = linear_cross_entropy(hidden, weight, labels, backend="triton")
    node = loss.grad_fn
    address = node.saved_tensors[2].data_ptr()
    del node
    (loss * 3.0).backward()
    assert weight.grad is not None and weight.grad.data_ptr() == address, "neither copied nor added"
    torch.testing.assert_close(weight.grad, first)


def test_what_needs_no_gradient_gets_none(device: str) -> None:
    hidden = torch.randn(6, 8, device=device, requires_grad=True)
    weight, labels = torch.randn(20, 8, device=device), labels_for(6, 20, device)
    linear_cross_entropy(hidden, weight, labels, backend="triton").backward()
    assert hidden.grad is not None and weight.grad is None
    with torch.no_grad():
        assert not linear_cross_entropy(hidden, weight, labels, backend="triton").requires_grad
    outputs = linear.linear_loss_op(
        hidden, weight, None, labels, torch.ones((), device=device), -100, 0.0, 0.0, 0.0, True, False, False
    )
    assert [output.numel() for output in outputs] == [1, 48, 0, 0]


def test_compiled_as_one_graph(device: str) -> None:
    torch.manual_seed(0)
    labels = labels_for(6, 20, device)

    def loss(hidden: Tensor, weight: Tensor) -> Tensor:
        own = linear_cross_entropy(hidden, weight, labels, backend="triton")
        return own + 2.0 * cross_entropy(hidden @ weight.t(), labels, reduction="sum", backend="triton")

    def gradients(function: Any) -> tuple[Tensor, ...]:
        torch.manual_seed(0)
        hidden = torch.randn(6, 8, device=device, requires_grad=True)
        weight = torch.randn(20, 8, device=device, requires_grad=True)
        out = function(hidden, weight)
        return out.detach(), *torch.autograd.grad(out, (hidden, weight))

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(gradients(compiled), gradients(loss))


def test_the_ops_as_torch_sees_them(device: str) -> None:
    """Schemas, fake implementations, autograd registrations and tracing agree."""
    hidden = torch.randn(6, 8, device=device, requires_grad=True)
    weight = torch.randn(20, 8, device=device, requires_grad=True)
    bias = torch.randn(20, device=device, requires_grad=True)
    labels = labels_for(6, 20, device)
    options = (-100, 0.1, 4.0, 0.01)
    logits = (hidden @ weight.t()).detach().requires_grad_()
    losses, log_sums = (output.detach() for output in kernel.cross_entropy_op(logits, labels, *options))
    torch.library.opcheck(kernel.cross_entropy_op, (logits, labels, *options))
    torch.library.opcheck(
        kernel.cross_entropy_backward_op, (losses, logits.detach(), labels, log_sums, *options)
    )
    torch.library.opcheck(linear.linear_losses_op, (hidden, weight, bias, labels, *options))
    plain = tuple(tensor.detach() for tensor in (hidden, weight, bias))
    torch.library.opcheck(
        linear.linear_losses_backward_op, (losses, *plain, labels, *options, True, True, False)
    )
    divisor = torch.ones((), device=device)
    torch.library.opcheck(
        linear.linear_loss_op, (hidden, weight, bias, labels, divisor, *options, True, True, True)
    )
    torch.library.opcheck(linear.rescale_op, ([plain[0], plain[1]], divisor))
