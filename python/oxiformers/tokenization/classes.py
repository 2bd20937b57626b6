"""Which class a tokenizer's files ask for by name, and where it lies. Reading the table imports none of them."""

from __future__ import annotations

from importlib import import_module

from .tokenizer import PreTrainedTokenizerFast

#: The classes of each module, without the ending "Fast".
_CLASSES: dict[str, str] = {
    "bert": "BertTokenizer DistilBertTokenizer",
    "models.albert": (
        "AlbertTokenizer BigBirdTokenizer DebertaV2Tokenizer FNetTokenizer ReformerTokenizer RemBertTokenizer "
        "XLNetTokenizer"
    ),
    "models.gpt2": (
        "BloomTokenizer CodeGenTokenizer CohereTokenizer GPT2Tokenizer GPTNeoXTokenizer Qwen2Tokenizer"
    ),
    "models.llama": "CodeLlamaTokenizer GemmaTokenizer LlamaTokenizer",
    "models.roberta": (
        "BartTokenizer BlenderbotTokenizer DebertaTokenizer LEDTokenizer LongformerTokenizer MvpTokenizer "
        "RobertaTokenizer"
    ),
    "models.t5": "MT5Tokenizer PegasusTokenizer T5Tokenizer",
    "models.translation": "MBart50Tokenizer MBartTokenizer NllbTokenizer SeamlessM4TTokenizer",
    "models.wordpiece": (
        "ConvBertTokenizer DPRContextEncoderTokenizer DPRQuestionEncoderTokenizer DPRReaderTokenizer "
        "ElectraTokenizer FunnelTokenizer LayoutLMTokenizer LxmertTokenizer MPNetTokenizer MobileBertTokenizer "
        "RealmTokenizer RetriBertTokenizer SplinterTokenizer SqueezeBertTokenizer"
    ),
    "models.words": "CLIPTokenizer HerbertTokenizer OpenAIGPTTokenizer",
    "models.xlm_roberta": "BarthezTokenizer CamembertTokenizer XGLMTokenizer XLMRobertaTokenizer",
    "tokenizer": "PreTrainedTokenizer",
}

#: Modules by the name of the class.
MODULES: dict[str, str] = {name: module for module, names in _CLASSES.items() for name in names.split()}
#: Names of the class that reads any tokenizer.json.
_ANY = ("PreTrainedTokenizer", "TokenizersBackend")


def tokenizer_class(name: str | None) -> type[PreTrainedTokenizerFast] | None:
    """The class of that name, with or without "Fast" at its end; None for a name that is not known."""
    plain = name.removesuffix("Fast") if name else ""
    if plain in _ANY:
        return PreTrainedTokenizerFast
    module = MODULES.get(plain)
    if module is None:
        return None
    found: type[PreTrainedTokenizerFast] = getattr(
        import_module(f"{__package__}.{module}"), plain
    )
    return found
