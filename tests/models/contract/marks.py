"""What tests of the contract are parametrized with. The row stands in every test's name, so that -k finds it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.models.contract.subjects import CLASSES, ROWS, base_of, is_full, row_name, variants_of

#: Every class, and every variant of the base models and first heads.
SUBJECTS = [*CLASSES, *(name for row in ROWS for name in variants_of(row))]
#: The base models.
BASES = [base_of(row) for row in ROWS]
#: The subjects that are tried with every case.
FULL = [name for name in CLASSES if is_full(name)]


def of(names: Iterable[str]) -> pytest.MarkDecorator:
    """Parametrizes a test by subjects."""
    return each("name", ((name,) for name in names))


def each(arguments: str, values: Iterable[tuple[Any, ...]]) -> pytest.MarkDecorator:
    """Parametrizes a test by a subject, ``name``, and what comes after it; dictionaries are not in the test's name."""
    return pytest.mark.parametrize(
        arguments.split(","),
        [
            pytest.param(
                *value,
                id="-".join(
                    [row_name(value[0]), *(str(part) for part in value if not isinstance(part, dict))]
                ),
            )
            for value in values
        ],
    )


every_class = of(CLASSES)
every_base = of(BASES)
every_full = of(FULL)
