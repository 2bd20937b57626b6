"""Who may import whom: upwards never, and each boundary through its one module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repo.tree import KERNELS, PACKAGE, files, parsed, relative

# Modules below every layer: they import one another and nothing else of the package.
LEAVES = {
    "errors",
    "env",
    "logging",
    "files",
    "hub",
    "config_file",
    "config_labels",
    "config_types",
    "tokenizer_table",
}

# What each part may import besides the leaves and itself.
ALLOWED: dict[str, set[str]] = {
    "config": set(),
    "weights": {"config"},
    "tokenization": {"config"},
    "layers": {"config"},
    "report": {"layers"},
    "models": {"config", "layers", "weights"},
    "auto": {"config", "layers", "models", "weights", "tokenization"},
    "processing": {"config", "layers", "models", "weights", "tokenization", "auto"},
    "generation": {"config", "layers", "models", "weights", "tokenization", "auto"},
    "pipelines": {
        "config", "layers", "models", "weights", "tokenization", "auto", "processing", "generation",
    },
    "training": {
        "config", "layers", "models", "weights", "tokenization", "auto", "processing", "generation",
    },
}  # fmt: skip
ALLOWED["public_names"] = {"auto"}
ALLOWED["cli"] = set(ALLOWED)

CORE_KEEPERS = ("tokenization/", "weights/", "training/collators", "pipelines/batching")

# True derivatives of another architecture, which may be one itself: file -> the file it extends.
DERIVED_MODELS: dict[str, str] = {"roberta": "bert"}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything a file imports, wherever in it."""
    package = path.relative_to(
        PACKAGE.parent if path.is_relative_to(PACKAGE) else KERNELS.parent
    ).parent.parts
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            words = (*base, node.module) if node.module else base
            yield from ((node.lineno, ".".join((*words, alias.name))) for alias in node.names)


def part(path: Path) -> str:
    """The part of the package a file belongs to: its folder, or its name."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


MODULES = [path for path in files(".py", under=PACKAGE) if path != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_direction(path: Path) -> None:
    own = part(path)
    assert own in LEAVES or own in ALLOWED, f"{own} has no place in the order of layers"
    allowed = LEAVES | ALLOWED.get(own, set()) | {own, "__version__"}
    for line, name in imports(path):
        if not name.startswith("oxiformers."):
            continue
        target = name.split(".")[1]
        if target == "_core":
            inside = path.relative_to(PACKAGE).as_posix()
            assert inside.startswith(CORE_KEEPERS), f"{relative(path)}:{line}: _core is not for {own}"
        else:
            assert target in allowed, f"{relative(path)}:{line}: {own} may not import {target}"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_kernels_are_reached_through_layers(path: Path) -> None:
    for line, name in imports(path):
        assert not name.startswith("oxiformers_kernels") or part(path) == "layers", f"{relative(path)}:{line}"
        assert name.split(".")[0] != "triton", f"{relative(path)}:{line}"


def test_kernels_stand_alone() -> None:
    for path in files(".py", under=KERNELS):
        for line, name in imports(path):
            top = name.split(".")[0]
            assert top != "oxiformers", f"{relative(path)}:{line}"
            assert top != "triton" or path.stem.endswith("kernel"), f"{relative(path)}:{line}"


def architecture(path: Path) -> bool:
    """Whether a file of models/ is an architecture: one of its classes names its model_type."""
    for node in parsed(path).body:
        for statement in node.body if isinstance(node, ast.ClassDef) else ():
            match statement:
                case (
                    ast.Assign(targets=[ast.Name(id="model_type")], value=ast.Constant(value=str(name)))
                    | ast.AnnAssign(target=ast.Name(id="model_type"), value=ast.Constant(value=str(name)))
                ) if name:
                    return True
    return False


def test_no_model_imports_another() -> None:
    architectures = {path.stem for path in files(".py", under=PACKAGE / "models") if architecture(path)}
    found = {}
    for name in architectures:
        for line, imported in imports(PACKAGE / "models" / f"{name}.py"):
            words = imported.split(".")
            if words[:2] == ["oxiformers", "models"] and words[2] in architectures - {name}:
                found[name] = words[2]
                assert DERIVED_MODELS.get(name) == words[2], f"models/{name}.py:{line} imports {words[2]}"
    assert found == DERIVED_MODELS


def test_model_types_are_compared_only_in_models() -> None:
    for path in MODULES:
        if part(path) == "models":
            continue
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Compare):
                sides = [ast.unparse(side) for side in (node.left, *node.comparators)]
                assert not any(side.endswith("config.model_type") for side in sides), (
                    f"{relative(path)}:{node.lineno}: a case for one model_type"
                )
