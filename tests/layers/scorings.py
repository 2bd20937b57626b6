"""Every kind of scoring attention knows, for tests that compare its paths."""

from __future__ import annotations

import torch
from torch import Tensor

from oxiformers.layers.scoring import Scoring

#: The kinds, by name; each is made by `scoring_of`.
KINDS = (
    "plain", "causal", "scale", "window", "causal window", "right window", "softcap", "alibi", "causal alibi",
    "distance bias", "bias", "bias of a row", "bias of all heads", "everything",
)  # fmt: skip


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
    """A scoring of that kind for sequences of at most these lengths, and its tensors that have a gradient."""
    generator = torch.Generator().manual_seed(7)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device, dtype).requires_grad_()

    slopes = torch.linspace(0.5, 0.05, heads, device=device)
    table, dense = draw(heads, 7), draw(rows, heads, query_length, key_length)
    narrow, shared = draw(1, heads, query_length, key_length), draw(rows, 1, query_length, key_length)
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
        "everything": Scoring(
            causal=True,
            scale=0.6,
            window=(3, -1),
            softcap=2.0,
            alibi_slopes=slopes,
            distance_bias=table,
            bias=dense,
        ),
    }
    scoring = scorings[kind]
    return scoring, [tensor for tensor in (scoring.distance_bias, scoring.bias) if tensor is not None]
