"""Every kind of scoring on every path of attention: packed, uniform, rectangular and over a cache compute the same."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from oxiformers.errors import UnsupportedError
from oxiformers.layers.attention import attend, attend_rectangular
from oxiformers.layers.cache import Cache
from oxiformers.layers.cached_attention import CacheStep, lay_out
from oxiformers.layers.layout import Layout, Segments
from oxiformers.layers.ragged import ragged_attention
from oxiformers.layers.scoring import Scoring
from oxiformers_kernels.attention import attention as reference
from tests.layers.scorings import (
    CACHEABLE,
    DISENTANGLED,
    KINDS,
    learned,
    packed_rows,
    products_by,
    scoring_of,
)

CPU = torch.device("cpu")
HEADS, SIZE = 4, 8
every_kind = pytest.mark.parametrize("kind", KINDS)
every_cacheable_kind = pytest.mark.parametrize("kind", CACHEABLE)

# Empty sequences on either side and on both; more keys than queries and fewer.
LENGTHS = {
    "self": ([3, 3, 1, 5, 0, 2], [3, 3, 1, 5, 0, 2]),
    "more keys": ([2, 2, 1, 4], [6, 6, 1, 7]),
    "fewer keys": ([5, 5, 2, 3], [2, 2, 1, 3]),
    "empty": ([0, 0, 3, 2, 0, 4], [0, 2, 0, 2, 3, 1]),
    "nothing": ([0, 0], [0, 0]),
}


def draw(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()


def assert_same_gradients(ours, theirs, inputs):
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(ours)
    both = [torch.autograd.grad((side * weight).sum(), inputs, allow_unused=True) for side in (ours, theirs)]
    for one, other, tensor in zip(*both, inputs, strict=True):
        # What never took part has no gradient on one path and zeros on another.
        one, other = (torch.zeros_like(tensor) if grad is None else grad for grad in (one, other))
        torch.testing.assert_close(one, other)


@every_kind
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_ragged_equals_the_kernels_reference(kind, lengths, kv_heads):
    query_lengths, key_lengths = lengths
    query, key = draw(sum(query_lengths), HEADS, SIZE), draw(sum(key_lengths), kv_heads, SIZE, seed=1)
    value = draw(sum(key_lengths), kv_heads, SIZE, seed=2)
    scoring, own = scoring_of(kind, HEADS, len(query_lengths), max(query_lengths), max(key_lengths))
    scoring = packed_rows(scoring, *lengths)
    ours = ragged_attention(query, key, value, *map(torch.tensor, lengths), scoring)
    ends = [Segments.from_lengths(side).cu_seqlens for side in lengths]
    theirs = reference(query, key, value, *ends, backend="torch", **scoring._asdict())
    assert_same_gradients(ours, theirs, [query, key, value, *own])


@every_kind
@pytest.mark.parametrize(("query_length", "key_length"), [(6, 6), (2, 6), (1, 6), (5, 3)])
def test_uniform_equals_rectangular(kind, query_length, key_length):
    query, key = draw(2, query_length, HEADS, SIZE), draw(2, key_length, 2, SIZE, seed=1)
    value = draw(2, key_length, 2, SIZE, seed=2)
    scoring, own = scoring_of(kind, HEADS, 2, query_length, key_length)
    uniform, _ = attend(query, key, value, Layout("uniform", shape=(2, query_length)), scoring)
    plain, _ = attend_rectangular(query, key, value, None, scoring)
    assert_same_gradients(uniform, plain, [query, key, value, *own])


@every_kind
def test_values_wider_than_keys(kind):
    lengths = torch.tensor([3, 3, 5])
    query, value = draw(11, HEADS, SIZE), draw(11, HEADS, 2 * SIZE, seed=2)
    scoring, own = scoring_of(kind, HEADS, 3, 5, 5)
    scoring = packed_rows(scoring, lengths.tolist(), lengths.tolist())
    ours = ragged_attention(query, query, value, lengths, lengths, scoring)
    ends = Segments.from_lengths(lengths).cu_seqlens
    theirs = reference(query, query, value, ends, backend="torch", **scoring._asdict())
    assert_same_gradients(ours, theirs, [query, value, *own])


@every_kind
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_as_good_as_the_reference(kind, dtype):
    lengths = [70, 70, 3, 0]
    tensors = [draw(143, HEADS, 2 * SIZE, seed=seed) for seed in range(3)]
    scoring, wide = (
        packed_rows(scoring_of(kind, HEADS, 4, 70, 70, dtype=own)[0], lengths, lengths)
        for own in (dtype, torch.float64)
    )
    ends = Segments.from_lengths(lengths).cu_seqlens
    with torch.no_grad():
        narrow = [tensor.to(dtype) for tensor in tensors]
        ours = ragged_attention(*narrow, *[torch.tensor(lengths)] * 2, scoring)
        plain = reference(*narrow, ends, backend="torch", **scoring._asdict())
        exact = reference(*(t.double() for t in narrow), ends, backend="torch", **wide._asdict())
    error, plain_error = ((output.double() - exact).abs().max().item() for output in (ours, plain))
    assert ours.dtype == dtype and error <= 2 * plain_error + 1e-5


@every_kind
def test_packed_equals_rectangular_where_the_padding_is_right(kind):
    mask = torch.tensor([[1, 1, 1, 0, 0], [1] * 5, [0] * 5, [1, 0, 0, 0, 0]])
    padded = [draw(4, 5, heads, SIZE, seed=heads) for heads in (HEADS, 2, 2)]
    packed, rectangular = Layout.of(mask, mask), Layout.of(mask, mask, rectangular=True)
    assert (packed.form, rectangular.form) == ("packed", "rectangular")
    scoring, own = scoring_of(kind, HEADS, 4, 5, 5)
    inside = products_by(scoring, packed.pack, packed.pack)
    if scoring.bias is not None:
        inside = inside._replace(bias=packed.pack_pairs(scoring.bias))
    ours = packed.unpack(attend(*map(packed.pack, padded), packed, inside)[0])
    theirs = rectangular.unpack(attend(*padded, rectangular, scoring)[0])
    assert_same_gradients(ours, theirs, [*padded, *own])


def test_every_term_is_in_a_kind():
    """Whoever adds a term to Scoring adds a kind, and with it every comparison of this file."""
    terms = {term for kind in KINDS for term in scoring_of(kind, HEADS, 2, 4, 4)[0].present()}
    assert terms == set(Scoring._fields) - {"dropout"}


@pytest.mark.parametrize("kind", DISENTANGLED)
def test_products_of_a_side_that_is_uniform(kind):
    """In cross-attention one side may be packed and the other not: its products come in rows."""
    query_mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
    query, key = draw(3, 4, HEADS, SIZE), draw(3, 5, HEADS, SIZE, seed=1)
    scoring, own = scoring_of(kind, HEADS, 3, 4, 5)
    if scoring.bias is not None:
        scoring = scoring._replace(bias=scoring.bias[:1, :1, :1, :1])
        own = [tensor for tensor in own if tensor.shape[-1] == 6]
    queries = Layout.of(query_mask, query_mask, order=torch.arange(3))
    layout = queries.attending_to(Layout.of(key, None))
    packed = products_by(scoring, queries.pack, lambda products: products)
    ours, _ = attend(queries.pack(query), key, key, layout, packed)

    def alone(row, length):
        part = products_by(
            scoring, lambda products: products[row, None, :length], lambda products: products[row, None]
        )
        sides = query[row, None, :length], key[row, None], key[row, None]
        return attend_rectangular(*sides, None, part)[0][0]

    expected = [alone(row, length) for row, length in enumerate(query_mask.sum(1).tolist()) if length]
    assert_same_gradients(ours, torch.cat(expected), [query, key, *own])


def test_pairs_are_packed_by_column():
    mask = torch.tensor([[0, 1, 0, 1], [1, 1, 1, 0], [0, 0, 0, 0]])
    layout = Layout.of(mask, mask)
    bias = torch.arange(16.0).view(1, 1, 4, 4) + torch.tensor([0.0, 100.0, 200.0]).view(3, 1, 1, 1)
    packed = layout.pack_pairs(bias)
    order = layout.order.tolist()
    assert packed.shape == (3, 1, 3, 3)
    assert packed[order.index(0), 0, :2, :2].tolist() == [[5.0, 7.0], [13.0, 15.0]]
    assert torch.equal(packed[order.index(1), 0], bias[1, 0, :3, :3])
    shared = layout.pack_pairs(bias[:1])
    assert shared[order.index(0), 0, :2, :2].tolist() == [[5.0, 7.0], [13.0, 15.0]]
    uniform = Layout.of(mask, None)
    assert uniform.pack_pairs(bias) is bias


@every_cacheable_kind
@pytest.mark.parametrize("past", [[7, 7], [9, 8], [60, 2], [0, 6]])
@pytest.mark.parametrize(("added", "recorded"), [([1, 1], False), ([2, 2], True), ([3, 1], False)])
def test_a_cache_honours_it(kind, past, added, recorded):
    cache = Cache()
    old = draw(sum(past), 2, SIZE, seed=3).detach()
    step = CacheStep(cache, Layout.from_lengths(past), CPU)
    step.write(0, old, old + 1)
    step.commit()
    query, new = draw(sum(added), HEADS, SIZE, seed=1), draw(sum(added), 2, SIZE, seed=2)
    longest = max(one + other for one, other in zip(past, added, strict=True))
    scoring, own = scoring_of(kind, HEADS, 2, max(added), longest)
    step = CacheStep(cache, Layout.from_lengths(added), CPU)
    with torch.set_grad_enabled(recorded):
        output, _ = step.attend(0, query, new, new + 1, scoring)
        again, _ = step.attend(0, query, new, new + 1, scoring)
        expected = []
        sides = zip(query.split(added), old.split(past), new.split(added), strict=True)
        for row, (q, before, after) in enumerate(sides):
            key = torch.cat((before, after)).unsqueeze(0)
            part = scoring
            if scoring.bias is not None:
                rows = scoring.bias if scoring.bias.shape[0] == 1 else scoring.bias[row : row + 1]
                part = scoring._replace(bias=rows[:, :, : len(q), : key.shape[1]])
            expected.append(attend_rectangular(q[None], key, key + 1, None, part)[0][0])
    assert torch.equal(output, again)
    if recorded:
        assert_same_gradients(output, torch.cat(expected), [query, new, *own])
    else:
        torch.testing.assert_close(output, torch.cat(expected))


@pytest.mark.parametrize("kind", DISENTANGLED)
@pytest.mark.parametrize("past", [0, 3])
def test_a_cache_refuses_products_with_positions(kind, past):
    cache, tokens = Cache(), draw(3, HEADS, SIZE)
    if past:
        step = CacheStep(cache, Layout.from_lengths([past]), CPU)
        step.write(0, tokens, tokens)
        step.commit()
    scoring, _ = scoring_of(kind, HEADS, 1, 3, 3 + past)
    step = CacheStep(cache, Layout.from_lengths([3]), CPU)
    with pytest.raises(UnsupportedError, match="past_key_values: expected None with disentangled attention"):
        step.attend(0, tokens, tokens, tokens, packed_rows(scoring, [3], [3]))


# Layers of one call: another window, the same tables; then other tables in the first window.
WINDOWS = ((2, -1), None, (1, -1), (2, -1))


@pytest.mark.parametrize("form", ["packed", "left", "rectangular"])
@pytest.mark.parametrize("kind", ["causal", "softcap", "causal alibi", "distance bias"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@torch.no_grad()
def test_windows_that_differ_by_layer_decode_as_they_compute_at_once(form, kind, dtype):
    lengths, longest = [9, 4, 7], 12
    scoring, _ = scoring_of(kind, HEADS, 3, longest, longest, dtype=dtype)
    layers = [scoring._replace(causal=True, window=window) for window in WINDOWS]
    tables = {name: getattr(scoring, name) for name in ("alibi_slopes", "distance_bias")}
    layers[-1] = layers[-1]._replace(
        **{n: None if table is None else table * 2 for n, table in tables.items()}
    )
    sizes = [length + 3 for length in lengths]
    rows = [[draw(size, heads, SIZE, seed=size + heads).to(dtype) for heads in (HEADS, 2)] for size in sizes]
    cache, outputs = Cache(), [[[] for _ in rows] for _ in layers]
    mask = torch.zeros(3, 0, dtype=torch.int64)
    for begin, end in ((0, None), (None, 2), (2, 3)):
        # The prompts of the rows, two tokens each, one token each.
        parts = [
            slice(begin, length) if end is None else slice(length + (begin or 0), length + end)
            for length in lengths
        ]
        tokens = [[side[part] for side in row] for row, part in zip(rows, parts, strict=True)]
        counts = [len(query) for query, _ in tokens]
        width = max(counts)
        if form == "packed":
            layout, given = Layout.from_lengths(counts), None
            query, key = (torch.cat(side) for side in zip(*tokens, strict=True))
        else:
            new = torch.tensor([[0] * (width - count) + [1] * count for count in counts])
            mask = given = torch.cat((mask, new), 1)
            query, key = (
                torch.stack([F.pad(side, (0, 0, 0, 0, width - len(side), 0)) for side in sides])
                for sides in zip(*tokens, strict=True)
            )
            layout = lay_out(query.flatten(2), mask, cache, rectangular=form == "rectangular")
            query, key = layout.pack(query), layout.pack(key)
        step = CacheStep(cache, layout, CPU, given)
        for number, layer in enumerate(layers):
            output, _ = step.attend(number, query, key, key + 1, layer)
            if form == "packed":
                split = output.split(counts)
            else:
                split = [
                    row[width - count :] for row, count in zip(layout.unpack(output), counts, strict=True)
                ]
            for row, part in enumerate(split):
                outputs[number][row].append(part)
        step.commit()
    tolerance = {} if dtype is torch.float64 else {"rtol": 0.05, "atol": 0.05}
    for layer, of_layer in zip(layers, outputs, strict=True):
        for (query, key), ours in zip(rows, of_layer, strict=True):
            expected, _ = attend_rectangular(query[None], key[None], key[None] + 1, None, layer)
            torch.testing.assert_close(torch.cat(ours), expected[0], **tolerance)


@pytest.mark.parametrize("kind", ["causal", "window", "causal window"])
def test_queries_that_see_nothing_give_zero(kind):
    """More queries than keys: the first ones stand before every key."""
    lengths = torch.tensor([6]), torch.tensor([2])
    query, key = draw(6, HEADS, SIZE), draw(2, HEADS, SIZE, seed=1)
    scoring, _ = scoring_of(kind, HEADS, 1, 6, 2)
    for needs_gradient in (False, True):
        with torch.set_grad_enabled(needs_gradient):
            output = ragged_attention(query, key, key, *lengths, scoring)
        assert output[0].abs().max() == 0 and output[-1].abs().min() > 0
    output.sum().backward()
    assert query.grad.isfinite().all() and query.grad[0].abs().max() == 0


@torch.no_grad()
def test_queries_that_see_nothing_give_zero_in_bfloat16():
    """From 64 keys on, bfloat16 goes by batched products, whose softmax over nothing would not be a number."""
    query, key = (draw(count, HEADS, SIZE).bfloat16() for count in (80, 70))
    output = ragged_attention(query, key, key, torch.tensor([80]), torch.tensor([70]), Scoring(causal=True))
    assert output[:10].abs().max() == 0 and output[10:].abs().amin((1, 2)).isfinite().all()
    bias = torch.zeros(1, 1, 70, 70).masked_fill(torch.arange(70)[:, None] == 3, -math.inf)
    lengths = torch.tensor([70])
    output = ragged_attention(key, key, key, lengths, lengths, Scoring(bias=bias))
    assert output[3].abs().max() == 0 and output.isfinite().all()


def test_what_is_plain():
    scorings = {kind: scoring_of(kind, HEADS, 1, 2, 2)[0] for kind in KINDS}
    assert {kind for kind, one in scorings.items() if one.is_plain()} == {"plain", "causal", "scale"}
    assert not Scoring(dropout=0.1).is_plain()
    biased = {"alibi", "causal alibi", "distance bias", *DISENTANGLED, "everything"}
    biased |= {kind for kind in KINDS if kind.startswith("bias")}
    assert {kind for kind, one in scorings.items() if one.is_biased()} == biased


def test_a_bias_may_hide_all_keys_of_a_query():
    lengths = torch.tensor([3])
    query = draw(3, HEADS, SIZE)
    bias = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    bias[0, 0, 1] = -math.inf
    bias.requires_grad_()
    output = ragged_attention(query, query, query, lengths, lengths, Scoring(bias=bias))
    assert output[1].abs().max() == 0
    output.sum().backward()
    assert query.grad.isfinite().all() and bias.grad[0, 0, 1].abs().max() == 0 and bias.grad[0, 0, 0].any()


@every_kind
def test_dropout_backward_is_the_gradient_of_the_same_draw(kind):
    lengths = torch.tensor([2, 2, 3])
    tensors = [draw(7, 2, 4, seed=seed) for seed in range(3)]
    scoring, own = scoring_of(kind, 2, 3, 3, 3)

    def run(query, key, value, *terms):
        drawn = scoring._replace(dropout=0.4, **dict(zip(learned(scoring), terms, strict=True)))
        torch.manual_seed(7)
        return ragged_attention(
            query, key, value, lengths, lengths, packed_rows(drawn, lengths.tolist(), lengths.tolist())
        )

    assert torch.autograd.gradcheck(run, (*tensors, *own), fast_mode=True)


@pytest.mark.parametrize("form", ["rectangular", "uniform", "packed"])
@every_kind
def test_dropout_on_every_path(kind, form):
    """That share of the probabilities becomes 0, the rest grows; unit vectors as values show each of them."""
    rows, length, share = 24, 5, 0.3
    query, key = (draw(rows, length, HEADS, SIZE, seed=seed).detach() for seed in (0, 1))
    value = torch.eye(length, dtype=torch.float64).view(1, length, 1, length).expand(rows, -1, HEADS, -1)
    mask = torch.ones(rows, length, dtype=torch.int64)
    mask[:, -1] = 0 if form == "packed" else 1
    layout = Layout.of(mask, mask if form == "packed" else None, rectangular=form == "rectangular")
    assert layout.form == form
    scoring, _ = scoring_of(kind, HEADS, rows, length, length)
    if scoring.bias is not None:
        scoring = scoring._replace(bias=layout.pack_pairs(scoring.bias))
    sides = [layout.pack(side) for side in (query, key, value)]
    torch.manual_seed(0)
    with torch.no_grad():
        plain, _ = attend(*sides, layout, scoring)
        dropped, probabilities = attend(*sides, layout, scoring._replace(dropout=share))
    assert (probabilities is not None) == (form == "rectangular")
    seen, kept = plain > 1e-9, dropped != 0
    torch.testing.assert_close(dropped, torch.where(kept, plain / (1 - share), 0.0))
    assert abs(1 - kept[seen].double().mean() - share) < 0.06
    if probabilities is not None:
        torch.testing.assert_close(probabilities.transpose(1, 2), dropped)


def test_an_explicit_mask_takes_the_place_of_causal_and_window():
    tensors = [draw(2, 5, HEADS, SIZE, seed=seed) for seed in range(3)]
    mask = torch.rand(2, 1, 5, 5) > 0.4
    layout = Layout.of(torch.ones(2, 5), mask)
    masked, _ = attend(*tensors, layout, Scoring(causal=True, window=(1, 1)))
    torch.testing.assert_close(masked, attend_rectangular(*tensors, mask)[0])
