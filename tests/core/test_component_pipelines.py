"""Random pipelines of every component, with random texts and options: 2,000 cases, 200,000 in `make parity`."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.core.cases import KINDS, Case, kinds
from tests.core.differential import check

CASES = 2000 // len(KINDS) + 1


@pytest.mark.parametrize("kind", KINDS)
def test_equals_tokenizers(kind: str) -> None:
    @seed(0)
    @settings(
        max_examples=CASES,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(kinds()[kind])
    def one(case: Case) -> None:
        check(case)

    one()
