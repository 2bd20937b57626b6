"""Files of weights: safetensors and torch.save, single and sharded, variants; and what else lies beside them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from oxiformers import AutoModel, BertConfig, BertForMaskedLM
from oxiformers.errors import ArgumentError, FormatError, MissingFileError, UnsupportedError
from tests.models.tiny import TinyConfig, TinyForClassification, TinyForLM, same, saved_classifier


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved TinyForClassification of three labels."""
    return saved_classifier(tmp_path / "model")


def to_pickle(folder: Path, name: str = "pytorch_model.bin", zipped: bool = True, add: float = 0.0) -> None:
    """Writes the folder's weights as torch.save does, with that number added."""
    tensors = {name: tensor + add for name, tensor in load_file(folder / "model.safetensors").items()}
    torch.save(tensors, folder / name, _use_new_zipfile_serialization=zipped)


def value(model: Any) -> float:
    return float(model.tiny.LayerNorm.weight.detach()[0])


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_torch_save(folder: Path, zipped: bool) -> None:
    to_pickle(folder, zipped=zipped)
    model = TinyForClassification.from_pretrained(folder, use_safetensors=False)
    same(model, folder)
    before = (folder / "pytorch_model.bin").read_bytes()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor += 1
    assert (folder / "pytorch_model.bin").read_bytes() == before
    (folder / "model.safetensors").unlink()
    assert value(TinyForClassification.from_pretrained(folder)) == 1.0


def test_safetensors_come_first(folder: Path) -> None:
    to_pickle(folder, add=5.0)
    assert value(TinyForClassification.from_pretrained(folder)) == 1.0
    assert value(TinyForClassification.from_pretrained(folder, use_safetensors=True)) == 1.0
    assert value(TinyForClassification.from_pretrained(folder, use_safetensors=False)) == 6.0
    (folder / "model.safetensors").unlink()
    assert value(TinyForClassification.from_pretrained(folder)) == 6.0
    with pytest.raises(MissingFileError, match=r"no model\.safetensors"):
        TinyForClassification.from_pretrained(folder, use_safetensors=True)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(MissingFileError, match=r"no pytorch_model\.bin"):
        TinyForClassification.from_pretrained(folder, use_safetensors=False)


def test_variants(folder: Path, tmp_path: Path) -> None:
    to_pickle(folder, "pytorch_model.fp16.bin", add=5.0)
    assert value(TinyForClassification.from_pretrained(folder)) == 1.0
    model = TinyForClassification.from_pretrained(folder, variant="fp16")
    assert value(model) == 6.0
    model.save_pretrained(folder, variant="ema")
    model.save_pretrained(folder, variant="v1.2", max_shard_size=100)
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "model.ema.safetensors", "model.safetensors.index.v1.2.json"} < names
    assert any(name.startswith("model.v1.2-00001-of-") for name in names)
    for variant in ("ema", "v1.2"):
        assert value(TinyForClassification.from_pretrained(folder, variant=variant)) == 6.0
    model.save_pretrained(folder, variant="v1.2")
    left = {path.name for path in folder.iterdir()}
    assert {name for name in left if "v1.2" in name} == {"model.v1.2.safetensors"}
    assert left >= names - {name for name in names if "v1.2" in name}
    with pytest.raises(MissingFileError, match=r"no model\.int8\.safetensors"):
        TinyForClassification.from_pretrained(folder, variant="int8")
    for bad in ("../x", "a/b", "", ".", 3):
        with pytest.raises(ArgumentError) as caught:
            model.save_pretrained(tmp_path / "bad", variant=bad)
        assert caught.value.key == "variant"
        with pytest.raises(ArgumentError):
            TinyForClassification.from_pretrained(folder, variant=bad)


def test_tied_weights_in_a_file_of_torch_save(tmp_path: Path) -> None:
    """The names of one tensor are tied where the config says so, and become two tensors where it does not."""
    state = TinyForLM.from_config(TinyConfig()).state_dict()
    TinyConfig().save_pretrained(tmp_path)
    torch.save(state, tmp_path / "pytorch_model.bin")
    model, info = TinyForLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert model.decoder.weight is model.tiny.embed_tokens.weight
    model, info = TinyForLM.from_pretrained(tmp_path, tie_word_embeddings=False, output_loading_info=True)
    assert not any(info.values())
    assert torch.equal(model.decoder.weight, state["decoder.weight"])
    with torch.no_grad():
        model.decoder.weight.add_(1)
    assert torch.equal(model.tiny.embed_tokens.weight, state["decoder.weight"])


def test_a_config_and_tensors_without_a_name(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    for config in (TinyConfig.from_pretrained(folder), folder):
        model = TinyForClassification.from_pretrained(None, config=config, state_dict=state)
        same(model, folder)
        assert model.config.num_labels == 3
        assert model.name_or_path == ""
        assert not model.training
    for arguments in ({"config": TinyConfig()}, {"state_dict": state}, {}):
        with pytest.raises(ArgumentError, match="both config= and state_dict="):
            TinyForClassification.from_pretrained(None, **arguments)
    config = BertConfig(
        vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4
    )
    model = AutoModel.from_config(config)
    again = AutoModel.from_pretrained(None, config=config, state_dict=model.state_dict())
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())


# generation_config.json


def test_generation_config_travels(folder: Path, tmp_path: Path) -> None:
    settings = {"_from_model_config": True, "eos_token_id": [1, 2], "num_beams": 4, "nested": {"a": None}}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    model = TinyForClassification.from_pretrained(folder)
    model.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "generation_config.json").read_text()) == settings
    again = TinyForClassification.from_pretrained(tmp_path / "saved")
    again.save_pretrained(tmp_path / "again")
    first, second = ((tmp_path / name / "generation_config.json").read_bytes() for name in ("saved", "again"))
    assert first == second
    TinyForClassification(TinyConfig()).save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new" / "generation_config.json").exists()
    (folder / "generation_config.json").write_text("[1]")
    with pytest.raises(FormatError, match="an array") as caught:
        TinyForClassification.from_pretrained(folder)
    assert caught.value.path == str(folder / "generation_config.json")


# What is cached


def cached(cache: Path, folder: Path) -> None:
    """Puts the folder's files into a cache as those of owner/model."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = cache / "models--owner--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots").mkdir()
    folder.rename(repository / "snapshots" / commit)


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_a_cached_model_loads_without_a_call(
    kind: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A classifier has nothing to generate, so not even generation_config.json is asked for."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a network call")

    if kind == "bin":
        to_pickle(folder)
        (folder / "model.safetensors").unlink()
    cached(tmp_path / "cache", folder)
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    model = TinyForClassification.from_pretrained("owner/model", cache_dir=tmp_path / "cache")
    assert value(model) == 1.0


# What transformers wrote, and what it reads

WRITE = """
import sys, torch, transformers as t
t.logging.set_verbosity_error()
torch.manual_seed(0)
config = t.BertConfig(vocab_size=30, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8,
    max_position_embeddings=16)
model = t.BertForMaskedLM(config)
model.save_pretrained(sys.argv[1] + "/safe")
model.save_pretrained(sys.argv[1] + "/bin", safe_serialization=False)
model.save_pretrained(sys.argv[1] + "/shards", safe_serialization=False, max_shard_size="3KB")
model.save_pretrained(sys.argv[1] + "/variant", safe_serialization=False, variant="fp16")
model.save_pretrained(sys.argv[1] + "/both", safe_serialization=False, variant="fp16", max_shard_size="3KB")
model.save_pretrained(sys.argv[1] + "/safe-both", variant="fp16", max_shard_size="3KB")
"""
READ = """
import sys, torch, transformers as t
t.logging.set_verbosity_error()
expected = t.BertForMaskedLM.from_pretrained(sys.argv[1] + "/safe").state_dict()
for name in ("ours", "ours-shards"):
    model = t.BertForMaskedLM.from_pretrained(sys.argv[1] + "/" + name, variant="fp16")
    assert all(torch.equal(tensor, expected[key]) for key, tensor in model.state_dict().items())
"""


def test_what_transformers_wrote(python_457: Path, python_524: Path, tmp_path: Path) -> None:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    subprocess.run([python_457, "-c", WRITE, tmp_path], check=True, env=environment, timeout=300)
    expected = BertForMaskedLM.from_pretrained(tmp_path / "safe").state_dict()
    for name in ("bin", "shards", "variant", "both", "safe-both"):
        variant = None if name in ("bin", "shards") else "fp16"
        held = {path.name for path in (tmp_path / name).iterdir()}
        assert any("bin" in file for file in held) == (name != "safe-both")
        model, info = BertForMaskedLM.from_pretrained(
            tmp_path / name, variant=variant, output_loading_info=True
        )
        assert not any(info.values()), name
        assert all(torch.equal(tensor, expected[key]) for key, tensor in model.state_dict().items()), name
    model.save_pretrained(tmp_path / "ours", variant="fp16")
    model.save_pretrained(tmp_path / "ours-shards", variant="fp16", max_shard_size="3KB")
    theirs, ours = (
        {path.name for path in (tmp_path / name).glob("*.index.*json")}
        for name in ("safe-both", "ours-shards")
    )
    assert theirs == ours
    subprocess.run([python_524, "-c", READ, tmp_path], check=True, env=environment, timeout=300)


def test_other_frameworks(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "flax_model.msgpack")
    with pytest.raises(UnsupportedError, match="from_flax=True") as caught:
        TinyForClassification.from_pretrained(folder)
    assert caught.value.key == "flax_model.msgpack"
