"""One row an architecture: where its classes lie. Reading the table imports none of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oxiformers.config import Config
    from oxiformers.models.base import PreTrainedModel


@dataclass(frozen=True)
class Architecture:
    """An architecture's classes by name.

    Attributes:
        model_type: as config.json names it.
        module: its file in `oxiformers.models`.
        config: the config's class.
        models: the Auto class's name, and the class it gives.
        tokenizer: the class for folders that name none; None for the one that reads any tokenizer.json.
        bases: further public classes.
    """

    model_type: str
    module: str
    config: str
    models: Mapping[str, str]
    tokenizer: str | None = None
    bases: tuple[str, ...] = ()

    def load(self, name: str) -> Any:
        """Imports one of the classes."""
        return getattr(import_module(f"oxiformers.models.{self.module}"), name)

    def config_class(self) -> type[Config]:
        """The config's class."""
        found: type[Config] = self.load(self.config)
        return found

    def model_class(self, auto_name: str) -> type[PreTrainedModel] | None:
        """The class for an Auto class, or None where the architecture has none."""
        name = self.models.get(auto_name)
        return self.load(name) if name is not None else None

    def public_names(self) -> tuple[str, ...]:
        """The classes that `import oxiformers` offers."""
        return (self.config, *self.models.values(), *self.bases)


ARCHITECTURES: Mapping[str, Architecture] = {
    row.model_type: row
    for row in (
        Architecture(
            "bert",
            "bert",
            "BertConfig",
            {
                "AutoModel": "BertModel",
                "AutoModelForMaskedLM": "BertForMaskedLM",
                "AutoModelForSequenceClassification": "BertForSequenceClassification",
                "AutoModelForTokenClassification": "BertForTokenClassification",
                "AutoModelForQuestionAnswering": "BertForQuestionAnswering",
            },
            tokenizer="BertTokenizer",
            bases=("BertPreTrainedModel",),
        ),
        Architecture(
            "distilbert",
            "distilbert",
            "DistilBertConfig",
            {
                "AutoModel": "DistilBertModel",
                "AutoModelForMaskedLM": "DistilBertForMaskedLM",
                "AutoModelForSequenceClassification": "DistilBertForSequenceClassification",
                "AutoModelForTokenClassification": "DistilBertForTokenClassification",
                "AutoModelForQuestionAnswering": "DistilBertForQuestionAnswering",
            },
            tokenizer="DistilBertTokenizer",
            bases=("DistilBertPreTrainedModel",),
        ),
        Architecture(
            "gpt2",
            "gpt2",
            "GPT2Config",
            {"AutoModel": "GPT2Model", "AutoModelForCausalLM": "GPT2LMHeadModel"},
            bases=("GPT2PreTrainedModel",),
        ),
        Architecture(
            "llama",
            "llama",
            "LlamaConfig",
            {"AutoModel": "LlamaModel", "AutoModelForCausalLM": "LlamaForCausalLM"},
        ),
        Architecture(
            "t5",
            "t5",
            "T5Config",
            {"AutoModel": "T5Model", "AutoModelForSeq2SeqLM": "T5ForConditionalGeneration"},
            bases=("T5EncoderModel", "T5PreTrainedModel"),
        ),
    )
}
