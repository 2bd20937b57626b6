"""Decoding step by step equals one forward over everything, however the batch lies."""

from __future__ import annotations

import copy

import pytest
import torch

from oxiformers.errors import ArgumentError, InputTypeError
from oxiformers.layers.cache import DynamicCache
from oxiformers.layers.layout import Layout
from oxiformers.models.llama import LlamaConfig, LlamaForCausalLM

VOCABULARY = 53
MASKS = {
    "unpadded": [[1] * 7] * 4,
    "left": [[0, 0, 1, 1, 1, 1, 1], [1] * 7, [0] * 6 + [1], [0, 1, 1, 1, 1, 1, 1]],
    "right": [[1, 1, 1, 1, 1, 0, 0], [1] * 7, [1] + [0] * 6, [1, 1, 1, 1, 1, 1, 0]],
    "holes": [[1, 0, 1, 1, 0, 1, 1], [1] * 7, [0, 0, 1, 0, 0, 1, 0], [1, 1, 0, 1, 1, 1, 1]],
    "mostly padding": [[0] * 6 + [1], [1] * 7, [0] * 6 + [1], [0] * 6 + [1]],
}
# New tokens of each call after the first, with their part of the mask.
STEPS = {
    "one by one": [[[1]] * 4, [[1]] * 4, [[1]] * 4],
    "several": [[[1, 1, 1]] * 4, [[1]] * 4, [[1, 1]] * 4],
    "some padded": [[[1, 1], [0, 1], [1, 0], [1, 1]], [[1]] * 4],
}


def make_model(kv_heads=2, dtype=torch.float64, **options):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=kv_heads, initializer_range=0.3, **options,
    )  # fmt: skip
    return LlamaForCausalLM(config).to(dtype).eval()


def random_ids(*shape):
    return torch.randint(
        1, VOCABULARY, shape, generator=torch.Generator().manual_seed(len(shape) + shape[-1])
    )


@pytest.mark.parametrize("grad", [False, True], ids=["inference", "recording"])
@pytest.mark.parametrize("eager", [False, True], ids=["packed", "eager"])
@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS.keys())
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_steps_equal_the_whole(mask, steps, eager, grad):
    model = make_model(attn_implementation="eager" if eager else None)
    parts = [torch.tensor(mask), *(torch.tensor(step) for step in steps)]
    masks = torch.cat(parts, 1)
    ids = random_ids(4, masks.shape[1])
    with torch.set_grad_enabled(grad):
        whole = model(ids, attention_mask=masks, use_cache=False).logits
        cache, start = DynamicCache(), 0
        for part in parts:
            end = start + part.shape[1]
            unpadded = bool(masks[:, :end].all())
            output = model(
                ids[:, start:end],
                attention_mask=None if unpadded else masks[:, :end],
                past_key_values=cache,
                use_cache=True,
            )
            assert output.past_key_values is cache
            torch.testing.assert_close(output.logits, whole[:, start:end])
            start = end
            assert cache.get_seq_length() == end
    assert len(cache) == 2
    assert cache.layers[1].keys.shape == (4, 2, masks.shape[1], 8)
    if not eager:
        assert (
            cache.layers[0].values.transpose(1, 2)[masks == 0].abs().max() == 0 if not masks.all() else True
        )


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_packed_sequences_grow_apart(kv_heads):
    model = make_model(kv_heads)
    # Sequence by sequence, how many tokens each call brings.
    plan = torch.tensor([[5, 1, 0, 3], [1, 1, 1, 1], [9, 0, 2, 0], [0, 4, 1, 1], [2, 1, 1, 1], [30, 1, 1, 1]])
    texts = [random_ids(int(count) + index)[: int(count)] for index, count in enumerate(plan.sum(1))]
    with torch.inference_mode():
        whole = [model(text.unsqueeze(0)).logits[0] for text in texts]
        cache, done = None, [0] * len(texts)
        for call in range(plan.shape[1]):
            lengths = plan[:, call].tolist()
            pieces = [
                text[start : start + count] for text, start, count in zip(texts, done, lengths, strict=True)
            ]
            output = model(torch.cat(pieces), layout=Layout.from_lengths(lengths), past_key_values=cache)
            cache = output.past_key_values
            expected = [
                line[start : start + count] for line, start, count in zip(whole, done, lengths, strict=True)
            ]
            torch.testing.assert_close(output.logits, torch.cat(expected))
            done = [start + count for start, count in zip(done, lengths, strict=True)]
    assert cache.lengths[cache.rows].tolist() == done
    assert cache.get_seq_length() == max(done)


def test_rows_leave_and_join():
    model = make_model()
    texts = [random_ids(12 + index) for index in range(6)]
    with torch.inference_mode():
        whole = [model(text.unsqueeze(0)).logits[0] for text in texts]
        cache = DynamicCache()
        model(
            torch.cat([text[:4] for text in texts[:4]]),
            layout=Layout.from_lengths([4] * 4),
            past_key_values=cache,
        )
        before = cache.layers[0].key_slots
        cache.select([3, 1])
        cache.join(2)
        assert cache.layers[0].key_slots is before
        pieces = [texts[3][4:6], texts[1][4:5], texts[4][:7], texts[5][:0]]
        lengths = [len(piece) for piece in pieces]
        output = model(torch.cat(pieces), layout=Layout.from_lengths(lengths), past_key_values=cache)
        expected = torch.cat([whole[3][4:6], whole[1][4:5], whole[4][:7]])
        torch.testing.assert_close(output.logits, expected)
        # A new row reuses a slot, however the row before it ended.
        cache.layers[0].key_slots[cache.rows[1]] = float("nan")
        cache.select([0, 2, 3])
        cache.join(3)
        pieces = [texts[3][6:7], texts[4][7:8], texts[5][:1], texts[0][:1], texts[1][:1], texts[2][:1]]
        output = model(
            torch.stack(pieces),
            past_key_values=cache,
            position_ids=torch.tensor([[6], [7], [0], [0], [0], [0]]),
        )
        expected = [whole[3][6], whole[4][7], whole[5][0], whole[0][0], whole[1][0], whole[2][0]]
        torch.testing.assert_close(output.logits[:, 0], torch.stack(expected))


def test_last_logits_of_a_packed_batch():
    model = make_model()
    ids, layout = random_ids(9), Layout.from_lengths([3, 0, 6])
    everything = model(ids, layout=layout).logits
    last = model(ids, layout=layout, logits_to_keep=1).logits
    torch.testing.assert_close(last[[0, 2]], everything[[2, 8]])
    assert last[1].abs().max() == 0


def test_history_may_be_hidden_later_but_not_shown():
    model = make_model()
    ids, mask = random_ids(2, 6), torch.tensor([[0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]])
    later = torch.tensor([[0, 0, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 1, 1]])
    token = random_ids(2, 1)
    with torch.inference_mode():
        cache, rectangular = DynamicCache(), DynamicCache()
        model(ids, attention_mask=mask, past_key_values=cache)
        copied = copy.deepcopy(cache)
        ours = model(token, attention_mask=later, past_key_values=cache).logits
        eager = make_model(attn_implementation="eager")
        eager(ids, attention_mask=mask, past_key_values=rectangular)
        torch.testing.assert_close(
            ours, eager(token, attention_mask=later, past_key_values=rectangular).logits
        )
        with pytest.raises(ArgumentError, match="never computed"):
            model(token, attention_mask=torch.ones(2, 7), past_key_values=copied)
        assert copied.get_seq_length() == 6
        # Attention weights of a batch that was packed: what was padding stays hidden.
        shown = model(token, past_key_values=copied, output_attentions=True)
    assert shown.attentions[0].shape == (2, 4, 1, 7)
    assert shown.attentions[0][0, :, 0, 0].abs().max() == 0


def test_four_dimensional_masks_continue():
    model = make_model()
    ids = random_ids(2, 6)
    mask = torch.ones(2, 1, 6, 6, dtype=torch.bool).tril()
    mask[0, 0, 4, 1] = False
    with torch.inference_mode():
        whole = model(ids, attention_mask=mask).logits
        cache = DynamicCache()
        model(ids[:, :4], attention_mask=mask[:, :, :4, :4], past_key_values=cache)
        torch.testing.assert_close(
            model(ids[:, 4:], attention_mask=mask[:, :, 4:], past_key_values=cache).logits, whole[:, 4:]
        )


def test_gradients_flow_to_the_new_tokens_only():
    model = make_model()
    ids = random_ids(3, 5)
    cache = DynamicCache()
    with torch.no_grad():
        model(ids[:, :3], past_key_values=cache)
    assert not cache.layers[0].keys.requires_grad
    packed = model(ids[:, 3:], past_key_values=copy.deepcopy(cache)).logits
    eager = make_model(attn_implementation="eager")
    plain = eager(ids[:, 3:], past_key_values=cache).logits
    weight = torch.randn_like(plain)
    ours = torch.autograd.grad((packed * weight).sum(), list(model.parameters()))
    theirs = torch.autograd.grad((plain * weight).sum(), list(eager.parameters()))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_a_cache_crosses_inference_mode():
    model = make_model()
    ids = random_ids(2, 4)
    with torch.inference_mode():
        cache = model(ids[:, :3]).past_key_values
    with torch.no_grad():
        output = model(ids[:, 3:], past_key_values=cache)
        torch.testing.assert_close(output.logits[:, 0], model(ids).logits[:, 3])


def test_it_says_what_does_not_fit():
    model = make_model()
    cache = model(random_ids(2, 4)).past_key_values
    with pytest.raises(ArgumentError, match="expected 3 rows, as the input has, got 2 rows"):
        model(random_ids(3, 1), past_key_values=cache)
    with pytest.raises(ArgumentError, match=r"expected shape \(2, 5\)"):
        model(random_ids(2, 1), attention_mask=torch.ones(2, 1), past_key_values=cache)
    with pytest.raises(InputTypeError, match="DynamicCache"):
        model(random_ids(2, 1), past_key_values=((None, None),))
    with pytest.raises(ArgumentError, match="exactly one"):
        model()
    with pytest.raises(ArgumentError, match="at most once"):
        cache.select([0, 0])


def test_training_keeps_no_cache_unasked():
    model = make_model().train()
    ids = random_ids(2, 4)
    assert model(ids).past_key_values is None
    assert model(ids, use_cache=True).past_key_values.get_seq_length() == 4
    model.gradient_checkpointing_enable()
    assert model(ids, use_cache=True).past_key_values is None
    assert model.eval()(ids, use_cache=False).past_key_values is None
