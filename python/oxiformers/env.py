"""The environment variables the package reads; every other module asks here."""

from __future__ import annotations

import os

from .errors import ArgumentError

#: Every variable that is read at run time, those of the kernels and of the Rust core too.
VARIABLES = (
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "OXIFORMERS_VERBOSITY",
    "TRANSFORMERS_VERBOSITY",
    "OXIFORMERS_NUM_THREADS",
    "TOKENIZERS_PARALLELISM",
    "OXIFORMERS_LINEAR",
    "OXIFORMERS_TOKEN_BUDGET",
    "OXIFORMERS_KERNELS",
    "TRITON_INTERPRET",
)

TRUE_WORDS = frozenset({"1", "on", "true", "yes"})


def flag(name: str, default: bool = False) -> bool:
    """Whether the variable says 1, on, true or yes (in any case); `default` where unset or empty."""
    value = os.environ.get(name, "")
    return value.strip().lower() in TRUE_WORDS if value.strip() else default


def variables() -> dict[str, str]:
    """Those of VARIABLES that are set, and their values."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def offline() -> bool:
    """Whether the Hub must not be called: HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE.

    Read at each call, so that a variable set after huggingface_hub was imported counts too.
    """
    return flag("HF_HUB_OFFLINE") or flag("TRANSFORMERS_OFFLINE")


def verbosity() -> str | None:
    """The wanted log level by name: OXIFORMERS_VERBOSITY, else TRANSFORMERS_VERBOSITY, else None."""
    for name in ("OXIFORMERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"):
        value = os.environ.get(name, "").strip().lower()
        if value:
            return value
    return None


def token_budget() -> int | None:
    """How many tokens a pipeline's batch may hold: OXIFORMERS_TOKEN_BUDGET; None where it is unset or empty.

    Raises ArgumentError for anything but an integer of at least 1.
    """
    value = os.environ.get("OXIFORMERS_TOKEN_BUDGET", "").strip()
    if not value:
        return None
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise ArgumentError(
            f"OXIFORMERS_TOKEN_BUDGET: expected an integer of at least 1, got {value!r}",
            key="OXIFORMERS_TOKEN_BUDGET",
            expected="an integer of at least 1",
            actual=repr(value),
        )
    return int(value)


def linear_library() -> str:
    """What computes linear layers on CPU without a gradient, OXIFORMERS_LINEAR: auto, onednn or torch.

    Raises ArgumentError for anything else.
    """
    value = os.environ.get("OXIFORMERS_LINEAR", "").strip().lower() or "auto"
    if value not in ("auto", "onednn", "torch"):
        raise ArgumentError(
            f"OXIFORMERS_LINEAR: expected auto, onednn or torch, got {value!r}",
            key="OXIFORMERS_LINEAR",
            expected="auto, onednn or torch",
            actual=repr(value),
        )
    return value
