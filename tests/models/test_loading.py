"""Loading: what fits is mapped uncopied, names are matched, and nothing is initialised in vain."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from oxiformers.errors import ArgumentError, UnsupportedError, WeightsError
from tests.models.tiny import (
    TinyBase,
    TinyConfig,
    TinyForClassification,
    TinyForLM,
    TinyModel,
    edit,
    same,
    saved_classifier,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved TinyForClassification of three labels."""
    return saved_classifier(tmp_path)


# Nothing in vain


def test_nothing_is_initialised_that_is_loaded(folder: Path) -> None:
    state = torch.get_rng_state()
    model = TinyForClassification.from_pretrained(folder)
    assert torch.equal(torch.get_rng_state(), state)
    assert TinyBase.initialised == []
    assert not model.training
    same(model, folder)
    assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])
    assert model.tiny.position_ids.tolist() == list(range(8))
    assert torch.equal(model.tiny.frequencies, 1 / torch.arange(1, 9))


def test_a_new_head_alone_is_initialised(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    edit(
        folder,
        lambda tensors: [
            tensors.pop(name) for name in ("classifier.weight", "classifier.bias", "class_bias")
        ],
    )
    with caplog.at_level(logging.WARNING, "oxiformers"):
        model, info = TinyForClassification.from_pretrained(folder, output_loading_info=True)
    assert info["missing_keys"] == ["class_bias", "classifier.weight", "classifier.bias"]
    assert info["unexpected_keys"] == info["mismatched_keys"] == info["error_msgs"] == []
    assert "initialised anew: class_bias, classifier.bias, classifier.weight" in caplog.text
    assert [module for module in TinyBase.initialised if module is not model] == [model.classifier]
    assert model.classifier.bias.tolist() == [0, 0, 0]
    assert 0.1 < float(model.classifier.weight.detach().std()) < 1
    stored = load_file(folder / "model.safetensors")
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in stored.items())


def test_constructors_initialise_once() -> None:
    TinyBase.initialised.clear()
    model = TinyForClassification(TinyConfig(num_labels=2))
    modules = [module for module in TinyBase.initialised if module is not model]
    assert len(modules) == len(set(map(id, modules))) == 6
    assert model.tiny.embed_tokens.weight[0].tolist() == [0] * 4
    assert model.tiny.layers[0].bias.tolist() == [0] * 4
    assert 0.2 < float(model.tiny.embed_tokens.weight[1:].detach().std()) < 0.9
    with torch.device("meta"):
        assert all(tensor.is_meta for tensor in TinyModel(TinyConfig()).parameters())


def test_what_a_constructor_loads_is_kept(folder: Path) -> None:
    class Wrapping(TinyBase):
        def __init__(self, config: TinyConfig) -> None:
            super().__init__(config)
            self.inner = TinyForClassification.from_pretrained(folder)
            self.head = nn.Linear(4, 2)

    model = Wrapping(TinyConfig())
    same(model.inner, folder)
    assert model.head.bias.tolist() == [0, 0]


# Without a copy


def test_weights_lie_in_the_mapping_and_never_change_the_file(folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()
    model = TinyForClassification.from_pretrained(folder)
    tensors = sorted(model.state_dict().values(), key=Tensor.data_ptr)
    span = tensors[-1].data_ptr() + tensors[-1].nbytes - tensors[0].data_ptr()
    assert span == sum(tensor.nbytes for tensor in tensors)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor += 1
    assert (folder / "model.safetensors").read_bytes() == before
    model.save_pretrained(folder)
    same(TinyForClassification.from_pretrained(folder), folder)
    same(model, folder)


def test_weights_can_be_trained(folder: Path) -> None:
    model = TinyForClassification.from_pretrained(folder)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.classifier(model.tiny.embed_tokens(torch.tensor([[1, 2]]))).sum().backward()
    before = model.classifier.weight.clone()
    optimizer.step()
    assert not torch.equal(model.classifier.weight, before)


# Dtype and device


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ("auto", torch.float16),
        (None, torch.float16),
        ("bfloat16", torch.bfloat16),
        (torch.float64, torch.float64),
    ],
)
def test_dtype(folder: Path, key: str, value: Any, dtype: torch.dtype) -> None:
    TinyForClassification.from_pretrained(folder, dtype=torch.float16).save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float16"
    model = TinyForClassification.from_pretrained(folder, **{key: value})
    assert {tensor.dtype for tensor in model.parameters()} == {dtype}
    assert model.dtype is model.config.dtype is dtype
    assert model.tiny.frequencies.dtype is torch.float32
    assert model.tiny.position_ids.dtype is torch.int64


def test_dtype_of_the_checkpoint_where_the_config_says_none(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["dtype"]
    (folder / "config.json").write_text(json.dumps(config))
    edit(
        folder, lambda tensors: tensors.update({name: tensor.bfloat16() for name, tensor in tensors.items()})
    )
    assert TinyForClassification.from_pretrained(folder).dtype is torch.bfloat16


@pytest.mark.parametrize("dtype", ["float99", "int8", torch.int64, 32])
def test_dtypes_that_weights_cannot_have(folder: Path, dtype: Any) -> None:
    with pytest.raises(ArgumentError, match="dtype"):
        TinyForClassification.from_pretrained(folder, dtype=dtype)


@pytest.mark.parametrize(
    "where",
    [
        {"device": "cpu"},
        {"device_map": "cpu"},
        {"device_map": {"": "cpu"}},
        {"device_map": torch.device("cpu")},
        {"device": -1},
        {"device": "cpu", "device_map": "cpu"},
    ],
)
def test_devices(folder: Path, where: dict[str, Any]) -> None:
    assert TinyForClassification.from_pretrained(folder, **where).device == torch.device("cpu")


def test_devices_that_are_not_there(folder: Path) -> None:
    for where in (
        {"device": "cuda:99"},
        {"device": 99},
        {"device": "nothing"},
        {"device": "cpu", "device_map": "meta"},
    ):
        with pytest.raises(ArgumentError, match="device"):
            TinyForClassification.from_pretrained(folder, **where)
    with pytest.raises(UnsupportedError, match="one device"):
        TinyForClassification.from_pretrained(folder, device_map={"tiny": "cpu", "classifier": "cuda:0"})


@pytest.mark.gpu
def test_on_a_gpu(folder: Path) -> None:
    for where in ({"device": "cuda"}, {"device_map": "auto"}, {"device_map": {"": 0}}):
        model = TinyForClassification.from_pretrained(folder, dtype="bfloat16", **where)
        assert {tensor.device.type for tensor in [*model.parameters(), *model.buffers()]} == {"cuda"}
        assert {tensor.dtype for tensor in model.parameters()} == {torch.bfloat16}
    assert TinyForClassification.from_config(TinyConfig(), device="cuda").device.type == "cuda"


# Names


def test_a_base_model_from_a_model_with_a_head(folder: Path) -> None:
    model, info = TinyModel.from_pretrained(folder, output_loading_info=True)
    same(model, folder, "tiny.")
    assert sorted(info["unexpected_keys"]) == ["class_bias", "classifier.bias", "classifier.weight"]
    assert info["missing_keys"] == []


def test_a_head_on_a_base_model(tmp_path: Path) -> None:
    base = TinyModel.from_config(TinyConfig())
    base.save_pretrained(tmp_path)
    model, info = TinyForClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert sorted(info["missing_keys"]) == ["class_bias", "classifier.bias", "classifier.weight"]
    same(model.tiny, tmp_path)


def test_a_pooler_may_lack_or_be_left_out(folder: Path) -> None:
    _, info = TinyModel.from_pretrained(folder, add_pooling_layer=False, output_loading_info=True)
    assert {"tiny.pooler.0.weight", "tiny.pooler.0.bias"} < set(info["unexpected_keys"])
    edit(folder, lambda tensors: [tensors.pop(f"tiny.pooler.0.{name}") for name in ("weight", "bias")])
    _, info = TinyModel.from_pretrained(folder, output_loading_info=True)
    assert info["missing_keys"] == ["pooler.0.weight", "pooler.0.bias"]


def test_old_names(folder: Path) -> None:
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    expected = load_file(folder / "model.safetensors")

    def age(tensors: dict[str, Tensor]) -> None:
        tensors["tiny.LayerNorm.weight"] += 3
        for new, was in old.items():
            tensors[f"tiny.{was}"] = tensors.pop(f"tiny.{new}")
        tensors["tiny.position_ids"] = torch.arange(8)
        tensors["tiny.embeddings.position_ids"] = torch.arange(8)

    edit(folder, age)
    model, info = TinyForClassification.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    assert torch.equal(model.tiny.LayerNorm.weight, expected["tiny.LayerNorm.weight"] + 3)
    edit(folder, lambda tensors: tensors.update({"tiny.LayerNorm.weight": torch.ones(4)}))
    with pytest.raises(WeightsError, match="1 stored twice"):
        TinyForClassification.from_pretrained(folder)


# Ties


@pytest.fixture
def language_model(tmp_path: Path) -> Path:
    TinyForLM.from_config(TinyConfig()).save_pretrained(tmp_path)
    return tmp_path


def test_tied_weights_are_stored_once_and_shared(language_model: Path) -> None:
    assert not {"decoder.weight", "decoder.bias"} & load_file(language_model / "model.safetensors").keys()
    model, info = TinyForLM.from_pretrained(language_model, output_loading_info=True)
    assert not any(info.values())
    assert model.decoder.weight is model.tiny.embed_tokens.weight
    assert model.decoder.bias is model.bias
    assert model.get_output_embeddings() is model.decoder
    assert model.get_input_embeddings() is model.tiny.embed_tokens
    assert model.num_parameters() == sum(tensor.numel() for tensor in {*model.parameters()})
    model.set_input_embeddings(nn.Embedding(12, 4))
    assert model.decoder.weight is model.tiny.embed_tokens.weight
    assert model.decoder.weight.shape == (12, 4)


def test_the_tied_name_alone_serves_both(language_model: Path) -> None:
    weight = load_file(language_model / "model.safetensors")["tiny.embed_tokens.weight"]
    edit(
        language_model,
        lambda tensors: tensors.update({"decoder.weight": tensors.pop("tiny.embed_tokens.weight")}),
    )
    for name in ("one", "two"):
        model, info = TinyForLM.from_pretrained(language_model, output_loading_info=True)
        assert not any(info.values())
        assert torch.equal(model.tiny.embed_tokens.weight, weight)
        assert model.decoder.weight is model.tiny.embed_tokens.weight
        if name == "one":  # and with its alias in the metadata, as some writers have it
            edit(language_model, lambda tensors: None, {"tiny.embed_tokens.weight": "decoder.weight"})


def test_equal_twins_are_tied_and_different_ones_are_not(
    language_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit(
        language_model,
        lambda tensors: tensors.update({"decoder.weight": tensors["tiny.embed_tokens.weight"].clone()}),
    )
    model = TinyForLM.from_pretrained(language_model)
    assert model.decoder.weight is model.tiny.embed_tokens.weight
    edit(language_model, lambda tensors: tensors["decoder.weight"].add_(1))
    with caplog.at_level(logging.WARNING, "oxiformers"):
        model = TinyForLM.from_pretrained(language_model)
    assert "not tied" in caplog.text
    assert torch.equal(model.decoder.weight, model.tiny.embed_tokens.weight + 1)
    model.save_pretrained(language_model)
    assert "decoder.weight" in load_file(language_model / "model.safetensors")


def test_untied_by_the_config(tmp_path: Path) -> None:
    model = TinyForLM.from_config(TinyConfig(tie_word_embeddings=False))
    assert model.decoder.weight is not model.tiny.embed_tokens.weight
    assert model.decoder.bias is model.bias
    model.save_pretrained(tmp_path)
    assert "decoder.weight" in load_file(tmp_path / "model.safetensors")
    again = TinyForLM.from_pretrained(tmp_path)
    assert torch.equal(again.decoder.weight, model.decoder.weight)
    edit(tmp_path, lambda tensors: tensors.pop("decoder.weight"))
    _, info = TinyForLM.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] == ["decoder.weight"]
