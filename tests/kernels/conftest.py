"""Poisoned memory comes with torch's deterministic mode, which warns of what the twins use on a GPU."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The fixture cannot: pytest sets the filters anew between a test's fixtures and its call.
    for item in items:
        if "poisoned_empty" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.filterwarnings("ignore:.*deterministic"))
