"""Where the layers meet oxiformers_kernels: which of them runs a fused kernel, and how it is called.

Each op decides for itself, from the device, the arguments and OXIFORMERS_KERNELS (oxiformers_kernels.dispatch). On a
plain CPU no kernel can run, and no time goes into asking.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from oxiformers.errors import UnsupportedError
from oxiformers.layers.scoring import Scoring
from oxiformers_kernels import dispatch

if TYPE_CHECKING:  # a layout packs by a kernel
    from oxiformers.layers.layout import Layout

Backend = Literal["triton", "torch"]

#: The values of Config.attn_implementation that name a backend; the others leave the choice to the dispatch.
_BACKENDS: dict[str | None, Backend] = {"triton": "triton", "torch": "torch"}


def may_fuse(tensor: Tensor) -> bool:
    """Whether a kernel may run where the tensor lies: on a GPU, or on the CPU under Triton's interpreter."""
    return tensor.is_cuda or _INTERPRETING


# Read when the kernels are defined, so it cannot change any more.
_INTERPRETING = dispatch.interpreting()


def attention_backend(implementation: str | None, device: torch.device) -> Backend | None:
    """What attention over a batch on `device` runs on; None where each call's arguments decide.

    Args:
        implementation: Config.attn_implementation.

    Raises:
        UnsupportedError: "triton" cannot run on `device`.
    """
    if implementation == "eager":
        return "torch"
    backend = _BACKENDS.get(implementation)
    return backend if _runs("attention", backend, device) else "torch"


def attention_runs(query: Tensor, value: Tensor, layout: Layout, scoring: Scoring) -> bool:
    """Whether the kernel runs this attention; see attention.attend.

    Raises:
        UnsupportedError: the layout asks for "triton", and it cannot run.
    """
    if layout.form == "rectangular":
        unsupported = "an explicit mask or attention weights keep the batch rectangular"
        return _runs("attention", layout.backend, query.device, unsupported)
    if not may_fuse(query):
        return _runs("attention", layout.backend, query.device)
    from oxiformers_kernels.attention import attention_choice

    plain = layout.form == "uniform" and scoring.is_plain()
    return _is_triton(
        lambda: attention_choice(query, value, scale=scoring.scale, plain=plain, backend=layout.backend)
    )


def attention(query: Tensor, key: Tensor, value: Tensor, layout: Layout, scoring: Scoring) -> Tensor:
    """attention.attend of a packed or uniform batch by the kernel; ``[..., H, D]``."""
    from oxiformers_kernels.attention import attention as attention_op

    query_ends = key_ends = None
    q, k, v = query, key, value
    if layout.query is not None and layout.key is not None:
        query_ends, key_ends = layout.query.cu_seqlens, layout.key.cu_seqlens
        q, k, v = (side.flatten(0, 1) if side.dim() == 4 else side for side in (q, k, v))
        scoring = scoring.flat()
    # The kernel's own generator is seeded from torch's, on the device: nothing waits for the number.
    seed = torch.randint(2**62, (1,), device=q.device) if scoring.dropout > 0.0 else None
    output = attention_op(q, k, v, query_ends, key_ends, **scoring._asdict(), seed=seed, backend="triton")
    assert isinstance(output, Tensor)
    return output.view(*query.shape[:-1], value.shape[-1])


#: The terms that the kernel for a few new tokens a row takes.
DECODED = frozenset({"causal", "scale", "window", "softcap", "alibi_slopes", "distance_bias"})


def undecoded(scoring: Scoring) -> str | None:
    """What the kernel for a few new tokens does not take of a scoring, in words; or None."""
    left = [name for name in scoring.present() if name not in DECODED]
    return f"the kernel takes no {' and no '.join(left)}" if left else None


def decoding_runs(query: Tensor, values: Tensor, layout: Layout, obstacle: str | None) -> bool:
    """Whether the kernel for a few new tokens a row runs; see CacheStep.attend.

    Args:
        query: ``[..., H, D]``.
        values: of the cache, ``[slots, Hkv, capacity, D]``.
        obstacle: what the call has that the kernel does not take; or None.

    Raises:
        UnsupportedError: the layout asks for "triton", and it cannot run.
    """
    if obstacle is not None or not may_fuse(query):
        return _runs("decode_attention", layout.backend, query.device, obstacle)
    from oxiformers_kernels.decode import decode_choice

    return _is_triton(lambda: decode_choice(query, values, backend=layout.backend))


def decode(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    lengths: Tensor,
    slots: Tensor,
    scoring: Scoring,
) -> Tensor:
    """Attention of equally many tokens a row ``[..., H, D]`` to the slots of a cache, by the kernel.

    Args:
        keys, values: ``[slots, Hkv, capacity, D]``.
        lengths: how many keys each row has, its new ones too; int64 ``[B]`` on the device.
        slots: of each row, alike.
    """
    from oxiformers_kernels.decode import decode_attention

    q = query.unflatten(0, (lengths.shape[0], -1)) if query.dim() == 3 else query
    taken = {name: term for name, term in scoring._asdict().items() if name in DECODED}
    output = decode_attention(q, keys, values, lengths, slots=slots, **taken, backend="triton")
    return output.view(*query.shape[:-1], values.shape[-1])


def _runs(op: str, backend: Backend | None, device: torch.device, unsupported: str | None = None) -> bool:
    return _is_triton(lambda: dispatch.choose(op, backend, device, unsupported))


def _is_triton(choose: Callable[[], dispatch.Choice]) -> bool:
    try:
        return choose().backend == "triton"
    except dispatch.BackendError as error:
        raise UnsupportedError(str(error), key="attn_implementation", actual="triton") from error


def ops() -> tuple[str, ...]:
    """The names of the ops that have a kernel."""
    return dispatch.ops()


def would_run(op: str, device: torch.device) -> tuple[str | None, str]:
    """The backend an op runs on where its arguments suit the kernel, and why; None for a call that would fail."""
    try:
        choice = dispatch.preview(op, device)
    except (dispatch.BackendError, ValueError) as error:
        return None, str(error)
    return choice.backend, choice.reason
