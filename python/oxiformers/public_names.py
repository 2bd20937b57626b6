"""What `import oxiformers` offers: every public name, and the module it is imported from on first use."""

from __future__ import annotations

from oxiformers.auto.registry import ARCHITECTURES, AUTO_MODELS
from oxiformers.tokenizer_table import PUBLIC_NAMES as TOKENIZERS

#: The public names of each module of the package.
NAMES: dict[str, tuple[str, ...]] = {
    "auto.classes": ("AutoConfig", *AUTO_MODELS),
    "auto.tokenizer": ("AutoTokenizer",),
    "config": ("PreTrainedConfig", "PretrainedConfig"),
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
    **{f"tokenization.{module}": names for module, names in TOKENIZERS.items()},
}

#: Modules by public name; an architecture's row says which classes its module has.
MODULES: dict[str, str] = {name: module for module, names in NAMES.items() for name in names}
for _row in ARCHITECTURES.values():
    MODULES.update(dict.fromkeys(_row.public_names, f"models.{_row.module}"))
