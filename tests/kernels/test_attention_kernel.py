"""The Triton attention against float32 torch, on the interpreter (a process of its own) or on a GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from oxiformers_kernels.attention import (
    attention,
    bucketed_distance_bias,
    disentangled_index,
    disentangled_products,
    table,
)
from tests.kernels.grids import each
from tests.kernels.support import DTYPES, assert_close_as_torch, device, poisoned_empty  # noqa: F401

kernel = pytest.importorskip("oxiformers_kernels.attention.kernel", reason="triton is not installed")

pytestmark = pytest.mark.usefixtures("poisoned_empty")

HEADS, KV_HEADS = 2, 1
RAGGED = (33, 0, 40, 1)
#: Where the interpreter has seen half precision already.
SLOW_DTYPES = [
    torch.float32,
    *(pytest.param(dtype, marks=pytest.mark.gpu) for dtype in (torch.float16, torch.bfloat16)),
]
#: (queries, keys) of each sequence: fewer, more, equally many, none of either.
CROSS = ((20, 40), (0, 7), (5, 0), (40, 30), (1, 20))


@pytest.fixture(autouse=True)
def _small_tiles(device: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Several blocks a sequence at a few tokens, so that the interpreter goes through every loop."""
    if device == "cpu":
        monkeypatch.setattr(table, "forward_tile", lambda shape: table.Tile(16, 16, 4, 2))
        monkeypatch.setattr(table, "backward_keys_tile", lambda shape: table.Tile(16, 32, 4, 2))
        monkeypatch.setattr(table, "backward_queries_tile", lambda shape: table.Tile(16, 16, 4, 2))


class Case:
    """Inputs in float32, and how attention is called with them."""

    def __init__(
        self,
        device: str,  # noqa: F811
        queries: tuple[int, ...],
        keys: tuple[int, ...] | None = None,
        *,
        size: int = 20,
        v_size: int | None = None,
        packed: bool = True,
        drawn_from: int = 0,
        terms: tuple[str, ...] = (),
        index: Tensor | None = None,
        **options: Any,
    ) -> None:
        generator = torch.Generator().manual_seed(drawn_from)
        keys = queries if keys is None else keys

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator).to(device)

        if options.get("dropout"):
            assert "seed" in options, "each run would drop others"
        self.packed, self.options = packed, options
        self.sides = [
            draw(sum(queries), HEADS, size),
            draw(sum(keys), KV_HEADS, size),
            draw(sum(keys), KV_HEADS, size if v_size is None else v_size),
        ]
        if not packed:
            self.sides = [side.view(len(queries), -1, *side.shape[1:]) for side in self.sides]
        self.ends = [
            torch.tensor([0, *torch.tensor(lengths).cumsum(0)], dtype=dtype, device=device)
            for lengths, dtype in ((queries, torch.int32), (keys, torch.int64))
        ]
        self.weight = draw(*self.sides[0].shape[:-1], self.sides[2].shape[-1])
        self.lse_weight = draw(*((HEADS, sum(queries)) if packed else (len(queries), HEADS, queries[0])))
        self.biases = {name: value for name, value in options.items() if name in ("distance_bias", "bias")}
        if index is not None:
            self.options = options | {"position_index": index.to(device)}
            of = {"content_to_position": self.sides[0], "position_to_content": self.sides[1]}
            self.biases |= {name: draw(*of[name].shape[:-2], HEADS, int(index.max()) + 1) for name in terms}

    def run(self, backend: str, dtype: torch.dtype, deterministic: bool) -> list[Tensor]:
        """Output, log-sum-exp and the gradients of everything that has one."""
        sides = [side.to(dtype).requires_grad_() for side in self.sides]
        biases = {name: value.to(dtype).requires_grad_() for name, value in self.biases.items()}
        ends = self.ends if self.packed else []
        out, lse = attention(
            *sides, *ends, return_lse=True, backend=backend, deterministic=deterministic, **self.options | biases
        )  # fmt: skip
        assert lse.dtype == torch.promote_types(dtype, torch.float32)
        # Two heads of the log-sum-exp take part in the loss; -inf has no gradient.
        loss = (out * self.weight.to(dtype)).sum() + (
            lse.masked_fill(lse == -torch.inf, 0.0) * self.lse_weight
        ).sum()
        return [out.detach(), lse.detach(), *torch.autograd.grad(loss, [*sides, *biases.values()])]

    def check(self, dtype: torch.dtype, deterministic: bool = False) -> None:
        ours, torchs = self.run("triton", dtype, deterministic), self.run("torch", dtype, deterministic)
        truth = self.run("torch", torch.float64, deterministic)
        names = ("out", "lse", "dq", "dk", "dv", *self.biases)
        for name, mine, plain, exact in zip(names, ours, torchs, truth, strict=True):
            empty = exact == -torch.inf
            assert torch.equal(mine == -torch.inf, empty), name
            assert_close_as_torch(
                *(tensor.masked_fill(empty, 0.0) for tensor in (mine, plain, exact)), what=name
            )


def biases(device: str, *names: str, reach: int = 9) -> dict[str, Tensor]:  # noqa: F811
    generator = torch.Generator().manual_seed(7)
    every = {
        "alibi_slopes": lambda: torch.rand(HEADS, generator=generator),
        "distance_bias": lambda: torch.randn(HEADS, 2 * reach + 1, generator=generator),
        "bias": lambda: torch.randn(4, HEADS, 40, 40, generator=generator),
    }
    return {name: every[name]().to(device) for name in names}


@each({"dtype": DTYPES, "causal": [False, True]})
def test_ragged_sequences(device: str, dtype: torch.dtype, causal: bool) -> None:  # noqa: F811
    Case(device, RAGGED, causal=causal).check(dtype)


@each({"dtype": DTYPES, "causal": [False, True]})
def test_keys_of_other_lengths(device: str, dtype: torch.dtype, causal: bool) -> None:  # noqa: F811
    queries, keys = zip(*CROSS, strict=True)
    Case(device, queries, keys, causal=causal).check(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_equally_long_sequences(device: str, dtype: torch.dtype) -> None:  # noqa: F811
    Case(device, (33, 33), (40, 40), packed=False, causal=True, **biases(device, "distance_bias")).check(
        dtype
    )


@pytest.mark.parametrize("dtype", SLOW_DTYPES)
@pytest.mark.parametrize(
    "options",
    [
        {"window": (7, 3)},
        {"window": (20, -1), "causal": True},
        {"window": (0, 0)},
        {"softcap": 2.0, "causal": True},
        {"dropout": 0.3, "seed": 7},
        {"scale": 0.7},
    ],
    ids=str,
)
def test_options(device: str, dtype: torch.dtype, options: dict[str, Any]) -> None:  # noqa: F811
    Case(device, (40, 0, 5), (50, 3, 5), **options).check(dtype)


@each(
    {"dtype": SLOW_DTYPES, "deterministic": [False, True], "name": ["alibi_slopes", "distance_bias", "bias"]}
)
def test_biases(device: str, dtype: torch.dtype, deterministic: bool, name: str) -> None:  # noqa: F811
    Case(device, RAGGED, **biases(device, name)).check(dtype, deterministic)


TERMS = ("content_to_position", "position_to_content")


@each({"dtype": SLOW_DTYPES, "deterministic": [False, True], "terms": [TERMS, TERMS[:1], TERMS[1:]]})
def test_disentangled_biases(
    device: str,  # noqa: F811
    dtype: torch.dtype,
    deterministic: bool,
    terms: tuple[str, ...],
) -> None:
    """Buckets of one distance, of several, and the last ones, of all that lie further."""
    index = disentangled_index(8, 8, 20)
    Case(device, (33, 0, 40, 1), (33, 3, 50, 1), terms=terms, index=index).check(dtype, deterministic)


def test_disentangled_biases_beside_others(device: str) -> None:  # noqa: F811
    """Equally long sequences, a dense bias, and an index that falls."""
    index = disentangled_index(8, 8, 20).flip(0)
    options = {"bias": torch.randn(1, 1, 33, 40).to(device), "causal": True, "softcap": 3.0}
    for drops in ({}, {"dropout": 0.2, "seed": 5}):
        case = Case(device, (33, 33), (40, 40), packed=False, terms=TERMS, index=index, **options, **drops)
        case.check(torch.float32)


def test_disentangled_products_of_any_strides(device: str) -> None:  # noqa: F811
    """As cuBLAS leaves them, one head after another, and cut from something wider; gradients reach the embeddings."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(30, HEADS, 16, device=device) for _ in range(3))
    embeddings = [torch.randn(8, HEADS, 16, device=device) for _ in range(2)]
    ends = torch.tensor([0, 21, 30], device=device, dtype=torch.int32)
    index = disentangled_index(4, 4, 9).long().to(device)
    for cut in (False, True):
        results = []
        for backend in ("triton", "torch"):
            leaves = [tensor.detach().clone().requires_grad_() for tensor in (q, k, v, *embeddings)]
            content, position = disentangled_products(*leaves[:2], *leaves[3:])
            assert content is not None and position is not None and not content.is_contiguous()
            if cut:
                content, position = (F.pad(products, (0, 3))[..., :8] for products in (content, position))
            out = attention(
                *leaves[:3], ends, content_to_position=content, position_to_content=position, position_index=index,
                backend=backend,
            )  # fmt: skip
            results.append([out, *torch.autograd.grad(out.square().sum(), leaves)])
        for mine, plain in zip(*results, strict=True):
            torch.testing.assert_close(mine, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("reach", [0, 1, 40])
def test_distances_near_and_far(device: str, reach: int) -> None:  # noqa: F811
    """Blocks wholly beyond the table on either side, partly, and a table that has one entry."""
    Case(device, (70, 5), (80, 40), **biases(device, "distance_bias", reach=reach)).check(torch.float32)


@each({"shape": [(1, HEADS, 40, 40), (4, 1, 40, 40), (1, 1, 1, 40)], "deterministic": [False, True]})
def test_a_bias_that_is_shared(device: str, shape: tuple[int, ...], deterministic: bool) -> None:  # noqa: F811
    bias = torch.randn(shape, generator=torch.Generator().manual_seed(3)).to(device)
    Case(device, RAGGED, bias=bias).check(torch.float32, deterministic)


def test_everything_at_once(device: str) -> None:  # noqa: F811
    options = {"softcap": 3.0, "causal": True, "window": (30, 0), "dropout": 0.2, "seed": 5}
    named = biases(device, "alibi_slopes", "distance_bias", "bias")
    for deterministic in (False, True):
        Case(device, (33, 20, 0), (40, 18, 9), **options, **named | {"bias": named["bias"][:3]}).check(
            torch.float32, deterministic
        )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("size", [16, 64, 80, 128, 192, 256])
@pytest.mark.gpu
def test_head_dimensions(dtype: torch.dtype, size: int) -> None:
    """With the tiles of the table, and sequences of many tiles, causal and not."""
    for causal in (False, True):
        Case("cuda", (2000, 300, 0, 129, 64), size=size, causal=causal).check(dtype)
        Case("cuda", (640, 640), size=size, packed=False, causal=causal).check(dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("typical", [20, 1000])
@pytest.mark.gpu
def test_the_table_for_each_kind_of_bias(dtype: torch.dtype, typical: int) -> None:
    lengths = (typical, 3 * typical, 0, typical // 2, 1)
    for size in (64, 128):
        for options in ({"window": (100, 0)}, {"softcap": 5.0}, {"dropout": 0.1, "seed": 3}, {}):
            named = biases("cuda", "distance_bias", reach=128) if not options else {}
            for deterministic in (False, True):
                Case("cuda", lengths, size=size, **options, **named).check(dtype, deterministic)


@pytest.mark.parametrize("sizes", [(16, 40), (33, 17)], ids=str)
def test_values_of_another_size(device: str, sizes: tuple[int, int]) -> None:  # noqa: F811
    Case(device, (30, 12), size=sizes[0], v_size=sizes[1], causal=True).check(torch.float32)


def test_any_strides(device: str) -> None:  # noqa: F811
    """Queries, keys and values cut from one projection, and heads before tokens."""
    torch.manual_seed(0)
    fused = torch.randn(2, 30, 3, 4, 16, device=device)
    for q, k, v in (
        fused.unbind(2),
        [side.transpose(1, 2).contiguous().transpose(1, 2) for side in fused.unbind(2)],
    ):
        assert not (q.is_contiguous() and k.is_contiguous())
        whole = attention(q.contiguous(), k.contiguous(), v.contiguous(), backend="torch")
        torch.testing.assert_close(attention(q, k, v, backend="triton"), whole, atol=1e-5, rtol=1e-5)
    spread = fused[..., ::2]
    q, k, v = (side.requires_grad_() for side in spread.detach().clone().unbind(2))
    grads = [
        torch.autograd.grad(
            attention(*spread.unbind(2)[:0], q, k, v, backend=name).mT.square().sum(), (q, k, v)
        )
        for name in ("triton", "torch")
    ]
    for mine, plain in zip(*grads, strict=True):
        torch.testing.assert_close(mine, plain, atol=1e-4, rtol=1e-4)


def test_rows_that_see_nothing_are_zero(device: str) -> None:  # noqa: F811
    q = torch.randn(40, 2, 16, device=device, requires_grad=True)
    k = torch.randn(30, 2, 16, device=device, requires_grad=True)
    ends = [torch.tensor(e, device=device, dtype=torch.int32) for e in ([0, 20, 40], [0, 0, 30])]
    bias = torch.zeros(1, 1, 20, 30, device=device)
    bias[..., 3, :] = -torch.inf
    out, lse = attention(q, k, k, *ends, bias=bias, return_lse=True, backend="triton")
    assert not out[:20].any() and not out[23].any() and out[24].any()
    assert (
        torch.equal(lse[:, :20], torch.full_like(lse[:, :20], -torch.inf))
        and (lse[:, 23] == -torch.inf).all()
    )
    dq, dk = torch.autograd.grad(out.square().sum(), (q, k))
    assert not dq[:20].any() and not dq[23].any() and dq.isfinite().all() and dk.isfinite().all()


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")  # numpy's, in the interpreter
def test_a_sequence_does_not_reach_into_its_neighbours(device: str) -> None:  # noqa: F811
    """NaN in one sequence stays there: forward, and gradients."""
    q, k, v = (torch.randn(60, 2, 16, device=device) for _ in range(3))
    for side in (q, k, v):
        side[25:45] = torch.nan
    q, k, v = (side.requires_grad_() for side in (q, k, v))
    ends = torch.tensor([0, 25, 45, 60], device=device, dtype=torch.int32)
    out = attention(q, k, v, ends, backend="triton")
    for tensor in (out, *torch.autograd.grad(out.nansum(), (q, k, v))):
        kept = torch.cat([tensor[:25], tensor[45:]])
        assert kept.isfinite().all()


def test_empty_inputs(device: str) -> None:  # noqa: F811
    for queries, keys in (((0, 0), (0, 0)), ((0,), (5,)), ((5,), (0,))):
        Case(device, queries, keys, size=16).check(torch.float32)
    nothing = torch.zeros(0, 4, 2, 16, device=device)
    assert attention(nothing, nothing, nothing, backend="triton").shape == (0, 4, 2, 16)


def test_deterministic_gives_the_same_bits(device: str) -> None:  # noqa: F811
    case = Case(device, (40, 33), **biases(device, "distance_bias"))
    first, second = (case.run("triton", torch.float32, True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_many_sequences_are_ranked_longest_first(device: str) -> None:  # noqa: F811
    """The plan of 200 sequences: every tile once, by falling length of the other side."""
    lengths = torch.randint(0, 40, (200,), generator=torch.Generator().manual_seed(0))
    case = Case(device, tuple(lengths.tolist()), size=16)
    call = kernel._call(*case.sides, *case.ends, kernel.Biases(), kernel.Options(1.0), None)
    slots = call.slots(call.q, 16)
    plan = call.plan(*case.ends, slots, 16)
    tiles = (lengths + 15) // 16
    total = int(plan[0, 0])
    assert total == int(tiles.sum()) <= slots
    sequences = plan[1 : total + 1, 6].long().cpu()
    assert torch.equal(torch.bincount(sequences, minlength=200), tiles)
    assert (lengths[sequences].diff() <= 0).all()


@each({"deterministic": [True, False], "name": ["distance_bias", "bias"]})
def test_biases_of_any_strides(device: str, deterministic: bool, name: str) -> None:  # noqa: F811
    bias = biases(device, name)[name].mT.contiguous().mT
    assert not bias.is_contiguous()
    Case(device, RAGGED, **{name: bias}).check(torch.float32, deterministic)


@pytest.mark.parametrize("deterministic", [False, True])
def test_relative_buckets_through_the_kernel(device: str, deterministic: bool) -> None:  # noqa: F811
    """The gradient reaches T5's table of buckets."""
    q, k, v = (torch.randn(50, 2, 16, device=device) for _ in range(3))
    ends = torch.tensor([0, 50], device=device, dtype=torch.int32)
    grads = []
    for backend in ("triton", "torch"):
        buckets = torch.ones(32, 2, device=device).cumsum(0).mul(0.1).requires_grad_()
        bias = bucketed_distance_bias(buckets, 20, bidirectional=True)
        out = attention(q, k, v, ends, distance_bias=bias, backend=backend, deterministic=deterministic)
        grads.append(torch.autograd.grad(out.square().sum(), buckets)[0])
    torch.testing.assert_close(*grads, atol=1e-4, rtol=1e-4)
    assert grads[0].any()


def test_the_op_as_torch_sees_it(device: str) -> None:  # noqa: F811
    """Schema, fake implementation, autograd registration and tracing agree."""
    case = Case(device, (20, 9), size=16)
    torch.use_deterministic_algorithms(False)
    sides = [side.requires_grad_() for side in case.sides]
    named = biases(device, "distance_bias")["distance_bias"].requires_grad_()
    options = (None, 0.3, -1, 0, 0.0, 0.0, False)
    torch.library.opcheck(
        kernel.attention_op, (*sides, *case.ends, None, named, None, None, None, None, *options)
    )
    case = Case(device, (20, 9), size=16, terms=TERMS, index=disentangled_index(4, 4, 9))
    sides = [side.requires_grad_() for side in (*case.sides, *(case.biases[name] for name in TERMS))]
    index = case.options["position_index"]
    torch.library.opcheck(
        kernel.attention_op, (*sides[:3], *case.ends, None, None, None, *sides[3:], index, *options)
    )


def test_one_graph_for_all_lengths(device: str) -> None:  # noqa: F811
    compiled = torch.compile(attention, fullgraph=True, dynamic=True, backend="eager")
    for lengths in ((20, 9), (7, 33)):
        case = Case(device, lengths, size=16)
        ours = compiled(*case.sides, *case.ends, causal=True, backend="triton")
        plain = attention(*case.sides, *case.ends, causal=True, backend="torch")
        torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
def test_in_a_cuda_graph() -> None:
    """No synchronisation: a captured call serves other lengths of the same total."""
    case = Case("cuda", (500, 30, 100), size=64)
    q, k, v = (side.half() for side in case.sides)
    ends = case.ends[0].clone()
    attention(q, k, v, ends)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = attention(q, k, v, ends, backend="triton")
    for lengths in ([0, 500, 530, 630], [0, 1, 600, 630]):
        ends.copy_(torch.tensor(lengths, dtype=torch.int32))
        graph.replay()
        expected = attention(q.float(), k.float(), v.float(), ends, backend="torch")
        torch.testing.assert_close(out.float(), expected, atol=5e-3, rtol=5e-3)
