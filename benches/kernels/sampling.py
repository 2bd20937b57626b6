"""Sampling against what generation does in torch, by sorting and by torch.multinomial, eager and compiled."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from benches.kernels.common import KernelCase, Side
from oxiformers_kernels.sampling import sample

SECONDS = 60.0


def plain(logits: Tensor, temperature: float, top_k: int, top_p: float, min_p: float) -> Tensor:
    """The warpers one by one, as generation in Hugging Face's models applies them."""
    scores = logits / temperature
    if top_k:
        scores = scores.masked_fill(scores < scores.topk(top_k).values[:, -1:], -torch.inf)
    if top_p < 1.0:
        ascending, order = scores.sort()
        removed = ascending.softmax(-1).cumsum(-1) <= 1 - top_p
        removed[:, -1:] = False
        scores = scores.masked_fill(removed.scatter(1, order, removed), -torch.inf)
    if min_p:
        probabilities = scores.softmax(-1)
        scores = scores.masked_fill(probabilities < min_p * probabilities.amax(-1, keepdim=True), -torch.inf)
    return torch.multinomial(scores.softmax(-1), 1).squeeze(1)


def verify(logits: Tensor, temperature: float, top_k: int, top_p: float, min_p: float) -> None:
    """Draws differ by their random numbers, so that it is their mean probability that has to agree."""
    probabilities = (logits / temperature).softmax(-1)
    means = []
    for draw in (partial(ours, logits), partial(plain, logits)):
        tokens = torch.stack([draw(temperature, top_k, top_p, min_p) for _ in range(64)], dim=1)
        means.append(probabilities.gather(1, tokens).log().mean().item())
    if abs(means[0] - means[1]) > 0.1:
        raise AssertionError(
            f"mean log probabilities of what is drawn: {means[0]:.3f}, torch's {means[1]:.3f}"
        )


def ours(logits: Tensor, temperature: float, top_k: int, top_p: float, min_p: float) -> Tensor:
    return sample(logits, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)


def case(what: str, rows: int, columns: int, *settings: float) -> KernelCase:
    logits = torch.randn(rows, columns, device="cuda") * 4
    sides: dict[str, Side] = {
        "oxiformers": partial(ours, logits, *settings),  # type: ignore[arg-type]
        "torch": partial(plain, logits, *settings),  # type: ignore[arg-type]
        "torch.compile": partial(torch.compile(plain, dynamic=False), logits, *settings),
    }
    return KernelCase(
        f"sampling {what}, {rows} x {columns:,}, float32",
        sides,
        partial(verify, logits, *settings),  # type: ignore[arg-type]
    )


def cases() -> Iterator[KernelCase]:
    yield case("top-k 50", 1, 128256, 1.0, 50, 1.0, 0.0)
    yield case("top-k 50", 64, 128256, 1.0, 50, 1.0, 0.0)
    yield case("top-p 0.9", 64, 128256, 0.8, 0, 0.9, 0.0)
    yield case("top-k 50, top-p 0.9, min-p 0.05", 64, 128256, 0.8, 50, 0.9, 0.05)
    yield case("top-k 50", 256, 32000, 1.0, 50, 1.0, 0.0)
