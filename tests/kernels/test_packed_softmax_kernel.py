"""The Triton softmax over packed sequences against float32 torch, on the interpreter or on a GPU."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from oxiformers_kernels.softmax import packed_softmax
from tests.kernels.support import DTYPES, assert_close_as_torch, device, poisoned_empty  # noqa: F401

kernel = pytest.importorskip("oxiformers_kernels.softmax.packed_kernel", reason="triton is not installed")

pytestmark = pytest.mark.usefixtures("poisoned_empty")


def check(x: Tensor, lengths: list[int]) -> None:
    """Forward and gradient of the kernel, of the twin in the same dtype, and of the twin in float32."""
    offsets = torch.tensor([0, *itertools.accumulate(lengths)], device=x.device)
    torch.manual_seed(1)
    slope = torch.randn(x.shape).to(x)

    def run(backend: str, dtype: torch.dtype) -> list[Tensor]:
        own = x.to(dtype).detach().requires_grad_()
        out = packed_softmax(own, offsets, backend=backend)  # type: ignore[arg-type]
        return [out.detach(), torch.autograd.grad((out * slope.to(dtype)).sum(), own)[0]]

    ours, torchs, truth = run("triton", x.dtype), run("torch", x.dtype), run("torch", torch.float32)
    for mine, plain, exact in zip(ours, torchs, truth, strict=True):
        assert_close_as_torch(mine, plain, exact)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 20)])
def test_forward_and_backward(device: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:  # noqa: F811
    torch.manual_seed(0)
    for lengths in ([5, 0, 63, 1, 100, 0], [2]):
        check((torch.randn(sum(lengths), *shape).to(device) * 3).to(dtype), lengths)


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [(), (12,), (64,), (300,)])
def test_long_sequences(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    lengths = [2000, 1, 0, 17, 9000, 300]
    check(torch.randn(sum(lengths), *shape).to("cuda").bfloat16(), lengths)


def test_a_sequence_in_several_steps(device: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(kernel, "tile_for", lambda n_columns, mean_length: kernel.Tile(8, 4, 1))
    torch.manual_seed(0)
    x = torch.randn(30, 6).to(device)
    x[:20, 0] = torch.linspace(-9, 9, 20)  # the peak rises in every step
    x[20:, 1] = -torch.inf
    check(x, [20, 10])
    offsets = torch.tensor([0, 20, 30], device=device)
    assert not packed_softmax(x, offsets, backend="triton")[20:, 1].any()


def test_any_strides(device: str) -> None:  # noqa: F811
    base = torch.randn(6, 20).to(device)
    for x in (base.t(), base.t()[::2, 1:4], base.t()[:, :1].expand(20, 6)):
        assert not x.is_contiguous()
        check(x, [x.shape[0] - 4, 4])


@pytest.mark.parametrize(("shape", "lengths"), [((0, 3), [0, 0]), ((4, 0), [4]), ((0,), [])])
def test_empty_shapes(device: str, shape: tuple[int, ...], lengths: list[int]) -> None:  # noqa: F811
    check(torch.randn(shape).to(device), lengths)


def test_the_ops_as_torch_sees_them(device: str) -> None:  # noqa: F811
    """Schema, fake implementation, autograd registration and tracing agree."""
    x = torch.randn(9, 3, device=device, requires_grad=True)
    offsets = torch.tensor([0, 4, 9], device=device)
    torch.library.opcheck(kernel.packed_softmax_op, (x, offsets))
    torch.library.opcheck(
        kernel.packed_softmax_backward_op, (x.detach(), x.detach(), offsets, x[:2].detach())
    )
