"""Packing, unpacking and pooling against torch's own indexing, eager and compiled: forward, and a backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from benches.kernels.attention import Backward, leaves
from benches.kernels.common import KernelCase, Side
from oxiformers_kernels.pack import pack, pool, unpack

SECONDS = 60.0


def verify(sides: dict[str, Side]) -> None:
    truth = sides["torch"]()
    for side in sides.values():
        torch.testing.assert_close(side(), truth, rtol=0.02, atol=1e-3)


def case(name: str, peers: dict[str, Callable[..., object]], moved: int, *arguments: object) -> KernelCase:
    peers["torch.compile"] = torch.compile(peers["torch"], dynamic=False)
    sides: dict[str, Side] = {side: partial(function, *arguments) for side, function in peers.items()}
    return KernelCase(name, sides, partial(verify, sides), bytes=moved)


def plain_unpack(packed: Tensor, index: Tensor, rows: int, width: int) -> Tensor:
    flat = packed.new_zeros(rows * width, packed.shape[1])
    return flat.index_copy(0, index, packed).view(rows, width, -1)


def plain_mean(packed: Tensor, owner: Tensor, lengths: Tensor) -> Tensor:
    sums = torch.zeros(lengths.numel(), packed.shape[1], device=packed.device)
    return (sums.index_add_(0, owner, packed.float()) / lengths.clamp(min=1)[:, None]).to(packed.dtype)


def cases() -> Iterator[KernelCase]:
    rows, width, features = 256, 512, 768
    torch.manual_seed(0)
    lengths = torch.randint(0, width + 1, (rows,))
    index = (torch.arange(width) < lengths[:, None]).flatten().nonzero().squeeze(1).cuda()
    padded = torch.randn(rows, width, features, device="cuda", dtype=torch.bfloat16)
    packed = padded.flatten(0, 1)[index]
    cu_seqlens = torch.cat((torch.zeros(1, dtype=torch.int64), lengths.cumsum(0))).cuda()
    owner = torch.repeat_interleave(torch.arange(rows), lengths).cuda()
    lengths = lengths.cuda()
    what = f"{index.numel():,} of {rows} x {width} tokens, {features} features, bfloat16"
    yield case(
        f"pack, {what}",
        {"oxiformers": pack, "torch": lambda padded, index: padded.flatten(0, 1).index_select(0, index)},
        2 * packed.nbytes,
        padded,
        index,
    )
    yield case(
        f"unpack, {what}",
        {"oxiformers": unpack, "torch": plain_unpack},
        packed.nbytes + padded.nbytes,
        *(packed, index, rows, width),
    )
    yield case(
        f"mean pooling, {what}",
        {
            "oxiformers": lambda x, cu_seqlens, *_: pool(x, cu_seqlens),
            "torch": lambda x, _, owner, lengths: plain_mean(x, owner, lengths),
        },
        packed.nbytes,
        *(packed, cu_seqlens, owner, lengths),
    )
    slope = torch.randn(rows, features, device="cuda", dtype=torch.bfloat16)
    sides: dict[str, Side] = {
        "oxiformers": Backward(lambda x: pool(x, cu_seqlens), leaves(packed), slope),  # type: ignore[arg-type]
        "torch": Backward(lambda x: plain_mean(x, owner, lengths), leaves(packed), slope),  # type: ignore[arg-type]
    }
    yield KernelCase(f"mean pooling backward, {what}", sides, partial(verify, sides), bytes=packed.nbytes)
