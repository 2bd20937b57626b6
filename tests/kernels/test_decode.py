"""Attention to a cache without Triton: the twin against torch's own attention, what is refused, which branch runs."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from oxiformers_kernels.decode import decode_attention, ref
from oxiformers_kernels.decode.ref import Biases, Cache, Options
from oxiformers_kernels.dispatch import BackendError

pytestmark = pytest.mark.filterwarnings("error")


def cached(lengths: list[int], kv_heads: int = 2, capacity: int = 12, head: int = 8) -> dict[str, Tensor]:
    torch.manual_seed(0)
    k, v = (torch.randn(len(lengths), kv_heads, capacity, head) for _ in range(2))
    for row, length in enumerate(lengths):
        k[row, :, length:] = v[row, :, length:] = torch.nan
    return {"k_cache": k, "v_cache": v, "lengths": torch.tensor(lengths, dtype=torch.int32)}


def expected(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None, left: int = -1) -> Tensor:
    """torch's attention of one row, q `[Lq, H, D]` and k, v `[Hkv, n, D]`, bottom-right aligned."""
    new, length = q.shape[0], k.shape[1]
    positions = torch.arange(length - new, length)[:, None]
    places = torch.arange(length)
    keep = places <= positions
    if left >= 0:
        keep &= places >= positions - left
    mask = torch.zeros(q.shape[1], new, length).masked_fill(~keep, -torch.inf)
    mask = mask if bias is None else mask + bias
    out = F.scaled_dot_product_attention(
        q.transpose(0, 1)[None], k[None], v[None], attn_mask=mask[None], enable_gqa=True
    )
    return out[0].transpose(0, 1)


@pytest.mark.parametrize("new", [1, 3])
def test_equals_torchs_attention_row_by_row(new: int) -> None:
    lengths = [12, 4, 7]
    cache, q = cached(lengths), torch.randn(3, new, 6, 8)
    out = decode_attention(q, **cache)
    for row, length in enumerate(lengths):
        k, v = (cache[name][row, :, :length] for name in ("k_cache", "v_cache"))
        torch.testing.assert_close(out[row], expected(q[row], k, v))


def test_windows_and_biases_equal_a_dense_mask() -> None:
    cache, q = cached([10]), torch.randn(1, 2, 2, 8)
    k, v = (cache[name][0, :, :10] for name in ("k_cache", "v_cache"))
    distance = torch.arange(10) - torch.arange(8, 10)[:, None]
    slopes, table = torch.tensor([0.5, 0.25]), torch.randn(2, 7)
    bias = table[:, distance.clamp(-3, 3) + 3] - slopes[:, None, None] * distance.abs()
    out = decode_attention(q, **cache, window=(4, 5), alibi_slopes=slopes, distance_bias=table)
    torch.testing.assert_close(out[0], expected(q[0], k, v, bias, left=4))


def test_softcap_bends_scores_before_the_softmax() -> None:
    cache, q = cached([5], kv_heads=1), torch.randn(1, 1, 1, 8)
    k, v = (cache[name][0, 0, :5] for name in ("k_cache", "v_cache"))
    probabilities = (2.0 * torch.tanh(q[0, 0] @ k.T * 0.7 / 2.0)).softmax(-1)
    torch.testing.assert_close(decode_attention(q, **cache, scale=0.7, softcap=2.0)[0, 0], probabilities @ v)


def test_pages_slots_and_a_contiguous_cache_agree() -> None:
    cache, q = cached([9, 2]), torch.randn(2, 1, 4, 8)
    out = decode_attention(q, **cache)
    table = torch.tensor([[3, 0, 4], [2, -1, 10**6]], dtype=torch.int32)
    pages = {name: torch.full((6, 4, 2, 8), torch.nan) for name in ("k_cache", "v_cache")}
    for name, store in pages.items():
        for row, column in ((0, 0), (0, 1), (0, 2), (1, 0)):
            store[table[row, column]] = cache[name][row, :, 4 * column : 4 * column + 4].transpose(0, 1)
    torch.testing.assert_close(decode_attention(q, **{**cache, **pages}, block_table=table), out)
    moved = {name: cache[name].flip(0) for name in ("k_cache", "v_cache")}
    torch.testing.assert_close(decode_attention(q, **{**cache, **moved}, slots=torch.tensor([1, 0])), out)


def test_beams_share_a_prefix() -> None:
    cache, q = cached([2, 1, 3, 4]), torch.randn(4, 1, 4, 8)
    k_prefix, v_prefix, before = torch.randn(2, 2, 5, 8), torch.randn(2, 2, 5, 8), [5, 3]
    k_prefix[1, :, 3:] = v_prefix[1, :, 3:] = torch.nan
    out = decode_attention(
        q, **cache, k_prefix=k_prefix, v_prefix=v_prefix, prefix_lengths=torch.tensor(before), window=(4, 0)
    )
    for row, length in enumerate(cache["lengths"].tolist()):
        k, v = (
            torch.cat([prefix[row // 2, :, : before[row // 2]], cache[name][row, :, :length]], dim=1)
            for prefix, name in ((k_prefix, "k_cache"), (v_prefix, "v_cache"))
        )
        torch.testing.assert_close(out[row], expected(q[row], k, v, left=4))


def test_a_query_that_sees_nothing_gives_zeros() -> None:
    cache, q = cached([0, 1]), torch.randn(2, 2, 2, 8)
    out = decode_attention(q, **cache)
    assert not out[0].any() and not out[1, 0].any() and out[1, 1].any()


def test_gradients_of_the_twin() -> None:
    torch.manual_seed(0)
    shapes = ((2, 2, 2, 4), (2, 1, 5, 4), (2, 1, 5, 4))
    q, k, v = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    lengths, table = torch.tensor([5, 1]), torch.randn(2, 5, dtype=torch.float64, requires_grad=True)

    def function(q: Tensor, k: Tensor, v: Tensor, table: Tensor) -> Tensor:
        options = Options(0.5, softcap=3.0, left=3, right=0)
        return ref.decode_attention(q, Cache(k, v, lengths), None, Biases(distance_bias=table), options)

    assert torch.autograd.gradcheck(function, (q, k, v, table))


def test_compiles_into_one_graph() -> None:
    cache, q = cached([9, 2]), torch.randn(2, 1, 4, 8)
    compiled = torch.compile(decode_attention, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(q, **cache, softcap=2.0), decode_attention(q, **cache, softcap=2.0))


def test_which_branch_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, q = cached([9]), torch.randn(1, 1, 4, 8)
    calls: list[str] = []
    original = ref.decode_attention
    monkeypatch.setattr(
        ref, "decode_attention", lambda *arguments: calls.append("torch") or original(*arguments)
    )
    decode_attention(q, **cache)
    decode_attention(q, **cache, backend="torch")
    assert calls == ["torch", "torch"]
    with pytest.raises(BackendError, match="decode_attention: backend=triton, but"):
        decode_attention(q, **cache, backend="triton")


def test_what_the_kernel_cannot_take() -> None:
    from oxiformers_kernels.decode import _unsupported

    q = torch.randn(1, 1, 1, 257)
    assert "257" in str(_unsupported(q, q)) and "float64" in str(_unsupported(q.double(), q))
    assert _unsupported(q[..., :256], q[..., :256]) is None


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"q": torch.zeros(2, 1, 4, 8, dtype=torch.int32)}, TypeError, "q has dtype torch.int32"),
    ({"q": torch.zeros(2, 4, 8)}, ValueError, r"q has shape \(2, 4, 8\)"),
    ({"q": torch.zeros(2, 1, 3, 8)}, ValueError, "3 heads are no multiple of the 2"),
    ({"q": torch.zeros(2, 1, 4, 9)}, ValueError, "k_cache has D 8, q has 9"),
    (
        {"q": torch.zeros(2, 1, 4, 8, dtype=torch.float16)},
        TypeError,
        "k_cache has dtype torch.float32, expected torch.float16",
    ),
    ({"k_cache": torch.zeros(2, 2, 11, 8)}, ValueError, "differ in more than their last dimension"),
    ({"lengths": torch.zeros(3, dtype=torch.int32)}, ValueError, r"lengths has shape \(3,\), expected \[2\]"),
    ({"lengths": torch.zeros(2)}, TypeError, "lengths has dtype torch.float32"),
    ({"slots": torch.zeros(1, dtype=torch.int64)}, ValueError, r"slots has shape \(1,\)"),
    ({"block_table": torch.zeros(2, dtype=torch.int32)}, ValueError, "4 heads are no multiple of the 12"),
    ({"k_prefix": torch.zeros(1, 2, 3, 8)}, ValueError, "go together"),
    ({"alibi_slopes": torch.zeros(3)}, ValueError, r"alibi_slopes has shape \(3,\)"),
    ({"distance_bias": torch.zeros(4, 6)}, ValueError, r"distance_bias has shape \(4, 6\)"),
    ({"distance_bias": torch.zeros(4, 7, dtype=torch.int64)}, TypeError, "distance_bias has dtype"),
    ({"softcap": -1.0}, ValueError, "softcap is -1.0"),
    ({"q": torch.zeros(2, 1, 4, 8, requires_grad=True)}, RuntimeError, "has no backward"),
]


@pytest.mark.parametrize(("changed", "error", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_what_is_refused(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"q": torch.randn(2, 1, 4, 8), **cached([3, 4]), **changed}
    with pytest.raises(error, match=message):
        decode_attention(**arguments)


@pytest.mark.parametrize(
    ("shape", "lengths", "message"),
    [
        ((3, 2, 5, 8), 3, "2 rows are no multiple of 3 sentences"),
        ((2, 2, 5, 8), 1, r"prefix_lengths has shape \(1,\)"),
        ((2, 1, 5, 8), 2, r"k_prefix has shape .* expected \[sentences, 2, P, 8\]"),
    ],
)
def test_what_is_refused_of_a_prefix(shape: tuple[int, ...], lengths: int, message: str) -> None:
    prefix = torch.zeros(shape)
    with pytest.raises(ValueError, match=message):
        decode_attention(
            torch.randn(2, 1, 4, 8), **cached([3, 4]), k_prefix=prefix, v_prefix=prefix,
            prefix_lengths=torch.zeros(lengths, dtype=torch.int32),
        )  # fmt: skip


def test_what_is_refused_of_pages() -> None:
    table, cache, q = torch.zeros(2, 1, dtype=torch.int32), cached([1, 1]), torch.randn(2, 1, 12, 8)
    with pytest.raises(ValueError, match="exclude one another"):
        decode_attention(q, **cache, block_table=table, slots=table[:, 0])
    with pytest.raises(ValueError, match=r"block_table has shape \(2,\), expected \[2, \*\]"):
        decode_attention(q, **cache, block_table=table[:, 0])


def test_parts_hold_any_length() -> None:
    """However the kernel shares a row's keys, the parts it is given are enough."""
    kernel = pytest.importorskip("oxiformers_kernels.decode.kernel", reason="triton is not installed")
    for programs in (1, 8, 100, 512, 20000):
        for most in (1, 128, 129, 1000, 5000, 200_000):
            parts = kernel.parts_for(programs, most, 132)
            for length in {1, most // 3, most // 2, most - 1, most}:
                for block in (16, 64, 128):
                    share = math.ceil(math.ceil(length / parts.wanted) / block) * block
                    share = min(max(share, kernel.FEWEST_KEYS), kernel.MOST_KEYS)
                    assert math.ceil(length / share) <= parts.launched
