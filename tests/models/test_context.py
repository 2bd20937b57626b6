"""A call opens one context of the forward, which the head hands to the base model and that to its layers."""

from __future__ import annotations

import pytest
import torch

from oxiformers.layers.context import ForwardContext
from tests.models.answer import PROBE
from tests.models.contract.inputs import make, usual
from tests.models.contract.marks import each
from tests.models.contract.subjects import CLASSES, subject

pytestmark = pytest.mark.contract
#: The class whose constructions are counted, those of its subclasses too.
CONTEXT = ForwardContext


@each("name", ((name,) for name in CLASSES))
def test_one_context_a_call(name, monkeypatch):
    opened = []
    construct = CONTEXT.__init__

    def counted(self, *args, **kwargs):
        opened.append(type(self))
        construct(self, *args, **kwargs)

    monkeypatch.setattr(CONTEXT, "__init__", counted)
    inputs = {key: value for key, value in make(name, usual(name)).items() if not key.startswith(PROBE)}
    with torch.no_grad():
        subject(name)(**inputs)
    assert len(opened) == 1
