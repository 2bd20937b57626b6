"""The figures the README quotes are those of benches/results."""

from __future__ import annotations

from benches.table import with_table
from tests.repo.tree import ROOT


def test_the_readme_shows_the_latest_results() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "| **" in readme
    assert with_table(readme) == readme
