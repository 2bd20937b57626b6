"""The attention op without Triton: its torch twin, its argument checks and its dispatch."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from oxiformers_kernels import attention as module
from oxiformers_kernels import dispatch
from oxiformers_kernels.attention import (
    attention,
    attention_choice,
    bucketed_distance_bias,
    disentangled_index,
    disentangled_products,
    ref,
    table,
)
from oxiformers_kernels.dispatch import BackendError, recorded

ENDS = torch.tensor([0, 7, 7, 12], dtype=torch.int32)


@pytest.fixture(autouse=True)
def _no_choice_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OXIFORMERS_KERNELS", raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


def sides(*leading: int, heads: int = 4, kv_heads: int = 2, size: int = 8, **options: Any) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(*leading, number, size, **options) for number in (heads, kv_heads, kv_heads)]


def by_sdpa(q: Tensor, k: Tensor, v: Tensor, ends: Tensor, **options: Any) -> Tensor:
    """Sequence by sequence through torch's own attention."""
    parts = []
    for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        part = [side[start:end].transpose(0, 1).unsqueeze(0) for side in (q, k, v)]
        parts.append(
            F.scaled_dot_product_attention(*part, enable_gqa=True, **options).squeeze(0).transpose(0, 1)
        )
    return torch.cat(parts)


@pytest.mark.parametrize("causal", [False, True])
def test_packed_equals_each_sequence_by_itself(causal: bool) -> None:
    q, k, v = sides(12)
    expected = by_sdpa(q, k, v, ENDS, is_causal=causal)
    torch.testing.assert_close(attention(q, k, v, ENDS, causal=causal), expected)
    torch.testing.assert_close(attention(q, k, v, ENDS.long(), causal=causal, scale=8**-0.5), expected)


def test_uniform_equals_packed() -> None:
    q, k, v = sides(2, 6)
    ends = torch.tensor([0, 6, 12])
    out, lse = attention(q, k, v, causal=True, window=(3, -1), return_lse=True)
    packed, packed_lse = attention(
        *(side.flatten(0, 1) for side in (q, k, v)), ends, causal=True, window=(3, -1), return_lse=True
    )
    torch.testing.assert_close(out.flatten(0, 1), packed)
    torch.testing.assert_close(lse.transpose(0, 1).flatten(1), packed_lse)


def test_the_last_queries_of_more_keys() -> None:
    """Bottom-right alignment: the last queries of a longer call see what they saw there."""
    q, k, v = sides(1, 10)
    whole = attention(q, k, v, causal=True, window=(4, 0))
    torch.testing.assert_close(attention(q[:, 7:], k, v, causal=True, window=(4, 0)), whole[:, 7:])


def test_biases_are_added_to_the_scores() -> None:
    q, k, v = sides(1, 9, kv_heads=4)
    slopes, table_ = torch.rand(4), torch.randn(4, 2 * 3 + 1)
    distance = torch.arange(9) - torch.arange(9)[:, None]
    dense = -slopes[:, None, None] * distance.abs() + table_[:, distance.clamp(-3, 3) + 3]
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(8)
    expected = (5.0 * torch.tanh(scores / 5.0) + dense).softmax(-1)
    expected = torch.einsum("bhqk,bkhd->bqhd", expected, v)
    out = attention(q, k, v, softcap=5.0, alibi_slopes=slopes, distance_bias=table_)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(attention(q, k, v, softcap=5.0, bias=dense[None]), expected)


def bucket(distance: int, buckets: int, furthest: int) -> int:
    """DeBERTa's relative position of a distance (query minus key), as its authors describe it."""
    middle = buckets // 2
    if buckets == 0 or abs(distance) <= middle:
        return distance
    share = math.log(abs(distance) / middle) / math.log((furthest - 1) / middle)
    # What falls on an edge is computed in float32 there.
    return (math.ceil(round(share * (middle - 1), 5)) + middle) * (1 if distance > 0 else -1)


@pytest.mark.parametrize(("buckets", "furthest"), [(0, 5), (8, 20), (256, 512)])
def test_disentangled_biases_pair_by_pair(buckets: int, furthest: int) -> None:
    """The sum of three products for every pair, in plain Python's indices."""
    positions, length = buckets or furthest, 2 * furthest if furthest < 100 else furthest + 40
    q, k, v = sides(1, length, heads=2, kv_heads=2, dtype=torch.float64)
    position_keys, position_queries = torch.randn(2, 2 * positions, 2, 8, dtype=torch.float64)
    scale = 1 / math.sqrt(3 * 8)
    # By key minus query, from the furthest before to the furthest after.
    by_distance = torch.tensor(
        [
            min(max(bucket(-distance, buckets, furthest) + positions, 0), 2 * positions - 1)
            for distance in range(1 - length, length)
        ]
    )
    places = by_distance[torch.arange(length) - torch.arange(length)[:, None] + length - 1]
    scores = torch.einsum("bihd,bjhd->bhij", q, k)
    scores = scores + torch.einsum("bihd,ijhd->bhij", q, position_keys[places])
    scores = scores + torch.einsum("bjhd,ijhd->bhij", k, position_queries[places])
    expected = torch.einsum("bhij,bjhd->bihd", (scores * scale).softmax(-1), v)
    content, position = disentangled_products(q, k, position_keys, position_queries)
    index = disentangled_index(positions, buckets, furthest)
    named = {"content_to_position": content, "position_to_content": position, "position_index": index}
    torch.testing.assert_close(attention(q, k, v, scale=scale, **named), expected)
    ends = torch.tensor([0, 3, 3, length])
    packed = attention(*(side[0] for side in (q, k, v)), ends, scale=scale, **{
        name: tensor if name == "position_index" else tensor[0] for name, tensor in named.items()
    })  # fmt: skip
    alone = attention(q[:, 3:], k[:, 3:], v[:, 3:], scale=scale, **{
        name: tensor if name == "position_index" else tensor[:, 3:] for name, tensor in named.items()
    })  # fmt: skip
    torch.testing.assert_close(packed[3:], alone[0])


def test_disentangled_biases_that_do_not_fit() -> None:
    q, k, v = sides(2, 6)
    content, index = torch.zeros(2, 6, 4, 5), torch.zeros(3, dtype=torch.int32)
    for wrong, message in (
        ({"content_to_position": content}, "position_index goes with"),
        ({"position_index": index}, "position_index goes with"),
        ({"content_to_position": content, "position_index": index[:2]}, "expected int32 or int64 .2 . R . 1"),
        (
            {"content_to_position": content, "position_index": index.float()},
            "position_index is torch.float32",
        ),
        (
            {"content_to_position": content[:, :5], "position_index": index},
            r"expected floating \[2, 6, 4, 'P'\]",
        ),
        ({"position_to_content": content[:, :, :2], "position_index": index}, "position_to_content is"),
        (
            {
                "content_to_position": content,
                "position_to_content": content[..., :4],
                "position_index": index,
            },
            "content_to_position is",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            attention(q, k, v, **wrong)


def test_a_query_that_sees_nothing_gives_zero() -> None:
    q, k, v = sides(12)
    keys = torch.tensor([0, 0, 3, 5])
    out, lse = attention(q, k[:5], v[:5], ENDS, keys, return_lse=True)
    assert not out[:7].any() and out[7:].any(-1).all()
    assert (lse[:, :7] == -torch.inf).all() and lse[:, 7:].isfinite().all()
    causal = attention(q[:7], k[:2], v[:2], torch.tensor([0, 7]), torch.tensor([0, 2]), causal=True)
    assert not causal[:5].any() and causal[5:].any(-1).all()


@pytest.mark.parametrize(
    "options",
    [{}, {"causal": True, "window": (2, 0)}, {"softcap": 2.0}, {"dropout": 0.4, "seed": 3}],
    ids=str,
)
def test_gradients_in_float64(options: dict[str, Any]) -> None:
    q, k, v = (side.requires_grad_() for side in sides(12, size=3, dtype=torch.float64))
    table_ = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(1, 4, 7, 7, dtype=torch.float64, requires_grad=True)

    def run(q: Tensor, k: Tensor, v: Tensor, table_: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        return attention(q, k, v, ENDS, distance_bias=table_, bias=bias, return_lse=True, **options)  # type: ignore[return-value]

    assert torch.autograd.gradcheck(run, (q, k, v, table_, bias), fast_mode=True)

    def disentangled(
        q: Tensor, k: Tensor, v: Tensor, content: Tensor, position: Tensor
    ) -> tuple[Tensor, Tensor]:
        biases = {"content_to_position": content, "position_to_content": position, "position_index": index}
        return attention(q, k, v, ENDS, return_lse=True, **biases, **options)  # type: ignore[return-value]

    index = disentangled_index(2, 2, 4)
    content, position = (torch.randn(12, 4, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(disentangled, (q, k, v, content, position), fast_mode=True)


def test_dropout_follows_its_seed() -> None:
    q, k, v = sides(1, 64)
    ones = torch.ones_like(v)
    kept = attention(q * 0.0, k, ones, dropout=0.25, seed=5)
    assert torch.equal(kept, attention(q * 0.0, k, ones, dropout=0.25, seed=torch.tensor([5])))
    assert not torch.equal(kept, attention(q * 0.0, k, ones, dropout=0.25, seed=6))
    assert abs(kept.mean().item() - 1.0) < 0.05
    torch.manual_seed(1)
    drawn = attention(q, k, v, dropout=0.25)
    torch.manual_seed(1)
    assert torch.equal(drawn, attention(q, k, v, dropout=0.25))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_buckets(bidirectional: bool) -> None:
    """Near distances have a bucket each, far ones share, those before and after the query have sides of their own."""
    buckets = torch.arange(32.0)[:, None].expand(32, 2)
    by_distance = bucketed_distance_bias(buckets, 128, bidirectional)
    assert by_distance.shape == (2, 257)
    before, after = by_distance[0, :128].flip(0), by_distance[0, 129:]
    exact = 8 if bidirectional else 16
    assert before[: exact - 1].tolist() == list(range(1, exact))
    assert (before.diff() >= 0).all() and before[-1] == (15 if bidirectional else 31)
    assert torch.equal(after, before + 16) if bidirectional else not after.any()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"q": torch.zeros(12, 4, 8).half()}, TypeError, "expected one floating dtype"),
        ({"q": torch.zeros(12, 3, 8)}, ValueError, "3 query heads are no multiple of 2"),
        ({"q": torch.zeros(12, 4, 6)}, ValueError, "do not fit each other"),
        ({"q": torch.zeros(1, 12, 4, 8)}, ValueError, r"expected \[T, H, D\]"),
        ({"cu_seqlens_q": None}, ValueError, r"expected \[B, S, H, D\]"),
        ({"cu_seqlens_q": ENDS.float()}, TypeError, "expected int32 or int64"),
        ({"cu_seqlens_k": ENDS[:3]}, ValueError, "has 4 entries, cu_seqlens_k 3"),
        ({"alibi_slopes": torch.zeros(3)}, ValueError, r"expected float32 \[4\]"),
        ({"distance_bias": torch.zeros(4, 4)}, ValueError, r"expected \[4, 2 \* R \+ 1\]"),
        ({"bias": torch.zeros(4, 7, 7)}, ValueError, "expected floating"),
        ({"dropout": 1.0}, ValueError, "dropout=1.0"),
        ({"softcap": -1.0}, ValueError, "softcap=-1.0"),
        ({"dropout": 0.1, "seed": torch.zeros(2)}, ValueError, "expected one int64"),
        ({"backend": "cuda"}, ValueError, "expected one of auto, triton, torch"),
    ],
)
def test_arguments_that_do_not_fit(change: dict[str, Any], error: type[Exception], words: str) -> None:
    arguments: dict[str, Any] = dict(zip("qkv", sides(12), strict=True), cu_seqlens_q=ENDS)
    with pytest.raises(error, match=words):
        attention(**arguments | change)


def test_which_implementation_runs() -> None:
    q, k, v = sides(12)
    with recorded() as choices:
        attention(q, k, v, ENDS)
        attention(q, k, v, ENDS, backend="torch")
    assert [choice.backend for choice in choices] == ["torch", "torch"]
    assert "Triton needs cuda" in choices[0].reason and choices[1].reason == "backend=torch"
    with pytest.raises(BackendError, match="Triton needs cuda"):
        attention(q, k, v, ENDS, backend="triton")


@pytest.mark.parametrize(
    ("dtype", "size", "scale", "words"),
    [
        (torch.float64, 8, None, "float64"),
        (torch.float32, 300, None, "heads up to 256"),
        (torch.float32, 8, -1.0, "positive scale"),
    ],
)
def test_what_the_kernel_does_not_take(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, size: int, scale: float | None, words: str
) -> None:
    """Where Triton could run: the reason names what it cannot, and plain torch computes it."""
    monkeypatch.setattr(dispatch, "triton_obstacle", lambda device: None)
    q, k, v = sides(12, size=size, dtype=dtype)
    with recorded() as choices:
        out = attention(q, k, v, ENDS, scale=scale)
    assert choices[0].backend == "torch" and words in choices[0].reason
    torch.testing.assert_close(out, by_sdpa(q, k, v, ENDS, scale=scale))
    with pytest.raises(BackendError, match=words):
        attention(q, k, v, ENDS, scale=scale, backend="triton")


@pytest.mark.parametrize("causal", [False, True])
def test_where_torch_was_measured_faster(monkeypatch: pytest.MonkeyPatch, causal: bool) -> None:
    """auto takes torch's fused call for plain sequences of one length, and for nothing else; a name wins."""
    monkeypatch.setattr(dispatch, "triton_obstacle", lambda device: None)
    monkeypatch.setattr(module, "_slower", lambda q, v: module.CUDNN)
    monkeypatch.setattr(ref, "attention", lambda *_: pytest.fail("the plain twin is not what was measured"))
    q, k, v = sides(2, 6, kv_heads=4)
    with recorded() as choices:
        out = attention(q, k, v, causal=causal)
    assert choices[0].backend == "torch" and choices[0].reason.startswith(
        "measured slower: torch's call to cuDNN"
    )
    expected = F.scaled_dot_product_attention(*(side.transpose(1, 2) for side in (q, k, v)), is_causal=causal)
    torch.testing.assert_close(out, expected.transpose(1, 2))
    assert attention_choice(q, v, plain=True, backend="triton").backend == "triton"
    assert attention_choice(q, v, plain=False).backend == "triton"


def test_only_what_was_measured_is_called_slower() -> None:
    q = torch.zeros(1, 4, 2, 64, dtype=torch.bfloat16)
    assert module._slower(q, q) is None  # on the CPU nothing was


def test_one_graph_for_equally_long_sequences() -> None:
    compiled = torch.compile(attention, fullgraph=True, dynamic=True, backend="eager")
    for tokens in (5, 9):
        q, k, v = sides(2, tokens)
        torch.testing.assert_close(compiled(q, k, v, causal=True), attention(q, k, v, causal=True))


@pytest.mark.parametrize("columns", [16, 64, 128, 256])
@pytest.mark.parametrize("float32", [False, True])
@pytest.mark.parametrize("hopper", [False, True])
def test_every_shape_has_a_tile(columns: int, float32: bool, hopper: bool) -> None:
    """Sizes the products take; the diagonals of a bias by distance need no more queries than keys."""
    flags = itertools.product((False, True), (False, True), (False, True), (10, 1000))
    for biased, disentangled, dropout, typical in flags:
        shape = table.Shape(columns, float32, biased, disentangled, dropout, typical, hopper)
        for choose in (table.forward_tile, table.backward_keys_tile, table.backward_queries_tile):
            tile = choose(shape)
            assert min(tile.queries, tile.keys) >= 16 and tile.warps in (4, 8, 16) and tile.stages >= 1
        if biased or disentangled:
            tile = table.backward_queries_tile(shape)
            assert tile.queries <= tile.keys


def test_distances_of_the_last_queries() -> None:
    assert ref.distances(2, 3, torch.device("cpu")).tolist() == [[-1, 0, 1], [-2, -1, 0]]
