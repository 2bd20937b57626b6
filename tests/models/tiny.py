"""Models of a few numbers, and folders that hold them, for the tests of loading."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.config_types import Layers
from oxiformers.models.base import PreTrainedModel


@dataclass
class TinyConfig(Config):
    """As small as a config can be."""

    model_type = "tiny"
    vocab_size: int = 10
    hidden_size: int = 4
    num_hidden_layers: Layers = 2
    initializer_range: float = 0.5


class TinyBase(PreTrainedModel):
    """What the models share; counts what it initialises."""

    config_class = TinyConfig
    base_model_prefix = "tiny"
    initialised: list[nn.Module] = []  # noqa: RUF012

    def _init_weights(self, module: nn.Module) -> None:
        if any(not tensor.is_meta for tensor in module.parameters(recurse=False)):
            self.initialised.append(module)
        super()._init_weights(module)


class TinyModel(TinyBase):
    """An embedding, layers and a pooler; buffers that no checkpoint holds."""

    input_embedding = "embed_tokens"

    def __init__(self, config: TinyConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=0)
        self.layers = nn.ModuleList(
            nn.Linear(config.hidden_size, config.hidden_size) for _ in range(config.num_hidden_layers)
        )
        self.LayerNorm = nn.LayerNorm(config.hidden_size)
        self.pooler = nn.Sequential(nn.Linear(4, 4)) if add_pooling_layer else None
        self.register_buffer("position_ids", torch.arange(8), persistent=False)
        self.register_buffer("frequencies", 1 / torch.arange(1, 9), persistent=False)
        self.register_buffer("scale", torch.ones(()))


class TinyForClassification(TinyBase):
    """With a classifier."""

    def __init__(self, config: TinyConfig) -> None:
        super().__init__(config)
        self.tiny = TinyModel(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.class_bias = nn.Parameter(torch.zeros(config.num_labels))


class TinyForLM(TinyBase):
    """With an output that shares its weight with the embedding, and its bias with a parameter."""

    output_embedding = "decoder"
    tied = {"decoder.bias": "bias"}  # noqa: RUF012

    def __init__(self, config: TinyConfig) -> None:
        super().__init__(config)
        self.tiny = TinyModel(config, add_pooling_layer=False)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))


def saved_classifier(folder: Path) -> Path:
    """Saves a TinyForClassification of three labels into the folder."""
    TinyForClassification.from_config(TinyConfig(num_labels=3)).save_pretrained(folder)
    TinyBase.initialised.clear()
    return folder


def edit(
    folder: Path, change: Callable[[dict[str, Tensor]], Any], metadata: dict[str, str] | None = None
) -> None:
    """Rewrites the folder's weights."""
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
    change(tensors)
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"} | (metadata or {}))


def same(model: PreTrainedModel, folder: Path, prefix: str = "") -> None:
    """Asserts that the model holds what the folder does."""
    stored = load_file(folder / "model.safetensors")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, stored[prefix + name]), name
