"""Compiles kernels for GPUs that are not there, and reads what the assembler says of registers."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource


class Assembled(NamedTuple):
    """A kernel's PTX, and what ptxas reports of it: registers a thread, bytes spilled to and from local memory."""

    ptx: str
    registers: int
    spilled_bytes: int


def assemble(
    function: Any,
    types: dict[str, str],
    constants: dict[str, Any],
    capability: int,
    *,
    warps: int = 4,
    stages: int = 3,
    default: str = "i64",
    aligned: bool = False,
) -> Assembled:
    """Compiles `function`, with the options of ptxas that it is compiled with at run time.

    Args:
        types: Triton's type of each argument (`*fp16`, `i32`, `fp32`); those not named are `default`.
        constants: the constexpr arguments.
        capability: 80 or 90.
        aligned: whether integers are known to be multiples of 16, as Triton finds out at run time; pointers always are.
    """
    signature = {
        name: "constexpr" if name in constants else types.get(name, default) for name in function.arg_names
    }
    attributes = {
        (index,): [["tt.divisibility", 16]]
        for index, kind in enumerate(signature.values())
        if kind.startswith("*") or (aligned and kind.startswith("i"))
    }
    source = ASTSource(function, signature=signature, constexprs=constants, attrs=attributes)
    target = GPUTarget("cuda", capability, 32)
    # A folder of its own: a kernel out of the cache would not be assembled, and ptxas would report nothing.
    with (
        TemporaryDirectory() as folder,
        triton.knobs.cache.scope(),
        triton.knobs.nvidia.scope(),
        redirect_stdout(io.StringIO()) as report,
    ):
        triton.knobs.cache.dir = folder
        triton.knobs.nvidia.dump_ptxas_log = True
        compiled = triton.compile(source, target=target, options={"num_warps": warps, "num_stages": stages})
    ptx = str(compiled.asm["ptx"])
    found = re.search(r"\.target (sm_\w+)", ptx)
    assert found and found[1].startswith(f"sm_{capability}")
    spilled = re.findall(r"(\d+) bytes spill (?:stores|loads)", report.getvalue())
    registers = re.findall(r"Used (\d+) registers", report.getvalue())
    assert spilled and registers, report.getvalue()
    return Assembled(ptx, max(map(int, registers)), sum(map(int, spilled)))
