"""T5 against itself: however encoder and decoder lie, step by step or at once."""

from __future__ import annotations

import copy

import pytest
import torch

from oxiformers.errors import ArgumentError, ConfigError, InputTypeError
from oxiformers.layers.cache import DynamicCache, EncoderDecoderCache
from oxiformers.layers.layout import Layout
from oxiformers.layers.t5_names import relative_buckets
from oxiformers.models.outputs import BaseModelOutput
from oxiformers.models.t5 import T5Config, T5EncoderModel, T5ForConditionalGeneration, T5Model

VOCABULARY = 53
SOURCE_MASKS = {
    "unpadded": None,
    "right": [[1, 1, 1, 0, 0], [1] * 5, [1, 0, 0, 0, 0], [1, 1, 1, 1, 0]],
    "left": [[0, 0, 1, 1, 1], [1] * 5, [0, 0, 0, 0, 1], [0, 1, 1, 1, 1]],
    "holes": [[1, 0, 1, 0, 1], [1] * 5, [0, 1, 0, 0, 1], [1, 1, 0, 1, 1]],
    "an empty row": [[0] * 5, [1] * 5, [1, 0, 0, 0, 0], [1, 1, 1, 1, 0]],
}
MASKS = {
    "unpadded": [[1] * 6] * 4,
    "right": [[1, 1, 1, 1, 0, 0], [1] * 6, [1] + [0] * 5, [1, 1, 1, 0, 0, 0]],
    "left": [[0, 0, 1, 1, 1, 1], [1] * 6, [0] * 5 + [1], [0, 0, 0, 1, 1, 1]],
    "holes": [[1, 0, 1, 1, 0, 1], [1] * 6, [0, 0, 1, 0, 1, 0], [1] * 6],
}


def config_of(**options):
    values = {
        "vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4,
        "relative_attention_num_buckets": 8, "relative_attention_max_distance": 7, "dropout_rate": 0.0,
        "decoder_start_token_id": 0,
    }  # fmt: skip
    return T5Config(**values | options)


def make_model(dtype=torch.float64, cls=T5ForConditionalGeneration, **options):
    torch.manual_seed(0)
    model = cls(config_of(**options)).to(dtype).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
    return model


def random_ids(*shape):
    return torch.randint(
        1, VOCABULARY, shape, generator=torch.Generator().manual_seed(len(shape) + shape[-1])
    )


def tensor_of(mask):
    return None if mask is None else torch.tensor(mask)


@pytest.mark.parametrize("source_mask", SOURCE_MASKS.values(), ids=SOURCE_MASKS.keys())
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_packed_equals_eager(source_mask, mask):
    mask, source_mask = torch.tensor(mask), tensor_of(source_mask)
    labels = random_ids(4, 6).masked_fill(mask == 0, -100)
    inputs = {
        "input_ids": random_ids(4, 5), "attention_mask": source_mask, "decoder_input_ids": random_ids(4, 6),
        "decoder_attention_mask": None if mask.all() else mask, "labels": labels,
    }  # fmt: skip
    packed, eager = make_model(), make_model(attn_implementation="eager")
    ours, theirs = packed(**inputs), eager(**inputs)
    torch.testing.assert_close(ours.logits, theirs.logits)
    torch.testing.assert_close(ours.loss, theirs.loss)
    torch.testing.assert_close(ours.encoder_last_hidden_state, theirs.encoder_last_hidden_state)
    for one, other in zip(
        torch.autograd.grad(ours.loss, list(packed.parameters())),
        torch.autograd.grad(theirs.loss, list(eager.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("eager", [False, True], ids=["packed", "eager"])
@pytest.mark.parametrize("grad", [False, True], ids=["inference", "recording"])
@pytest.mark.parametrize("source_mask", SOURCE_MASKS.values(), ids=SOURCE_MASKS.keys())
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_steps_equal_the_whole(source_mask, mask, grad, eager):
    model = make_model(attn_implementation="eager" if eager else None)
    source = {"attention_mask": tensor_of(source_mask)}
    parts = [torch.tensor(mask), *[torch.ones(4, count, dtype=torch.int64) for count in (1, 2, 1)]]
    masks, ids = torch.cat(parts, 1), random_ids(4, 10)
    with torch.set_grad_enabled(grad):
        whole = model(
            random_ids(4, 5), decoder_input_ids=ids, decoder_attention_mask=masks, use_cache=False, **source
        )
        source["encoder_outputs"] = (whole.encoder_last_hidden_state,)
        cache, start = None, 0
        for part in parts:
            end = start + part.shape[1]
            shown = masks[:, :end]
            output = model(
                decoder_input_ids=ids[:, start:end], past_key_values=cache, use_cache=True,
                decoder_attention_mask=None if shown.all() else shown, **source,
            )  # fmt: skip
            torch.testing.assert_close(output.logits, whole.logits[:, start:end])
            cache, start = output.past_key_values, end
    assert isinstance(cache, EncoderDecoderCache)
    assert (cache.get_seq_length(), len(cache)) == (10, 2)
    assert cache.cross_attention_cache.layers[0].keys.shape == (4, 4, 5, 8)


def test_everything_packed():
    model = make_model()
    sources = [random_ids(1, count) for count in (3, 1, 6)]
    targets = [random_ids(1, count) for count in (2, 5, 4)]
    labels = [random_ids(1, target.shape[1]).roll(1) for target in targets]
    layout, decoder_layout = Layout.from_lengths([3, 1, 6]), Layout.from_lengths([2, 5, 4])
    packed = {"layout": layout, "decoder_layout": decoder_layout}
    flat = torch.cat([source[0] for source in sources])
    whole = [model(source, decoder_input_ids=target) for source, target in zip(sources, targets, strict=True)]
    expected = torch.cat([output.logits[0] for output in whole])
    output = model(flat, decoder_input_ids=torch.cat([target[0] for target in targets]), **packed)
    torch.testing.assert_close(output.logits, expected)
    assert output.encoder_last_hidden_state.shape == (10, 32)
    # Labels alone: each sequence is shifted by itself.
    alone = model(flat, labels=torch.cat([label[0] for label in labels]), **packed)
    losses = [model(source, labels=label).loss for source, label in zip(sources, labels, strict=True)]
    sizes = torch.tensor([2, 5, 4])
    torch.testing.assert_close(alone.loss, (torch.stack(losses) * sizes).sum() / sizes.sum())
    items = model(flat, labels=torch.cat([label[0] for label in labels]), num_items_in_batch=22, **packed)
    torch.testing.assert_close(items.loss, alone.loss / 2)
    # Step by step, each sequence at its own pace; one has ended in between.
    with torch.inference_mode():
        cache, done = None, [0, 0, 0]
        for call in ([1, 2, 1], [1, 1, 0], [0, 2, 3]):
            pieces = [t[0, at : at + count] for t, at, count in zip(targets, done, call, strict=True)]
            output = model(
                encoder_outputs=BaseModelOutput(model.encoder(flat, layout=layout).last_hidden_state),
                decoder_input_ids=torch.cat(pieces), past_key_values=cache, use_cache=True,
                layout=layout, decoder_layout=Layout.from_lengths(call),
            )  # fmt: skip
            cache = output.past_key_values
            due = [w.logits[0, at : at + n] for w, at, n in zip(whole, done, call, strict=True)]
            torch.testing.assert_close(output.logits, torch.cat(due))
            done = [at + count for at, count in zip(done, call, strict=True)]


def test_rows_leave():
    model = make_model()
    mask, ids, source = torch.tensor(SOURCE_MASKS["left"]), random_ids(4, 4), random_ids(4, 5)
    with torch.inference_mode():
        whole = model(source, attention_mask=mask, decoder_input_ids=ids)
        states = whole.encoder_last_hidden_state
        cache = model(
            encoder_outputs=(states,), attention_mask=mask, decoder_input_ids=ids[:, :3], use_cache=True
        ).past_key_values
        rows = [3, 0]
        cache.select(rows)
        output = model(
            encoder_outputs=(states[rows],), attention_mask=mask[rows], decoder_input_ids=ids[rows, 3:],
            past_key_values=cache,
        )  # fmt: skip
    torch.testing.assert_close(output.logits[:, 0], whole.logits[rows, 3])


def test_attention_weights_of_cached_steps():
    model = make_model()
    ids, mask, source = random_ids(4, 5), torch.tensor(SOURCE_MASKS["holes"]), random_ids(4, 5)
    with torch.inference_mode():
        whole = model(source, attention_mask=mask, decoder_input_ids=ids, output_attentions=True)
        cache = model(source, attention_mask=mask, decoder_input_ids=ids[:, :3]).past_key_values
        step = model(
            source,
            attention_mask=mask,
            decoder_input_ids=ids[:, 3:],
            past_key_values=cache,
            output_attentions=True,
        )
    for name in ("decoder_attentions", "cross_attentions"):
        torch.testing.assert_close(step[name][1], whole[name][1][:, :, 3:])
    torch.testing.assert_close(step.logits, whole.logits[:, 3:])
    assert whole.encoder_attentions[0].shape == (4, 4, 5, 5)


def test_explicit_masks_of_the_encoder():
    model = make_model()
    mask = torch.tensor(SOURCE_MASKS["holes"])
    ids, source = random_ids(4, 3), random_ids(4, 5)
    padded = model(source, attention_mask=mask, decoder_input_ids=ids)
    keep = mask.bool()[:, None, None]
    four = model(
        encoder_outputs=(padded.encoder_last_hidden_state,),
        attention_mask=keep.expand(4, 1, 3, 5),
        decoder_input_ids=ids,
    )
    torch.testing.assert_close(four.logits, padded.logits)


def test_the_encoder_alone_is_the_encoder():
    model, alone = make_model(), make_model(cls=T5EncoderModel)
    alone.load_state_dict(
        {k: v for k, v in model.state_dict().items() if k.startswith(("encoder", "shared"))}
    )
    ids, mask = random_ids(4, 5), torch.tensor(SOURCE_MASKS["right"])
    states = alone(ids, attention_mask=mask, output_hidden_states=True)
    assert list(states) == ["last_hidden_state", "hidden_states"]
    torch.testing.assert_close(
        states.last_hidden_state, model(ids, attention_mask=mask, labels=ids).encoder_last_hidden_state
    )
    assert torch.equal(states.hidden_states[-1], states.last_hidden_state)
    assert isinstance(alone(ids, return_dict=False), tuple)


def test_labels_become_the_decoders_input():
    model = make_model(pad_token_id=3, decoder_start_token_id=2)
    labels = torch.tensor([[5, 6, -100, 7]])
    assert model.prepare_decoder_input_ids_from_labels(labels).tolist() == [[2, 5, 6, 3]]
    model.config.decoder_start_token_id = None
    with pytest.raises(ArgumentError, match="decoder_start_token_id"):
        model(random_ids(1, 3), labels=labels)


def test_buckets_as_the_paper_has_them():
    distances = torch.arange(-130, 131)
    both = relative_buckets(distances, 32, 128, bidirectional=True)
    past = relative_buckets(distances, 32, 128, bidirectional=False)
    assert both[130 - 7 : 131].tolist() == [7, 6, 5, 4, 3, 2, 1, 0]
    assert both[131:138].tolist() == [17, 18, 19, 20, 21, 22, 23]
    assert (both.max(), both[0], past.max(), past[131:].max()) == (31, 15, 31, 0)
    assert past[130 - 15 : 131].tolist() == list(range(15, -1, -1))


def test_half_precision_stays_finite():
    model = make_model(dtype=torch.float16)
    with torch.no_grad():
        model.encoder.block[0].layer[-1].DenseReluDense.wo.weight.fill_(6e4)
    output = model(random_ids(2, 4), labels=random_ids(2, 3))
    assert output.logits.dtype == torch.float16
    assert output.encoder_last_hidden_state.isfinite().all()
    # As transformers loads float16: the last projection of each feed-forward layer in float32.
    for block in (*model.encoder.block, *model.decoder.block):
        block.layer[-1].DenseReluDense.wo.float()
    assert model(random_ids(2, 4), labels=random_ids(2, 3)).logits.dtype == torch.float16


def test_what_serves_as_a_cache():
    model = make_model(cls=T5Model)
    with pytest.raises(InputTypeError, match="EncoderDecoderCache"):
        model(random_ids(1, 2), decoder_input_ids=random_ids(1, 1), past_key_values=((),))
    # As in transformers, an empty cache of one side gets the other one.
    cache = DynamicCache()
    output = model(random_ids(1, 2), decoder_input_ids=random_ids(1, 1), past_key_values=cache)
    assert isinstance(output.past_key_values, EncoderDecoderCache)
    assert output.past_key_values.self_attention_cache is cache
    assert (cache.get_seq_length(), len(output.past_key_values.cross_attention_cache)) == (1, 2)


def test_old_keys_of_the_config():
    config = T5Config.from_dict(
        {"is_gated_act": False, "dense_act_fn": "relu", "feed_forward_proj": "gated-gelu"}
    )
    assert (config.is_gated_act, config.dense_act_fn) == (True, "gelu_new")
    assert (config.hidden_size, config.num_decoder_layers, config.scale_decoder_outputs) == (512, 6, True)
    assert T5Config(tie_word_embeddings=False).scale_decoder_outputs is False
    for values in ({"feed_forward_proj": "gated-what"}, {"relative_attention_max_distance": 16}):
        with pytest.raises(ConfigError):
            T5Model(T5Config(**values))


def test_weights_are_drawn_by_the_size_of_what_they_read():
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(config_of(vocab_size=500, d_ff=200, initializer_factor=0.5))
    attention = model.decoder.block[0].layer[0].SelfAttention
    for weight, deviation in (
        (model.shared.weight, 0.5), (attention.q.weight, 0.5 * (32 * 8) ** -0.5),
        (attention.k.weight, 0.5 * 32**-0.5),
        (model.decoder.block[0].layer[2].DenseReluDense.wo.weight, 0.5 * 200**-0.5),
    ):  # fmt: skip
        assert abs(weight.std() / deviation - 1) < 0.1
    assert model.lm_head.weight is model.shared.weight is model.decoder.embed_tokens.weight


def test_a_copied_cache_is_a_cache_of_its_own():
    model = make_model()
    source, ids = random_ids(1, 3), random_ids(1, 4)
    cache = model(source, decoder_input_ids=ids[:, :2]).past_key_values
    copied = copy.deepcopy(cache)
    first = model(source, decoder_input_ids=ids[:, 2:], past_key_values=cache).logits
    torch.testing.assert_close(
        model(source, decoder_input_ids=ids[:, 2:], past_key_values=copied).logits, first
    )
