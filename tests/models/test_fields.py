"""No key of a config is silently ignored: each changes what a model shows, is refused, or stands in a list with why."""

from __future__ import annotations

import pytest

from tests.models.contract.flips import LOOKS, candidates, keys_of, looks_of, notices, same, unexplained
from tests.models.contract.inert import GENERIC
from tests.models.contract.marks import every_base
from tests.models.contract.subjects import ROWS, config_of, model_class, row_name

pytestmark = pytest.mark.contract


@every_base
def test_every_key_is_taken_notice_of(name):
    row = row_name(name)
    looks = {each: looks_of(each) for each in ROWS[row].classes}
    found = {}
    for key in keys_of(row, model_class(name).config_class):
        found[key] = ""
        for each in ROWS[row].classes:
            values = candidates(row, key, config_of(each), model_class(each).config_class)
            assert values, f"{row}: say in flips what {key} is changed to"
            found[key] = found[key] or notices(each, key, values, looks[each])
            if found[key]:
                break
    silent, loud = unexplained(row, found)
    assert silent == [], "these keys change nothing"
    assert loud == [], "these keys are said to be inert and are not, or are absent"


@every_base
def test_the_same_config_shows_the_same(name):
    """Else every key would seem to matter."""
    one, other = looks_of(name), looks_of(name)
    assert [look for look in LOOKS if not same(one[look], other[look])] == []


def test_reasons_are_given_once():
    assert [key for row in ROWS.values() for key in row.inert if key in GENERIC] == []
