"""Draws tokens with temperature, top-k, top-p and min-p: checks the arguments and picks the implementation."""

from __future__ import annotations

import torch
from torch import Tensor

from oxiformers_kernels import checks
from oxiformers_kernels.dispatch import Backend, choose
from oxiformers_kernels.sampling import ref

__all__ = ["sample"]

KERNEL_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def sample(
    logits: Tensor,
    *,
    temperature: float | Tensor = 1.0,
    top_k: int | Tensor = 0,
    top_p: float | Tensor = 1.0,
    min_p: float | Tensor = 0.0,
    seed: int | Tensor | None = None,
    generator: torch.Generator | None = None,
    backend: Backend | None = None,
) -> Tensor:
    """One token a row. All but the logits may be one number or a tensor `[B]`, one a row.

    The tokens that may be drawn are those of Hugging Face's warpers, in the order temperature, top-k, top-p, min-p;
    tokens of equal logits at the edge of top-p stay or go together.

    Args:
        logits: `[B, V]`, any strides, float16, bfloat16, float32 or float64; from here on float32.
        temperature: what logits are divided by; 0 takes the largest one (the first of equals).
        top_k: keeps the k largest and what equals the smallest of them; 0 keeps all.
        top_p: keeps the fewest tokens whose probabilities amount to top_p; 1 keeps all (Holtzman et al.,
            arXiv:1904.09751).
        min_p: keeps the tokens with at least this share of the largest probability; 0 keeps all (Nguyen et al.,
            arXiv:2407.01082).
        seed: an int64 number or tensor of one element. The draw is a function of the seed, the row and its logits; the
            next call wants another one. None takes it from `generator`, or from torch's own on the device.
        backend: `auto`, `triton` or `torch`; None follows the environment variable OXIFORMERS_KERNELS.

    Returns:
        int64 `[B]`; on a GPU -1 for a row without a finite logit, as on the CPU.

    Raises:
        TypeError: a dtype that is not listed above.
        ValueError: shapes, devices or numbers that do not fit; an unknown backend.
        BackendError: `triton` was asked for by name and cannot run.
    """
    _check(logits, temperature, top_k, top_p, min_p)
    seed = _seed(seed, generator, logits.device)
    unsupported = None
    if logits.dtype not in KERNEL_DTYPES:
        unsupported = f"the kernel takes float16, bfloat16 and float32, the logits are {logits.dtype}"
    logits = logits.detach()
    if choose("sampling", backend, logits.device, unsupported).backend == "torch":
        return ref.sample(logits, temperature, top_k, top_p, min_p, seed)[0]
    from oxiformers_kernels.sampling import kernel

    return kernel.sample(logits, temperature, top_k, top_p, min_p, seed)[0]


def _check(
    logits: Tensor,
    temperature: float | Tensor,
    top_k: int | Tensor,
    top_p: float | Tensor,
    min_p: float | Tensor,
) -> None:
    if not logits.is_floating_point():
        raise checks.wrong_dtype("sampling", "logits", logits)
    if logits.dim() != 2 or logits.shape[1] == 0:
        raise checks.wrong_shape("sampling", "logits", logits, "[B, V]")
    for name, value, most in (
        ("temperature", temperature, None),
        ("top_k", top_k, None),
        ("top_p", top_p, 1.0),
        ("min_p", min_p, 1.0),
    ):
        if isinstance(value, Tensor):
            if value.shape != logits.shape[:1]:
                raise checks.wrong_shape("sampling", name, value, logits.shape[:1])
            if value.device != logits.device:
                raise checks.wrong_device("sampling", name, value, logits.device)
            if value.is_floating_point() != (name != "top_k") or value.dtype == torch.bool:
                expected = "an integer dtype" if name == "top_k" else "a floating dtype"
                raise checks.wrong_dtype("sampling", name, value, expected)
        elif value < 0 or (most is not None and value > most):
            raise ValueError(f"sampling: {name}={value}, expected 0 {'or more' if most is None else 'to 1'}")


def _seed(seed: int | Tensor | None, generator: torch.Generator | None, device: torch.device) -> Tensor:
    if seed is None:
        return torch.randint(2**63 - 1, (1,), generator=generator, device=device)
    if generator is not None:
        raise ValueError("sampling: both a seed and a generator, expected one of them")
    if not isinstance(seed, Tensor):
        return torch.full((1,), seed, dtype=torch.int64, device=device)
    if seed.numel() != 1 or seed.dtype != torch.int64 or seed.device != device:
        raise ValueError(
            f"sampling: seed of shape {tuple(seed.shape)}, {seed.dtype}, on {seed.device}: expected one int64 element "
            f"on {device}"
        )
    return seed.reshape(1)
