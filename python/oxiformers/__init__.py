"""The Transformers quick tour on a Rust core.

Every public name is imported when it is first used: importing oxiformers imports neither torch nor triton.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .auto.registry import ARCHITECTURES

if TYPE_CHECKING:  # the same names for type checkers and editors
    from . import logging as logging
    from .auto import AutoConfig as AutoConfig
    from .auto import AutoModel as AutoModel
    from .auto import AutoModelForCausalLM as AutoModelForCausalLM
    from .auto import AutoModelForMaskedLM as AutoModelForMaskedLM
    from .auto import AutoModelForQuestionAnswering as AutoModelForQuestionAnswering
    from .auto import AutoModelForSeq2SeqLM as AutoModelForSeq2SeqLM
    from .auto import AutoModelForSequenceClassification as AutoModelForSequenceClassification
    from .auto import AutoModelForTokenClassification as AutoModelForTokenClassification
    from .auto import AutoTokenizer as AutoTokenizer
    from .config import PreTrainedConfig as PreTrainedConfig
    from .config import PretrainedConfig as PretrainedConfig
    from .errors import ArgumentError as ArgumentError
    from .errors import ConfigError as ConfigError
    from .errors import FileError as FileError
    from .errors import FormatError as FormatError
    from .errors import InputTypeError as InputTypeError
    from .errors import MissingFileError as MissingFileError
    from .errors import OxiformersError as OxiformersError
    from .errors import UnsupportedError as UnsupportedError
    from .errors import WeightsError as WeightsError
    from .layers.cache import Cache as Cache
    from .layers.cache import DynamicCache as DynamicCache
    from .layers.cache import EncoderDecoderCache as EncoderDecoderCache
    from .models.base import PreTrainedModel as PreTrainedModel
    from .models.bert import BertConfig as BertConfig
    from .models.bert import BertForMaskedLM as BertForMaskedLM
    from .models.bert import BertForQuestionAnswering as BertForQuestionAnswering
    from .models.bert import BertForSequenceClassification as BertForSequenceClassification
    from .models.bert import BertForTokenClassification as BertForTokenClassification
    from .models.bert import BertModel as BertModel
    from .models.bert import BertPreTrainedModel as BertPreTrainedModel
    from .models.distilbert import DistilBertConfig as DistilBertConfig
    from .models.distilbert import DistilBertForMaskedLM as DistilBertForMaskedLM
    from .models.distilbert import DistilBertForQuestionAnswering as DistilBertForQuestionAnswering
    from .models.distilbert import DistilBertForSequenceClassification as DistilBertForSequenceClassification
    from .models.distilbert import DistilBertForTokenClassification as DistilBertForTokenClassification
    from .models.distilbert import DistilBertModel as DistilBertModel
    from .models.distilbert import DistilBertPreTrainedModel as DistilBertPreTrainedModel
    from .models.gpt2 import GPT2Config as GPT2Config
    from .models.gpt2 import GPT2LMHeadModel as GPT2LMHeadModel
    from .models.gpt2 import GPT2Model as GPT2Model
    from .models.gpt2 import GPT2PreTrainedModel as GPT2PreTrainedModel
    from .models.llama import LlamaConfig as LlamaConfig
    from .models.llama import LlamaForCausalLM as LlamaForCausalLM
    from .models.llama import LlamaModel as LlamaModel
    from .models.t5 import T5Config as T5Config
    from .models.t5 import T5EncoderModel as T5EncoderModel
    from .models.t5 import T5ForConditionalGeneration as T5ForConditionalGeneration
    from .models.t5 import T5Model as T5Model
    from .models.t5 import T5PreTrainedModel as T5PreTrainedModel
    from .pipelines import FeatureExtractionPipeline as FeatureExtractionPipeline
    from .pipelines import Pipeline as Pipeline
    from .pipelines import TextClassificationPipeline as TextClassificationPipeline
    from .pipelines import pipeline as pipeline
    from .tokenization import AddedToken as AddedToken
    from .tokenization import BatchEncoding as BatchEncoding
    from .tokenization import BertTokenizer as BertTokenizer
    from .tokenization import BertTokenizerFast as BertTokenizerFast
    from .tokenization import CharSpan as CharSpan
    from .tokenization import DistilBertTokenizer as DistilBertTokenizer
    from .tokenization import DistilBertTokenizerFast as DistilBertTokenizerFast
    from .tokenization import PreTrainedTokenizer as PreTrainedTokenizer
    from .tokenization import PreTrainedTokenizerBase as PreTrainedTokenizerBase
    from .tokenization import PreTrainedTokenizerFast as PreTrainedTokenizerFast
    from .tokenization import TensorType as TensorType
    from .tokenization import TokenSpan as TokenSpan

__version__ = "0.1.0"

#: The public names of each module; those of the architectures are in the registry's rows.
_NAMES: dict[str, tuple[str, ...]] = {
    "auto": (
        "AutoConfig",
        "AutoModel",
        "AutoModelForCausalLM",
        "AutoModelForMaskedLM",
        "AutoModelForQuestionAnswering",
        "AutoModelForSeq2SeqLM",
        "AutoModelForSequenceClassification",
        "AutoModelForTokenClassification",
        "AutoTokenizer",
    ),
    "config": (
        "PreTrainedConfig",
        "PretrainedConfig",
    ),
    "errors": (
        "ArgumentError",
        "ConfigError",
        "FileError",
        "FormatError",
        "InputTypeError",
        "MissingFileError",
        "OxiformersError",
        "UnsupportedError",
        "WeightsError",
    ),
    "layers.cache": ("Cache", "DynamicCache", "EncoderDecoderCache"),
    "models.base": ("PreTrainedModel",),
    "pipelines": ("FeatureExtractionPipeline", "Pipeline", "TextClassificationPipeline", "pipeline"),
    "tokenization": (
        "AddedToken",
        "BatchEncoding",
        "BertTokenizer",
        "BertTokenizerFast",
        "CharSpan",
        "DistilBertTokenizer",
        "DistilBertTokenizerFast",
        "PreTrainedTokenizer",
        "PreTrainedTokenizerBase",
        "PreTrainedTokenizerFast",
        "TensorType",
        "TokenSpan",
    ),
    **{f"models.{row.module}": row.public_names() for row in ARCHITECTURES.values()},
}
_PLACES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [*sorted(_PLACES), "__version__", "logging"]


def __getattr__(name: str) -> Any:
    if name == "logging":
        value: Any = import_module(f"{__name__}.logging")
    elif name in _PLACES:
        value = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
