"""The Transformers quick tour on a Rust core.

Every public name is imported when it is first used: importing oxiformers imports neither torch nor triton.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .auto.registry import ARCHITECTURES
from .tokenizer_table import PUBLIC_NAMES

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
    from .report import EnvReport as EnvReport
    from .report import env_report as env_report
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
    from .tokenization.models.albert import AlbertTokenizer as AlbertTokenizer
    from .tokenization.models.albert import AlbertTokenizerFast as AlbertTokenizerFast
    from .tokenization.models.albert import BigBirdTokenizer as BigBirdTokenizer
    from .tokenization.models.albert import BigBirdTokenizerFast as BigBirdTokenizerFast
    from .tokenization.models.albert import DebertaV2Tokenizer as DebertaV2Tokenizer
    from .tokenization.models.albert import DebertaV2TokenizerFast as DebertaV2TokenizerFast
    from .tokenization.models.albert import FNetTokenizer as FNetTokenizer
    from .tokenization.models.albert import FNetTokenizerFast as FNetTokenizerFast
    from .tokenization.models.albert import ReformerTokenizer as ReformerTokenizer
    from .tokenization.models.albert import ReformerTokenizerFast as ReformerTokenizerFast
    from .tokenization.models.albert import RemBertTokenizer as RemBertTokenizer
    from .tokenization.models.albert import RemBertTokenizerFast as RemBertTokenizerFast
    from .tokenization.models.albert import XLNetTokenizer as XLNetTokenizer
    from .tokenization.models.albert import XLNetTokenizerFast as XLNetTokenizerFast
    from .tokenization.models.bytelevel import ByT5Tokenizer as ByT5Tokenizer
    from .tokenization.models.bytelevel import PerceiverTokenizer as PerceiverTokenizer
    from .tokenization.models.canine import CanineTokenizer as CanineTokenizer
    from .tokenization.models.esm import EsmTokenizer as EsmTokenizer
    from .tokenization.models.gpt2 import BloomTokenizer as BloomTokenizer
    from .tokenization.models.gpt2 import BloomTokenizerFast as BloomTokenizerFast
    from .tokenization.models.gpt2 import CodeGenTokenizer as CodeGenTokenizer
    from .tokenization.models.gpt2 import CodeGenTokenizerFast as CodeGenTokenizerFast
    from .tokenization.models.gpt2 import CohereTokenizer as CohereTokenizer
    from .tokenization.models.gpt2 import CohereTokenizerFast as CohereTokenizerFast
    from .tokenization.models.gpt2 import GPT2Tokenizer as GPT2Tokenizer
    from .tokenization.models.gpt2 import GPT2TokenizerFast as GPT2TokenizerFast
    from .tokenization.models.gpt2 import GPTNeoXTokenizer as GPTNeoXTokenizer
    from .tokenization.models.gpt2 import GPTNeoXTokenizerFast as GPTNeoXTokenizerFast
    from .tokenization.models.gpt2 import Qwen2Tokenizer as Qwen2Tokenizer
    from .tokenization.models.gpt2 import Qwen2TokenizerFast as Qwen2TokenizerFast
    from .tokenization.models.llama import CodeLlamaTokenizer as CodeLlamaTokenizer
    from .tokenization.models.llama import CodeLlamaTokenizerFast as CodeLlamaTokenizerFast
    from .tokenization.models.llama import GemmaTokenizer as GemmaTokenizer
    from .tokenization.models.llama import GemmaTokenizerFast as GemmaTokenizerFast
    from .tokenization.models.llama import LlamaTokenizer as LlamaTokenizer
    from .tokenization.models.llama import LlamaTokenizerFast as LlamaTokenizerFast
    from .tokenization.models.marian import M2M100Tokenizer as M2M100Tokenizer
    from .tokenization.models.marian import MarianTokenizer as MarianTokenizer
    from .tokenization.models.marian import Speech2TextTokenizer as Speech2TextTokenizer
    from .tokenization.models.own_pieces import BertGenerationTokenizer as BertGenerationTokenizer
    from .tokenization.models.own_pieces import GPTSw3Tokenizer as GPTSw3Tokenizer
    from .tokenization.models.own_pieces import SpeechT5Tokenizer as SpeechT5Tokenizer
    from .tokenization.models.roberta import BartTokenizer as BartTokenizer
    from .tokenization.models.roberta import BartTokenizerFast as BartTokenizerFast
    from .tokenization.models.roberta import BlenderbotTokenizer as BlenderbotTokenizer
    from .tokenization.models.roberta import BlenderbotTokenizerFast as BlenderbotTokenizerFast
    from .tokenization.models.roberta import DebertaTokenizer as DebertaTokenizer
    from .tokenization.models.roberta import DebertaTokenizerFast as DebertaTokenizerFast
    from .tokenization.models.roberta import LEDTokenizer as LEDTokenizer
    from .tokenization.models.roberta import LEDTokenizerFast as LEDTokenizerFast
    from .tokenization.models.roberta import LongformerTokenizer as LongformerTokenizer
    from .tokenization.models.roberta import LongformerTokenizerFast as LongformerTokenizerFast
    from .tokenization.models.roberta import MvpTokenizer as MvpTokenizer
    from .tokenization.models.roberta import MvpTokenizerFast as MvpTokenizerFast
    from .tokenization.models.roberta import RobertaTokenizer as RobertaTokenizer
    from .tokenization.models.roberta import RobertaTokenizerFast as RobertaTokenizerFast
    from .tokenization.models.t5 import MT5Tokenizer as MT5Tokenizer
    from .tokenization.models.t5 import MT5TokenizerFast as MT5TokenizerFast
    from .tokenization.models.t5 import PegasusTokenizer as PegasusTokenizer
    from .tokenization.models.t5 import PegasusTokenizerFast as PegasusTokenizerFast
    from .tokenization.models.t5 import T5Tokenizer as T5Tokenizer
    from .tokenization.models.t5 import T5TokenizerFast as T5TokenizerFast
    from .tokenization.models.translation import MBart50Tokenizer as MBart50Tokenizer
    from .tokenization.models.translation import MBart50TokenizerFast as MBart50TokenizerFast
    from .tokenization.models.translation import MBartTokenizer as MBartTokenizer
    from .tokenization.models.translation import MBartTokenizerFast as MBartTokenizerFast
    from .tokenization.models.translation import NllbTokenizer as NllbTokenizer
    from .tokenization.models.translation import NllbTokenizerFast as NllbTokenizerFast
    from .tokenization.models.translation import SeamlessM4TTokenizer as SeamlessM4TTokenizer
    from .tokenization.models.translation import SeamlessM4TTokenizerFast as SeamlessM4TTokenizerFast
    from .tokenization.models.wav2vec2 import Wav2Vec2CTCTokenizer as Wav2Vec2CTCTokenizer
    from .tokenization.models.whisper import WhisperTokenizer as WhisperTokenizer
    from .tokenization.models.whisper import WhisperTokenizerFast as WhisperTokenizerFast
    from .tokenization.models.wordpiece import ConvBertTokenizer as ConvBertTokenizer
    from .tokenization.models.wordpiece import ConvBertTokenizerFast as ConvBertTokenizerFast
    from .tokenization.models.wordpiece import DPRContextEncoderTokenizer as DPRContextEncoderTokenizer
    from .tokenization.models.wordpiece import (
        DPRContextEncoderTokenizerFast as DPRContextEncoderTokenizerFast,
    )
    from .tokenization.models.wordpiece import DPRQuestionEncoderTokenizer as DPRQuestionEncoderTokenizer
    from .tokenization.models.wordpiece import (
        DPRQuestionEncoderTokenizerFast as DPRQuestionEncoderTokenizerFast,
    )
    from .tokenization.models.wordpiece import DPRReaderTokenizer as DPRReaderTokenizer
    from .tokenization.models.wordpiece import DPRReaderTokenizerFast as DPRReaderTokenizerFast
    from .tokenization.models.wordpiece import ElectraTokenizer as ElectraTokenizer
    from .tokenization.models.wordpiece import ElectraTokenizerFast as ElectraTokenizerFast
    from .tokenization.models.wordpiece import FunnelTokenizer as FunnelTokenizer
    from .tokenization.models.wordpiece import FunnelTokenizerFast as FunnelTokenizerFast
    from .tokenization.models.wordpiece import LayoutLMTokenizer as LayoutLMTokenizer
    from .tokenization.models.wordpiece import LayoutLMTokenizerFast as LayoutLMTokenizerFast
    from .tokenization.models.wordpiece import LxmertTokenizer as LxmertTokenizer
    from .tokenization.models.wordpiece import LxmertTokenizerFast as LxmertTokenizerFast
    from .tokenization.models.wordpiece import MobileBertTokenizer as MobileBertTokenizer
    from .tokenization.models.wordpiece import MobileBertTokenizerFast as MobileBertTokenizerFast
    from .tokenization.models.wordpiece import MPNetTokenizer as MPNetTokenizer
    from .tokenization.models.wordpiece import MPNetTokenizerFast as MPNetTokenizerFast
    from .tokenization.models.wordpiece import RealmTokenizer as RealmTokenizer
    from .tokenization.models.wordpiece import RealmTokenizerFast as RealmTokenizerFast
    from .tokenization.models.wordpiece import RetriBertTokenizer as RetriBertTokenizer
    from .tokenization.models.wordpiece import RetriBertTokenizerFast as RetriBertTokenizerFast
    from .tokenization.models.wordpiece import SplinterTokenizer as SplinterTokenizer
    from .tokenization.models.wordpiece import SplinterTokenizerFast as SplinterTokenizerFast
    from .tokenization.models.wordpiece import SqueezeBertTokenizer as SqueezeBertTokenizer
    from .tokenization.models.wordpiece import SqueezeBertTokenizerFast as SqueezeBertTokenizerFast
    from .tokenization.models.words import CLIPTokenizer as CLIPTokenizer
    from .tokenization.models.words import CLIPTokenizerFast as CLIPTokenizerFast
    from .tokenization.models.words import HerbertTokenizer as HerbertTokenizer
    from .tokenization.models.words import HerbertTokenizerFast as HerbertTokenizerFast
    from .tokenization.models.words import OpenAIGPTTokenizer as OpenAIGPTTokenizer
    from .tokenization.models.words import OpenAIGPTTokenizerFast as OpenAIGPTTokenizerFast
    from .tokenization.models.xlm_roberta import BarthezTokenizer as BarthezTokenizer
    from .tokenization.models.xlm_roberta import BarthezTokenizerFast as BarthezTokenizerFast
    from .tokenization.models.xlm_roberta import CamembertTokenizer as CamembertTokenizer
    from .tokenization.models.xlm_roberta import CamembertTokenizerFast as CamembertTokenizerFast
    from .tokenization.models.xlm_roberta import XGLMTokenizer as XGLMTokenizer
    from .tokenization.models.xlm_roberta import XGLMTokenizerFast as XGLMTokenizerFast
    from .tokenization.models.xlm_roberta import XLMRobertaTokenizer as XLMRobertaTokenizer
    from .tokenization.models.xlm_roberta import XLMRobertaTokenizerFast as XLMRobertaTokenizerFast

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
    "report": ("EnvReport", "env_report"),
    "tokenization": (
        "AddedToken",
        "BatchEncoding",
        "CharSpan",
        "PreTrainedTokenizer",
        "PreTrainedTokenizerBase",
        "PreTrainedTokenizerFast",
        "TensorType",
        "TokenSpan",
    ),
    **{f"models.{row.module}": row.public_names() for row in ARCHITECTURES.values()},
    **{f"tokenization.{module}": names for module, names in PUBLIC_NAMES.items()},
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
