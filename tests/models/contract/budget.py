"""Keeps the contract cheap: comparing a row may take so many seconds of a processor, transformers' part included.

A plugin of pytest. The run says what each row took for comparisons with a version of transformers and for what our
models are asked alone (compiling, every key of a config), and fails where comparisons took more than twice the budget:
seconds of a processor that others share are longer. Answers that were kept on disk count with the seconds they took.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator

import pytest

#: Seconds for each version of transformers that a row is compared with.
SECONDS = 4.0
#: How much longer they may be on a machine that is shared.
SHARED = 2
_KEY = "contract"

_oracle = 0.0
_spent: defaultdict[str, float] = defaultdict(float)
_alone: defaultdict[str, float] = defaultdict(float)


def add(seconds: float) -> None:
    """Adds what another process took for the test that runs."""
    global _oracle
    _oracle += seconds


def row_of_item(item: pytest.Item) -> str | None:
    """The row a test of the contract is of; None for any other test."""
    marker = item.get_closest_marker(_KEY)
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    if marker is None or "name" not in parameters:
        return None
    from tests.models.contract.subjects import row_name

    return row_name(parameters["name"])


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"{_KEY}: tests of a class under contract, whose seconds are its row's"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    global _oracle
    row = row_of_item(item)
    _oracle, started = 0.0, time.process_time()
    try:
        return (yield)
    finally:
        if row is not None:
            # Reports carry it, for they alone come back from other processes.
            compared = "version" in item.callspec.params  # type: ignore[attr-defined]
            item.user_properties.append((_KEY, [row, time.process_time() - started + _oracle, compared]))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":
        for key, value in report.user_properties:
            if key == _KEY:
                row, seconds, compared = value
                (_spent if compared else _alone)[row] += seconds


def over_budget(spent: dict[str, float]) -> list[str]:
    """A line for each row that took too long."""
    from tests.models.contract.subjects import ROWS

    return [
        f"{row}: expected at most {SECONDS:g} s for each of {len(ROWS[row].versions)} versions of transformers, "
        f"got {seconds:.1f} s in all"
        for row, seconds in sorted(spent.items())
        if seconds > SHARED * SECONDS * len(ROWS[row].versions)
    ]


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    if over_budget(_spent) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not (_spent or _alone):
        return
    lines = over_budget(_spent)
    terminalreporter.section("rows of the contract", red=bool(lines))
    terminalreporter.write_line(
        ", ".join(f"{row} {_spent[row]:.1f} + {_alone[row]:.1f} s" for row in sorted({*_spent, *_alone}))
    )
    for line in lines:
        terminalreporter.write_line(line, red=True)
