"""Loading a checkpoint into a model: names matched, everything checked first, then assigned without a
copy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from oxiformers.errors import WeightsError
from oxiformers.logging import get_logger
from oxiformers.weights.meta import find, put

logger = get_logger(__name__)

#: How many names of a kind an error lists.
_LISTED = 8


class Weights(Protocol):
    """What is loaded: named tensors, whose shapes and dtypes are known without reading them."""

    @property
    def aliases(self) -> Mapping[str, str]:
        """Further names, each with the stored tensor it stands for."""
        ...

    def names(self) -> Sequence[str]:
        """The stored tensors' names."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        ...

    def dtype(self, name: str) -> torch.dtype:
        """A tensor's dtype."""
        ...

    def tensor(self, name: str) -> Tensor:
        """The tensor, on the CPU, writable; not copied where that can be avoided."""
        ...


@dataclass
class Rules:
    """How a model's names and a checkpoint's names relate.

    Attributes:
        prefix: what the base model's names begin with in a model with a head, without the dot; "" for none.
        has_base: whether the model holds its base model under `prefix`; else it is the base model itself.
        tied: names whose tensor is another one's: {"lm_head.weight": "model.embed_tokens.weight"}.
        legacy: old ends of names and the present ones: {"LayerNorm.gamma": "LayerNorm.weight"}.
        ignored: patterns of names in the checkpoint that are not needed.
        optional: patterns of names in the base model that checkpoints of some heads lack and others have.
        defaulted: patterns of names that a checkpoint may lack, and whose value in a new model is right then.
        substitutes: names in the checkpoint that serve for others, which it lacks: {"shared.weight": "wte.weight"}.
        computed: names of buffers that the model computes itself.
    """

    prefix: str = ""
    has_base: bool = False
    tied: Mapping[str, str] = field(default_factory=dict)
    legacy: Mapping[str, str] = field(default_factory=dict)
    ignored: Sequence[str] = ()
    optional: Sequence[str] = ()
    defaulted: Sequence[str] = ()
    substitutes: Mapping[str, str] = field(default_factory=dict)
    computed: Iterable[str] = ()


@dataclass
class Plan:
    """Which stored tensor goes where, and what does not fit.

    Attributes:
        sources: the model's names, with the stored tensor's name for each.
        tied: the ties that hold: {name: the name whose tensor it shares}.
        new: names without a stored tensor, to be initialised.
        defaulted: names without a stored tensor, which keep the value they have in a new model.
        surplus: stored names of another head, left out.
        missing, unexpected: names that make loading fail.
        mismatched: name, stored shape, the model's shape.
        wrong_dtype: name, stored dtype, the model's dtype.
        twice: stored names that mean the same.
        reshaped: those of `new` that are stored with another shape: name -> (stored shape, the model's
        shape).
    """

    sources: dict[str, str] = field(default_factory=dict)
    tied: dict[str, str] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    defaulted: list[str] = field(default_factory=list)
    surplus: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    wrong_dtype: list[tuple[str, torch.dtype, torch.dtype]] = field(default_factory=list)
    twice: list[tuple[str, str]] = field(default_factory=list)
    reshaped: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)

    def report(self, model: str, source: str) -> WeightsError | None:
        """One error for everything that does not fit, or None."""
        parts = [
            _listed("missing from the checkpoint", self.missing),
            _listed("unknown to the model", self.unexpected),
            _listed(
                "of another shape (ignore_mismatched_sizes=True would initialise them anew)",
                [f"{name}: {list(found)} in the checkpoint, {list(wanted)} in the model"
                 for name, found, wanted in self.mismatched],
            ),
            _listed(
                "of another dtype",
                [f"{name}: {found} in the checkpoint, {wanted} in the model" for name, found, wanted in
                self.wrong_dtype],
            ),
            _listed("stored twice", [f"{first} and {second}" for first, second in self.twice]),
        ]  # fmt: skip
        found = [part for part in parts if part]
        if not found:
            return None
        first = [*self.missing, *self.unexpected, *(row[0] for row in (*self.mismatched, *self.wrong_dtype))]
        return WeightsError(
            f"{source} does not fit {model}:\n" + "\n".join(found),
            path=source,
            key=(first or [self.twice[0][0] if self.twice else ""])[0],
            expected=f"the weights of {model}",
            actual="; ".join(part.splitlines()[0].strip() for part in found),
        )


def plan(
    expected: Mapping[str, Tensor], weights: Weights, rules: Rules, ignore_mismatched_sizes: bool
) -> Plan:
    """Matches the model's state dict with the checkpoint's names, without reading a tensor."""
    result = Plan()
    stored = _match_names(expected, weights, rules, result)
    _resolve_ties(expected, stored, weights, rules, result)
    _find_missing(expected, stored, rules, result)
    for name, source in stored.items():
        if result.tied.get(name, name) != name:
            continue
        wanted, found = expected[name], weights.shape(source)
        kind = weights.dtype(source)
        if _kind(kind) != _kind(wanted.dtype):
            result.wrong_dtype.append((name, kind, wanted.dtype))
        elif tuple(found) == tuple(wanted.shape):
            result.sources[name] = source
        elif ignore_mismatched_sizes:
            result.new.append(name)
            result.reshaped[name] = (tuple(found), tuple(wanted.shape))
        else:
            result.mismatched.append((name, tuple(found), tuple(wanted.shape)))
    return result


def assign(
    model: torch.nn.Module, weights: Weights, matched: Plan, device: torch.device, dtype: torch.dtype
) -> None:
    """Puts the stored tensors into the model: uncopied on the CPU in their own dtype, else converted and
    moved."""
    used: set[str] = set()
    for name, source in matched.sources.items():
        tensor = weights.tensor(source)
        kind = dtype if tensor.is_floating_point() else find(model, name).dtype
        # A tensor stored for two names that are not tied becomes two, or one would change with the other.
        put(model, name, tensor.to(device=device, dtype=kind, copy=source in used))
        used.add(source)


def check_depth(names: Sequence[str], layers: int, source: str) -> None:
    """Refuses a config with more layers than the checkpoint has tensors, before anything is built.

    Raises:
        WeightsError: naming both numbers.
    """
    if layers > len(names):
        raise WeightsError(
            f"{source} holds {len(names)} tensors, too few for the {layers} layers that the config asks for",
            path=source,
            key="num_hidden_layers",
            expected=f"at most {len(names)} layers",
            actual=str(layers),
        )


def _match_names(
    expected: Mapping[str, Tensor], weights: Weights, rules: Rules, result: Plan
) -> dict[str, str]:
    """The model's names that are stored, each with its stored name; sorts the other stored names."""
    all_names = list(weights.names())
    dotted = rules.prefix + "."
    prefixed = bool(rules.prefix) and any(name.startswith(dotted) for name in all_names)
    children = {name.partition(".")[0] for name in expected}
    computed = set(rules.computed)
    stored: dict[str, str] = {}
    spare: dict[str, str] = {}
    aliases = {name: target for name, target in weights.aliases.items() if name not in set(all_names)}
    for name, source in [*((name, name) for name in all_names), *aliases.items()]:
        current = _modern(name, rules.legacy)
        inside = True
        if rules.prefix and prefixed and not rules.has_base:
            inside = current.startswith(dotted)
            current = current.removeprefix(dotted)
        elif rules.prefix and rules.has_base:
            if not prefixed and current not in expected:
                current = dotted + current
            inside = current.startswith(dotted)
        elif current.partition(".")[0] not in children:
            inside = False
        if current in rules.substitutes:
            spare[rules.substitutes[current]] = source
        if current in expected:
            if not inside and not rules.has_base:  # a head's tensor under a name of the base model's
                result.surplus.append(name)
            elif current not in stored:
                stored[current] = source
            elif source != stored[current] and name not in aliases:
                result.twice.append((stored[current], name))
        elif current in computed or _any(rules.ignored, current):
            continue
        elif (
            name in aliases
            or not inside
            or _any(rules.optional, current)
            or (rules.has_base and not prefixed and current.split(".")[1] not in _second(expected, dotted))
        ):
            result.surplus.append(name)
        else:
            result.unexpected.append(name)
    stored = spare | stored
    if result.surplus:
        logger.info("not used, since they belong to another head: %s", ", ".join(result.surplus))
    return stored


def _second(expected: Mapping[str, Tensor], dotted: str) -> set[str]:
    """The children of the base model that lies under the prefix."""
    return {name.removeprefix(dotted).partition(".")[0] for name in expected if name.startswith(dotted)}


def _resolve_ties(
    expected: Mapping[str, Tensor], stored: dict[str, str], weights: Weights, rules: Rules, result: Plan
) -> None:
    """Decides which ties hold. A tensor stored under the tied name only serves for both."""
    for name, shared in rules.tied.items():
        if name not in expected or shared not in expected:
            continue
        if name in stored and shared not in stored:
            stored[shared] = stored[name]
    for name, shared in rules.tied.items():
        if name not in expected or shared not in expected:
            continue
        if name in stored and stored[name] != stored.get(shared):
            first, second = stored[name], stored[shared]
            same = weights.shape(first) == weights.shape(second)
            if not (same and torch.equal(weights.tensor(first), weights.tensor(second))):
                logger.warning(
                    "%s and %s are stored with different values, so they are not tied, though the config "
                    "says tie_word_embeddings", first, second,
                )  # fmt: skip
                continue
        result.tied[name] = shared


def _find_missing(
    expected: Mapping[str, Tensor], stored: Mapping[str, str], rules: Rules, result: Plan
) -> None:
    """What is not stored: as in a new model where that is right, new where it is a head's or optional, else missing."""
    present = {name.rpartition(".")[0] for name in stored}
    for name in expected:
        if name in stored or name in result.tied:
            continue
        if _any(rules.defaulted, name):
            result.defaulted.append(name)
            continue
        head = rules.has_base and not name.startswith(rules.prefix + ".")
        whole = name.rpartition(".")[0] not in present
        if (head and whole) or _any(rules.optional, name):
            result.new.append(name)
        else:
            result.missing.append(name)


def _modern(name: str, legacy: Mapping[str, str]) -> str:
    for old, new in legacy.items():
        if name == old or name.endswith("." + old):
            return name[: len(name) - len(old)] + new
    return name


def _any(patterns: Iterable[str], name: str) -> bool:
    return any(re.search(pattern, name) for pattern in patterns)


def _kind(dtype: torch.dtype) -> str:
    """Dtypes of one kind are converted into each other. Eight-bit floats need scales, so are a kind of their
    own."""
    if dtype.is_floating_point:
        return "float" if dtype.itemsize > 1 else str(dtype)
    if dtype.is_complex:
        return "complex"
    return "bool" if dtype is torch.bool else "integer"


def _listed(title: str, items: Sequence[str]) -> str:
    if not items:
        return ""
    lines = [f"    {item}" for item in items[:_LISTED]]
    if len(items) > _LISTED:
        lines.append(f"    and {len(items) - _LISTED} more")
    return f"  {len(items)} {title}:\n" + "\n".join(lines)
