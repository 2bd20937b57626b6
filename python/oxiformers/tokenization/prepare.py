"""Ids that are there already, made into a model's inputs: cut, with special tokens around, padded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oxiformers.errors import ArgumentError
from oxiformers.logging import get_logger
from oxiformers.tokenization.batch import BatchEncoding
from oxiformers.tokenization.options import TensorType, TruncationStrategy, resolve_lengths, resolve_side

logger = get_logger(__name__)


class PreparesIds:
    """`prepare_for_model` and `truncate_sequences`."""

    model_max_length: int
    model_input_names: list[str]
    truncation_side: str
    deprecation_warnings: dict[str, bool]

    if TYPE_CHECKING:  # what the tokenizer itself offers

        def build_inputs_with_special_tokens(
            self, token_ids_0: list[int], token_ids_1: list[int] | None = None
        ) -> list[int]: ...
        def create_token_type_ids_from_sequences(
            self, token_ids_0: list[int], token_ids_1: list[int] | None = None
        ) -> list[int]: ...
        def num_special_tokens_to_add(self, pair: bool = False) -> int: ...
        def _warn_if_too_long(self, rows: Any) -> None: ...

    def prepare_for_model(
        self,
        ids: list[int],
        pair_ids: list[int] | None = None,
        add_special_tokens: bool = True,
        padding: Any = False,
        truncation: Any = None,
        max_length: int | None = None,
        stride: int = 0,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | TensorType | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        prepend_batch_axis: bool = False,
        **kwargs: Any,
    ) -> BatchEncoding:
        """The inputs of a row whose ids are known, or of a pair of them.

        Args:
            ids, pair_ids: the ids, without special tokens.
            return_overflowing_tokens: adds `overflowing_tokens`, the ids cut off, and `num_truncated_tokens`.
            prepend_batch_axis: whether tensors are of a batch of one row.
            add_special_tokens, padding, truncation, max_length, stride, pad_to_multiple_of, padding_side,
                return_tensors, return_token_type_ids, return_attention_mask, return_special_tokens_mask,
                return_length, verbose: as in a call.

        Raises ArgumentError for arguments in contradiction.
        """
        if return_token_type_ids and not add_special_tokens:
            raise ArgumentError(
                "Asking to return token_type_ids while setting add_special_tokens to False results in an undefined "
                "behavior. Please set add_special_tokens to True or set return_token_type_ids to None.",
                key="return_token_type_ids",
            )
        pad, cut, limit = resolve_lengths(
            padding,
            truncation,
            max_length,
            pad_to_multiple_of,
            self.model_max_length,
            verbose,
            self.deprecation_warnings,
        )
        pair = pair_ids is not None
        if return_overflowing_tokens and cut == "longest_first" and pair:
            raise ArgumentError(
                "Not possible to return overflowing tokens for pair of sequences with the `longest_first`. "
                "Please select another truncation strategy than `longest_first`, "
                "for instance `only_second` or `only_first`.",
                key="return_overflowing_tokens",
            )
        names = self.model_input_names
        type_ids = "token_type_ids" in names if return_token_type_ids is None else return_token_type_ids
        mask = "attention_mask" in names if return_attention_mask is None else return_attention_mask
        total = len(ids) + len(pair_ids or ())
        total += self.num_special_tokens_to_add(pair) if add_special_tokens else 0
        overflowing: list[int] = []
        if cut is not None and limit and total > limit:
            ids, pair_ids, overflowing = self.truncate_sequences(ids, pair_ids, total - limit, cut, stride)
        inputs: dict[str, Any] = {}
        if return_overflowing_tokens:
            inputs["overflowing_tokens"] = overflowing
            inputs["num_truncated_tokens"] = total - (limit or 0)
        if add_special_tokens:
            row = self.build_inputs_with_special_tokens(ids, pair_ids)
            kinds = self.create_token_type_ids_from_sequences(ids, pair_ids)
        else:
            row = [*ids, *(pair_ids or ())]
            kinds = [0] * len(row)
        inputs["input_ids"] = row
        if type_ids:
            inputs["token_type_ids"] = kinds
        if return_special_tokens_mask:
            inputs["special_tokens_mask"] = self._special_mask(ids, pair_ids, row, add_special_tokens)
        if limit is None and verbose:
            self._warn_if_too_long([row])
        if pad is not None or mask:
            tokenizer: Any = self
            inputs = dict(
                tokenizer.pad(
                    inputs,
                    padding=pad or False,
                    max_length=limit,
                    pad_to_multiple_of=pad_to_multiple_of,
                    padding_side=padding_side,
                    return_attention_mask=mask,
                    verbose=False,
                )
            )
        if return_length:
            inputs["length"] = len(inputs["input_ids"])
        return BatchEncoding(inputs, tensor_type=return_tensors, prepend_batch_axis=prepend_batch_axis)

    def _special_mask(
        self, ids: list[int], pair_ids: list[int] | None, row: list[int], with_special: bool
    ) -> list[int]:
        """1 where a special token was put, 0 at the ids themselves."""
        if not with_special:
            return [0] * len(row)
        marked = self.build_inputs_with_special_tokens([-1] * len(ids), pair_ids and [-1] * len(pair_ids))
        return [int(index != -1) for index in marked]

    def truncate_sequences(
        self,
        ids: list[int],
        pair_ids: list[int] | None = None,
        num_tokens_to_remove: int = 0,
        truncation_strategy: str | TruncationStrategy = "longest_first",
        stride: int = 0,
    ) -> tuple[list[int], list[int] | None, list[int]]:
        """Cuts ids at the tokenizer's `truncation_side`.

        Args:
            ids, pair_ids: the ids of one sequence, or of two.
            num_tokens_to_remove: how many are too many.
            truncation_strategy: "longest_first", "only_first", "only_second" or "do_not_truncate".
            stride: how many of the ids that stay are repeated in those cut off.

        Returns:
            Both sequences as cut, and what was cut off; nothing of that where both may be cut.
        """
        strategy = TruncationStrategy(truncation_strategy).value
        count = num_tokens_to_remove
        if count <= 0 or strategy == "do_not_truncate":
            return ids, pair_ids, []
        left = resolve_side(self.truncation_side, "truncation_side") == "left"
        if strategy == "longest_first" and pair_ids is not None:
            logger.warning(
                "Be aware, overflowing tokens are not returned for the setting you have chosen, i.e. sequence pairs "
                "with the 'longest_first' truncation strategy. So the returned list will always be empty even if "
                "some tokens have been removed."
            )
            first = min(abs(len(pair_ids) - len(ids)), count)
            half = (count - first) // 2
            rest = count - first - half
            from_first, from_second = (
                (first + half, rest) if len(ids) > len(pair_ids) else (half, first + rest)
            )
            return _cut(ids, from_first, left), _cut(pair_ids, from_second, left), []
        second = strategy == "only_second"
        one = pair_ids if second else ids
        if one is None:
            return ids, pair_ids, []
        if len(one) <= count:
            logger.error(
                "We need to remove %d to truncate the input but the %s sequence has a length %d.",
                count,
                "second" if second else "first",
                len(one),
            )
            return ids, pair_ids, []
        window = min(len(one), stride + count)
        overflowing = one[:window] if left else one[-window:]
        shorter = _cut(one, count, left)
        return (ids, shorter, overflowing) if second else (shorter, pair_ids, overflowing)


def _cut(ids: list[int], count: int, left: bool) -> list[int]:
    return ids[count:] if left else ids[: len(ids) - count]
