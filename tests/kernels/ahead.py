"""Compiles kernels for GPUs that are not there, and reads what the assembler says of registers."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource


class Usage(NamedTuple):
    """What ptxas reports of one kernel: registers a thread, and bytes spilled to and from local memory."""

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
) -> str:
    """The PTX of `function`.

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
    compiled = triton.compile(source, target=target, options={"num_warps": warps, "num_stages": stages})
    return str(compiled.asm["ptx"])


def usage(ptx: str, capability: int, folder: Path) -> Usage:
    """Assembles PTX in `folder` and returns what it uses."""
    (folder / "kernel.ptx").write_text(ptx)
    target = re.search(r"\.target (sm_\w+)", ptx)
    assert target and target[1].startswith(f"sm_{capability}")
    result = subprocess.run(
        [triton.knobs.nvidia.ptxas.path, "-v", f"--gpu-name={target[1]}", "kernel.ptx", "-o", "kernel.cubin"],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    spilled = re.findall(r"(\d+) bytes spill (?:stores|loads)", result.stderr)
    registers = re.findall(r"Used (\d+) registers", result.stderr)
    assert spilled and registers, result.stderr
    return Usage(max(map(int, registers)), sum(map(int, spilled)))
