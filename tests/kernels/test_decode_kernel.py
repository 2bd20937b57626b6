"""The Triton attention to a cache against float32 torch, on the interpreter (a process of its own) or on a GPU."""

# ruff: noqa: F811
from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from oxiformers_kernels.decode import decode_attention
from oxiformers_kernels.decode.ref import Biases, Cache, Options
from tests.kernels.grids import each, pairwise
from tests.kernels.support import DTYPES, assert_close_as_torch, device, poisoned_empty  # noqa: F401

kernel = pytest.importorskip("oxiformers_kernels.decode.kernel", reason="triton is not installed")
pytestmark = pytest.mark.usefixtures("poisoned_empty")

LONG = pytest.param([2000, 1, 0, 1999], marks=pytest.mark.gpu)


def integers(values: list[int], where: str) -> Tensor:
    return torch.tensor(values, dtype=torch.int32, device=where)


def filled(lengths: list[int], *shape: int, where: str, dtype: torch.dtype) -> Tensor:
    """Random `[rows, Hkv, capacity, D]`; what lies behind a row's keys is NaN."""
    side = torch.randn(len(lengths), *shape, device=where).to(dtype)
    for row, length in enumerate(lengths):
        side[row, :, length:] = torch.nan
    return side


def cached(
    lengths: list[int], kv_heads: int, head: int, where: str, dtype: torch.dtype, spare: int = 3
) -> dict[str, Any]:
    """One slot a row, with room for `spare` keys more than the longest row has."""
    k, v = (filled(lengths, kv_heads, max(lengths) + spare, head, where=where, dtype=dtype) for _ in range(2))
    return {"k_cache": k, "v_cache": v, "lengths": integers(lengths, where)}


def paged(cache: dict[str, Any], page_size: int) -> dict[str, Any]:
    """The same keys in pages that lie in any order; the table's entries behind a row's keys are -1."""
    k, lengths = cache["k_cache"], cache["lengths"].tolist()
    pages = -(-k.shape[2] // page_size)
    order = torch.randperm(len(lengths) * pages, generator=torch.Generator().manual_seed(0)).view(-1, pages)
    stores = []
    for side in (k, cache["v_cache"]):
        padded = side.new_full((*side.shape[:2], pages * page_size, side.shape[3]), torch.nan)
        padded[:, :, : side.shape[2]] = side
        store = torch.empty_like(padded.transpose(1, 2)).reshape(-1, page_size, side.shape[1], side.shape[3])
        store[order.flatten().to(side.device)] = padded.transpose(1, 2).reshape(store.shape)
        stores.append(store)
    for row, length in enumerate(lengths):
        order[row, -(-length // page_size) :] = -1
    table = order.to(device=k.device, dtype=torch.int32)
    return dict(cache, k_cache=stores[0], v_cache=stores[1], block_table=table)


def check(q: Tensor, arguments: dict[str, Any], what: str = "") -> Tensor:
    """The kernel, the twin in the same dtype, and the twin in float32."""

    def run(backend: str, dtype: torch.dtype) -> Tensor:
        own = {
            name: value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
            for name, value in arguments.items()
        }
        return decode_attention(q.to(dtype), **own, backend=backend)  # type: ignore[arg-type]

    ours = run("triton", q.dtype)
    assert ours.is_contiguous()
    assert_close_as_torch(ours, run("torch", q.dtype), run("torch", torch.float32), what)
    return ours


@pairwise({"dtype": DTYPES, "lengths": [[1], [63], [100, 0, 300], LONG], "page_size": [None, 16, 128]})
def test_lengths_and_pages(
    device: str, dtype: torch.dtype, lengths: list[int], page_size: int | None
) -> None:
    torch.manual_seed(0)
    cache = cached(lengths, 1, 32, device, dtype)
    if page_size is not None:
        cache = paged(cache, page_size)
    out = check(torch.randn(len(lengths), 1, 2, 32, device=device).to(dtype), cache)
    for row, length in enumerate(lengths):
        assert length or not out[row].any()


@each(
    {
        "dtype": DTYPES,
        ("heads", "kv_heads", "head", "new"): [(3, 3, 20, 1), (12, 1, 64, 8), (8, 2, 128, 3), (1, 1, 256, 2)],
    }
)
def test_heads_and_new_tokens(
    device: str, dtype: torch.dtype, heads: int, kv_heads: int, head: int, new: int
) -> None:
    """Groups of heads and new tokens make up one tile, or several; the second row has fewer keys than queries."""
    torch.manual_seed(0)
    cache = cached([150, 1], kv_heads, head, device, dtype)
    cache["v_cache"] = cache["v_cache"][..., : max(16, head // 2)]
    check(torch.randn(2, new, heads, head, device=device).to(dtype), cache)


@each(
    {
        "dtype": DTYPES,
        ("kind", "page_size"): [
            *((kind, None) for kind in ("window", "both sides", "softcap", "alibi", "distance", "all")),
            ("all", 16),
        ],
    }
)
def test_windows_and_biases(device: str, dtype: torch.dtype, kind: str, page_size: int | None) -> None:
    torch.manual_seed(0)
    cache = cached([170, 9], 2, 32, device, dtype)
    if page_size is not None:
        cache = paged(cache, page_size)
    options = {
        "window": {"window": (20, 0)},
        "both sides": {"window": (30, 1), "causal": False},
        "softcap": {"softcap": 2.0, "scale": 0.5},
        "alibi": {"alibi_slopes": torch.tensor([0.5, 0.25, 0.125, 1.0], device=device)},
        "distance": {"distance_bias": torch.randn(4, 65, device=device), "causal": False},
    }
    options["all"] = {**options["window"], **options["softcap"], **options["alibi"], **options["distance"]}
    check(torch.randn(2, 3, 4, 32, device=device).to(dtype), {**cache, **options[kind]}, kind)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("plain", torch.float32),
        ("plain", torch.float16),
        pytest.param("plain", torch.bfloat16, marks=pytest.mark.gpu),
        ("biased", torch.float32),
        ("pages", torch.float16),
        ("prefix alone", torch.float32),
    ],
)
def test_beams_share_a_prefix(device: str, dtype: torch.dtype, kind: str) -> None:
    """Three beams of two sentences: the prefix is read once for all beams, and merged with each beam's own keys."""
    torch.manual_seed(0)
    before, lengths = [140, 5], [2, 9, 1, 0, 4, 30]
    arguments = cached(lengths, 2, 32, device, dtype)
    for name in ("k_prefix", "v_prefix"):
        arguments[name] = filled(before, 2, 145, 32, where=device, dtype=dtype)
    arguments["prefix_lengths"] = integers(before, device)
    if kind == "pages":
        arguments = paged(arguments, 16)
    if kind == "biased":
        arguments |= {"window": (40, 0), "distance_bias": torch.randn(12, 33, device=device)}
    if kind == "prefix alone":
        # As in cross attention: no cache, and every query sees everything.
        for name in ("k_cache", "v_cache"):
            arguments[name] = arguments[name][:, :, :0]
        arguments |= {"lengths": integers([0] * 6, device), "causal": False}
    q = torch.randn(6, 2, 12, 32, device=device).to(dtype)
    out = check(q, arguments, kind)
    if kind == "plain":
        # The same keys, joined in one cache.
        for row, length in enumerate(lengths):
            prompt = before[row // 3]
            k, v = (
                torch.cat([arguments[prefix][row // 3, :, :prompt], arguments[own][row, :, :length]], dim=1)
                for prefix, own in (("k_prefix", "k_cache"), ("v_prefix", "v_cache"))
            )
            joined = decode_attention(
                q[row : row + 1], k[None], v[None], integers([prompt + length], device), backend="triton"
            )
            torch.testing.assert_close(out[row], joined[0], atol=2e-3, rtol=2e-2)


def test_slots_and_strides(device: str) -> None:
    """Rows in slots of any order, tensors that are views, integers of either size."""
    torch.manual_seed(0)
    lengths = [70, 3, 129, 20]
    slots = torch.tensor([5, 0, 3, 1], device=device)
    k, v = (torch.randn(6, 200, 2, 64, device=device).transpose(1, 2)[..., ::2] for _ in range(2))
    q = torch.randn(2, 4, 6, 32, device=device).transpose(0, 1)
    arguments = {
        "k_cache": k,
        "v_cache": v,
        "lengths": torch.tensor([70, 9, 3, 9, 129, 9, 20], device=device)[::2],
    }
    out = check(q, {**arguments, "slots": slots})
    for row, length in enumerate(lengths):
        one = slots[row : row + 1]
        alone = decode_attention(
            q[row : row + 1], k[one], v[one], integers([length], device), backend="triton"
        )
        torch.testing.assert_close(out[row], alone[0], atol=1e-5, rtol=1e-5)


def test_a_length_beyond_the_capacity_counts_as_it(device: str) -> None:
    torch.manual_seed(0)
    cache = cached([130, 130], 1, 32, device, torch.float32, spare=0)
    q = torch.randn(2, 1, 1, 32, device=device)
    full = check(q, cache)
    assert torch.equal(check(q, {**cache, "lengths": integers([131, 10**6], device)}), full)


@pytest.mark.parametrize("shape", [(0, 1, 2, 32), (2, 0, 2, 32), (2, 1, 0, 32)])
def test_empty_queries(device: str, shape: tuple[int, ...]) -> None:
    k = torch.randn(2, 1, 8, 32, device=device)
    out = decode_attention(
        torch.randn(shape, device=device), k, k, integers([3] * shape[0], device), backend="triton"
    )
    assert out.shape == shape


def test_an_empty_cache_gives_zeros(device: str) -> None:
    k = torch.randn(2, 1, 0, 32, device=device)
    out = decode_attention(
        torch.randn(2, 1, 2, 32, device=device), k, k, integers([0, 0], device), backend="triton"
    )
    assert torch.equal(out, torch.zeros_like(out))


def test_nan_stays_in_its_row(device: str) -> None:
    cache = cached([150, 150], 1, 32, device, torch.float32)
    cache["k_cache"][0, 0, 7] = torch.nan
    out = decode_attention(torch.randn(2, 1, 2, 32, device=device), **cache, backend="triton")
    assert out[0].isnan().all() and torch.isfinite(out[1]).all()


def test_the_op_as_torch_sees_it(device: str) -> None:
    """Schema, fake implementation and tracing agree."""
    cache = cached([20, 3], 1, 32, device, torch.float32)
    q = torch.randn(2, 1, 2, 32, device=device)
    arguments = (
        q,
        *Cache(keys=cache["k_cache"], values=cache["v_cache"], lengths=cache["lengths"]),
    )
    torch.library.opcheck(
        kernel.decode_attention_op, (*arguments, None, None, None, *Biases(), *Options(0.5))
    )


@pytest.mark.gpu
def test_a_graph_serves_any_length() -> None:
    """Captured once, the call follows lengths that change on the device; waiting for it would end the capture."""
    torch.manual_seed(0)
    cache = cached([1, 1], 2, 64, "cuda", torch.bfloat16, spare=1999)
    cache["k_cache"], cache["v_cache"] = (torch.randn_like(cache[name]) for name in ("k_cache", "v_cache"))
    q = torch.randn(2, 1, 8, 64, device="cuda", dtype=torch.bfloat16)
    decode_attention(q, **cache, backend="triton")
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = decode_attention(q, **cache, backend="triton")
    for lengths in ([5, 2000], [1000, 0]):
        cache["lengths"].copy_(integers(lengths, "cuda"))
        graph.replay()
        assert torch.equal(out, decode_attention(q, **cache, backend="triton"))


@pytest.mark.gpu
def test_compiles_into_one_graph() -> None:
    cache = cached([100, 7], 2, 64, "cuda", torch.bfloat16)
    q = torch.randn(2, 1, 8, 64, device="cuda", dtype=torch.bfloat16)
    compiled = torch.compile(decode_attention, fullgraph=True)
    assert torch.equal(compiled(q, **cache), decode_attention(q, **cache))
