"""The embeddings of every class at its input and its output: found, replaced, resized, tied, saved."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from oxiformers.errors import ArgumentError, ConfigError, UnsupportedError
from tests.models.answer import PROBE, Tensors
from tests.models.contract.inputs import make, usual
from tests.models.contract.marks import each, of
from tests.models.contract.subjects import CLASSES, build, config_of, is_full, kind_of, model_class, row_of

VOCABULARY = 61
TOKENS = [name for name in CLASSES if row_of(name).modality == "tokens"]
OTHERS = [name for name in CLASSES if row_of(name).modality != "tokens"]
PREDICTING = [name for name in TOKENS if kind_of(name) in ("words", "causal", "seq2seq")]
SILENT = [name for name in TOKENS if name not in PREDICTING]
with_tokens = of(TOKENS)
#: Heads without an output embedding are alike: one of them, the base model, and all that have one.
resized = of(name for name in TOKENS if is_full(name) or name in PREDICTING)
predicting = each("name,tied", ((name, tied) for name in PREDICTING for tied in (True, False)))


def inputs_of(name: str, below: int = VOCABULARY) -> Tensors:
    """The usual batch without labels, of ids below a number."""
    batch = make(name, usual(name))
    labels = {"labels", "start_positions", "end_positions"} if "decoder_input_ids" in batch else set()
    if kind_of(name) != "seq2seq":
        labels = {"labels", "start_positions", "end_positions"}
    return {
        key: tensor.float() if tensor.is_floating_point() else tensor.clamp(max=below - 1)
        for key, tensor in batch.items()
        if key not in labels and not key.startswith(PROBE)
    }


def output_of(model: Any, inputs: Tensors) -> torch.Tensor:
    """The logits, or else the hidden states."""
    with torch.no_grad():
        output = model(**inputs)
    found: torch.Tensor = next(
        output[key] for key in ("logits", "start_logits", "last_hidden_state") if key in output
    )
    return found


def sharing(model: Any, weight: torch.Tensor) -> list[nn.Module]:
    """Every module whose weight it is."""
    return [module for module in model.modules() if getattr(module, "weight", None) is weight]


def assert_whole(model: Any, count: int) -> None:
    """Every layer and config that has to do with the vocabulary agrees on its size."""
    words, head = model.get_input_embeddings(), model.get_output_embeddings()
    assert words.weight.shape[0] == count == model.config.vocab_size == model.base_model.config.vocab_size
    for module in sharing(model, words.weight) + ([] if head is None else [head]):
        sizes = {"num_embeddings", "out_features"} & vars(module).keys()
        assert sizes and all(getattr(module, size) == count for size in sizes)
        assert module.weight.shape[0] == count
    if head is not None and head.bias is not None:
        assert head.bias.shape == (count,)
        biases = [name for name, bias in model.named_parameters(remove_duplicate=False) if bias is head.bias]
        assert len(biases) == 1 + (f"{model.output_embedding}.bias" in type(model).tied)
    if head is not None:
        assert (head.weight is words.weight) is bool(model.config.tie_word_embeddings)


# Found and replaced


@with_tokens
def test_the_input_embedding_is_the_base_models(name):
    model = build(name)
    words = model.get_input_embeddings()
    assert isinstance(words, nn.Embedding)
    assert words is model.base_model.get_input_embeddings()
    assert words.weight.shape == (VOCABULARY, config_of(name).hidden_size)


@with_tokens
def test_an_input_embedding_that_takes_its_place_is_read(name):
    model = build(name)
    width = model.get_input_embeddings().embedding_dim
    words, asked = nn.Embedding(VOCABULARY + 5, width), []
    words.register_forward_hook(lambda _, arguments, output: asked.append(arguments[0].shape))
    model.set_input_embeddings(words)
    assert model.get_input_embeddings() is model.base_model.get_input_embeddings() is words
    logits = output_of(model, inputs_of(name))
    # An encoder-decoder reads its tokens by it on both sides.
    assert len(asked) == (2 if kind_of(name).startswith("seq2seq") else 1)
    if name in PREDICTING:
        tied = model.config.tie_word_embeddings
        assert (model.get_output_embeddings().weight is words.weight) is tied
        assert logits.shape[-1] == VOCABULARY + (5 if tied else 0)


@predicting
def test_an_output_embedding_that_takes_its_place_is_used(name, tied, tmp_path):
    model = build(name, tie_word_embeddings=tied).double()
    old = model.get_output_embeddings()
    assert old.weight.shape == (VOCABULARY, old.in_features)
    assert (old.weight is model.get_input_embeddings().weight) is tied
    before = output_of(model.float(), inputs_of(name))
    new = nn.Linear(old.in_features, VOCABULARY, bias=old.bias is not None)
    with torch.no_grad():
        for weight, other in zip(new.parameters(), old.parameters(), strict=True):
            weight.copy_(2 * other)
    model.set_output_embeddings(new)
    assert model.get_output_embeddings() is new
    torch.testing.assert_close(output_of(model, inputs_of(name)), 2 * before)
    if not tied:
        model.save_pretrained(tmp_path)
        loaded = model_class(name).from_pretrained(tmp_path)
        assert torch.equal(output_of(loaded, inputs_of(name)), output_of(model, inputs_of(name)))
    model.tie_weights()
    assert (new.weight is model.get_input_embeddings().weight) is tied
    if f"{model.output_embedding}.bias" in type(model).tied:
        with pytest.raises(ArgumentError, match=r"value: expected a layer with a bias, got Linear"):
            model.set_output_embeddings(nn.Linear(old.in_features, VOCABULARY, bias=False))
        assert model.get_output_embeddings() is new


@of(SILENT)
def test_a_class_without_an_output_embedding(name):
    model = build(name)
    assert model.get_output_embeddings() is None
    with pytest.raises(ArgumentError, match=f"{name} has no output embeddings"):
        model.set_output_embeddings(nn.Linear(2, 2))
    before = sorted(model.state_dict())
    model.tie_weights()
    assert sorted(model.state_dict()) == before


# Resized


@resized
@pytest.mark.parametrize("mean_resizing", [True, False])
def test_more_tokens(name, mean_resizing):
    model = build(name)
    words = model.get_input_embeddings()
    weight, old = words.weight, words.weight.detach().clone()
    inputs = inputs_of(name)
    before = output_of(model, inputs)
    count = VOCABULARY + 200
    torch.manual_seed(0)
    assert model.resize_token_embeddings(count, mean_resizing=mean_resizing) is words
    assert_whole(model, count)
    assert model.get_input_embeddings() is words and words.weight is weight
    assert torch.equal(weight[:VOCABULARY], old)
    check_added(model, weight.detach()[VOCABULARY:], old, mean_resizing)
    after = output_of(model, inputs)
    torch.testing.assert_close(after[..., :VOCABULARY] if name in PREDICTING else after, before)
    ids = next(key for key in inputs if key.endswith("input_ids"))
    inputs[ids] = inputs[ids].masked_fill(inputs[ids] == 7, count - 1)
    assert output_of(model, inputs).shape == after.shape
    for key in (key for key in inputs if key.endswith("input_ids")):
        wrong = inputs | {key: torch.full_like(inputs[key], count)}
        with pytest.raises(ArgumentError, match=f"{count} is outside of 0 to {count - 1}"):
            output_of(model, wrong)


def check_added(model: Any, added: torch.Tensor, old: torch.Tensor, mean_resizing: bool) -> None:
    """New rows lie around the mean, so close that no prediction changes, or are drawn as in a new model."""
    if mean_resizing:
        torch.testing.assert_close(added, old.mean(0).expand_as(added), rtol=0, atol=1e-3)
        spread = (added - old.mean(0)).std() / old.std()
        assert 0.3 * 1e-9**0.5 < spread < 3 * 1e-9**0.5
        return
    keys = (
        key for key in ("initializer_range", "init_std", "initializer_factor") if hasattr(model.config, key)
    )
    deviation = getattr(model.config, next(keys))
    assert abs(float(added.mean())) < 0.1 * deviation
    assert float(added.std()) == pytest.approx(deviation, rel=0.1)


@predicting
@pytest.mark.parametrize("mean_resizing", [True, False])
def test_the_head_grows_with_them(name, tied, mean_resizing):
    model = build(name, tie_word_embeddings=tied)
    head = model.get_output_embeddings()
    old = {key: tensor.detach().clone() for key, tensor in head.named_parameters()}
    model.get_input_embeddings().weight.grad = torch.ones_like(model.get_input_embeddings().weight)
    model.resize_token_embeddings(VOCABULARY + 200, mean_resizing=mean_resizing)
    assert_whole(model, VOCABULARY + 200)
    assert model.get_output_embeddings() is head
    assert model.get_input_embeddings().weight.grad is None
    for key, tensor in head.named_parameters():
        assert torch.equal(tensor[:VOCABULARY], old[key])
    if not tied and mean_resizing:
        check_added(model, head.weight.detach()[VOCABULARY:], old["weight"], True)
    if head.bias is not None:
        # transformers 4.57 pads the bias of a tied head with zeros.
        mean = old["bias"].mean() if mean_resizing and not tied else torch.tensor(0.0)
        torch.testing.assert_close(
            head.bias[VOCABULARY:], mean.expand(200), rtol=0, atol=1e-3 if mean else 0.0
        )
    loss = model(**inputs_of(name)).logits.sum()
    loss.backward()
    assert model.get_input_embeddings().weight.grad.shape[0] == VOCABULARY + 200


@resized
def test_fewer_tokens(name):
    model = build(name)
    inputs = inputs_of(name, below=40)
    before = output_of(model, inputs)
    words = model.get_input_embeddings()
    old = words.weight.detach().clone()
    assert model.resize_token_embeddings(40) is words
    assert_whole(model, 40)
    assert torch.equal(words.weight, old[:40])
    after = output_of(model, inputs)
    torch.testing.assert_close(after, before[..., :40] if name in PREDICTING else before)


@resized
def test_a_multiple_and_nothing_to_do(name):
    model = build(name)
    words = model.get_input_embeddings()
    assert model.resize_token_embeddings() is words
    assert model.resize_token_embeddings(VOCABULARY) is words
    assert_whole(model, VOCABULARY)
    model.resize_token_embeddings(pad_to_multiple_of=8)
    assert_whole(model, 64)
    model.resize_token_embeddings(65, pad_to_multiple_of=32)
    assert_whole(model, 96)
    for arguments in ({"new_num_tokens": 0}, {"new_num_tokens": 2.5}, {"pad_to_multiple_of": 0}):
        with pytest.raises(
            ArgumentError, match=f"{next(iter(arguments))}: expected an integer of at least 1"
        ):
            model.resize_token_embeddings(**arguments)
    assert_whole(model, 96)


@each("name,tied", ((name, tied) for name in TOKENS for tied in (True, False) if tied or name in PREDICTING))
def test_saved_and_loaded_with_another_size(name, tied, tmp_path):
    model = build(name, tie_word_embeddings=tied)
    model.resize_token_embeddings(VOCABULARY + 9)
    model.save_pretrained(tmp_path)
    loaded, info = model_class(name).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert_whole(loaded, VOCABULARY + 9)
    inputs = inputs_of(name, VOCABULARY + 9)
    assert torch.equal(output_of(loaded, inputs), output_of(model, inputs))
    loaded.resize_token_embeddings(VOCABULARY)
    assert_whole(loaded, VOCABULARY)
    # Growing what was mapped from a file leaves the file alone.
    again = model_class(name).from_pretrained(tmp_path)
    assert torch.equal(output_of(again, inputs), output_of(model, inputs))


@predicting
def test_a_base_model_that_was_resized_is_followed_by_its_head(name, tied):
    model = build(name, tie_word_embeddings=tied)
    model.base_model.resize_token_embeddings(70)
    model.tie_weights()
    head = model.get_output_embeddings()
    assert model.get_input_embeddings().num_embeddings == 70
    own = model.base_model is model
    assert head.weight.shape[0] == head.out_features == (70 if tied or own else VOCABULARY)
    assert output_of(model, inputs_of(name)).shape[-1] == head.out_features


@resized
def test_a_frozen_embedding_stays_frozen(name):
    model = build(name).to(torch.bfloat16)
    model.get_input_embeddings().requires_grad_(False)
    words = model.resize_token_embeddings(80)
    assert not words.weight.requires_grad and words.weight.dtype == torch.bfloat16
    assert words.weight.isfinite().all()


@of(OTHERS)
def test_what_reads_no_tokens_has_none_to_resize(name):
    model = build(name)
    assert model.get_output_embeddings() is None
    with pytest.raises(UnsupportedError, match="has no embedding of tokens"):
        model.resize_token_embeddings(10)


def test_padding_that_is_cut_off(tmp_path):
    """A padding id beyond the last token is no padding any more; the folder says so where it cannot be read."""
    model = build("BertModel", pad_token_id=50)
    assert model.resize_token_embeddings(40).padding_idx is None
    assert model.embeddings.word_embeddings(torch.tensor([39])).shape == (1, 24)
    model.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"pad_token_id: expected below vocab_size \(40\)"):
        type(model).from_pretrained(tmp_path)
