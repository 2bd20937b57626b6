"""Every kind of scoring on every path of attention: packed, uniform, rectangular and over a cache compute the same."""

from __future__ import annotations

import math

import pytest
import torch

from oxiformers.layers.attention import attend, attend_rectangular
from oxiformers.layers.cache import Cache
from oxiformers.layers.cached_attention import CacheStep
from oxiformers.layers.layout import Layout, Segments
from oxiformers.layers.ragged import ragged_attention
from oxiformers.layers.scoring import Scoring
from oxiformers_kernels.attention import attention as reference
from tests.layers.scorings import KINDS, scoring_of

CPU = torch.device("cpu")
HEADS, SIZE = 4, 8
every_kind = pytest.mark.parametrize("kind", KINDS)

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
    ours = ragged_attention(query, query, value, lengths, lengths, scoring)
    ends = Segments.from_lengths(lengths).cu_seqlens
    theirs = reference(query, query, value, ends, backend="torch", **scoring._asdict())
    assert_same_gradients(ours, theirs, [query, value, *own])


@every_kind
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_as_good_as_the_reference(kind, dtype):
    lengths = [70, 70, 3, 0]
    tensors = [draw(143, HEADS, 2 * SIZE, seed=seed) for seed in range(3)]
    scoring, _ = scoring_of(kind, HEADS, 4, 70, 70, dtype=dtype)
    wide, _ = scoring_of(kind, HEADS, 4, 70, 70)
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
    inside = scoring
    if scoring.bias is not None:
        inside = scoring._replace(bias=packed.pack_pairs(scoring.bias))
    ours = packed.unpack(attend(*map(packed.pack, padded), packed, inside)[0])
    theirs = rectangular.unpack(attend(*padded, rectangular, scoring)[0])
    assert_same_gradients(ours, theirs, [*padded, *own])


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


@every_kind
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

    def run(query, key, value, *learned):
        named = dict(
            zip(
                [n for n in ("distance_bias", "bias") if getattr(scoring, n) is not None],
                learned,
                strict=True,
            )
        )
        torch.manual_seed(7)
        return ragged_attention(query, key, value, lengths, lengths, scoring._replace(dropout=0.4, **named))

    assert torch.autograd.gradcheck(run, (*tensors, *own))


def test_an_explicit_mask_takes_the_place_of_causal_and_window():
    tensors = [draw(2, 5, HEADS, SIZE, seed=seed) for seed in range(3)]
    mask = torch.rand(2, 1, 5, 5) > 0.4
    layout = Layout.of(torch.ones(2, 5), mask)
    masked, _ = attend(*tensors, layout, Scoring(causal=True, window=(1, 1)))
    torch.testing.assert_close(masked, attend_rectangular(*tensors, mask)[0])
