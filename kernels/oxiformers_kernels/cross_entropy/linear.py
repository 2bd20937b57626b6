"""Cross entropy of a linear layer without its [T, V] logits: a few chunks of rows, each multiplied, then overwritten.

The logits of a chunk become their own gradient in place, and are multiplied into the gradients of the layer at once:
three matrix products in all, as many as with full logits. As in Cut Cross-Entropy (Wijmans et al., arXiv:2411.09009)
the logits are never whole; here the products are cuBLAS's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from oxiformers_kernels.cross_entropy import kernel, ref

# Rows of a chunk: enough for products at full rate.
LEAST_ROWS, FLOAT32_ROWS, MANY_ROWS = 1024, 2048, 4096
# Roundings of a gradient of the weight to 16 bits: two keep its error below twice that of one product.
ROUNDINGS = 2
ROW_MULTIPLE = 128


class Chunks(NamedTuple):
    """Rows of a chunk, and whether the gradient of the weight is summed in float32 beside it."""

    rows: int
    summed_apart: bool


def chunks_for(n_rows: int, n_features: int, dtype: torch.dtype) -> Chunks:
    """The least memory that keeps products at full rate, and errors near those of a single product."""
    if dtype == torch.float32:
        return Chunks(FLOAT32_ROWS, False)
    rows = max(LEAST_ROWS, _multiple(-(-n_rows // ROUNDINGS)))
    # Bytes for every row of the weight: a sum in float32 beside it against the further rows of a chunk.
    if 2 * (rows - MANY_ROWS) > 4 * n_features:
        return Chunks(MANY_ROWS, True)
    return Chunks(rows, False)


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    ignore_index: int,
    label_smoothing: float,
    softcap: float,
    z_loss: float,
    reduction: str,
    num_items: int | Tensor | None,
) -> Tensor:
    """As `ref.linear_cross_entropy` and `ref.reduce`; a label out of range gives NaN."""
    options = (ignore_index, label_smoothing, softcap, z_loss)
    if reduction == "none":
        losses: Tensor = linear_losses_op(hidden, weight, bias, labels, *options)
        return losses
    divisor = ref.divisor(labels, ignore_index, reduction, num_items)
    learning = torch.is_grad_enabled()
    needed = [learning and tensor is not None and tensor.requires_grad for tensor in (hidden, weight, bias)]
    loss: Tensor = linear_loss_op(hidden, weight, bias, labels, divisor, *options, *needed)[0]
    return loss


@torch.library.custom_op("oxiformers_kernels::linear_loss", mutates_args=())
def linear_loss_op(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    divisor: Tensor,
    ignore_index: int,
    label_smoothing: float,
    softcap: float,
    z_loss: float,
    need_hidden: bool,
    need_weight: bool,
    need_bias: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The sum of the losses over `divisor`, a float32 scalar, and the needed gradients (the others are empty).

    The gradients are those of the loss; in float16 those of a power of two times the loss (`_power_of_two`).
    """
    scale = _reciprocal(divisor)
    if hidden.dtype == torch.float16:
        scale = scale / _power_of_two(scale)
    needed = (need_hidden, need_weight, need_bias)
    options = kernel.Options(ignore_index, label_smoothing, softcap, z_loss)
    losses, grad_hidden, grad_weight, grad_bias = _run(
        hidden, weight, bias, labels, scale if any(needed) else None, needed, options
    )
    return losses.sum() / divisor, grad_hidden, grad_weight, grad_bias


@torch.library.custom_op("oxiformers_kernels::linear_losses", mutates_args=())
def linear_losses_op(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    ignore_index: int,
    label_smoothing: float,
    softcap: float,
    z_loss: float,
) -> Tensor:
    """The losses of the rows, `[T]` in float32; the backward multiplies the logits again."""
    options = kernel.Options(ignore_index, label_smoothing, softcap, z_loss)
    return _run(hidden, weight, bias, labels, None, (False, False, False), options)[0]


@torch.library.custom_op("oxiformers_kernels::linear_losses_backward", mutates_args=())
def linear_losses_backward_op(
    grad: Tensor,
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    ignore_index: int,
    label_smoothing: float,
    softcap: float,
    z_loss: float,
    need_hidden: bool,
    need_weight: bool,
    need_bias: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The needed gradients (the others are empty) from those of the losses, `[T]`."""
    options = kernel.Options(ignore_index, label_smoothing, softcap, z_loss)
    _, *grads = _run(hidden, weight, bias, labels, grad, (need_hidden, need_weight, need_bias), options)
    return grads[0], grads[1], grads[2]


@torch.library.custom_op("oxiformers_kernels::rescale_", mutates_args={"gradients"})
def rescale_op(gradients: list[Tensor], factor: Tensor) -> None:
    """Multiplies contiguous tensors by a scalar tensor, in place; costs next to nothing where that is 1."""
    for gradient in gradients:
        kernel.launch_rescale(gradient, factor)


def _run(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    scale: Tensor | None,
    needed: tuple[bool, bool, bool],
    options: kernel.Options,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The losses `[T]` and, where `scale` (a scalar or `[T]`) is given, the needed gradients of scale * losses."""
    (n_rows, n_features), n_columns = hidden.shape, weight.shape[0]
    chunks = chunks_for(n_rows, n_features, hidden.dtype)
    bias = None if bias is None else bias.contiguous()
    losses, log_sums = hidden.new_empty(2, n_rows, dtype=torch.float32)
    # Rows of whole 128-byte lines, so that the products' accesses and the kernel's are aligned.
    readable = _multiple(n_columns)
    # cuBLAS reads at full width where the sizes of a product, not only its strides, are multiples of 16 bytes: a few
    # words of zeros make them so. Their logits are never looked at, their gradients 0.
    n_words = n_columns if n_columns * hidden.element_size() % kernel.ACCESS_BYTES == 0 else readable
    words = weight if n_words == n_columns else F.pad(weight, (0, 0, 0, n_words - n_columns))
    grad_hidden, grad_words, grad_bias = _gradients(hidden, words, bias, needed)
    grad_weight = grad_words[:n_columns]
    words_sum = torch.zeros_like(grad_words, dtype=torch.float32) if chunks.summed_apart else None
    bias_sum = torch.zeros_like(grad_bias, dtype=torch.float32)
    if n_rows == 0:
        grad_words.zero_()
    buffer = hidden.new_empty(min(chunks.rows, n_rows), readable)
    for start in range(0, n_rows, chunks.rows):
        rows = slice(start, min(start + chunks.rows, n_rows))
        part = hidden[rows]
        factor = buffer[: part.shape[0], :n_words]
        logits = factor[:, :n_columns]
        torch.mm(part, words.t(), out=factor)
        row_scale = scale[rows] if scale is not None and scale.dim() == 1 else scale
        kernel.launch_rows(
            logits, bias, labels[rows], losses[rows], log_sums[rows], row_scale,
            None if scale is None else logits, options, forward=True, readable=readable,
        )  # fmt: skip
        if needed[0]:
            torch.mm(factor, words, out=grad_hidden[rows])
        if needed[1]:
            if start == 0 or words_sum is not None:
                torch.mm(factor.t(), part, out=grad_words)
            else:
                grad_words.addmm_(factor.t(), part)
            if words_sum is not None:
                words_sum += grad_words
        if needed[2]:
            bias_sum += logits.sum(dim=0, dtype=torch.float32)
    if words_sum is not None:
        grad_words.copy_(words_sum)
    return losses, grad_hidden, grad_weight, grad_bias.copy_(bias_sum)


def _gradients(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, needed: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    shapes = (hidden.shape, weight.shape, None if bias is None else bias.shape)
    tensors = [
        torch.empty(shape if need and shape else (0,), dtype=hidden.dtype, device=hidden.device)
        for shape, need in zip(shapes, needed, strict=True)
    ]
    return tensors[0], tensors[1], tensors[2]


@linear_loss_op.register_fake
def _(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    divisor: Tensor,
    ignore_index: int,
    label_smoothing: float,
    softcap: float,
    z_loss: float,
    need_hidden: bool,
    need_weight: bool,
    need_bias: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    grads = _gradients(hidden, weight, bias, (need_hidden, need_weight, need_bias))
    return torch.empty_like(divisor), *grads


@linear_losses_op.register_fake
def _(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    ignore_index: int,
    label_smoothing: float,
    softcap: float,
    z_loss: float,
) -> Tensor:
    return hidden.new_empty(hidden.shape[0], dtype=torch.float32)


@linear_losses_backward_op.register_fake
def _(
    grad: Tensor,
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    ignore_index: int,
    label_smoothing: float,
    softcap: float,
    z_loss: float,
    need_hidden: bool,
    need_weight: bool,
    need_bias: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return _gradients(hidden, weight, bias, (need_hidden, need_weight, need_bias))


@rescale_op.register_fake
def _(gradients: list[Tensor], factor: Tensor) -> None:
    return None


def _setup_loss(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    hidden, divisor, ctx.needed = inputs[0], inputs[4], inputs[-3:]
    _, *grads = output
    ctx.mark_non_differentiable(*grads)
    ctx.in_float16 = hidden.dtype == torch.float16
    ctx.save_for_backward(divisor, *grads)


def _loss_backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    divisor, *saved = ctx.saved_tensors
    factor = grad * _power_of_two(_reciprocal(divisor)) if ctx.in_float16 else grad
    grads = (
        gradient if need else None
        for gradient, need in zip(_rescaled(saved, factor), ctx.needed, strict=True)
    )
    return *grads, *(None,) * 9


def _rescaled(gradients: list[Tensor], factor: Tensor) -> list[Tensor]:
    """The gradients times factor: they themselves, where nobody will ask for them again."""
    if any(type(gradient) is not Tensor for gradient in gradients):
        # Traced by torch.compile, whose graphs mutate nothing that the forward has made.
        return [(gradient.float() * factor).to(gradient.dtype) for gradient in gradients]
    if torch._C._autograd._get_current_graph_task_keep_graph():
        gradients = [gradient.clone() for gradient in gradients]
    rescale_op(gradients, factor)
    return gradients


def _setup_losses(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    hidden, weight, bias, labels, *ctx.options = inputs
    ctx.save_for_backward(hidden, weight, bias, labels)


def _losses_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    hidden, weight, bias, labels = ctx.saved_tensors
    needed = ctx.needs_input_grad[:3]
    grads = linear_losses_backward_op(grad, hidden, weight, bias, labels, *ctx.options, *needed)
    return *(each if need else None for each, need in zip(grads, needed, strict=True)), *(None,) * 5


linear_loss_op.register_autograd(_loss_backward, setup_context=_setup_loss)
linear_losses_op.register_autograd(_losses_backward, setup_context=_setup_losses)


def _reciprocal(divisor: Tensor) -> Tensor:
    """1/divisor; 1 for 0, which is where every row is ignored, so that gradients there are 0 and not NaN."""
    return torch.where(divisor == 0, 1.0, divisor.reciprocal())


def _power_of_two(scale: Tensor) -> Tensor:
    """The power of two between scale and 2 * scale.

    In float16 it is left to the backward, where it rounds nothing: with it, small gradients of the logits would be 0.
    """
    return torch.ldexp(torch.ones_like(scale), torch.frexp(scale).exponent)


def _multiple(size: int) -> int:
    return -(-size // ROW_MULTIPLE) * ROW_MULTIPLE
