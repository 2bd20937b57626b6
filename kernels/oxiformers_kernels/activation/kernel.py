"""SwiGLU and GeGLU in Triton: one pass forward, one backward that computes the activation again."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from oxiformers_kernels.device import on

SILU, GELU_TANH, GELU_ERF = 0, 1, 2

# Columns of a tile, and its elements: 16 a thread, two 16-byte loads of each half-precision input.
BLOCK_COLUMNS, TILE_ELEMENTS, WARPS = 1024, 2048, 4


@triton.jit
def _sigmoid(x):
    """1 / (1 + exp(-x)), of an exponential that never overflows."""
    small = tl.exp(-tl.abs(x))
    return tl.where(x >= 0.0, 1.0, small) / (1.0 + small)


@triton.jit
def _activated(x, KIND: tl.constexpr):
    """The activation of float32 `x`, and its derivative."""
    if KIND == 0:
        share = _sigmoid(x)
        derivative = share * (1.0 + x * (1.0 - share))
    elif KIND == 1:
        # (1 + tanh(z)) / 2 is sigmoid(2 z), which loses nothing where tanh comes near to -1.
        square = x * x
        share = _sigmoid(1.5957691216057308 * x * (1.0 + 0.044715 * square))
        derivative = share + x * share * (1.0 - share) * (1.5957691216057308 * (1.0 + 0.134145 * square))
    else:
        share = 0.5 * (1.0 + tl.erf(x * 0.7071067811865476))
        derivative = share + x * 0.3989422804014327 * tl.exp(-0.5 * x * x)
    return x * share, derivative


@triton.jit
def _tile(n_rows, n_columns, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Rows, columns and mask of this program's tile; column blocks run fastest."""
    blocks = tl.cdiv(n_columns, BLOCK)
    program = tl.program_id(0)
    rows = (program // blocks).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    columns = (program % blocks) * BLOCK + tl.arange(0, BLOCK)[None, :]
    return rows, columns, (rows < n_rows) & (columns < n_columns)


@triton.jit
def _load(x, bias, offsets, columns, inside, n_columns):
    """x + bias, rounded to the dtype of x, in float32."""
    values = tl.load(x + offsets, mask=inside, other=0.0).to(tl.float32)
    if bias is not None:
        values += tl.load(bias + columns, mask=columns < n_columns, other=0.0).to(tl.float32)
        values = values.to(x.dtype.element_ty).to(tl.float32)
    return values


@triton.jit
def _forward(
    gate, up, gate_bias, up_bias, out, n_rows, n_columns, gate_row, up_row,
    KIND: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out [n_rows, n_columns] contiguous."""
    rows, columns, inside = _tile(n_rows, n_columns, ROWS, BLOCK)
    gates = _load(gate, gate_bias, rows * gate_row + columns, columns, inside, n_columns)
    ups = _load(up, up_bias, rows * up_row + columns, columns, inside, n_columns)
    activated, _ = _activated(gates, KIND)
    activated = activated.to(out.dtype.element_ty).to(tl.float32)
    tl.store(out + rows * n_columns + columns, (activated * ups).to(out.dtype.element_ty), mask=inside)


@triton.jit
def _backward(
    grad, gate, up, gate_bias, up_bias, grad_gate, grad_up, n_rows, n_columns, grad_row, gate_row, up_row,
    KIND: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """grad_gate, grad_up [n_rows, n_columns] contiguous."""
    rows, columns, inside = _tile(n_rows, n_columns, ROWS, BLOCK)
    g = tl.load(grad + rows * grad_row + columns, mask=inside, other=0.0).to(tl.float32)
    gates = _load(gate, gate_bias, rows * gate_row + columns, columns, inside, n_columns)
    ups = _load(up, up_bias, rows * up_row + columns, columns, inside, n_columns)
    activated, derivative = _activated(gates, KIND)
    places = rows * n_columns + columns
    tl.store(grad_up + places, (g * activated).to(grad_up.dtype.element_ty), mask=inside)
    tl.store(grad_gate + places, (g * ups * derivative).to(grad_gate.dtype.element_ty), mask=inside)


class Tile(NamedTuple):
    """The shape of one program's work."""

    rows: int
    columns: int


def tile_for(n_columns: int) -> Tile:
    """Blocks of BLOCK_COLUMNS, or whole narrow rows, as many as make TILE_ELEMENTS."""
    columns = min(triton.next_power_of_2(n_columns), BLOCK_COLUMNS)
    return Tile(TILE_ELEMENTS // columns, columns)


def swiglu(gate: Tensor, up: Tensor, gate_bias: Tensor | None, up_bias: Tensor | None) -> Tensor:
    """As `ref.swiglu`, for float16, bfloat16 and float32."""
    result: Tensor = gated_op(gate, up, gate_bias, up_bias, SILU)
    return result


def geglu(
    gate: Tensor, up: Tensor, gate_bias: Tensor | None, up_bias: Tensor | None, approximate: str
) -> Tensor:
    """As `ref.geglu`, for float16, bfloat16 and float32."""
    kind = GELU_TANH if approximate == "tanh" else GELU_ERF
    result: Tensor = gated_op(gate, up, gate_bias, up_bias, kind)
    return result


@torch.library.custom_op("oxiformers_kernels::gated_activation", mutates_args=())
def gated_op(gate: Tensor, up: Tensor, gate_bias: Tensor | None, up_bias: Tensor | None, kind: int) -> Tensor:
    """The forward launch."""
    out = _output(gate, up, gate_bias, up_bias, kind)
    if out.numel() == 0:
        return out
    gates, ups = _rows(gate), _rows(up)
    n_rows, n_columns = gates.shape
    tile = tile_for(n_columns)
    with on(gate.device):
        _forward[(triton.cdiv(n_rows, tile.rows) * triton.cdiv(n_columns, tile.columns),)](
            gates, ups, _contiguous(gate_bias), _contiguous(up_bias), out, n_rows, n_columns, gates.stride(0),
            ups.stride(0), KIND=kind, ROWS=tile.rows, BLOCK=tile.columns, num_warps=WARPS,
        )  # fmt: skip
    return out


@torch.library.custom_op("oxiformers_kernels::gated_activation_backward", mutates_args=())
def gated_backward_op(
    grad: Tensor, gate: Tensor, up: Tensor, gate_bias: Tensor | None, up_bias: Tensor | None, kind: int
) -> tuple[Tensor, Tensor]:
    """The backward launch: the gradients of gate and up."""
    grad_gate, grad_up = _gradients(grad, gate, up, gate_bias, up_bias, kind)
    if gate.numel() == 0:
        return grad_gate, grad_up
    grads, gates, ups = _rows(grad), _rows(gate), _rows(up)
    n_rows, n_columns = gates.shape
    tile = tile_for(n_columns)
    with on(gate.device):
        _backward[(triton.cdiv(n_rows, tile.rows) * triton.cdiv(n_columns, tile.columns),)](
            grads, gates, ups, _contiguous(gate_bias), _contiguous(up_bias), grad_gate, grad_up, n_rows, n_columns,
            grads.stride(0), gates.stride(0), ups.stride(0),
            KIND=kind, ROWS=tile.rows, BLOCK=tile.columns, num_warps=WARPS,
        )  # fmt: skip
    return grad_gate, grad_up


def _output(gate: Tensor, up: Tensor, gate_bias: Tensor | None, up_bias: Tensor | None, kind: int) -> Tensor:
    return gate.new_empty(gate.shape)


def _gradients(
    grad: Tensor, gate: Tensor, up: Tensor, gate_bias: Tensor | None, up_bias: Tensor | None, kind: int
) -> tuple[Tensor, Tensor]:
    return gate.new_empty(gate.shape), up.new_empty(up.shape)


gated_op.register_fake(_output)
gated_backward_op.register_fake(_gradients)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.kind = inputs
    ctx.save_for_backward(*tensors)


def _gated_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    gate, up, gate_bias, up_bias = ctx.saved_tensors
    gradients = gated_backward_op(grad, gate, up, gate_bias, up_bias, ctx.kind)
    of_biases = [
        gradient.sum_to_size(bias.shape).to(bias.dtype) if needed else None
        for gradient, bias, needed in zip(
            gradients, (gate_bias, up_bias), ctx.needs_input_grad[2:4], strict=True
        )
    ]
    of_inputs = [
        gradient if needed else None
        for gradient, needed in zip(gradients, ctx.needs_input_grad[:2], strict=True)
    ]
    return (*of_inputs, *of_biases, None)


gated_op.register_autograd(_gated_backward, setup_context=_setup_context)


def _rows(x: Tensor) -> Tensor:
    """[..., D] as [rows, D] with adjacent columns: a view where there is one."""
    rows = x.reshape(-1, x.shape[-1])
    return rows if rows.stride(-1) == 1 else rows.contiguous()


def _contiguous(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.contiguous()
