"""The environment variables the package reads; every other module asks here."""

from __future__ import annotations

import os
import sys
from functools import cache

from oxiformers.errors import ArgumentError

#: Every variable that is read at run time, those of the kernels, of the Rust core and of OpenMP too.
VARIABLES = (
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HF_ENDPOINT",
    "OXIFORMERS_VERBOSITY",
    "TRANSFORMERS_VERBOSITY",
    "OXIFORMERS_NUM_THREADS",
    "TOKENIZERS_PARALLELISM",
    "OXIFORMERS_LINEAR",
    "OXIFORMERS_TOKEN_BUDGET",
    "OXIFORMERS_KERNELS",
    "TRITON_INTERPRET",
    "GOMP_SPINCOUNT",
    "OMP_WAIT_POLICY",
)

TRUE_WORDS = frozenset({"1", "on", "true", "yes"})


def flag(name: str, default: bool = False) -> bool:
    """Whether the variable is 1, on, true or yes, in upper or lower case; `default` if it is unset or empty."""
    value = os.environ.get(name, "")
    return value.strip().lower() in TRUE_WORDS if value.strip() else default


def variables() -> dict[str, str]:
    """The VARIABLES that are set, and their values."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


@cache
def limit_spinning() -> str:
    """Keeps OpenMP's threads from spinning long while they wait, and says which setting is in force and whose it is.

    On cores that are shared, a thread that spins keeps another one from its work. torch's libgomp reads the
    environment when torch is imported: GOMP_SPINCOUNT is set before that, where the environment does not say how
    threads wait. The first call decides, the others repeat what it said.
    """
    count, policy = os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY")
    if count is not None:
        return f"GOMP_SPINCOUNT={count}, from the environment"
    if policy is not None:
        return f"GOMP_SPINCOUNT is not set: OMP_WAIT_POLICY={policy}, from the environment, says how threads wait"
    if "torch" in sys.modules:
        return (
            "GOMP_SPINCOUNT is not set: torch was imported before oxiformers, so OpenMP has read its settings"
        )
    os.environ["GOMP_SPINCOUNT"] = "1000"
    return "GOMP_SPINCOUNT=1000, set by oxiformers"


def offline() -> bool:
    """Whether the Hub must not be called: HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE.

    Read at each call, so that a variable set after huggingface_hub was imported counts too.
    """
    return flag("HF_HUB_OFFLINE") or flag("TRANSFORMERS_OFFLINE")


def verbosity() -> str | None:
    """The name of the log level: OXIFORMERS_VERBOSITY, else TRANSFORMERS_VERBOSITY, else None."""
    for name in ("OXIFORMERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"):
        value = os.environ.get(name, "").strip().lower()
        if value:
            return value
    return None


def token_budget() -> int | None:
    """The largest number of tokens in a pipeline's batch: OXIFORMERS_TOKEN_BUDGET; None if unset or empty.

    Raises ArgumentError for anything but an integer of at least 1.
    """
    value = os.environ.get("OXIFORMERS_TOKEN_BUDGET", "").strip()
    if not value:
        return None
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise ArgumentError.mismatch("OXIFORMERS_TOKEN_BUDGET", "an integer of at least 1", repr(value))
    return int(value)


def linear_library() -> str:
    """What computes linear layers on the CPU when no gradient is recorded: OXIFORMERS_LINEAR, auto, onednn or torch.

    Raises ArgumentError for anything else.
    """
    value = os.environ.get("OXIFORMERS_LINEAR", "").strip().lower() or "auto"
    if value not in ("auto", "onednn", "torch"):
        raise ArgumentError.mismatch("OXIFORMERS_LINEAR", "auto, onednn or torch", repr(value))
    return value
