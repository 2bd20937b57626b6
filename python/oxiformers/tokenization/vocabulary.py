"""The vocabulary of a tokenizer: tokens to ids and back, ids to text, and adding tokens."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from typing import Any, overload

from oxiformers._core import AddedToken, Decoder, Tokenizer
from oxiformers.tokenization.special_tokens import SpecialTokens, as_added_token, text_of
from oxiformers.tokenization.tensors import as_ids

#: Two threads that add tokens to one tokenizer must not lose one another's.
_mutation = threading.Lock()


def _renew_lock() -> None:
    global _mutation
    _mutation = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)

_SPACE_CLEAN_UP = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


class Vocabulary(SpecialTokens):
    """Tokens, ids and text of a tokenizer whose compiled core is `_core`."""

    _core: Tokenizer
    clean_up_tokenization_spaces: bool

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The compiled tokenizer, immutable: `normalizer.normalize_str(text)`, `pre_tokenizer.pre_tokenize_str`."""
        return self._core

    @property
    def _tokenizer(self) -> Tokenizer:
        return self._core

    @property
    def decoder(self) -> Decoder | None:
        """What makes text of tokens: `tokenizer.decoder.decode(tokens)`; None where tokens are joined by spaces."""
        return self._core.decoder

    @property
    def is_fast(self) -> bool:
        """Always true: there is one implementation."""
        return True

    @property
    def can_save_slow_tokenizer(self) -> bool:
        """Whether the vocabulary can be saved in a file of its own."""
        return self._core.model_type == "WordPiece"

    @property
    def vocab_size(self) -> int:
        """The size of the vocabulary without the added tokens; `len(tokenizer)` counts them."""
        return self._core.vocab_size(False)

    def __len__(self) -> int:
        return self._core.vocab_size(True)

    def __bool__(self) -> bool:
        return True

    def get_vocab(self) -> dict[str, int]:
        """Ids by token, added tokens included."""
        return self._core.vocab(True)

    @property
    def vocab(self) -> dict[str, int]:
        """Ids by token, added tokens included."""
        return self._core.vocab(True)

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The added tokens by id."""
        return dict(self._core.added_tokens)

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """The ids of the added tokens, by their text, in the order of the ids."""
        return {token.content: index for index, token in self._core.added_tokens}

    def get_added_vocab(self) -> dict[str, int]:
        """The ids of the added tokens, by their text, in the order of the ids."""
        return self.added_tokens_encoder

    def add_tokens(
        self, new_tokens: str | AddedToken | Sequence[str | AddedToken], special_tokens: bool = False
    ) -> int:
        """Adds tokens that are found in the text before the model sees it; new ones get the next ids.

        The model's embeddings have to grow with it: `model.resize_token_embeddings(len(tokenizer))`.

        Args:
            new_tokens: one token or several.
            special_tokens: whether they are special: left out by `skip_special_tokens`, and not normalized.

        Returns:
            How many were added or changed: those that were added tokens of the same flags before do not count.
        """
        if not new_tokens:
            return 0
        tokens = list(new_tokens) if isinstance(new_tokens, (list, tuple)) else [new_tokens]
        return self._add([as_added_token(token, special=special_tokens) for token in tokens])

    def _add(self, tokens: Iterable[AddedToken]) -> int:
        tokens = list(tokens)
        if not tokens:
            return 0
        with _mutation:
            known = {token for _, token in self._core.added_tokens}
            self._core = self._core.with_added_tokens(tokens)
        return len({token for token in tokens if token.content} - known)

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> Any:
        """The id of a token, or of each of several; unk_token's for what is not in the vocabulary."""
        if isinstance(tokens, str):
            return self._id_of(tokens)
        return [self._id_of(token) for token in tokens]

    def _id_of(self, token: str) -> int | None:
        index = self._core.token_to_id(token)
        if index is not None:
            return index
        unknown = self._special_tokens_map.get("unk_token")
        return None if unknown is None else self._core.token_to_id(text_of(unknown))

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str | None: ...
    @overload
    def convert_ids_to_tokens(
        self, ids: Iterable[int], skip_special_tokens: bool = False
    ) -> list[str | None]: ...
    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or of each of several; None for an id that is not in the vocabulary."""
        core = self._core
        if isinstance(ids, int):
            return core.id_to_token(ids)
        skipped = set(self.all_special_ids) if skip_special_tokens else ()
        return [core.id_to_token(index) for index in map(int, ids) if index not in skipped]

    # --- ids to text

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """The text of a sequence of ids (of any type, arrays and tensors too), or the texts of several.

        Args:
            token_ids: ids, or rows of ids.
            skip_special_tokens: whether special tokens are left out.
            clean_up_tokenization_spaces: whether spaces before punctuation and contractions are taken out; by
                default as the attribute of that name says.
        """
        ids = as_ids(token_ids)
        clean = (
            self.clean_up_tokenization_spaces
            if clean_up_tokenization_spaces is None
            else clean_up_tokenization_spaces
        )
        if ids and isinstance(ids[0], list):
            texts = self._decode_rows(ids, skip_special_tokens, **kwargs)
            return [self.clean_up_tokenization(text) for text in texts] if clean else texts
        text = self._decode_ids(ids, skip_special_tokens, **kwargs)
        return self.clean_up_tokenization(text) if clean else text

    def _decode_ids(self, ids: list[int], skip_special_tokens: bool, **kwargs: Any) -> str:
        """The text of ids, before `clean_up_tokenization`; a class that decodes otherwise has its own."""
        return self._core.decode(ids, skip_special_tokens)

    def _decode_rows(self, rows: list[list[int]], skip_special_tokens: bool, **kwargs: Any) -> list[str]:
        if type(self)._decode_ids is Vocabulary._decode_ids:
            return self._core.decode_batch(rows, skip_special_tokens)
        return [self._decode_ids(ids, skip_special_tokens, **kwargs) for ids in rows]

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """The texts of rows of ids. See `decode`."""
        ids = as_ids(sequences)
        if ids == []:
            return []
        texts = self.decode(ids, skip_special_tokens, clean_up_tokenization_spaces, **kwargs)
        return [texts] if isinstance(texts, str) else list(texts)

    @staticmethod
    def clean_up_tokenization(out_string: str) -> str:
        """Takes the spaces before punctuation and English contractions out."""
        for spaced, joined in _SPACE_CLEAN_UP:
            out_string = out_string.replace(spaced, joined)
        return out_string

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text of tokens: what decoding their ids would give."""
        return self._core.decode_tokens(list(tokens))
