"""A mutation run over the Python code: one change at a time, and the tests that reach it have to fail.

    python -m tests.mutants [--base COMMIT] [--full] [--sample N] [--seed S]

Without --full only lines changed since the base are mutated. The tests of an area run once, traced, for the lines each
of them reaches; then each mutant runs in a fork, in a copy of the package, with those tests alone. Prints the survivors
and the rate; a survivor says that a test is missing or that the change makes no difference, which a reader decides.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import safetensors.torch  # noqa: F401 -- what takes long to import is there before the forks; oxiformers is not

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "oxiformers"
#: A folder of the package, and the tests that are to know every line of it.
AREAS = {"layers": ["tests/layers"], "weights": ["tests/weights", "tests/bad_input/test_weights.py"]}
SWAPS: dict[type[ast.AST], type[Any]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
SECONDS = 120  # a mutant that takes longer hangs, which is noticed


class Mutant(NamedTuple):
    """One change: what of a file's text becomes what."""

    path: Path
    line: int
    start: int
    end: int
    text: str

    def apply(self, source: str) -> str:
        return source[: self.start] + self.text + source[self.end :]

    def show(self) -> str:
        before = self.path.read_text(encoding="utf-8")[self.start : self.end]
        one, other = (re.sub(r"\s+", " ", text)[:90] for text in (before, self.text))
        return f"{self.path.relative_to(ROOT)}:{self.line}: {one}  ->  {other}"


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in a node's stead."""
    match node:
        case ast.Compare(left=left, ops=[op], comparators=right) if type(op) in SWAPS:
            yield ast.Compare(left, [SWAPS[type(op)]()], right)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(SWAPS[type(op)](), values)
            yield values[0]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in SWAPS:
            yield ast.BinOp(left, SWAPS[type(op)](), right)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)) | ast.Constant(value=float(value)):
            yield ast.Constant(value + 1)
        case ast.IfExp(body=body, orelse=orelse):
            yield body
            yield orelse
        case ast.Call(func=func, args=args, keywords=keywords) if keywords:
            for keyword in keywords:
                yield ast.Call(func, args, [other for other in keywords if other is not keyword])
        case ast.Expr(value=ast.Call()) | ast.AugAssign():
            yield ast.Pass()
        case ast.Return(value=value) if value is not None and not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))


def mutants(path: Path) -> Iterator[Mutant]:
    source = path.read_text(encoding="utf-8")
    starts = [0]
    for text in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(text.encode()))
    raw = source.encode()

    def place(line: int, column: int) -> int:
        return len(raw[: starts[line - 1] + column].decode())

    tree = ast.parse(source)
    skipped: set[int] = set()
    for node in ast.walk(tree):
        annotation = getattr(node, "annotation", None) or getattr(node, "returns", None)
        # Types change nothing, errors are words, and the places in f-strings are not those of the text.
        whole = node if isinstance(node, (ast.Raise, ast.JoinedStr)) else annotation
        skipped.update(map(id, ast.walk(whole) if whole else ()))
    for node in ast.walk(tree):
        if isinstance(node, (ast.expr, ast.stmt)) and id(node) not in skipped:
            assert node.end_lineno is not None and node.end_col_offset is not None
            ends = place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset)
            for other in changes(node):
                text = ast.unparse(ast.fix_missing_locations(other))
                yield Mutant(path, node.lineno, *ends, f"({text})" if isinstance(node, ast.expr) else text)


def changed_lines(base: str) -> dict[Path, set[int]]:
    """Lines of the package that differ from the base, what is not committed included."""
    command = ["git", "diff", "--unified=0", "--no-color", base, "--", str(PACKAGE)]
    found: dict[Path, set[int]] = defaultdict(set)
    path = PACKAGE
    for line in subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines():
        if line.startswith("+++ "):
            path = ROOT / line[6:]
        elif hunk := re.match(r"@@ \S+ \+(\d+)(?:,(\d+))? @@", line):
            found[path].update(range(int(hunk[1]), int(hunk[1]) + int(hunk[2] or 1)))
    return found


class Lines:
    """A plugin that notes which tests reach which line of the package's copy; what is reached outside is "import"."""

    def __init__(self, package: Path) -> None:
        self.package, self.now = str(package), "import"
        self.reached: dict[tuple[str, int], set[str]] = defaultdict(set)

    def trace(self, frame: Any, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(self.package):
            return None
        self.reached[os.path.relpath(name, self.package), frame.f_lineno].add(self.now)
        return self.trace

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        self.now = item.nodeid
        sys.settrace(self.trace)
        result = yield
        sys.settrace(None)
        self.now = "import"
        return result


class Only:
    """A plugin that runs these tests alone, and ends with the first that fails."""

    def __init__(self, tests: set[str]) -> None:
        self.tests = tests

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        session.config.option.maxfail = 1
        items[:] = [item for item in items if item.nodeid in self.tests] or items


def in_a_fork(
    package: Path, arguments: list[str], plugin: Lines | Only, output: Path | None = None
) -> int | None:
    """pytest's exit code with this copy of the package; None where it had to be stopped."""
    child = os.fork()
    if child == 0:
        os.setsid()
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        sys.path.insert(0, str(package.parent))
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
        # Bytecode of the code as it was would be found again.
        os.environ["PYTHONDONTWRITEBYTECODE"], sys.dont_write_bytecode = "1", True
        if isinstance(plugin, Lines):
            sys.settrace(plugin.trace)
        code = int(pytest.main(["-q", "-p", "no:cacheprovider", *arguments], [plugin]))
        sys.settrace(None)
        if output and isinstance(plugin, Lines):
            output.write_text(json.dumps([[*line, *tests] for line, tests in plugin.reached.items()]))
        os._exit(code)
    end = time.monotonic() + (SECONDS if output is None else 3600)
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def reached_by(package: Path, tests: list[str]) -> dict[tuple[str, int], set[str]]:
    """The tests that reach each line, by its file in the package."""
    output = package.parent / "lines.json"
    code = in_a_fork(package, tests, Lines(package), output)
    if code not in (0, 1) or not output.exists():
        raise SystemExit(f"the tests of {tests} did not run through: {code}")
    return {(path, line): set(found) for path, line, *found in json.loads(output.read_text())}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default="HEAD", help="what lines are compared with")
    parser.add_argument("--full", action="store_true", help="every line, not only the changed ones")
    parser.add_argument("--sample", type=int, help="that many mutants of an area, drawn by the seed")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    lines = None if options.full else changed_lines(options.base)
    ran, survivors = 0, []
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "oxiformers"
        shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
        for area, tests in AREAS.items():
            chosen = [
                mutant
                for path in sorted((PACKAGE / area).rglob("*.py"))
                for mutant in mutants(path)
                if lines is None or mutant.line in lines[path]
            ]
            if options.sample is not None and options.sample < len(chosen):
                chosen = random.Random(options.seed).sample(chosen, options.sample)
            reached = reached_by(package, tests) if chosen else {}
            for mutant in sorted(chosen):
                name = mutant.path.relative_to(PACKAGE).as_posix()
                source = mutant.path.read_text(encoding="utf-8")
                (package / name).write_text(mutant.apply(source), encoding="utf-8")
                found = reached.get((name, mutant.line), set())
                code = in_a_fork(package, tests, Only(found - {"import"})) if found else 0
                (package / name).write_text(source, encoding="utf-8")
                ran += 1
                if code == 0:
                    survivors.append(mutant)
                    print(
                        mutant.show() + ("" if found else "   (no test of the area reaches it)"), flush=True
                    )
    print(f"{ran} mutants, {len(survivors)} survived, {1 - len(survivors) / max(1, ran):.0%} were noticed")


if __name__ == "__main__":
    main()
