"""The cache as users and generation see it, and cached attention against plain attention."""

from __future__ import annotations

import pytest
import torch

from oxiformers.errors import ArgumentError
from oxiformers.layers.attention import attend_rectangular
from oxiformers.layers.cache import Cache, DynamicCache, EncoderDecoderCache
from oxiformers.layers.cached_attention import CacheStep, lay_out
from oxiformers.layers.layout import Layout
from oxiformers.layers.scoring import Scoring

CPU = torch.device("cpu")
HEADS, KV_HEADS, SIZE = 4, 2, 8


def random_tokens(count, heads, seed=0):
    return torch.randn(count, heads, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def fill(cache, lengths, layers=1):
    """Writes that many tokens to each row, and gives their keys."""
    step = CacheStep(cache, Layout.from_lengths(lengths), CPU)
    key = random_tokens(sum(lengths), KV_HEADS, seed=sum(lengths))
    for layer in range(layers):
        step.write(layer, key, key + 1)
    step.commit()
    return key.split(lengths)


def test_a_new_cache_is_empty():
    for cache in (DynamicCache(), DynamicCache(config=object())):
        assert (len(cache), cache.get_seq_length(), cache.is_initialized, list(cache)) == (0, 0, False, [])
        assert cache.get_max_cache_shape() == -1
    both = EncoderDecoderCache(DynamicCache(), DynamicCache())
    assert (len(both), both.get_seq_length(), both.is_initialized) == (0, 0, False)


def test_it_shows_a_rectangle():
    cache = Cache()
    keys = fill(cache, [3, 1, 2], layers=2)
    assert (len(cache), cache.get_seq_length(), cache.layers[1].get_seq_length()) == (2, 3, 3)
    shown, values = cache[1]
    assert shown.shape == values.shape == (3, KV_HEADS, 3, SIZE)
    for row, key in enumerate(keys):
        assert torch.equal(shown[row, :, : len(key)], key.transpose(0, 1))
        assert torch.equal(values[row, :, : len(key)], key.transpose(0, 1) + 1)
        assert shown[row, :, len(key) :].abs().sum() == values[row, :, len(key) :].abs().sum() == 0
    assert [pair[0].shape for pair in cache] == [shown.shape] * 2
    assert repr(cache) == "Cache(rows=3, layers=2, columns=3)"


def test_padding_keeps_its_columns():
    cache = Cache()
    mask = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0]])
    layout = Layout.of(mask, mask)
    step = CacheStep(cache, layout, CPU, mask)
    padded = random_tokens(12, KV_HEADS).view(3, 4, KV_HEADS, SIZE)
    step.write(0, layout.pack(padded), layout.pack(padded))
    step.commit()
    assert cache.get_seq_length() == 4
    assert torch.equal(cache.kept(4, CPU), mask.bool())
    shown = cache.layers[0].keys.transpose(1, 2)
    assert torch.equal(shown, padded * mask[:, :, None, None])
    assert cache.lengths[cache.rows].tolist() == [2, 2, 0]
    assert cache.has_gaps()


@pytest.mark.parametrize(
    ("mask", "gaps"),
    [([[0, 1, 1], [1, 1, 1]], False), ([[1, 1, 0], [1, 1, 1]], True), ([[1, 0, 1], [1, 1, 1]], True)],
)
def test_gaps(mask, gaps):
    cache, mask = Cache(), torch.tensor(mask)
    layout = Layout.of(mask, mask)
    step = CacheStep(cache, layout, CPU, mask)
    step.write(0, *[random_tokens(int(mask.sum()), KV_HEADS)] * 2)
    step.commit()
    assert cache.has_gaps() == gaps
    following = torch.cat((mask, torch.ones(2, 1, dtype=torch.int64)), 1)
    form = lay_out(torch.ones(2, 1), following, cache, by_distance=True).form
    assert form == ("rectangular" if gaps else "uniform")
    assert lay_out(torch.ones(2, 1), following, cache).form == "uniform"


def test_capacity_grows_by_half_and_keeps_what_was_there():
    cache = Cache()
    first = fill(cache, [70])[0]
    assert cache.capacity == 128
    fill(cache, [59])
    assert cache.capacity == 192
    assert torch.equal(cache.layers[0].keys[0, :, :70], first.transpose(0, 1))
    slots = cache.layers[0].key_slots
    fill(cache, [63])
    assert cache.layers[0].key_slots is slots


def test_a_call_that_fails_leaves_the_cache_as_it_was():
    cache = Cache()
    fill(cache, [2, 3], layers=2)
    before = [tensor.clone() for tensor in cache[0]]
    step = CacheStep(cache, Layout.from_lengths([1, 1]), CPU)
    step.write(0, random_tokens(2, KV_HEADS), random_tokens(2, KV_HEADS))  # and no commit
    assert cache.get_seq_length() == 3
    assert all(torch.equal(one, other) for one, other in zip(cache[0], before, strict=True))


def test_rows_are_a_list():
    cache = Cache()
    keys = fill(cache, [3, 1, 2])
    slots = cache.layers[0].key_slots
    cache.select(torch.tensor([2, 0]))
    assert torch.equal(cache.layers[0].keys[0, :, :2], keys[2].transpose(0, 1))
    cache.join(3)
    assert cache.rows.tolist() == [2, 0, 1, 3, 4]
    assert cache.lengths[cache.rows].tolist() == [2, 3, 0, 0, 0]
    assert cache.layers[0].key_slots is slots
    fill(cache, [0, 0, 2, 1, 0])
    assert cache.lengths[cache.rows].tolist() == [2, 3, 2, 1, 0]
    assert torch.equal(cache.layers[0].keys[1], keys[0].transpose(0, 1))
    with pytest.raises(ArgumentError, match="at most once"):
        cache.select([1, 1])


# Lengths that are served by one call, by a masked call, and by a call for each row.
PASTS = {"equal": [7, 7, 7], "alike": [9, 8, 10], "apart": [60, 1, 2, 2, 2, 60], "new rows": [0, 6, 0]}


@pytest.mark.parametrize("added", ["one", "two", "mixed"])
@pytest.mark.parametrize("past", PASTS.values(), ids=PASTS.keys())
@pytest.mark.parametrize("reach", [None, 3])
@pytest.mark.parametrize("causal", [True, False])
def test_attention_over_slots(past, added, reach, causal):
    counts = {"one": [1] * len(past), "two": [2] * len(past), "mixed": [1, 0, 3, 1, 2, 1][: len(past)]}[added]
    cache = Cache()
    keys = fill(cache, past)
    table = None if reach is None else torch.randn(HEADS, 2 * reach + 1, dtype=torch.float64)
    step = CacheStep(cache, Layout.from_lengths(counts), CPU)
    query, new = random_tokens(sum(counts), HEADS, seed=1), random_tokens(sum(counts), KV_HEADS, seed=2)
    scoring = Scoring(causal=causal, distance_bias=table)
    with torch.inference_mode():
        output, weights = step.attend(0, query, new, new + 1, scoring)
    assert weights is None
    start = 0
    for row, count in enumerate(counts):
        if count == 0:
            continue
        key = torch.cat((keys[row], new[start : start + count])).unsqueeze(0)
        expected, _ = attend_rectangular(query[None, start : start + count], key, key + 1, None, scoring)
        torch.testing.assert_close(output[start : start + count], expected[0])
        start += count


def test_reading_rows_without_keys_gives_zero():
    cache = Cache()
    keys = fill(cache, [3, 0, 4])
    query = random_tokens(3, HEADS)
    for lengths in ([1, 1, 1], [0, 3, 0]):
        step = CacheStep(cache, Layout.from_lengths(lengths), CPU, reading=True)
        output, _ = step.attend(0, query, None, None)
        assert output[1].abs().max() == 0
        start = 0
        for key, length in zip(keys, lengths, strict=True):
            if length and len(key):
                rows = query[None, start : start + length]
                expected, _ = attend_rectangular(rows, key[None], key[None] + 1, None)
                torch.testing.assert_close(output[start : start + length], expected[0])
            start += length
        step.commit()
    assert cache.lengths.tolist() == [3, 0, 4]


def test_an_explicit_mask_over_a_cache_takes_the_place_of_causal_and_window():
    cache = Cache()
    keys = fill(cache, [4, 4])
    query, new = (random_tokens(6, heads, seed=heads).view(2, 3, heads, SIZE) for heads in (HEADS, KV_HEADS))
    mask = torch.rand(2, 1, 3, 7, generator=torch.Generator().manual_seed(0)) > 0.4
    step = CacheStep(cache, lay_out(query.flatten(2), mask, cache), CPU, mask)
    output, probabilities = step.attend(0, query, new, new + 1, Scoring(causal=True, window=(1, 1)))
    key = torch.cat((torch.stack(keys), new), 1)
    expected, weights = attend_rectangular(query, key, key + 1, mask)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(probabilities, weights)
