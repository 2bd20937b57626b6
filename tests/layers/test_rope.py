"""Rotary positions: every kind of scaling against transformers, in both spellings of config.json."""

from __future__ import annotations

import json
import logging
import os
import subprocess

import pytest
import torch

from oxiformers.errors import ConfigError
from oxiformers.layers.rope import RotaryEmbedding, apply_rotary
from oxiformers.models.llama import LlamaConfig

SIZES = {"hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": 64}
SHORT, LONG = [1.0 + 0.1 * i for i in range(8)], [2.0 + 0.5 * i for i in range(8)]
SCALINGS = {
    "default": {},
    "theta": {"rope_theta": 500000.0},
    "linear": {"rope_scaling": {"type": "linear", "factor": 4.0}},
    "dynamic": {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
    "yarn": {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}},
    "yarn mscale": {
        "rope_scaling": {
            "rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32, "beta_fast": 16.0,
            "beta_slow": 2.0, "mscale": 0.7, "mscale_all_dim": 1.3,
        }
    },
    "yarn attention": {"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "attention_factor": 1.5}},
    "longrope": {
        "original_max_position_embeddings": 32,
        "rope_scaling": {"rope_type": "longrope", "short_factor": SHORT, "long_factor": LONG},
    },
    "llama3": {
        "rope_theta": 10000.0,
        "rope_scaling": {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    },
}  # fmt: skip
# The longest position decides for some kinds: within what was trained on, beyond it, and far beyond.
POSITIONS = [[[0, 1, 5, 20]], [[3, 31, 32, 40]], [[0, 63, 64, 200], [7, 8, 9, 10]]]

ORACLE = """
import json, sys, torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
result = {}
for name, values in json.load(sys.stdin).items():
    config = LlamaConfig.from_dict(values["config"])
    result[name] = []
    for positions in values["positions"]:
        cos, sin = LlamaRotaryEmbedding(config=config)(torch.zeros(1), torch.tensor(positions))
        result[name].append([cos.tolist(), sin.tolist()])
print(json.dumps(result))
"""


def embedding_of(config):
    return RotaryEmbedding(config.rope_parameters, config.head_dim, config.max_position_embeddings)


@pytest.fixture(scope="module", params=["457", "524"])
def oracle(request, tmp_path_factory):
    """transformers' cosine and sine, from the configs that oxiformers writes."""
    jobs = {}
    for name, values in SCALINGS.items():
        written = json.loads(LlamaConfig(**SIZES, **values).to_json_string())
        jobs[name] = {"config": written, "positions": POSITIONS}
    done = subprocess.run(
        [request.getfixturevalue(f"python_{request.param}"), "-c", ORACLE],
        input=json.dumps(jobs), capture_output=True, text=True, timeout=300, check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", SCALINGS)
def test_equals_transformers(name, oracle):
    rotary = embedding_of(LlamaConfig(**SIZES, **SCALINGS[name]))
    for positions, expected in zip(POSITIONS, oracle[name], strict=True):
        for ours, theirs in zip(
            rotary.rotation(torch.tensor(positions), torch.float32), expected, strict=True
        ):
            both_halves = torch.cat((ours, ours), -1).squeeze(-2)
            torch.testing.assert_close(both_halves, torch.tensor(theirs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SCALINGS)
def test_both_spellings_mean_the_same(name):
    config = LlamaConfig(**SIZES, **SCALINGS[name])
    written = config.to_dict()
    assert written["rope_theta"] == written["rope_parameters"]["rope_theta"]
    assert (written["rope_scaling"] is None) == (written["rope_parameters"]["rope_type"] == "default")
    old = {key: value for key, value in written.items() if key != "rope_parameters"}
    new = {key: value for key, value in written.items() if key not in ("rope_theta", "rope_scaling")}
    for spelling in (old, new, written):
        assert LlamaConfig.from_dict(spelling) == config


YARN = {"rope_type": "yarn", "factor": 2.0}


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ({"rope_theta": 7.0}, {"rope_theta": 5.0}),
        ({"rope_theta": 7.0, **YARN}, {"rope_theta": 5.0}),
        (YARN, {"rope_scaling": None}),
        (YARN, {"rope_scaling": {"type": "yarn", "factor": 4.0}}),
        ({"rope_theta": 7.0}, {"rope_scaling": YARN}),
        (None, {"rope_theta": 5.0, "rope_scaling": {"rope_theta": 7.0, **YARN}}),
    ],
)
def test_spellings_that_contradict_each_other(new, old):
    # transformers 4 reads the one, transformers 5 the other.
    with pytest.raises(ConfigError, match="rope"):
        LlamaConfig(**SIZES, rope_parameters=new, **old)


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (YARN, {"rope_theta": 5.0}),
        ({"rope_theta": 5.0, **YARN}, {"rope_theta": 5.0, "rope_scaling": {"type": "yarn", "factor": 2.0}}),
        ({"rope_theta": 5.0, **YARN, "original_max_position_embeddings": 64}, {"rope_scaling": YARN}),
        ({}, {"rope_theta": 5.0, "rope_scaling": YARN}),
    ],
)
def test_spellings_that_complete_each_other(new, old):
    config = LlamaConfig(**SIZES, rope_parameters=new, **old)
    assert config.rope_parameters == {"rope_theta": 5.0, **YARN, "original_max_position_embeddings": 64}
    config.check()


def test_keys_that_a_kind_of_scaling_does_not_read_are_named(caplog):
    logging.getLogger("oxiformers").propagate = True
    LlamaConfig(**SIZES, rope_scaling={"factor": 4.0}).check()
    assert "'default' does not use factor" in caplog.text


def test_scaling_may_be_overridden():
    config, unused = LlamaConfig.from_dict(
        LlamaConfig(**SIZES).to_dict(), rope_scaling={"type": "linear", "factor": 2}, rope_theta=5000,
        return_unused_kwargs=True,
    )  # fmt: skip
    assert not unused
    assert config.rope_parameters == {"rope_type": "linear", "factor": 2, "rope_theta": 5000}


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"rope_scaling": {"type": "spiral"}}, "rope_parameters.rope_type"),
        ({"rope_scaling": {"type": "linear"}}, "rope_parameters.factor"),
        ({"rope_scaling": {"type": "linear", "factor": "2"}}, "rope_parameters.factor"),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, "rope_parameters.factor"),
        ({"rope_scaling": "linear"}, "rope_scaling"),
        ({"rope_theta": "big"}, "rope_parameters.rope_theta"),
        ({"rope_theta": float("nan")}, "rope_parameters.rope_theta"),
        ({"rope_parameters": [1]}, "rope_parameters"),
        ({"rope_theta": 1, "rope_scaling": {"type": "yarn", "factor": 2}}, "rope_parameters.rope_theta"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ({"head_dim": 2, "rope_scaling": {"type": "dynamic", "factor": 2}}, "head_dim"),
        (
            {"rope_scaling": {"type": "longrope", "short_factor": 1, "long_factor": LONG}},
            "rope_parameters.short_factor",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(values, key):
    with pytest.raises(ConfigError) as caught:
        LlamaConfig(**SIZES, **values).check()
    assert caught.value.key == key


def test_longrope_needs_a_factor_for_each_angle():
    scaling = {"type": "longrope", "short_factor": SHORT[:3], "long_factor": LONG}
    with pytest.raises(ConfigError, match="expected 8 numbers"):
        embedding_of(LlamaConfig(**SIZES, rope_scaling=scaling))


def test_odd_heads_are_refused():
    with pytest.raises(ConfigError, match="even"):
        embedding_of(LlamaConfig(**SIZES, head_dim=7))


def test_rotation_is_by_the_position():
    rotary = embedding_of(LlamaConfig(**SIZES))
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, 16, dtype=torch.float64)
    scores = []
    for shift in (0, 9):
        turned = [
            apply_rotary(tensor, rotary.rotation(torch.tensor([[position + shift]]), torch.float64))
            for tensor, position in ((query, 2), (key, 5))
        ]
        scores.append((turned[0] * turned[1]).sum())
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-5, atol=1e-6)


def test_a_packed_batch_and_the_meta_device():
    config = LlamaConfig(**SIZES, **SCALINGS["longrope"])
    with torch.device("meta"):
        rotary = embedding_of(config)
    flat = rotary.rotation(torch.tensor([0, 1, 2, 0]), torch.bfloat16)
    assert [tuple(side.shape) for side in flat] == [(4, 1, 8)] * 2
    assert torch.equal(flat[0][0], flat[0][3])
    assert not rotary.state_dict()
    assert rotary.rotation(torch.empty(0, dtype=torch.int64), torch.float32)[0].shape == (0, 1, 8)
