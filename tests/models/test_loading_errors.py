"""Loading what does not fit: one report, at once, before anything is built that need not be."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from oxiformers.errors import (
    ArgumentError,
    ConfigError,
    FormatError,
    InputTypeError,
    MissingFileError,
    UnsupportedError,
    WeightsError,
)
from tests.models.tiny import (
    TinyBase,
    TinyConfig,
    TinyForClassification,
    TinyModel,
    edit,
    same,
    saved_classifier,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved TinyForClassification of three labels."""
    return saved_classifier(tmp_path)


# What does not fit


def test_everything_that_does_not_fit_is_in_one_report(folder: Path) -> None:
    def spoil(tensors: dict[str, Tensor]) -> None:
        del tensors["tiny.layers.0.weight"], tensors["classifier.bias"]
        tensors["tiny.layers.2.weight"] = torch.ones(4, 4)
        tensors["tiny.embed_tokens.weight"] = torch.ones(10, 5)
        tensors["tiny.layers.1.weight"] = torch.ones(4, 4, dtype=torch.int32)

    edit(folder, spoil)
    start = time.perf_counter()
    with pytest.raises(WeightsError) as caught:
        TinyForClassification.from_pretrained(folder)
    assert time.perf_counter() - start < 1
    message = str(caught.value)
    assert "2 missing from the checkpoint:\n    tiny.layers.0.weight\n    classifier.bias" in message
    assert "1 unknown to the model:\n    tiny.layers.2.weight" in message
    assert "tiny.embed_tokens.weight: [10, 5] in the checkpoint, [10, 4] in the model" in message
    assert "tiny.layers.1.weight: torch.int32 in the checkpoint, torch.float32 in the model" in message
    assert caught.value.path == str(folder / "model.safetensors")
    assert caught.value.key == "tiny.layers.0.weight"
    assert "2 missing" in str(caught.value.actual)
    assert TinyBase.initialised == []


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ({"hidden_size": 8}, "of another shape"),
        ({"vocab_size": 11}, r"\[10, 4\] in the checkpoint, \[11, 4\] in the model"),
        ({"num_hidden_layers": 1}, "2 unknown to the model"),
        ({"num_hidden_layers": 3}, "2 missing from the checkpoint"),
        ({"num_hidden_layers": 1000}, "holds 13 tensors, too few for the 1000 layers"),
        ({"num_labels": 7}, "ignore_mismatched_sizes=True"),
    ],
)
def test_a_config_that_contradicts_the_weights(folder: Path, override: dict[str, Any], said: str) -> None:
    start = time.perf_counter()
    with pytest.raises(WeightsError, match=said) as caught:
        TinyForClassification.from_pretrained(folder, **override)
    assert time.perf_counter() - start < 1
    assert caught.value.path == str(folder / "model.safetensors")


def test_another_number_of_labels_on_request(folder: Path) -> None:
    model, info = TinyForClassification.from_pretrained(
        folder, num_labels=7, ignore_mismatched_sizes=True, output_loading_info=True
    )
    assert model.classifier.weight.shape == (7, 4)
    assert sorted(info["mismatched_keys"]) == [
        ("class_bias", (3,), (7,)),
        ("classifier.bias", (3,), (7,)),
        ("classifier.weight", (3, 4), (7, 4)),
    ]
    assert info["missing_keys"] == []
    assert torch.isfinite(model.classifier.weight).all()


def test_eight_bit_floats_are_no_weights(folder: Path) -> None:
    edit(
        folder,
        lambda tensors: tensors.update({"classifier.weight": torch.ones(3, 4).to(torch.float8_e4m3fn)}),
    )
    with pytest.raises(WeightsError, match="float8_e4m3fn in the checkpoint"):
        TinyForClassification.from_pretrained(folder)


def test_a_model_larger_than_memory() -> None:
    start = time.perf_counter()
    with pytest.raises(ConfigError, match="GB of weights") as caught:
        TinyModel.from_config(TinyConfig(hidden_size=2**20, vocab_size=2**26))
    assert time.perf_counter() - start < 1
    assert caught.value.expected


# Files


def test_files_that_are_not_there_or_of_another_kind(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.rename(folder / "tf_model.h5")
    with pytest.raises(
        UnsupportedError, match=r"expected model.safetensors or pytorch_model.bin, got"
    ) as caught:
        TinyForClassification.from_pretrained(folder)
    assert (caught.value.path, caught.value.key) == (str(folder / "tf_model.h5"), "tf_model.h5")
    (folder / "tf_model.h5").unlink()
    with pytest.raises(MissingFileError, match=r"no model\.safetensors in .*it holds config\.json"):
        TinyForClassification.from_pretrained(folder)
    (folder / "config.json").unlink()
    with pytest.raises(MissingFileError, match=r"no config\.json"):
        TinyForClassification.from_pretrained(folder)


@pytest.mark.parametrize("size", [0, 4, 8, 40, -1])
def test_cut_off_files(folder: Path, size: int) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    with pytest.raises(FormatError) as caught:
        TinyForClassification.from_pretrained(folder)
    assert str(weights) in str(caught.value)


def test_shards(folder: Path, tmp_path: Path) -> None:
    model = TinyForClassification.from_pretrained(folder)
    model.save_pretrained(tmp_path / "shards", max_shard_size=100)
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 2
    same(TinyForClassification.from_pretrained(tmp_path / "shards"), folder)
    missing = next((tmp_path / "shards").glob("model-*.safetensors"))
    missing.unlink()
    with pytest.raises(MissingFileError, match=missing.name):
        TinyForClassification.from_pretrained(tmp_path / "shards")


def test_subfolders(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outer").mkdir()
    shutil.copytree(folder, tmp_path / "outer" / "inner", ignore=shutil.ignore_patterns("outer"))
    same(TinyForClassification.from_pretrained(tmp_path / "outer", subfolder="inner"), folder)


def test_a_state_dict_in_place_of_a_file(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    model = TinyForClassification.from_pretrained(folder, state_dict=tensors)
    assert torch.equal(model.classifier.weight, tensors["classifier.weight"])
    del tensors["tiny.layers.0.bias"]
    with pytest.raises(WeightsError, match="state_dict does not fit"):
        TinyForClassification.from_pretrained(folder, state_dict=tensors)


@pytest.mark.parametrize(
    "arguments",
    [
        {"from_tf": True},
        {"from_flax": True},
        {"load_in_8bit": True},
        {"gguf_file": "a"},
    ],
)
def test_what_this_version_does_not_have(folder: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError, match=next(iter(arguments))) as caught:
        TinyForClassification.from_pretrained(folder, **arguments)
    assert caught.value.key == next(iter(arguments))
    TinyForClassification.from_pretrained(folder, from_tf=False, use_safetensors=True, low_cpu_mem_usage=True)


def test_quantised_weights(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {
        "quantization_config": {"quant_method": "gptq"}
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedError, match=r"quantization_config: .* got gptq") as caught:
        TinyForClassification.from_pretrained(folder)
    assert caught.value.path == str(folder / "config.json")


def test_arguments_of_saving(folder: Path, tmp_path: Path) -> None:
    model = TinyForClassification.from_pretrained(folder)
    model.save_pretrained(tmp_path / "none", is_main_process=False)
    assert not (tmp_path / "none").exists()
    with pytest.raises(UnsupportedError, match="safe_serialization"):
        model.save_pretrained(tmp_path / "none", safe_serialization=False)
    with pytest.raises(UnsupportedError, match="push_to_hub"):
        model.save_pretrained(tmp_path / "none", push_to_hub=True)
    with pytest.raises(ArgumentError, match="no_such"):
        model.save_pretrained(tmp_path / "none", no_such=1)
    halved = {name: tensor / 2 for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path / "half", state_dict=halved)
    assert torch.equal(
        load_file(tmp_path / "half" / "model.safetensors")["classifier.weight"], halved["classifier.weight"]
    )
    assert model.config.architectures == ["TinyForClassification"]


# The rest of the base class


def test_gradient_checkpointing() -> None:
    model = TinyModel(TinyConfig())
    with pytest.raises(UnsupportedError, match="gradient checkpointing"):
        model.gradient_checkpointing_enable()
    model.layers.gradient_checkpointing = False
    model.gradient_checkpointing_enable({"use_reentrant": True})
    assert model.is_gradient_checkpointing
    assert model.layers.checkpoint_options == {"use_reentrant": True}
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing


def test_counts() -> None:
    model = TinyForClassification(TinyConfig(num_labels=3))
    model.tiny.layers.requires_grad_(False)
    total = 10 * 4 + 2 * (16 + 4) + 8 + 20 + 12 + 3 + 3
    assert model.num_parameters() == total
    assert model.num_parameters(only_trainable=True) == total - 40
    assert model.num_parameters(exclude_embeddings=True) == total - 40
    assert model.base_model is model.tiny
    assert model.tiny.base_model is model.tiny
    assert model.get_output_embeddings() is None
    assert not model.can_generate()
    with pytest.raises(ArgumentError):
        model.set_output_embeddings(nn.Linear(4, 10))


def test_models_are_made_from_configs() -> None:
    with pytest.raises(InputTypeError, match="from_pretrained"):
        TinyModel("some/model")
    config = TinyConfig()
    config.num_hidden_layers = 10**9
    for make in (TinyModel, TinyModel.from_config):
        start = time.perf_counter()
        with pytest.raises(ConfigError, match="num_hidden_layers"):
            make(config)
        assert time.perf_counter() - start < 1
