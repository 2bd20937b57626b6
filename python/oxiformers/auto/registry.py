"""The architectures: one row each, with the names of its classes. Reading the table imports none of them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oxiformers.config import Config
    from oxiformers.models.base import PreTrainedModel

#: The kinds of model: the Auto class that gives each, and how the names of its classes usually end.
KINDS: Mapping[str, tuple[str, str]] = {
    "base": ("AutoModel", "Model"),
    "masked": ("AutoModelForMaskedLM", "ForMaskedLM"),
    "causal": ("AutoModelForCausalLM", "ForCausalLM"),
    "seq2seq": ("AutoModelForSeq2SeqLM", "ForConditionalGeneration"),
    "sequence": ("AutoModelForSequenceClassification", "ForSequenceClassification"),
    "token": ("AutoModelForTokenClassification", "ForTokenClassification"),
    "question": ("AutoModelForQuestionAnswering", "ForQuestionAnswering"),
    "image": ("AutoModelForImageClassification", "ForImageClassification"),
    "masked-image": ("AutoModelForMaskedImageModeling", "ForMaskedImageModeling"),
    "audio": ("AutoModelForAudioClassification", "ForSequenceClassification"),
    "ctc": ("AutoModelForCTC", "ForCTC"),
}


class Architecture:
    """A row: an architecture's classes, by name.

    Attributes:
        model_type: as config.json names it; its module is the file of that name in `oxiformers.models`.
        config: the config's class.
        models: for each Auto class that has a class of the architecture, that class.
        public_names: every class that `import oxiformers` offers, the config and the base class included.
    """

    def __init__(self, model_type: str, prefix: str, classes: str) -> None:
        """Reads a row.

        Args:
            model_type: as above.
            prefix: what the names of the classes begin with; `<prefix>Config` and `<prefix>PreTrainedModel` are
                always there.
            classes: words with spaces between them: a kind of model, whose class is named the usual way;
                `kind=Name` where it is not; or a name, of a class that no Auto class gives.
        """
        self.model_type = model_type
        self.module = model_type.replace("-", "_")
        self.config = f"{prefix}Config"
        self.models: dict[str, str] = {}
        self.public_names = [self.config, f"{prefix}PreTrainedModel"]
        for word in classes.split():
            kind, _, name = word.partition("=")
            if kind in KINDS:
                auto_name, ending = KINDS[kind]
                name = self.models[auto_name] = name or prefix + ending
            if (name or word) not in self.public_names:  # one class may be of two kinds
                self.public_names.append(name or word)

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


ARCHITECTURES: Mapping[str, Architecture] = {
    row.model_type: row
    for row in (
        Architecture(
            "bart", "Bart", "base masked=BartForConditionalGeneration causal seq2seq sequence question"
        ),
        Architecture("bert", "Bert", "base masked causal=BertLMHeadModel sequence token question"),
        Architecture("distilbert", "DistilBert", "base masked sequence token question"),
        Architecture("gpt2", "GPT2", "base causal=GPT2LMHeadModel sequence token question"),
        Architecture("llama", "Llama", "base causal sequence token question"),
        Architecture("qwen3", "Qwen3", "base causal sequence token question"),
        Architecture("roberta", "Roberta", "base masked causal sequence token question"),
        Architecture("t5", "T5", "base seq2seq T5EncoderModel"),
        Architecture("vit", "ViT", "base image masked-image"),
    )
}

#: The Auto classes that some architecture has a class for.
AUTO_MODELS = tuple(
    auto_name
    for auto_name, _ in KINDS.values()
    if any(auto_name in row.models for row in ARCHITECTURES.values())
)
