"""The dtypes of the safetensors format and torch's names for them."""

from __future__ import annotations

import torch

from oxiformers.errors import UnsupportedError

#: Safetensors name to torch dtype. F6_E2M3 and F6_E3M2 have no torch dtype; F4 is torch's two values a byte.
TORCH_DTYPES: dict[str, torch.dtype] = {
    "BOOL": torch.bool,
    "F4": torch.float4_e2m1fn_x2,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E8M0": torch.float8_e8m0fnu,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "I16": torch.int16,
    "U16": torch.uint16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F32": torch.float32,
    "C64": torch.complex64,
    "F64": torch.float64,
    "I64": torch.int64,
    "U64": torch.uint64,
}

_FORMAT_NAMES = {dtype: name for name, dtype in TORCH_DTYPES.items()}


def to_torch(name: str, path: str, tensor: str) -> torch.dtype:
    """The torch dtype of a tensor stored as `name`. Raises UnsupportedError naming file and tensor."""
    dtype = TORCH_DTYPES.get(name)
    if dtype is None:
        raise UnsupportedError.mismatch(tensor, "a dtype that torch has", name, path=path)
    return dtype


def to_format(dtype: torch.dtype, tensor: str) -> str:
    """The format's name of a torch dtype. Raises UnsupportedError naming the tensor."""
    name = _FORMAT_NAMES.get(dtype)
    if name is None:
        raise UnsupportedError.mismatch(tensor, "a dtype that safetensors has", dtype)
    return name


def shape_in_torch(dtype: torch.dtype, shape: list[int], path: str, tensor: str) -> torch.Size:
    """The shape torch gives a stored tensor: the format counts 4-bit values, torch the pairs in a byte."""
    if dtype is not torch.float4_e2m1fn_x2:
        return torch.Size(shape)
    if not shape or shape[-1] % 2:
        raise UnsupportedError.mismatch(
            tensor, "an even last dimension, as torch holds F4 in pairs", shape, path=path
        )
    return torch.Size([*shape[:-1], shape[-1] // 2])


def shape_in_format(tensor: torch.Tensor) -> list[int]:
    """The inverse of `shape_in_torch`."""
    shape = list(tensor.shape)
    if tensor.dtype is torch.float4_e2m1fn_x2:
        shape[-1] *= 2
    return shape
