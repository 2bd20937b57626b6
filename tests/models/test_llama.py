"""Llama's config, its loss, its heads, and a trained checkpoint."""

from __future__ import annotations

import logging

import pytest
import torch
import torch.nn.functional as F

from oxiformers.errors import ArgumentError, ConfigError
from oxiformers.layers import context
from oxiformers.layers.layout import Layout
from oxiformers.models.llama import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForQuestionAnswering,
    LlamaForSequenceClassification,
    LlamaModel,
)


def make_model(**options):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=53, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.3, **options,
    )  # fmt: skip
    return LlamaForCausalLM(config).double().eval()


def random_ids(*shape):
    return torch.randint(1, 53, shape, generator=torch.Generator().manual_seed(len(shape) + shape[-1]))


def test_the_next_tokens_of_a_trained_model(shared):
    model = LlamaForCausalLM.from_pretrained(shared / "checkpoints" / "tinystories-656k-llama")
    ids = torch.tensor([[1, 80, 147, 201, 282, 57]])
    with torch.inference_mode():
        logits = model(ids).logits[0, -1]
        steps = [model(ids[:, :3])]
        for column in range(3, 6):
            steps.append(model(ids[:, column : column + 1], past_key_values=steps[-1].past_key_values))
    values, tokens = logits.softmax(-1).topk(5)
    assert tokens.tolist() == [313, 8, 1773, 404, 547]
    expected = torch.tensor([0.9291, 0.0252, 0.0245, 0.0085, 0.0023])
    torch.testing.assert_close(values, expected, rtol=0, atol=6e-5)
    assert abs(logits.max().item() - 17.3808) < 1e-4
    torch.testing.assert_close(steps[-1].logits[0, -1], logits, rtol=1e-5, atol=5e-5)
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize("mask", [None, [[0, 0, 1, 1, 1, 1], [1] * 6], [[1, 1, 1, 1, 0, 0], [1] * 6]])
def test_the_loss_is_of_real_tokens(mask, caplog):
    model, ids = make_model(), random_ids(2, 6)
    mask = None if mask is None else torch.tensor(mask)
    context.warn_of_masked_labels.cache_clear()
    logging.getLogger("oxiformers").propagate = True
    output = model(ids, attention_mask=mask, labels=ids)
    assert [record.levelname for record in caplog.records] == ([] if mask is None else ["WARNING"])
    keep = torch.ones(2, 6) if mask is None else mask
    targets = ids[:, 1:].masked_fill(keep[:, 1:] * keep[:, :-1] == 0, -100)
    expected = F.cross_entropy(output.logits[:, :-1].flatten(0, 1), targets.flatten())
    torch.testing.assert_close(output.loss, expected)
    labels = ids.masked_fill(keep == 0, -100)
    caplog.clear()
    again = model(ids, attention_mask=mask, labels=labels, num_items_in_batch=torch.tensor(5))
    torch.testing.assert_close(again.loss, expected * (targets != -100).sum() / 5)
    assert not caplog.records
    if mask is not None:
        layout = Layout.from_lengths(mask.sum(1))
        real = mask.bool()
        positions = torch.arange(6).expand(2, 6)[real]
        packed = model(ids[real], layout=layout, labels=ids[real], position_ids=positions)
        torch.testing.assert_close(packed.loss, expected)
        torch.testing.assert_close(packed.logits, output.logits[real])


def test_logits_to_keep():
    model, ids = make_model(), random_ids(2, 6)
    mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1] * 6])
    whole = model(ids, attention_mask=mask).logits
    torch.testing.assert_close(model(ids, attention_mask=mask, logits_to_keep=2).logits, whole[:, -2:])
    index = torch.tensor([4, 1])
    torch.testing.assert_close(model(ids, attention_mask=mask, logits_to_keep=index).logits, whole[:, index])
    with pytest.raises(ArgumentError, match="loss needs all"):
        model(ids, labels=ids, logits_to_keep=1)
    layout = Layout.from_lengths([2, 4])
    with pytest.raises(ArgumentError, match="no columns"):
        model(random_ids(6), layout=layout, logits_to_keep=2)
    with pytest.raises(ArgumentError, match="shape"):
        model(random_ids(5), layout=layout)
    with pytest.raises(ArgumentError, match="output_attentions"):
        model(random_ids(6), layout=layout, output_attentions=True)


def test_sizes_have_to_agree():
    assert LlamaConfig(hidden_size=96, num_attention_heads=4).head_dim == 24
    assert LlamaConfig(num_attention_heads=8).num_key_value_heads == 8
    assert LlamaModel(LlamaConfig(
        hidden_size=20, num_attention_heads=3, head_dim=6, num_hidden_layers=1, intermediate_size=8, vocab_size=9,
        attention_bias=True, mlp_bias=True,
    ))(torch.tensor([[1, 2]])).last_hidden_state.shape == (1, 2, 20)  # fmt: skip
    for values, key in (
        ({"hidden_size": 20, "num_attention_heads": 3}, "hidden_size"),
        ({"num_attention_heads": 8, "num_key_value_heads": 3}, "num_attention_heads"),
    ):
        with pytest.raises(ConfigError) as caught:
            LlamaModel(LlamaConfig(**values))
        assert caught.value.key == key


def classifier(**options):
    torch.manual_seed(0)
    config = make_model().config.to_dict() | {"num_labels": 3} | options
    return LlamaForSequenceClassification(LlamaConfig.from_dict(config)).double().eval()


def test_the_token_that_is_classified():
    model, ids = classifier(pad_token_id=0), random_ids(3, 6)
    # The padding ends a text as often as not: it is not read even where it is shown.
    ids[0, 4:], ids[1, 2], ids[2] = 0, 0, 0
    scores = model.score(model.model(ids).last_hidden_state)
    expected = scores[[0, 1, 2], [3, 5, 0]]
    torch.testing.assert_close(model(ids).logits, expected)
    flat, layout = torch.cat([ids[1], ids[0], ids[2]]), Layout.from_lengths([6, 6, 6])
    torch.testing.assert_close(model(flat, layout=layout).logits, expected[[1, 0, 2]])
    # Nor is a token that the mask hides.
    mask = torch.tensor([[1] * 6, [1, 1, 1, 1, 0, 0], [1] * 6])
    scores = model.score(model.model(ids, attention_mask=mask).last_hidden_state)
    torch.testing.assert_close(model(ids, attention_mask=mask).logits, scores[[0, 1, 2], [3, 3, 0]])
    embeds = model.model.embed_tokens(ids)
    given = model(inputs_embeds=embeds, attention_mask=mask).logits
    torch.testing.assert_close(given, scores[[0, 1, 2], [5, 3, 5]])
    empty = model(ids[1], layout=Layout.from_lengths([0, 6, 0])).logits
    assert empty[[0, 2]].abs().max() == 0
    torch.testing.assert_close(empty[1], expected[1])


def test_a_batch_is_classified_where_padding_has_an_id():
    model, ids = classifier(), random_ids(2, 6)
    one = model(ids[:1]).logits
    for arguments in ({"input_ids": ids}, {"inputs_embeds": model.model.embed_tokens(ids)}):
        with pytest.raises(ArgumentError, match="pad_token_id"):
            model(**arguments)
    packed = model(ids.flatten(), layout=Layout.from_lengths([6, 6])).logits
    torch.testing.assert_close(packed[:1], one)


def test_question_answering_takes_any_labels_and_keeps_its_decoder_under_another_name(tmp_path):
    model = LlamaForQuestionAnswering(LlamaConfig.from_dict(classifier().config.to_dict()))
    assert {name.split(".")[0] for name in model.state_dict()} == {"transformer", "qa_outputs"}
    assert model.get_input_embeddings() is model.transformer.embed_tokens
    model.save_pretrained(tmp_path)
    loaded, info = LlamaForQuestionAnswering.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert loaded(random_ids(1, 4)).start_logits.shape == (1, 4)
