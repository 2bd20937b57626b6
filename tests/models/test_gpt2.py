"""GPT-2's config, the names of its older checkpoints, and the arguments it takes and refuses."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import oxiformers
from oxiformers.errors import ArgumentError, ConfigError, InputTypeError, UnsupportedError
from oxiformers.layers.layout import Layout
from oxiformers.models.gpt2 import GPT2Config, GPT2LMHeadModel, GPT2Model
from oxiformers.models.outputs import (
    BaseModelOutputWithPastAndCrossAttentions,
    CausalLMOutputWithCrossAttentions,
)


def tiny(**values):
    sizes = {"vocab_size": 53, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 8}
    return GPT2Config(**sizes | values)


def make_model(**values):
    torch.manual_seed(0)
    return GPT2LMHeadModel(tiny(initializer_range=0.3, **values)).eval()


def random_ids(*shape):
    return torch.randint(1, 53, shape, generator=torch.Generator().manual_seed(len(shape) + shape[-1]))


@pytest.mark.parametrize("prefix", ["transformer.", ""])
def test_older_checkpoints(prefix, tmp_path):
    model = make_model()
    model.save_pretrained(tmp_path)
    weights = {
        prefix + name.removeprefix("transformer."): tensor
        for name, tensor in load_file(tmp_path / "model.safetensors").items()
    }
    assert f"{prefix}lm_head.weight" not in weights
    for layer in range(2):
        weights[f"{prefix}h.{layer}.attn.bias"] = torch.ones(8, 8).tril().view(1, 1, 8, 8)
        weights[f"{prefix}h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    for auto in (oxiformers.AutoModelForCausalLM, oxiformers.AutoModel):
        loaded, info = auto.from_pretrained(tmp_path, output_loading_info=True)
        assert not any(info.values())
        base = loaded.base_model
        assert isinstance(base, GPT2Model)
        for name, tensor in model.transformer.state_dict().items():
            assert torch.equal(tensor, base.state_dict()[name])
    again = GPT2LMHeadModel.from_pretrained(tmp_path)
    assert again.lm_head.weight is again.transformer.wte.weight
    torch.testing.assert_close(again(random_ids(2, 5)).logits, model(random_ids(2, 5)).logits)


def test_the_config_under_either_name():
    config = GPT2Config(hidden_size=96, num_hidden_layers=3, num_attention_heads=4)
    assert (config.n_embd, config.n_layer, config.n_head, config.n_positions) == (96, 3, 4, 1024)
    assert config.max_position_embeddings == 1024
    assert make_model().transformer.h[0].mlp.c_fc.weight.shape == (32, 128)
    assert make_model(n_inner=20).transformer.h[0].mlp.c_fc.weight.shape == (32, 20)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"n_embd": 30}, "n_embd"),
        ({"activation_function": "none"}, "activation_function"),
        ({"attn_pdrop": 1.5}, "attn_pdrop"),
        ({"n_layer": 10**6}, "n_layer"),
    ],
)
def test_values_that_will_not_do(values, key):
    with pytest.raises(ConfigError) as caught:
        GPT2Model(tiny(**values))
    assert caught.value.key == key


def test_what_is_refused_of_the_config(tmp_path):
    key = "reorder_and_upcast_attn"
    make_model().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: True}))
    with pytest.raises(UnsupportedError, match=key) as caught:
        GPT2LMHeadModel.from_pretrained(tmp_path)
    assert (caught.value.key, caught.value.path) == (key, str(path))


@pytest.mark.parametrize("key", ["head_mask", "encoder_hidden_states", "encoder_attention_mask"])
def test_what_is_refused_of_a_call(key):
    for model in (make_model(), make_model().transformer):
        with pytest.raises((InputTypeError, ArgumentError), match=key):
            model(random_ids(2, 5), **{key: torch.ones(2, 4)})
        assert model(random_ids(2, 5), **{key: None})[0].shape[:2] == (2, 5)


def test_scales_of_attention():
    ids = random_ids(2, 5)
    for values, scales in (
        ({}, [8**-0.5] * 2),
        ({"scale_attn_weights": False}, [1.0] * 2),
        ({"scale_attn_by_inverse_layer_idx": True}, [8**-0.5, 8**-0.5 / 2]),
    ):
        model = make_model(**values).transformer
        assert [block.attn.scale for block in model.h] == scales
        block = model.h[1]
        outputs = model(ids, output_attentions=True, output_hidden_states=True)
        query, key, _ = block.attn.c_attn(block.ln_1(outputs.hidden_states[1])).split(32, -1)
        query, key = (tensor.unflatten(-1, (4, 8)).transpose(1, 2) for tensor in (query, key))
        scores = (query @ key.transpose(-1, -2) * scales[1]).masked_fill(
            ~torch.ones(5, 5).bool().tril(), -torch.inf
        )
        torch.testing.assert_close(outputs.attentions[1], scores.softmax(-1))


def test_arguments_in_the_order_of_transformers():
    model, ids, types = make_model(), random_ids(2, 6), random_ids(2, 6).flip(1)
    mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1] * 6])
    named = model(input_ids=ids, attention_mask=mask, token_type_ids=types, position_ids=mask)
    assert isinstance(named, CausalLMOutputWithCrossAttentions)
    assert torch.equal(model(ids, None, mask, types, mask).logits, named.logits)
    embeds = model.transformer.wte(ids)
    assert torch.equal(model(None, None, mask, types, mask, embeds).logits, named.logits)
    assert isinstance(model.transformer(ids), BaseModelOutputWithPastAndCrossAttentions)
    for arguments in ({"input_ids": ids, "inputs_embeds": embeds}, {}):
        with pytest.raises(ArgumentError, match="exactly one"):
            model(token_type_ids=types, **arguments)


def test_no_more_tokens_than_positions():
    model = make_model()
    for ids, mask in ((random_ids(2, 9), None), (random_ids(2, 9), torch.eye(9)[[0, 3]].long())):
        with pytest.raises(ArgumentError, match="9 tokens"):
            model(ids, attention_mask=mask)
    cache = model(random_ids(2, 8)).past_key_values
    with pytest.raises(ArgumentError, match="9 tokens"):
        model(random_ids(2, 1), past_key_values=cache)
    layout = Layout.from_lengths([2, 9])
    with pytest.raises(ArgumentError, match="9 tokens"):
        model(random_ids(11), layout=layout)
    assert model(random_ids(11), layout=Layout.from_lengths([3, 8])).logits.shape == (11, 53)


def test_prints_its_sizes():
    assert "Conv1D(in_features=32, out_features=96)" in repr(make_model())
