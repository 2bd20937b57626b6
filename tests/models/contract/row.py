"""What a row of the contract says: one architecture, its classes, and what is particular to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Versions = tuple[str, ...]
#: Versions of transformers, by environment: 4.57.6 and 5.24.0.
BOTH: Versions = ("457", "524")
OLD: Versions = ("457",)
NEW: Versions = ("524",)

#: A config of the usual names; a row adds to it with ``|``.
TINY: dict[str, Any] = {
    "vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 40, "max_position_embeddings": 16, "initializer_range": 0.4,
}  # fmt: skip
#: The optional inputs that most encoders and decoders of text take, and the versions that take them alike.
ENCODER: dict[str, Versions] = {
    "position_ids": BOTH, "inputs_embeds": BOTH, "mask_3d": OLD, "mask_4d": NEW, "head_mask": OLD,
}  # fmt: skip
DECODER: dict[str, Versions] = {"position_ids": BOTH, "inputs_embeds": BOTH, "mask_4d": BOTH}


@dataclass(frozen=True)
class Class:
    """One public class, where its kind alone does not tell enough.

    Attributes:
        kind: what it predicts, see `labels.KINDS`.
        config: added to the row's config.
        takes: added to what the row takes; no versions take one away.
        versions: of transformers that have it.
        exact: as Row.exact.
    """

    kind: str
    config: Mapping[str, Any] = field(default_factory=dict)
    takes: Mapping[str, Versions] = field(default_factory=dict)
    versions: Versions = BOTH
    exact: bool = True


@dataclass(frozen=True)
class Row:
    """One architecture.

    Attributes:
        classes: the name of each public class, and its kind or a Class. The base model and the first class after
            it are tried with every case, the others with one or two.
        config: arguments of the config class; sizes are tiny, dropouts 0.
        modality: what goes in: tokens, pixels or samples; see `inputs`.
        takes: optional inputs, each tried in a case of its own (see `inputs.EXTRAS`), and the versions of
            transformers that take them with the same meaning.
        variants: further configs by name, added to the row's, each compared in one case: what a flag computes.
        versions: of transformers that have the architecture.
        parts: calls of parts of the base model alone, as 4.57.6 has them: expressions of ``model``, ``ids`` ``[B, S]``,
            ``hidden`` ``[B, S, D]``, ``states`` (another ``[B, S, D]``), ``mask`` ``[B, S]``, ``added`` and ``causal``
            (masks of four dimensions, added to scores), ``positions`` ``[1, S]`` and ``heads`` (a head mask ``[H]``);
            where pixels go in also of ``pixels``, images of the config's size, and ``larger`` ones.
        inert: keys of the config that change nothing in any of the classes, and the reason. See `inert` for lists
            that many rows share.
        flips: what to change a key to, where `flips.candidates` finds nothing sensible.
        exact: whether transformers computes all of it, losses and norms too, in float64 where asked for; else it
            is run in float32.
        counts_tokens: whether positions count the tokens that are not padding, as RoBERTa's, and not the columns.
        sees_padding: whether padding changes the results at real tokens, as a norm over time does.
    """

    classes: Mapping[str, str | Class]
    config: Mapping[str, Any]
    modality: str = "tokens"
    takes: Mapping[str, Versions] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    versions: Versions = BOTH
    parts: tuple[str, ...] = ()
    inert: Mapping[str, str] = field(default_factory=dict)
    flips: Mapping[str, Any] = field(default_factory=dict)
    exact: bool = True
    counts_tokens: bool = False
    sees_padding: bool = False
