"""Every kind of scoring attention knows, for tests that compare its paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from oxiformers.layers.scoring import LEARNED, Scoring
from oxiformers_kernels.attention import disentangled_index

#: The kinds with products of queries and keys with positions, which keys that a cache keeps do not have.
DISENTANGLED = ("content to position", "position to content", "disentangled", "disentangled everything")

#: The kinds that every path takes.
CACHEABLE = (
    "plain", "causal", "scale", "window", "causal window", "right window", "softcap", "alibi", "causal alibi",
    "distance bias", "bias", "bias of a row", "bias of all heads", "everything",
)  # fmt: skip

#: All kinds, by name; each is made by `scoring_of`.
KINDS = (*CACHEABLE, *DISENTANGLED)


def scoring_of(
    kind: str,
    heads: int,
    rows: int,
    query_length: int,
    key_length: int,
    *,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
) -> tuple[Scoring, list[Tensor]]:
    """A scoring of that kind for sequences of at most these lengths, and its tensors that have a gradient.

    Products with positions are those of a padded batch, ``[rows, length, heads, P]``; see `packed_rows`.
    """
    generator = torch.Generator().manual_seed(7)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device, dtype).requires_grad_()

    slopes = torch.linspace(0.5, 0.05, heads, device=device)
    table, dense = draw(heads, 7), draw(rows, heads, query_length, key_length)
    narrow, shared = draw(1, heads, query_length, key_length), draw(rows, 1, query_length, key_length)
    # Distances up to 5 share 6 positions, and the index falls as the distance grows.
    index = disentangled_index(3, 2, 5).to(device)
    products = {
        "content_to_position": draw(rows, query_length, heads, 6),
        "position_to_content": draw(rows, key_length, heads, 6),
    }
    everything = Scoring(
        causal=True,
        scale=0.6,
        window=(3, -1),
        softcap=2.0,
        alibi_slopes=slopes,
        distance_bias=table,
        bias=dense,
    )
    scorings = {
        "plain": Scoring(),
        "causal": Scoring(causal=True),
        "scale": Scoring(scale=0.7),
        "window": Scoring(window=(2, 1)),
        "causal window": Scoring(causal=True, window=(2, -1)),
        "right window": Scoring(window=(-1, 1)),
        "softcap": Scoring(softcap=1.5),
        "alibi": Scoring(alibi_slopes=slopes),
        "causal alibi": Scoring(causal=True, alibi_slopes=slopes),
        "distance bias": Scoring(distance_bias=table),
        "bias": Scoring(bias=dense),
        "bias of a row": Scoring(bias=narrow),
        "bias of all heads": Scoring(bias=shared),
        "everything": everything,
        "content to position": Scoring(
            content_to_position=products["content_to_position"], position_index=index
        ),
        "position to content": Scoring(
            position_to_content=products["position_to_content"], position_index=index
        ),
        "disentangled": Scoring(**products, position_index=index, window=(3, 2), bias=narrow),
        "disentangled everything": everything._replace(**products, position_index=index),
    }
    scoring = scorings[kind]
    return scoring, [getattr(scoring, name) for name in learned(scoring)]


def learned(scoring: Scoring) -> list[str]:
    """The names of the terms it has that have a gradient."""
    return [name for name in LEARNED if getattr(scoring, name) is not None]


def products_by(
    scoring: Scoring, queries: Callable[[Tensor], Tensor], keys: Callable[[Tensor], Tensor]
) -> Scoring:
    """A scoring whose products with positions are what the functions give of its own."""
    content, position = scoring.content_to_position, scoring.position_to_content
    return scoring._replace(
        content_to_position=None if content is None else queries(content),
        position_to_content=None if position is None else keys(position),
    )


def packed_rows(scoring: Scoring, query_lengths: Sequence[int], key_lengths: Sequence[int]) -> Scoring:
    """A scoring of `scoring_of` for sequences of these lengths, packed."""

    def pack(lengths: Sequence[int]) -> Callable[[Tensor], Tensor]:
        return lambda padded: torch.cat([row[:length] for row, length in zip(padded, lengths, strict=True)])

    return products_by(scoring, pack(query_lengths), pack(key_lengths))
