"""Attention's launches and the operators torch sees: forward, backward, and how they hang together."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from oxiformers_kernels.attention import table
from oxiformers_kernels.attention.backward_kernel import attention_backward_keys, attention_delta
from oxiformers_kernels.attention.backward_query_kernel import attention_backward_queries
from oxiformers_kernels.attention.forward_kernel import attention_forward
from oxiformers_kernels.attention.ref import Biases, Options, dropout_threshold
from oxiformers_kernels.attention.scores_kernel import Kind
from oxiformers_kernels.attention.tiles_kernel import PLAN_COLUMNS, plan_tiles
from oxiformers_kernels.device import capability, dot_settings, on
from oxiformers_kernels.dispatch import interpreting

#: Sequences a program of the plan ranks, and how many it compares them with at a time.
PLAN_SEQUENCES, PLAN_CHUNK = 32, 128

#: The size of a bias along what all share: as long as asked for.
_NO_LIMIT = 2**31 - 1


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor | None,
    cu_seqlens_k: Tensor | None,
    biases: Biases,
    options: Options,
    seed: Tensor | None,
    deterministic: bool,
) -> tuple[Tensor, Tensor]:
    """As `ref.attention`, for float16, bfloat16 and float32, with sums in float32."""
    if deterministic and biases.bias is not None and biases.bias.requires_grad:
        # Each score then has an element of its own, and torch adds up what was broadcast, always in one order.
        batch = q.shape[0] if cu_seqlens_q is None else cu_seqlens_q.shape[0] - 1
        biases = biases._replace(bias=biases.bias.expand(batch, q.shape[-2], -1, -1))
    out, lse = attention_op(q, k, v, cu_seqlens_q, cu_seqlens_k, *biases, seed, *options, deterministic)
    if cu_seqlens_q is None:
        lse = lse.view(q.shape[2], q.shape[0], q.shape[1]).transpose(0, 1)
    return out, lse


class _Call(NamedTuple):
    """The tensors of a call and the arguments that all kernels take from them."""

    q: Tensor
    k: Tensor
    v: Tensor
    cu_seqlens_q: Tensor | None
    cu_seqlens_k: Tensor | None
    biases: Biases
    options: Options
    seed: Tensor | None
    shape: table.Shape

    @property
    def packed(self) -> bool:
        return self.cu_seqlens_q is not None

    @property
    def tokens(self) -> int:
        return self.q.numel() // (self.q.shape[-2] * self.q.shape[-1])

    @property
    def sequences(self) -> int:
        return self.q.shape[0] if self.cu_seqlens_q is None else self.cu_seqlens_q.shape[0] - 1

    @property
    def kind(self) -> Kind:
        biases, options = self.biases, self.options
        precision, upcast = dot_settings(self.q.dtype)
        return Kind(
            left=options.left >= 0,
            right=options.right >= 0,
            softcap=options.softcap > 0,
            alibi=biases.alibi_slopes is not None,
            distance=biases.distance_bias is not None,
            bias=biases.bias is not None,
            content=biases.content_to_position is not None,
            position=biases.position_to_content is not None,
            dropout=options.dropout > 0,
            precision=precision,
            upcast=upcast,
        )

    def slots(self, side: Tensor, block: int) -> int:
        """How many tiles of `block` tokens the sequences of a side have at most; known without their lengths."""
        if not self.packed:
            tiles: int = triton.cdiv(side.shape[1], block)
            return side.shape[0] * tiles
        return side.shape[0] // block + self.sequences

    def plan(self, own: Tensor | None, other: Tensor | None, slots: int, block: int) -> Tensor:
        """Which sequence each slot works on; any tensor where the sequences are equally long."""
        if own is None or other is None:
            return self.q
        plan = torch.empty(1 + slots, PLAN_COLUMNS, dtype=torch.int32, device=self.q.device)
        grid = (triton.cdiv(self.sequences, PLAN_SEQUENCES),)
        plan_tiles[grid](
            own,
            other,
            plan,
            self.sequences,
            BLOCK=block,
            SEQUENCES=PLAN_SEQUENCES,
            CHUNK=PLAN_CHUNK,
            num_warps=4,
        )
        return plan

    def arguments(self) -> dict[str, Any]:
        """What forward and backward kernels take alike, by name."""
        q, biases, options = self.q, self.biases, self.options
        heads, kv_heads = q.shape[-2], self.k.shape[-2]
        bias = biases.bias
        content, position, index = biases[3:]
        columns = max(16, triton.next_power_of_2(q.shape[-1]))
        v_columns = max(16, triton.next_power_of_2(self.v.shape[-1]))
        strides = {
            f"{name}_{axis}": stride
            for name, side in (
                ("q", q),
                ("k", self.k),
                ("v", self.v),
                ("content", content),
                ("position", position),
            )
            for axis, stride in zip(("batch", "token", "head"), _strides(side), strict=True)
        }
        return {
            "q": q, "k": self.k, "v": self.v,
            "table": q if biases.distance_bias is None else biases.distance_bias,
            "bias": q if bias is None else bias,
            "content": q if content is None else content,
            "position": q if position is None else position,
            "index": q if index is None else index.to(torch.int32).contiguous(),
            "index_reach": 0 if index is None else (index.shape[0] - 1) // 2,
            "slopes": q if biases.alibi_slopes is None else biases.alibi_slopes.contiguous(),
            "seeds": q if self.seed is None else self.seed,
            "scale": options.scale, "softcap": options.softcap or 1.0,
            "keep_share": 1.0 - options.dropout, "threshold": dropout_threshold(options.dropout),
            "reach": 0 if biases.distance_bias is None else (biases.distance_bias.shape[1] - 1) // 2,
            "left": options.left, "right": options.right,
            "group": heads // kv_heads, "n_tokens": self.tokens, "n_sequences": self.sequences,
            "query_length": 0 if self.packed else q.shape[1],
            "key_length": 0 if self.packed else self.k.shape[1],
            **strides,
            **_bias_arguments("bias", bias),
            "bias_queries": _NO_LIMIT if bias is None or bias.shape[2] == 1 else bias.shape[2],
            "bias_keys": _NO_LIMIT if bias is None or bias.shape[3] == 1 else bias.shape[3],
            "SIZE": q.shape[-1], "V_SIZE": self.v.shape[-1], "COLUMNS": columns, "V_COLUMNS": v_columns,
            "PACKED": self.packed, "KIND": self.kind,
        }  # fmt: skip


def _call(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor | None,
    cu_seqlens_k: Tensor | None,
    biases: Biases,
    options: Options,
    seed: Tensor | None,
) -> _Call:
    q, k, v = (side if side.stride(-1) == 1 else side.contiguous() for side in (q, k, v))
    biases = _readable(biases)
    batch, tokens = (
        (q.shape[0], q.shape[1]) if cu_seqlens_q is None else (cu_seqlens_q.shape[0] - 1, q.shape[0])
    )
    shape = table.Shape(
        columns=triton.next_power_of_2(max(q.shape[-1], v.shape[-1], 16)),
        float32=q.dtype == torch.float32,
        biased=options.softcap > 0 or any(bias is not None for bias in biases),
        disentangled=biases.position_index is not None,
        dropout=options.dropout > 0,
        typical=tokens if cu_seqlens_q is None else tokens // max(batch, 1),
        hopper=capability(q.device)[0] in (9, 10),
    )
    return _Call(q, k, v, cu_seqlens_q, cu_seqlens_k, biases, options, seed, shape)


def _readable(biases: Biases) -> Biases:
    """As the kernels read them; their gradients then lie alike."""
    table = biases.distance_bias
    return biases._replace(
        distance_bias=None if table is None else table.contiguous(),
        content_to_position=_dense(biases.content_to_position),
        position_to_content=_dense(biases.position_to_content),
    )


def _dense(products: Tensor | None) -> Tensor | None:
    """Products with positions: in any order of axes, but without gaps."""
    if products is None or products.stride(-1) != 1:
        return None if products is None else products.contiguous()
    without_gaps = torch.empty_like(products, device="meta").stride() == products.stride()
    return products if without_gaps else products.contiguous()


def _strides(side: Tensor | None) -> tuple[int, int, int]:
    """Of batch, token and head; packed tokens have no batch."""
    if side is None:
        return 0, 0, 0
    batch = 0 if side.dim() == 3 else side.stride(0)
    return batch, side.stride(-3), side.stride(-2)


def _bias_arguments(name: str, bias: Tensor | None) -> dict[str, int]:
    """The strides of a dense bias or of its gradient, 0 along what all share."""
    strides = (
        [0] * 4
        if bias is None
        else [0 if size == 1 else stride for size, stride in zip(bias.shape, bias.stride(), strict=True)]
    )
    return {
        f"{name}_{axis}": stride
        for axis, stride in zip(("batch", "head", "query", "key"), strides, strict=True)
    }


def _blocks(side: Tensor, rows: int, columns: int) -> Any:
    """A 16-bit tensor as the copy engine of a Hopper GPU reads it, `[tokens, H * D]`; None where it cannot."""
    if interpreting() or side.element_size() != 2 or side.shape[-1] != columns or side.numel() == 0:
        return None
    batch, token, head = _strides(side)
    adjacent = head == columns or side.shape[-2] == 1
    rectangular = side.dim() == 3 or side.shape[0] == 1 or batch == side.shape[1] * token
    if not adjacent or not rectangular or side.data_ptr() % 16 or token * side.element_size() % 16:
        return None
    tokens = side.numel() // (side.shape[-2] * columns)
    return TensorDescriptor(side, [tokens, side.shape[-2] * columns], [token, 1], [rows, columns])


def _key_tiles(call: _Call, tile: table.Tile, arguments: dict[str, Any]) -> dict[str, Any]:
    """Keys and values as the copy engine reads them, and whether it does."""
    if call.shape.hopper:
        k_tiles = _blocks(call.k, tile.keys, arguments["COLUMNS"])
        v_tiles = _blocks(call.v, tile.keys, arguments["V_COLUMNS"])
        if k_tiles is not None and v_tiles is not None:
            return {"k_tiles": k_tiles, "v_tiles": v_tiles, "TMA": True}
    return {"k_tiles": call.k, "v_tiles": call.v, "TMA": False}


@torch.library.custom_op("oxiformers_kernels::attention", mutates_args=())
def attention_op(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor | None,
    cu_seqlens_k: Tensor | None,
    alibi_slopes: Tensor | None,
    distance_bias: Tensor | None,
    bias: Tensor | None,
    content_to_position: Tensor | None,
    position_to_content: Tensor | None,
    position_index: Tensor | None,
    seed: Tensor | None,
    scale: float,
    left: int,
    right: int,
    softcap: float,
    dropout: float,
    deterministic: bool,
) -> tuple[Tensor, Tensor]:
    """The forward launch: out `[T, H, Dv]` or `[B, S, H, Dv]`, and the log-sum-exp `[H, T]`."""
    call = _call(
        q, k, v, cu_seqlens_q, cu_seqlens_k,
        Biases(alibi_slopes, distance_bias, bias, content_to_position, position_to_content, position_index),
        Options(scale, left, right, softcap, dropout), seed,
    )  # fmt: skip
    heads = q.shape[-2]
    out = torch.empty(*q.shape[:-1], v.shape[-1], dtype=q.dtype, device=q.device)
    lse = torch.empty(heads, call.tokens, dtype=torch.float32, device=q.device)
    if lse.numel() == 0:
        return out, lse
    tile = table.forward_tile(call.shape)
    slots = call.slots(call.q, tile.queries)
    arguments = call.arguments()
    tiles = _key_tiles(call, tile, arguments)
    with on(q.device):
        attention_forward[(slots * heads,)](
            out=out, lse=lse, **tiles,
            plan=call.plan(cu_seqlens_q, cu_seqlens_k, slots, tile.queries), heads=heads,
            out_token=heads * v.shape[-1], out_head=v.shape[-1],
            QUERIES=tile.queries, KEYS=tile.keys, num_warps=tile.warps, num_stages=tile.stages, **arguments,
        )  # fmt: skip
    return out, lse


@attention_op.register_fake
def _(q, k, v, *_):
    tokens = q.shape[0] if q.dim() == 3 else q.shape[0] * q.shape[1]
    return q.new_empty(*q.shape[:-1], v.shape[-1]), q.new_empty(q.shape[-2], tokens, dtype=torch.float32)


@torch.library.custom_op("oxiformers_kernels::attention_backward", mutates_args=())
def attention_backward_op(
    grad: Tensor,
    lse_grad: Tensor | None,
    out: Tensor,
    lse: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor | None,
    cu_seqlens_k: Tensor | None,
    alibi_slopes: Tensor | None,
    distance_bias: Tensor | None,
    bias: Tensor | None,
    content_to_position: Tensor | None,
    position_to_content: Tensor | None,
    position_index: Tensor | None,
    seed: Tensor | None,
    scale: float,
    left: int,
    right: int,
    softcap: float,
    dropout: float,
    deterministic: bool,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The backward launches: gradients of q, k and v, and float32 ones of `_graded` biases, empty if not wanted."""
    call = _call(
        q, k, v, cu_seqlens_q, cu_seqlens_k,
        Biases(alibi_slopes, distance_bias, bias, content_to_position, position_to_content, position_index),
        Options(scale, left, right, softcap, dropout), seed,
    )  # fmt: skip
    heads, device = q.shape[-2], q.device
    dq = _like(q)
    # Without queries no program writes what the keys get.
    dk, dv = (_like(side) if lse.numel() else torch.zeros_like(side) for side in (k, v))
    grads = [
        torch.zeros_like(tensor, dtype=torch.float32) if tensor is not None and needed else None
        for tensor, needed in zip(_graded(call.biases), wanted, strict=True)
    ]
    table_grad = grads[0]
    if table_grad is not None and deterministic:
        # A row for each program that adds to it, summed below.
        slots = call.slots(call.q, table.backward_queries_tile(call.shape).queries)
        table_grad = torch.zeros(heads, slots, table_grad.shape[1], device=device)
    if lse.numel():
        grad = grad.reshape(call.tokens, heads, v.shape[-1])
        grad = grad if grad.stride(-1) == 1 else grad.contiguous()
        with on(device):
            arguments = call.arguments() | {
                "grad": grad, "grad_token": grad.stride(0), "grad_head": grad.stride(1),
                "lse": lse, "delta": _delta(grad, out, lse, lse_grad), "PRIVATE": deterministic,
            }  # fmt: skip
            if k.numel():
                _backward_keys(call, arguments, dk, dv, grads[3])
            _backward_queries(call, arguments, dq, table_grad, *grads[1:3])
    if table_grad is not None and deterministic:
        grads[0] = table_grad.sum(1)
    first, second, third, fourth = (
        torch.zeros(0, device=device) if found is None else found for found in grads
    )
    return dq, dk, dv, first, second, third, fourth


def _like(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)


def _delta(grad: Tensor, out: Tensor, lse: Tensor, lse_grad: Tensor | None) -> Tensor:
    tokens, heads, size = grad.shape
    delta, columns = torch.empty_like(lse), max(16, triton.next_power_of_2(size))
    rows = max(1, 4096 // columns)
    attention_delta[(triton.cdiv(tokens, rows) * heads,)](
        out, grad, lse if lse_grad is None else lse_grad.contiguous(), delta, tokens, heads, size,
        heads * size, size, grad.stride(0), grad.stride(1),
        ROWS=rows, COLUMNS=columns, LSE_GRAD=lse_grad is not None, num_warps=4,
    )  # fmt: skip
    return delta


def _backward_keys(
    call: _Call, arguments: dict[str, Any], dk: Tensor, dv: Tensor, position_grad: Tensor | None
) -> None:
    tile, kv_heads = table.backward_keys_tile(call.shape), dk.shape[-2]
    slots = call.slots(call.k, tile.keys)
    q_tiles = grad_tiles = None
    if call.shape.hopper:
        q_tiles = _blocks(call.q, tile.queries, arguments["COLUMNS"])
        grad_tiles = _blocks(arguments["grad"], tile.queries, arguments["V_COLUMNS"])
    tma = q_tiles is not None and grad_tiles is not None
    attention_backward_keys[(slots * kv_heads,)](
        dk=dk, dv=dv, position_grad=position_grad,
        q_tiles=q_tiles if tma else call.q, grad_tiles=grad_tiles if tma else call.q, TMA=tma,
        plan=call.plan(call.cu_seqlens_k, call.cu_seqlens_q, slots, tile.keys), kv_heads=kv_heads,
        dk_token=kv_heads * dk.shape[-1], dk_head=dk.shape[-1], dv_token=kv_heads * dv.shape[-1], dv_head=dv.shape[-1],
        QUERIES=tile.queries, KEYS=tile.keys, num_warps=tile.warps, num_stages=tile.stages, **arguments,
    )  # fmt: skip


def _backward_queries(
    call: _Call,
    arguments: dict[str, Any],
    dq: Tensor,
    table_grad: Tensor | None,
    bias_grad: Tensor | None,
    content_grad: Tensor | None,
) -> None:
    tile, heads = table.backward_queries_tile(call.shape), dq.shape[-2]
    slots = call.slots(call.q, tile.queries)
    attention_backward_queries[(slots * heads,)](
        dq=dq, dq_token=heads * dq.shape[-1], dq_head=dq.shape[-1],
        plan=call.plan(call.cu_seqlens_q, call.cu_seqlens_k, slots, tile.queries), heads=heads, n_slots=slots,
        table_grad=table_grad, bias_grad=bias_grad, content_grad=content_grad,
        **_bias_arguments("bias_grad", bias_grad), **_key_tiles(call, tile, arguments),
        QUERIES=tile.queries, KEYS=tile.keys, num_warps=tile.warps, num_stages=tile.stages, **arguments,
    )  # fmt: skip


@attention_backward_op.register_fake
def _(grad, lse_grad, out, lse, q, k, v, *inputs):
    biases, wanted = _readable(Biases(*inputs[2:8])), inputs[-1]
    return (
        *(side.new_empty(side.shape) for side in (q, k, v)),
        *(
            q.new_empty(0, dtype=torch.float32)
            if tensor is None or not needed
            else torch.empty_like(tensor, dtype=torch.float32)
            for tensor, needed in zip(_graded(biases), wanted, strict=True)
        ),
    )


def _graded(biases: Biases) -> tuple[Tensor | None, ...]:
    """The biases that have a gradient, in the order in which the backward returns them."""
    return biases.distance_bias, biases.bias, biases.content_to_position, biases.position_to_content


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*output, *inputs[:12])
    ctx.options = inputs[12:]
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad: Tensor | None, lse_grad: Tensor | None) -> tuple[Tensor | None, ...]:
    out, lse, *inputs = ctx.saved_tensors
    if grad is None:
        grad = torch.zeros_like(out)
    wanted = list(ctx.needs_input_grad[6:10])
    dq, dk, dv, *grads = attention_backward_op(grad, lse_grad, out, lse, *inputs, *ctx.options, wanted)
    of_biases = (
        found.to(tensor.dtype) if needed else None
        for found, tensor, needed in zip(grads, inputs[6:10], wanted, strict=True)
    )
    # Neither lengths, slopes, the index of positions, the seed nor options have a gradient.
    return dq, dk, dv, None, None, None, *of_biases, None, None, *(None for _ in ctx.options)


attention_op.register_autograd(_backward, setup_context=_save)
