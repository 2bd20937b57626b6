"""The Auto classes, the registry and the public names."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

import oxiformers
from oxiformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification
from oxiformers.auto import classes
from oxiformers.auto.registry import ARCHITECTURES, KINDS, Architecture
from oxiformers.config import Config
from oxiformers.errors import InputTypeError, UnsupportedError, WeightsError
from oxiformers.models.base import PreTrainedModel

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 24,
    "hidden_dim": 24,
    "d_ff": 24,
    "d_kv": 4,
    "head_dim": 4,
    "max_position_embeddings": 32,
}


def tiny(model_type: str, **values: Any) -> Config:
    """A small config of an architecture."""
    config = AutoConfig.for_model(model_type)
    known = {
        key: value for key, value in SIZES.items() if key in config.to_dict() or key in config.attribute_map
    }
    return AutoConfig.for_model(model_type, **known, **values)


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_rows(model_type: str) -> None:
    row = ARCHITECTURES[model_type]
    assert row.config_class().model_type == model_type == row.model_type
    for auto_name, name in row.models.items():
        found = row.model_class(auto_name)
        assert found is not None
        assert (found.__name__, found.config_class) == (name, row.config_class())
        assert getattr(oxiformers, name) is found
        assert issubclass(getattr(oxiformers, auto_name), classes._AutoModel)
        assert issubclass(found, getattr(oxiformers, f"{row.config.removesuffix('Config')}PreTrainedModel"))
    assert row.model_class("AutoModelForNothing") is None


def test_what_a_row_stands_for() -> None:
    row = Architecture("deberta-v2", "DebertaV2", "base masked=DebertaWithHead audio DebertaV2Backbone")
    assert (row.module, row.config) == ("deberta_v2", "DebertaV2Config")
    assert row.models == {
        "AutoModel": "DebertaV2Model",
        "AutoModelForMaskedLM": "DebertaWithHead",
        "AutoModelForAudioClassification": "DebertaV2ForSequenceClassification",
    }
    assert row.public_names == [
        "DebertaV2Config", "DebertaV2PreTrainedModel", *row.models.values(), "DebertaV2Backbone",
    ]  # fmt: skip


def test_an_auto_class_is_public_once_an_architecture_has_it() -> None:
    for auto_name, _ in KINDS.values():
        public = any(auto_name in row.models for row in ARCHITECTURES.values())
        assert (auto_name in oxiformers.__all__) is public
        assert issubclass(getattr(classes, auto_name), classes._AutoModel)


@pytest.mark.parametrize(
    ("model_type", "auto_name"), [(key, name) for key, row in ARCHITECTURES.items() for name in row.models]
)
def test_from_config_save_and_from_pretrained(model_type: str, auto_name: str, tmp_path: Path) -> None:
    auto = getattr(oxiformers, auto_name)
    config = tiny(model_type)
    model = auto.from_config(config)
    assert type(model).__name__ == ARCHITECTURES[model_type].models[auto_name]
    assert model.config is not config
    assert model.training
    model.save_pretrained(tmp_path)
    again = auto.from_pretrained(tmp_path)
    assert not again.training
    assert type(again) is type(model)
    assert again.config.architectures == [type(model).__name__]
    expected, found = model.state_dict(), again.state_dict()
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name


def test_heads_that_are_not_there(tmp_path: Path) -> None:
    tiny("distilbert").save_pretrained(tmp_path)
    message = r"got distilbert; distilbert has AutoModel \(DistilBertModel\)"
    with pytest.raises(UnsupportedError, match=message) as caught:
        AutoModelForCausalLM.from_pretrained(tmp_path)
    assert caught.value.path == str(tmp_path / "config.json")
    causal = sorted(key for key, row in ARCHITECTURES.items() if "AutoModelForCausalLM" in row.models)
    assert caught.value.expected == f"one of {', '.join(causal)} for AutoModelForCausalLM"
    with pytest.raises(UnsupportedError, match="AutoModelForCausalLM"):
        AutoModelForCausalLM.from_config(tiny("distilbert"))


def test_arguments_go_where_they_belong(tmp_path: Path) -> None:
    AutoModelForSequenceClassification.from_config(tiny("bert", num_labels=3)).save_pretrained(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(
        tmp_path,
        torch_dtype="bfloat16",
        attn_implementation="eager",
        hidden_dropout_prob=0.5,
        device_map="auto",
    )
    assert (model.dtype, model.config.attn_implementation) == (torch.bfloat16, "eager")
    assert (model.config.hidden_dropout_prob, model.config.num_labels) == (0.5, 3)
    assert AutoModel.from_pretrained(tmp_path, add_pooling_layer=False).pooler is None
    with pytest.raises(
        InputTypeError, match="'no_such' is neither a key of BertConfig nor an argument of BertModel"
    ):
        AutoModel.from_pretrained(tmp_path, no_such=1)


def test_a_config_in_place_of_the_file(tmp_path: Path) -> None:
    AutoModel.from_config(tiny("bert")).save_pretrained(tmp_path)
    config = tiny("bert", hidden_dropout_prob=0.3)
    model = AutoModel.from_pretrained(tmp_path, config=config)
    assert model.config.hidden_dropout_prob == 0.3
    assert model.config is not config
    (tmp_path / "config.json").rename(tmp_path / "elsewhere.json")
    assert AutoModel.from_pretrained(tmp_path, config=tmp_path / "elsewhere.json").config.hidden_size == 16
    with pytest.raises(WeightsError):
        AutoModel.from_pretrained(tmp_path, config=_wider(config))


def _wider(config: Config) -> Config:
    config.vocab_size = 51
    return config


def test_auto_classes_have_no_instances() -> None:
    for name in oxiformers.__all__:
        if name.startswith("Auto"):
            with pytest.raises(InputTypeError, match="from_pretrained"):
                getattr(oxiformers, name)()
    with pytest.raises(InputTypeError, match="config: expected a config object, got str"):
        AutoModel.from_config("bert-base-uncased")
    with pytest.raises(InputTypeError, match="config: expected a Config, got str"):
        oxiformers.BertModel("bert-base-uncased")


def test_the_checkpoint_of_a_classifier(shared: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(
        shared / "checkpoints" / "bert-ticket-classifier"
    )
    assert model.config.num_labels == 6
    assert isinstance(model, PreTrainedModel)
    logits = model(torch.tensor([[2, 5, 6, 3]])).logits
    assert logits.shape == (1, 6)
    assert logits.grad_fn is not None


def test_weights_named_only_by_an_alias(shared: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(shared / "checkpoints" / "tinystories-656k-llama")
    assert model.lm_head.weight is model.model.embed_tokens.weight
    with torch.no_grad():
        logits = model(torch.tensor([[1, 80, 147, 201, 282, 57]])).logits[0, -1]
    top = logits.softmax(-1).topk(5)
    assert [round(value, 4) for value in top.values.tolist()] == [0.9291, 0.0252, 0.0245, 0.0085, 0.0023]
    assert round(float(logits.max()), 4) == 17.3808


READ_BACK = """
import json, sys
import torch, transformers
for name, folder in json.loads(sys.argv[1]).items():
    model, info = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert type(model).__name__ == name == model.config.architectures[0], name
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), (name, info)
    assert next(model.parameters()).dtype is torch.float32
    assert model.config.hidden_size == 16
    if hasattr(model, "classifier"):
        assert model.config.id2label == {0: "a", 1: "b", 2: "c"}
    config = transformers.AutoConfig.from_pretrained(folder)
    assert type(config).__name__ == type(model.config).__name__
    config.save_pretrained(folder + "/again")
print("read", len(json.loads(sys.argv[1])))
"""


@pytest.mark.parametrize("environment", ["python_457", "python_524"])
def test_transformers_reads_what_is_saved(
    environment: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    python = request.getfixturevalue(environment)
    folders: dict[str, str] = {}
    for model_type, row in ARCHITECTURES.items():
        for auto_name, name in row.models.items():
            labels: dict[int, str] | None = {0: "a", 1: "b", 2: "c"}
            if "Seq2Seq" in name:
                labels = None
            elif "QuestionAnswering" in name:
                labels = {
                    0: "start",
                    1: "end",
                }  # named: 5.24 writes no unnamed pair, where BART's default is three
            config = tiny(model_type, id2label=labels)
            model = getattr(oxiformers, auto_name).from_config(config)
            folders[name] = str(tmp_path / name)
            model.save_pretrained(folders[name], max_shard_size="8KB")
    done = subprocess.run(
        [python, "-c", READ_BACK, json.dumps(folders)],
        env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["read", str(len(folders))]
    for name, folder in folders.items():
        again = AutoConfig.from_pretrained(Path(folder, "again"))
        assert again.architectures == [name]
        assert again.hidden_size == 16
        assert again.num_labels == AutoConfig.from_pretrained(folder).num_labels
