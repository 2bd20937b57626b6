"""Labels of a config: id2label, label2id and num_labels, read, passed and set."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from oxiformers import AutoConfig, BertConfig
from oxiformers.errors import ConfigError


def write(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)


def test_labels() -> None:
    config = BertConfig(id2label={"0": "bad", "1": "good", "2": "fine"})
    assert config.id2label == {0: "bad", 1: "good", 2: "fine"}
    assert config.label2id == {"bad": 0, "good": 1, "fine": 2}
    assert config.num_labels == 3
    config.num_labels = 3
    assert config.id2label[0] == "bad"
    config.num_labels = 2
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert BertConfig().num_labels == 2


BY_ID, BY_NAME = {0: "no", 1: "yes"}, {"no": 0, "yes": 1}
NUMBERED = {0: "LABEL_0", 1: "LABEL_1"}
MANY = {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}

# What is passed to a folder of the labels above, and the id2label and label2id that follow.
LABELS: list[tuple[dict[str, Any], dict[int, str], dict[str, int] | None]] = [
    ({}, BY_ID, BY_NAME),
    ({"num_labels": 1, "id2label": None}, {0: "LABEL_0"}, None),
    ({"id2label": None, "num_labels": 1}, {0: "LABEL_0"}, None),
    ({"num_labels": 1, "id2label": None, "label2id": None}, {0: "LABEL_0"}, None),
    ({"num_labels": 1}, {0: "LABEL_0"}, None),
    ({"num_labels": 3}, MANY, None),
    ({"num_labels": 2}, BY_ID, BY_NAME),
    ({"num_labels": 2, "id2label": None}, NUMBERED, None),
    ({"id2label": None}, NUMBERED, None),
    ({"num_labels": None}, BY_ID, BY_NAME),
    ({"num_labels": None, "id2label": None}, NUMBERED, None),
    ({"num_labels": None, "id2label": {0: "a"}}, {0: "a"}, None),
    ({"label2id": None}, BY_ID, BY_NAME),
    ({"id2label": {"0": "a", "1": "b", "2": "c"}}, {0: "a", 1: "b", 2: "c"}, None),
    ({"id2label": {0: "a"}, "label2id": None}, {0: "a"}, None),
    ({"id2label": {0: "a"}, "label2id": {"A": 0}, "num_labels": 1}, {0: "a"}, {"A": 0}),
    ({"label2id": {"n": 0, "y": 1}}, BY_ID, {"n": 0, "y": 1}),
    ({"label2id": {"a": 0, "b": 1, "c": 2}, "num_labels": 3}, MANY, {"a": 0, "b": 1, "c": 2}),
    ({"num_labels": 3, "label2id": {"a": 0, "b": 1, "c": 2}}, MANY, {"a": 0, "b": 1, "c": 2}),
    ({"num_labels": 0}, {}, None),
]


@pytest.mark.parametrize(("passed", "by_id", "by_name"), LABELS)
def test_labels_that_are_passed(
    passed: dict[str, Any], by_id: dict[int, str], by_name: dict[str, int] | None, tmp_path: Path
) -> None:
    """Every way to override labels, in every order, through AutoConfig and the class; nothing is ignored."""
    write(tmp_path, json.dumps({"model_type": "bert", "id2label": BY_ID, "label2id": BY_NAME}))
    due = by_name if by_name is not None else {name: index for index, name in by_id.items()}
    for load in (AutoConfig.from_pretrained, BertConfig.from_pretrained):
        for keys in permutations(passed):
            config = load(tmp_path, **{key: passed[key] for key in keys})
            assert (config.num_labels, config.id2label, config.label2id) == (len(by_id), by_id, due)
    config, unused = AutoConfig.from_pretrained(tmp_path, **passed, return_unused_kwargs=True)
    assert unused == {}


@pytest.mark.parametrize(
    ("passed", "key"),
    [
        ({"num_labels": 3, "id2label": {0: "a"}}, "num_labels"),
        ({"num_labels": 2, "id2label": {}}, "num_labels"),
        ({"num_labels": -1}, "num_labels"),
        ({"num_labels": True}, "num_labels"),
        ({"num_labels": "1", "id2label": None}, "num_labels"),
        ({"id2label": ["a"]}, "id2label"),
        ({"id2label": {"x": "a"}}, "id2label"),
        ({"id2label": {"0": "a", 0: "b"}}, "id2label"),
        ({"label2id": ["a"]}, "label2id"),
    ],
)
def test_labels_that_contradict_each_other(passed: dict[str, Any], key: str, tmp_path: Path) -> None:
    write(tmp_path, json.dumps({"model_type": "bert", "id2label": BY_ID, "label2id": BY_NAME}))
    with pytest.raises(ConfigError) as caught:
        AutoConfig.from_pretrained(tmp_path, **passed)
    assert caught.value.key == key
