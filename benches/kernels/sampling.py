"""Sampling against what generation does in torch, by sorting and by torch.multinomial, eager and compiled."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from benches.kernels.common import KernelCase, Side
from oxiformers_kernels.sampling import sample

SECONDS = 60.0
DRAWN_TOKENS = 512


def warped(logits: Tensor, temperature: float, top_k: int, top_p: float, min_p: float) -> Tensor:
    """The warpers one by one, as generation in Hugging Face's models applies them: -inf for what is never drawn."""
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
    return scores


def plain(logits: Tensor, temperature: float, top_k: int, top_p: float, min_p: float) -> Tensor:
    return torch.multinomial(warped(logits, temperature, top_k, top_p, min_p).softmax(-1), 1).squeeze(1)


def verify(logits: Tensor, *settings: float) -> None:
    """Draws differ by their random numbers: the mean log probability of what is drawn has to be the expected one.

    Six standard errors are allowed, which chance alone does not reach, and a little for tokens at the edge of top-p.
    """
    # In float64, where sums over a whole vocabulary part the same tokens every time.
    probabilities = warped(logits.double(), *settings).softmax(-1)  # type: ignore[arg-type]
    surprise = (logits.double() / settings[0]).log_softmax(-1)
    expected = (probabilities * surprise).sum(-1)
    variance = (probabilities * (surprise - expected[:, None]).square()).sum(-1)
    draws = max(16, DRAWN_TOKENS // logits.shape[0])
    allowed = 6 * (variance.mean() / (draws * logits.shape[0])).sqrt().item() + 1e-3
    for name, draw in (("oxiformers", ours), ("torch", plain)):
        tokens = torch.stack([draw(logits, *settings) for _ in range(draws)], dim=1)  # type: ignore[arg-type]
        mean = surprise.gather(1, tokens).mean().item()
        if not abs(mean - expected.mean().item()) <= allowed:
            raise AssertionError(
                f"{name} draws tokens of mean log probability {mean:.3f}, expected {expected.mean().item():.3f} "
                f"give or take {allowed:.3f}"
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
        partial(verify, logits, *settings),
    )


def cases() -> Iterator[KernelCase]:
    yield case("top-k 50", 1, 128256, 1.0, 50, 1.0, 0.0)
    yield case("top-k 50", 64, 128256, 1.0, 50, 1.0, 0.0)
    yield case("top-p 0.9", 64, 128256, 0.8, 0, 0.9, 0.0)
    yield case("top-k 50, top-p 0.9, min-p 0.05", 64, 128256, 0.8, 50, 0.9, 0.05)
    yield case("top-k 50", 256, 32000, 1.0, 50, 1.0, 0.0)
