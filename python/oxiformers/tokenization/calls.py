"""From text to model inputs: what calling a tokenizer does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from oxiformers._core import Tokenizer
from oxiformers.errors import ArgumentError, InputTypeError
from oxiformers.logging import get_logger
from oxiformers.tokenization.batch import BatchEncoding, Recipe
from oxiformers.tokenization.inputs import Inputs, gather, split_pairs
from oxiformers.tokenization.options import (
    LARGE_INTEGER,
    CoreOptions,
    PaddingStrategy,
    TensorType,
    TruncationStrategy,
    resolve_lengths,
    resolve_side,
    resolve_size,
    resolve_tensor_type,
)
from oxiformers.tokenization.tensors import ragged_array, unequal_rows

if TYPE_CHECKING:
    import torch

logger = get_logger(__name__)

#: Passed by callers of transformers, and of no effect on a text tokenizer.
_WITHOUT_EFFECT = frozenset({"return_dict", "return_mm_token_type_ids", "use_source_tokenizer"})


class _Call(NamedTuple):
    """One call's options, resolved.

    Attributes:
        core: what the core's `encode_batch*` take.
        columns: which columns are asked for, beside the ids, and whether overflow is returned.
        limited: whether a max_length was given or looked up, so that a long row is no surprise.
    """

    core: CoreOptions
    columns: dict[str, bool]
    tensor_type: TensorType | None
    with_length: bool
    limited: bool
    verbose: bool


class TextCalls:
    """Calling the tokenizer: `tokenizer(text)` and its older names."""

    model_max_length: int
    model_input_names: list[str]
    padding_side: str
    truncation_side: str
    split_special_tokens: bool
    deprecation_warnings: dict[str, bool]
    _core: Tokenizer
    #: Whether texts are targets for now.
    _takes_targets: bool = False

    if TYPE_CHECKING:

        @property
        def pad_token(self) -> str | None: ...
        @property
        def pad_token_id(self) -> int | None: ...
        @property
        def pad_token_type_id(self) -> int: ...

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        text_pair_target: Any = None,
        add_special_tokens: bool = True,
        padding: bool | str | PaddingStrategy = False,
        truncation: bool | str | TruncationStrategy | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | TensorType | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        tokenizer_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> BatchEncoding:
        """Tokenizes a text, or a batch of texts, for a model. Nothing of a call is kept.

        Args:
            text: a str; a list of str is a batch. With `is_split_into_words`, a list of words; a list of such
                lists is a batch. The rows of a batch may also be pairs (text, text).
            text_pair: the second text or texts, for inputs of two sequences.
            text_target, text_pair_target: texts whose ids come back as `labels` (alone: as `input_ids`).
            add_special_tokens: whether the model's special tokens are put around and between.
            padding: True or "longest" pads to the longest row, "max_length" to `max_length` (by default the
                model's limit), False or "do_not_pad" not at all.
            truncation: True or "longest_first" cuts to `max_length` (by default the model's limit),
                "only_first" and "only_second" cut that text of a pair alone, False or "do_not_truncate" none.
            max_length: tokens a row, special ones included. Without `truncation`, it cuts too.
            stride: with `return_overflowing_tokens`, how many tokens a part repeats of the one before.
            is_split_into_words: the texts are lists of words.
            pad_to_multiple_of: the padded length is rounded up to a multiple of this.
            padding_side: "right" or "left"; the tokenizer's own by default.
            return_tensors: "pt" (torch) or "np" (NumPy), int64 `[B, S]`; lists by default.
            return_token_type_ids, return_attention_mask: by default as `model_input_names` says.
            return_overflowing_tokens: what is cut off comes back as further rows, whose texts
                `overflow_to_sample_mapping [B]` names.
            return_special_tokens_mask: adds `special_tokens_mask [B, S]`, 1 at special tokens and padding.
            return_offsets_mapping: adds `offset_mapping [B, S, 2]`: the characters of each token.
            return_length: adds `length [B]`.
            verbose: whether to warn of rows longer than the model takes and of arguments without effect.
            tokenizer_kwargs: further arguments by name; they win.
            **kwargs: `split_special_tokens` (special tokens in the text are text), `max_target_length`.

        Raises:
            InputTypeError (TypeError): something is not text, with its index.
            ArgumentError (ValueError): arguments out of range or in contradiction; padding without a pad
            token;
                tensors of rows that differ in length.
        """
        if tokenizer_kwargs:
            given = {
                key: value
                for key, value in locals().items()
                if key not in ("self", "tokenizer_kwargs", "kwargs")
            }
            return self(**{**given, **kwargs, **tokenizer_kwargs})
        if text is None and text_target is None:
            raise ArgumentError("You need to specify either `text` or `text_target`.", key="text")
        split_special_tokens = self.split_special_tokens
        max_target_length = None
        if kwargs:
            split_special_tokens = kwargs.pop("split_special_tokens", split_special_tokens)
            max_target_length = kwargs.pop("max_target_length", None)
            self._report_unknown(kwargs)
        call = self._resolve(
            padding,
            truncation,
            max_length,
            stride,
            add_special_tokens,
            is_split_into_words,
            split_special_tokens,
            pad_to_multiple_of,
            padding_side,
            return_tensors,
            return_token_type_ids,
            return_attention_mask,
            return_overflowing_tokens,
            return_special_tokens_mask,
            return_offsets_mapping,
            return_length,
            verbose,
        )
        if text_target is None:
            return self._encode(gather(text, text_pair, is_split_into_words), call, self._input_core())
        target_call = call
        if max_target_length is not None:
            target_call = call._replace(core={**call.core, "max_length": max_target_length}, limited=True)
        targets = self._encode(
            gather(text_target, text_pair_target, is_split_into_words), target_call, self._target_core()
        )
        if text is None:
            return targets
        result = self._encode(gather(text, text_pair, is_split_into_words), call, self._input_core())
        result["labels"] = targets["input_ids"]
        return result

    def encode(
        self,
        text: Any,
        text_pair: Any = None,
        add_special_tokens: bool = True,
        padding: bool | str | PaddingStrategy = False,
        truncation: bool | str | TruncationStrategy | None = None,
        max_length: int | None = None,
        stride: int = 0,
        padding_side: str | None = None,
        return_tensors: str | TensorType | None = None,
        **kwargs: Any,
    ) -> list[int] | torch.Tensor | Any:
        """The `input_ids` of a call with the same arguments."""
        _require_text(text, "encode")
        return self(
            text,
            text_pair,
            add_special_tokens=add_special_tokens,
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            stride=stride,
            padding_side=padding_side,
            return_tensors=return_tensors,
            **{"pad_to_multiple_of": None, **kwargs},
        ).data["input_ids"]

    def encode_plus(self, text: Any, text_pair: Any = None, **kwargs: Any) -> BatchEncoding:
        """transformers 4's name of a call with one text."""
        _require_text(text, "encode_plus")
        return self(text, text_pair, **_unpadded(kwargs))

    def batch_encode_plus(self, batch_text_or_text_pairs: Any, **kwargs: Any) -> BatchEncoding:
        """transformers 4's name of a call with a batch, whose rows may be pairs."""
        _require_text(batch_text_or_text_pairs, "batch_encode_plus")
        return self(batch_text_or_text_pairs, **_unpadded(kwargs))

    def tokenize(
        self, text: Any, pair: Any = None, add_special_tokens: bool = False, **kwargs: Any
    ) -> list[str]:
        """The tokens of a text (or pair) as strings; without special tokens by default."""
        _require_text(text, "tokenize")
        return self(text, pair, add_special_tokens=add_special_tokens, **_unpadded(kwargs)).tokens()

    # --- the steps of a call

    def _resolve(
        self,
        padding: bool | str | PaddingStrategy,
        truncation: bool | str | TruncationStrategy | None,
        max_length: int | None,
        stride: int,
        add_special_tokens: bool,
        is_split_into_words: bool,
        split_special_tokens: bool,
        pad_to_multiple_of: int | None,
        padding_side: str | None,
        return_tensors: str | TensorType | None,
        return_token_type_ids: bool | None,
        return_attention_mask: bool | None,
        return_overflowing_tokens: bool,
        return_special_tokens_mask: bool,
        return_offsets_mapping: bool,
        return_length: bool,
        verbose: bool,
    ) -> _Call:
        pad, cut, max_length = resolve_lengths(
            padding,
            truncation,
            max_length,
            pad_to_multiple_of,
            self.model_max_length,
            verbose,
            self.deprecation_warnings,
        )
        core: CoreOptions = {}  # only what differs from the core's defaults: each keyword costs time
        if not add_special_tokens:
            core["add_special_tokens"] = False
        if is_split_into_words:
            core["is_pretokenized"] = True
        if split_special_tokens:
            core["split_special_tokens"] = True
        if cut is not None:
            core["truncation"] = cut
            core["truncation_side"] = resolve_side(self.truncation_side, "truncation_side")
            core["stride"] = resolve_size(stride, "stride")
        if pad is not None:
            pad_id, pad_token = self._require_pad_token()
            core["padding"] = pad
            core["pad_id"] = pad_id
            core["pad_token"] = pad_token
            core["pad_type_id"] = self.pad_token_type_id
            core["padding_side"] = resolve_side(padding_side or self.padding_side, "padding_side")
            if pad_to_multiple_of is not None:
                core["pad_to_multiple_of"] = pad_to_multiple_of
        if max_length is not None and (cut is not None or pad == "max_length"):
            core["max_length"] = max_length
        names = self.model_input_names
        type_ids = "token_type_ids" in names if return_token_type_ids is None else bool(return_token_type_ids)
        mask = "attention_mask" in names if return_attention_mask is None else bool(return_attention_mask)
        columns: dict[str, bool] = {}
        if not type_ids:
            columns["type_ids"] = False
        if not mask:
            columns["attention_mask"] = False
        if return_special_tokens_mask:
            columns["special_tokens_mask"] = True
        if return_offsets_mapping:
            columns["offsets"] = True
        if return_overflowing_tokens:
            columns["return_overflowing"] = True
        tensor_type = resolve_tensor_type(return_tensors)
        return _Call(core, columns, tensor_type, return_length, max_length is not None, verbose)

    def _require_pad_token(self) -> tuple[int, str]:
        pad_token = self.pad_token
        pad_id = self.pad_token_id if pad_token is not None else None
        if pad_token is None or pad_id is None:
            raise ArgumentError(
                "Asking to pad but the tokenizer does not have a padding token. "
                "Please select a token to use as `pad_token` `(tokenizer.pad_token = tokenizer.eos_token "
                "e.g.)` or add a new pad token via `tokenizer.add_special_tokens({'pad_token': '[PAD]'})`.",
                key="pad_token",
            )
        return pad_id, pad_token

    @contextmanager
    def as_target_tokenizer(self) -> Iterator[None]:
        """Inside it, texts are targets: transformers' older way of `text_target=`, which other threads see too."""
        self._takes_targets = True
        try:
            yield
        finally:
            self._takes_targets = False

    @property
    def core_alone(self) -> bool:
        """Whether `backend_tokenizer` makes of a text what a call makes of it; some classes change the text first."""
        cls = type(self)
        return cls.__call__ is TextCalls.__call__ and cls._encode is TextCalls._encode

    def _input_core(self) -> Tokenizer:
        """The core for texts: that of targets inside `as_target_tokenizer`."""
        return self._target_core() if self._takes_targets else self._core

    def _target_core(self) -> Tokenizer:
        """The core for targets; a class whose targets are made otherwise has its own."""
        return self._core

    def _check_words(self, is_split_into_words: bool) -> None:
        """Refuses words where a class cannot take them."""

    def _encode(self, inputs: Inputs, call: _Call, core: Tokenizer) -> BatchEncoding:
        self._check_words("is_pretokenized" in call.core)
        try:
            data = _columns(core, inputs, call)
        except InputTypeError:
            # a batch that starts with a plain text may still hold pairs further on
            if not inputs.batched or inputs.pairs is not None or "is_pretokenized" in call.core:
                raise
            inputs = split_pairs(inputs.texts, False)
            if inputs.pairs is None:
                raise
            data = _columns(core, inputs, call)
        ids = data["input_ids"]
        overflowing = "return_overflowing" in call.columns
        if call.with_length:
            mapping = data.pop("overflow_to_sample_mapping", None)
            data["length"] = [len(row) for row in ids]
            if mapping is not None:
                data["overflow_to_sample_mapping"] = mapping
        if not call.limited and call.verbose and self.model_max_length < LARGE_INTEGER:
            self._warn_if_too_long(ids)
        pairs = inputs.pairs
        recipe = Recipe(core, inputs.texts, pairs, call.core, overflowing)
        n_sequences = 2 if pairs and pairs[0] is not None else 1
        if call.tensor_type is None:
            if not inputs.batched and not overflowing:
                data = {key: value[0] if key != "length" else value for key, value in data.items()}
            return BatchEncoding.from_recipe(data, recipe, n_sequences)
        batch = BatchEncoding.from_recipe(data, recipe, n_sequences)
        return batch.convert_to_tensors(call.tensor_type)

    def _warn_if_too_long(self, rows: Any) -> None:
        """Warns once a tokenizer that a row is longer than the model takes."""
        limit = self.model_max_length
        if limit == 0 or len(rows) == 0 or self.deprecation_warnings.get("sequence-length-is-longer", False):
            return
        longest = rows.shape[1] if hasattr(rows, "shape") and rows.ndim == 2 else max(map(len, rows))
        if longest <= limit:
            return
        first = next(len(row) for row in rows if len(row) > limit)
        self.deprecation_warnings["sequence-length-is-longer"] = True
        logger.warning(
            "Token indices sequence length is longer than the specified maximum sequence length for this "
            "model (%d > %d). Running this sequence through the model will result in indexing errors",
            first,
            limit,
        )

    def _report_unknown(self, kwargs: dict[str, Any]) -> None:
        unknown = sorted(set(kwargs) - _WITHOUT_EFFECT)
        if unknown and not self.deprecation_warnings.get(f"unknown:{unknown}", False):
            self.deprecation_warnings[f"unknown:{unknown}"] = True
            logger.warning("Keyword arguments %s are not recognized by %s.", unknown, type(self).__name__)


def _unpadded(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments without what a class whose calls pad by default adds."""
    return {"padding": False, "pad_to_multiple_of": None, **kwargs}


def _require_text(text: Any, method: str) -> None:
    if text is None:
        raise InputTypeError.mismatch("text", f"text for {method}", "None")


def _columns(core: Tokenizer, inputs: Inputs, call: _Call) -> dict[str, Any]:
    """The columns as the core makes them: arrays where tensors are asked for, else lists."""
    if call.tensor_type is None:
        lists: dict[str, Any] = core.encode_batch_lists(
            inputs.texts, inputs.pairs, **call.core, **call.columns
        )
        return lists
    try:
        arrays: dict[str, Any] = core.encode_batch_arrays(
            inputs.texts, inputs.pairs, **call.core, **call.columns
        )
        return arrays
    except ArgumentError as error:
        if error.key != "padding":
            raise
        if call.tensor_type is not TensorType.NUMPY:
            raise unequal_rows("input_ids") from error
    # NumPy holds rows of unequal length as an array of arrays
    import numpy as np

    found = core.encode_batch_lists(inputs.texts, inputs.pairs, **call.core, **call.columns)
    return {
        key: ragged_array([np.asarray(row) for row in value])
        if value and isinstance(value[0], list)
        else value
        for key, value in found.items()
    }
