"""What type checkers make of the public names: mypy reads this program in `make check`, nothing runs it."""

from __future__ import annotations

from typing import Any, assert_type

import oxiformers
from oxiformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    Pipeline,
    logging,
    pipeline,
)


def classify(folder: str) -> Any:
    """Each line uses a name as a user does, and says its type."""
    assert_type(oxiformers.__version__, str)
    assert_type(logging.get_verbosity(), int)
    assert_type(BertModel(BertConfig()), BertModel)
    assert_type(pipeline("text-classification", folder), Pipeline)
    return AutoModel.from_config(AutoConfig.from_pretrained(folder)), AutoTokenizer.from_pretrained(folder)
