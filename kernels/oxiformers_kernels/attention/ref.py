"""Attention over packed or equally long sequences, in plain torch: what the kernels compute, and the CPU path."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from oxiformers_kernels.philox import philox_uint32


class Options(NamedTuple):
    """How scores become probabilities; see `attention` for each.

    Attributes:
        scale: multiplies the products of queries and keys.
        left, right: how far before and after its own position a query sees; -1 is without limit.
        softcap: 0 for none.
        dropout: probability of dropping a probability.
    """

    scale: float
    left: int = -1
    right: int = -1
    softcap: float = 0.0
    dropout: float = 0.0


class Biases(NamedTuple):
    """What is added to the scores; see `attention` for each."""

    alibi_slopes: Tensor | None = None
    distance_bias: Tensor | None = None
    bias: Tensor | None = None
    content_to_position: Tensor | None = None
    position_to_content: Tensor | None = None
    position_index: Tensor | None = None


class _Sequences(NamedTuple):
    """One call's worth of sequences with equal lengths, `[n, H, L, D]`, and where they lie.

    content, position: products with positions, of queries and of keys, `[n, H, L, P]`.
    """

    first: int
    query_start: int
    query: Tensor
    key: Tensor
    value: Tensor
    content: Tensor | None
    position: Tensor | None


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor | None,
    cu_seqlens_k: Tensor | None,
    biases: Biases,
    options: Options,
    seed: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The attended values and the log-sum-exp of the scores, sequence by sequence.

    The order of casts is that of the eager attention of Hugging Face's models: scores in the dtype of `q`, the softmax
    in float32 (float64 for float64), probabilities back in the dtype of `q`. A query that sees nothing gives 0, its
    log-sum-exp is -inf.

    Returns:
        `[T, H, Dv]` and float32 `[H, T]`; for equally long sequences `[B, S, H, Dv]` and `[B, H, S]`.
    """
    outputs, sums = [], []
    for part in _sequences(q, k, v, cu_seqlens_q, cu_seqlens_k, biases):
        output, lse = _attend(part, biases, options, seed)
        outputs.append(output)
        sums.append(lse)
    if cu_seqlens_q is None:
        return outputs[0].transpose(1, 2), sums[0]
    wide = torch.promote_types(q.dtype, torch.float32)
    nothing = q.new_zeros(0, q.shape[1], v.shape[2]), q.new_zeros(q.shape[1], 0, dtype=wide)
    packed = [output.squeeze(0).transpose(0, 1) for output in outputs]
    return torch.cat([nothing[0], *packed]), torch.cat([nothing[1], *(lse.squeeze(0) for lse in sums)], dim=1)


def _sequences(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor | None,
    cu_seqlens_k: Tensor | None,
    biases: Biases,
) -> Iterator[_Sequences]:
    content, position = biases.content_to_position, biases.position_to_content
    if cu_seqlens_q is None or cu_seqlens_k is None:
        yield _Sequences(
            0, 0, *(tensor.transpose(1, 2) for tensor in (q, k, v)),
            *(None if tensor is None else tensor.transpose(1, 2) for tensor in (content, position)),
        )  # fmt: skip
        return

    def cut(tensor: Tensor, ends: list[int], index: int) -> Tensor:
        return tensor[ends[index] : ends[index + 1]].transpose(0, 1).unsqueeze(0)

    query_ends, key_ends = cu_seqlens_q.tolist(), cu_seqlens_k.tolist()
    for index in range(len(query_ends) - 1):
        yield _Sequences(
            index,
            query_ends[index],
            cut(q, query_ends, index),
            cut(k, key_ends, index),
            cut(v, key_ends, index),
            None if content is None else cut(content, query_ends, index),
            None if position is None else cut(position, key_ends, index),
        )


def _attend(part: _Sequences, biases: Biases, options: Options, seed: Tensor | None) -> tuple[Tensor, Tensor]:
    query, key, value = part.query, part.key, part.value
    rows, heads, query_length, key_length = *query.shape[:3], key.shape[2]
    key, value = (
        side.repeat_interleave(heads // side.shape[1], dim=1) if side.shape[1] != heads else side
        for side in (key, value)
    )
    scores = torch.matmul(query, key.transpose(-1, -2))
    distance = distances(query_length, key_length, query.device)
    if biases.position_index is not None:
        scores = scores + _with_positions(part, biases.position_index, distance)
    scores = scores * options.scale
    if options.softcap:
        scores = options.softcap * torch.tanh(scores / options.softcap)
    if biases.alibi_slopes is not None:
        slopes = biases.alibi_slopes.to(scores.dtype)
        scores = scores - slopes[:, None, None] * distance.abs().to(scores.dtype)
    if biases.distance_bias is not None:
        reach = (biases.distance_bias.shape[1] - 1) // 2
        scores = scores + biases.distance_bias[:, distance.clamp(-reach, reach) + reach].to(scores.dtype)
    if biases.bias is not None:
        batch = biases.bias[part.first : part.first + rows] if biases.bias.shape[0] > 1 else biases.bias
        scores = scores + batch[:, :, :query_length, :key_length].to(scores.dtype)
    hidden = torch.zeros_like(distance, dtype=torch.bool)
    if options.left >= 0:
        hidden = hidden | (distance < -options.left)
    if options.right >= 0:
        hidden = hidden | (distance > options.right)
    wide = torch.promote_types(query.dtype, torch.float32)
    scores = scores.masked_fill(hidden, -math.inf).to(wide)
    # A softmax over nothing is 0/0: such rows are filled before (no NaN in the backward) and zeroed after.
    empty = (scores == -math.inf).all(dim=-1, keepdim=True)
    lse = torch.logsumexp(scores.masked_fill(empty, 0.0), dim=-1).masked_fill(empty.squeeze(-1), -math.inf)
    probabilities = scores.masked_fill(empty, 0.0).softmax(dim=-1).masked_fill(empty, 0.0).to(query.dtype)
    if options.dropout and seed is not None:
        kept = dropout_keeps(part, seed, options.dropout)
        probabilities = probabilities * kept.to(probabilities.dtype) / (1.0 - options.dropout)
    return torch.matmul(probabilities, value), lse


def _with_positions(part: _Sequences, position_index: Tensor, distance: Tensor) -> Tensor:
    """A query's and a key's products with the position of their distance, added up, `[n, H, Lq, Lk]`."""
    reach = (position_index.shape[0] - 1) // 2
    index = position_index.long()[distance.clamp(-reach, reach) + reach]
    rows, heads = part.query.shape[:2]
    added = part.query.new_zeros(())
    if part.content is not None:
        added = added + part.content.gather(-1, index.expand(rows, heads, -1, -1))
    if part.position is not None:
        added = added + part.position.gather(-1, index.t().expand(rows, heads, -1, -1)).transpose(-1, -2)
    return added


def distances(query_length: int, key_length: int, device: torch.device) -> Tensor:
    """Key position minus query position, int64 `[Lq, Lk]`; the queries are the last of the keys' positions."""
    positions = torch.arange(key_length - query_length, key_length, device=device)
    return torch.arange(key_length, device=device) - positions[:, None]


def dropout_keeps(part: _Sequences, seed: Tensor, dropout: float) -> Tensor:
    """Which probabilities stay, bool `[n, H, Lq, Lk]`: Philox over (query's token, key's position, head).

    The generator is counter-based (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011): the bits of a
    probability depend on its place alone, so forward and backward, and any tiling, draw the same.
    """
    rows, heads, query_length = part.query.shape[:3]
    device = part.query.device
    tokens = part.query_start + torch.arange(rows * query_length, device=device).view(
        rows, 1, query_length, 1
    )
    keys = torch.arange(part.key.shape[2], device=device)
    head = torch.arange(heads, device=device)[:, None, None]
    zero = torch.zeros((), dtype=torch.int64, device=device)
    return philox_uint32(seed, tokens, keys, head, zero) >= dropout_threshold(dropout)


def dropout_threshold(dropout: float) -> int:
    """Random 32-bit numbers below it are dropped."""
    return min(round(dropout * 2**32), 2**32 - 1)


def bucketed_distance_bias(table: Tensor, max_distance: int, bidirectional: bool) -> Tensor:
    """T5's relative bias as one value a distance, differentiable in its table.

    Half of a side's buckets are for one distance each, the others grow geometrically up to `max_distance`, from
    which on distances are alike; so a value for each of -R..R, R = max_distance, says all (arXiv:1910.10683).

    Args:
        table: `[buckets, H]`, the embedding of the buckets.
        max_distance: R.
        bidirectional: keys after the query have buckets of their own; without, there are those before it only.

    Returns:
        `[H, 2 * R + 1]`, for `distance_bias` of `attention`.
    """
    distance = torch.arange(-max_distance, max_distance + 1, device=table.device)
    return table[relative_buckets(distance, table.shape[0], max_distance, bidirectional=bidirectional)].t()


def relative_buckets(distances: Tensor, buckets: int, reach: int, *, bidirectional: bool) -> Tensor:
    """The bucket of every distance (key minus query), as T5 defines them.

    Half of a side's buckets are for one distance each, the others grow geometrically up to ``reach``. Without
    ``bidirectional`` there is one side: the keys before the query.
    """
    if bidirectional:
        buckets //= 2
        side = (distances > 0).long() * buckets
        distances = distances.abs()
    else:
        side, distances = torch.zeros_like(distances), (-distances).clamp(min=0)
    exact = buckets // 2
    # In float32 and in this order, as at training: a bucket's edge must not move by a rounding.
    growth = torch.log(distances.float().clamp(min=1) / exact) / math.log(reach / exact) * (buckets - exact)
    far = (exact + growth.long()).clamp(max=buckets - 1)
    buckets_of: Tensor = side + torch.where(distances < exact, distances, far)
    return buckets_of


def disentangled_products(
    q: Tensor, k: Tensor, position_keys: Tensor | None, position_queries: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """DeBERTa's products with positions, for `attention` (arXiv:2006.03654, equation 4).

    The scale of the scores is 1 / sqrt(D * (1 + the number of terms)).

    Args:
        q, k: `[..., H, D]`, as `attention` takes them, equally many heads.
        position_keys, position_queries: `[P, H, D]`, the projected embeddings of P relative positions; None for a term
            the model does not have.

    Returns:
        content_to_position and position_to_content, `[..., H, P]`.
    """

    def product(side: Tensor, positions: Tensor) -> Tensor:
        # A batch of heads, as cuBLAS leaves it: `attention` reads any order of axes.
        rows = side.flatten(0, -3).transpose(0, 1) @ positions.permute(1, 2, 0)
        return rows.transpose(0, 1).view(*side.shape[:-1], -1)

    content = None if position_keys is None else product(q, position_keys)
    position = None if position_queries is None else product(k, position_queries)
    return content, position


def disentangled_index(positions: int, buckets: int, max_distance: int) -> Tensor:
    """The relative position of every distance, as DeBERTa-v2 and v3 number them, for `attention`'s position_index.

    Distances up to half of the buckets have one each, those up to `max_distance` share the others, ever more of them;
    what lies further has the last. Without buckets (0) every distance has its own.

    Args:
        positions: the embeddings of one side, half of P: the config's position_buckets, or max_relative_positions.
        buckets: position_buckets.
        max_distance: max_relative_positions.

    Returns:
        int32 `[2 * R + 1]`, by key position minus query position.
    """
    # DeBERTa counts from the key to the query.
    distance = torch.arange(max_distance, -max_distance - 1, -1)
    if buckets > 0:
        middle, size = buckets // 2, distance.abs()
        # In float32 and in this order, as at training: a bucket's edge must not move by a rounding.
        growth = torch.log(size.clamp(min=1) / middle) / math.log((max_distance - 1) / middle) * (middle - 1)
        far = (torch.ceil(growth) + middle) * distance.sign()
        distance = torch.where(size <= middle, distance, far.long())
    return (distance + positions).clamp(0, 2 * positions - 1).int()
