"""Every kernel compiles for the GPUs it is meant for, without one, and spills no register in any tile."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

triton = pytest.importorskip("triton", reason="triton is not installed")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from oxiformers_kernels.softmax import kernel  # noqa: E402

WIDTHS = [1, 100, 1024, 4096, kernel.ONE_BLOCK_COLUMNS, kernel.ONE_BLOCK_COLUMNS + 1]


def assemble(
    function: Any, pointers: dict[str, str], constants: dict[str, Any], capability: int, warps: int
) -> str:
    """The PTX of `function`; arguments not named are int64, `scale` and `lowest` fp32."""
    signature = {}
    for name in function.arg_names:
        default = "fp32" if name in ("scale", "lowest") else "i64"
        signature[name] = "constexpr" if name in constants else pointers.get(name, default)
    source = ASTSource(function, signature=signature, constexprs=constants)
    target = GPUTarget("cuda", capability, 32)
    return str(triton.compile(source, target=target, options={"num_warps": warps}).asm["ptx"])


def spilled_bytes(ptx: str, capability: int, folder: Path) -> int:
    """What ptxas reports as spill stores and loads."""
    (folder / "kernel.ptx").write_text(ptx)
    target = re.search(r"\.target (sm_\w+)", ptx)
    assert target and target[1].startswith(f"sm_{capability}")
    result = subprocess.run(
        [triton.knobs.nvidia.ptxas.path, "-v", f"--gpu-name={target[1]}", "kernel.ptx", "-o", "kernel.cubin"],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    counts = re.findall(r"(\d+) bytes spill (?:stores|loads)", result.stderr)
    assert counts, result.stderr
    return sum(map(int, counts))


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_softmax(
    capability: int, columns: int, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    tile = kernel.tile_for(columns)
    shape = {"ROWS": tile.rows, "BLOCK": tile.columns, "ONE_BLOCK": tile.one_block}
    pointer = f"*{dtype}"
    forward = assemble(
        kernel._forward,
        {"x": pointer, "out": pointer, "mask": pointer},
        {"MASK": kernel.ADDITIVE_MASK, **shape},
        capability,
        tile.warps,
    )
    backward = assemble(
        kernel._backward, {"grad": pointer, "out": pointer, "grad_x": pointer}, shape, capability, tile.warps
    )
    for ptx in (forward, backward):
        assert spilled_bytes(ptx, capability, tmp_path) == 0
