"""Qwen3's config: which of its layers have a window, and what contradicts itself; a window while decoding."""

from __future__ import annotations

import json

import pytest
import torch

from oxiformers.errors import ConfigError
from oxiformers.layers.layout import Layout
from oxiformers.models.qwen3 import Qwen3Config, Qwen3ForCausalLM, Qwen3Model

FULL, SLIDING = "full_attention", "sliding_attention"


def tiny(**values):
    sizes = {
        "vocab_size": 53, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.3,
    }  # fmt: skip
    return Qwen3Config(**sizes | values)


def windowed(**values):
    return tiny(use_sliding_window=True, sliding_window=4, max_window_layers=1, **values)


def make_model(config, kind=Qwen3ForCausalLM):
    torch.manual_seed(0)
    return kind(config).double().eval()


def random_ids(*shape):
    return torch.randint(1, 53, shape, generator=torch.Generator().manual_seed(shape[-1]))


@pytest.mark.parametrize(
    ("values", "types", "window"),
    [
        ({}, [FULL] * 3, None),
        ({"use_sliding_window": True}, [FULL] * 3, 4096),
        ({"use_sliding_window": True, "max_window_layers": 1}, [FULL, SLIDING, SLIDING], 4096),
        ({"use_sliding_window": True, "max_window_layers": 0, "sliding_window": 9}, [SLIDING] * 3, 9),
        ({"use_sliding_window": True, "max_window_layers": 3}, [FULL] * 3, 4096),
        ({"max_window_layers": 0, "sliding_window": 9}, [FULL] * 3, None),
        ({"use_sliding_window": True, "layer_types": [SLIDING, FULL, FULL]}, [SLIDING, FULL, FULL], 4096),
    ],
)
def test_which_layers_have_a_window(values, types, window):
    config = tiny(**values)
    assert (config.layer_types, config.sliding_window) == (types, window)
    windows = [layer.self_attn.window for layer in Qwen3Model(config).layers]
    assert windows == [(window - 1, 0) if kind == SLIDING else None for kind in types]
    written = json.loads(config.to_json_string())
    assert (written["layer_types"], written["sliding_window"]) == (types, window)
    assert Qwen3Config(**written) == config


@pytest.mark.parametrize("types", [[FULL], [FULL] * 4, ["nearby", FULL, FULL]])
def test_layer_types_that_no_config_has(types):
    with pytest.raises(ConfigError) as caught:
        tiny(layer_types=types)
    assert caught.value.key == "layer_types"


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"layer_types": [FULL, "chunked_attention", FULL]}, "layer_types"),
        ({"layer_types": [FULL, SLIDING, FULL]}, "sliding_window"),
        ({"use_sliding_window": True, "sliding_window": None, "max_window_layers": 1}, "use_sliding_window"),
        (
            {"use_sliding_window": True, "max_window_layers": 1, "layer_types": [FULL] * 3},
            "use_sliding_window",
        ),
        ({"use_sliding_window": True, "sliding_window": 0}, "sliding_window"),
        ({"num_key_value_heads": 3}, "num_attention_heads"),
    ],
)
def test_configs_that_no_model_is_built_from(values, key):
    config = tiny(**values)
    with pytest.raises(ConfigError) as caught:
        Qwen3Model(config)
    assert caught.value.key == key


def test_a_window_asked_for_while_loading_is_an_error_where_the_file_names_the_layers(tmp_path):
    make_model(tiny(max_window_layers=1)).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="use_sliding_window"):
        Qwen3ForCausalLM.from_pretrained(tmp_path, use_sliding_window=True)
    options = {"use_sliding_window": True, "sliding_window": 4, "layer_types": [FULL, SLIDING, SLIDING]}
    model, ids = Qwen3ForCausalLM.from_pretrained(tmp_path, **options), random_ids(1, 9)
    whole = Qwen3ForCausalLM.from_pretrained(tmp_path)
    assert not torch.allclose(model(ids).logits, whole(ids).logits)
    torch.testing.assert_close(model(ids[:, :4]).logits, whole(ids[:, :4]).logits)
    assert model.config.num_hidden_layers == 3
    with pytest.raises(ConfigError, match="layer_types"):
        Qwen3Model(Qwen3Config.from_pretrained(tmp_path, num_hidden_layers=4))


def test_a_window_moves_on_while_decoding():
    model, ids = make_model(windowed()), random_ids(3, 12)
    lengths = [12, 3, 7]
    with torch.inference_mode():
        expected = [model(ids[row : row + 1, :length]).logits[0] for row, length in enumerate(lengths)]
        flat = torch.cat([ids[row, : length - 2] for row, length in enumerate(lengths)])
        layout = Layout.from_lengths([length - 2 for length in lengths])
        output = model(flat, layout=layout, use_cache=True)
        first = torch.cat([logits[:-2] for logits in expected])
        torch.testing.assert_close(output.logits, first)
        for left in (2, 1):
            new = torch.stack([ids[row, length - left] for row, length in enumerate(lengths)])
            output = model(new, layout=Layout.from_lengths([1] * 3), past_key_values=output.past_key_values)
            torch.testing.assert_close(output.logits, torch.stack([logits[-left] for logits in expected]))


def test_a_window_counts_columns_of_padding_too():
    model, ids = make_model(windowed()), random_ids(1, 8)
    mask = torch.tensor([[1, 1, 0, 0, 0, 1, 1, 1]])
    explicit = (torch.ones(8, 8).tril().triu(-3).bool() & mask.bool()) | torch.eye(8).bool()
    inner = make_model(windowed()).model
    layer = inner.layers[2]
    hidden = torch.randn(1, 8, 24, dtype=torch.float64)
    rotation = inner.rotary_emb(hidden, torch.arange(8)[None])
    shown = layer(hidden, explicit[None, None], position_embeddings=rotation)
    alone = layer(hidden, mask, position_embeddings=rotation)
    torch.testing.assert_close(shown[mask.bool()], alone[mask.bool()])
    eager = make_model(windowed(attn_implementation="eager"))
    torch.testing.assert_close(model(ids, attention_mask=mask).logits, eager(ids, attention_mask=mask).logits)
