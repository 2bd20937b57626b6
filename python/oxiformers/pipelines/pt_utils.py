"""Views of a dataset's columns, to be given to a pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class KeyDataset:
    """One column of a dataset whose rows are dicts.

    Args:
        dataset: has a length, and rows by number.
        key: the column's name.
    """

    def __init__(self, dataset: Any, key: str) -> None:
        self.dataset = dataset
        self.key = key

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index][self.key]

    def __iter__(self) -> Iterator[Any]:
        for row in rows(self.dataset):
            yield row[self.key]


class KeyPairDataset:
    """Two columns of a dataset, as the texts and their pairs.

    Args:
        dataset: has a length, and rows by number.
        key1: the column of the texts.
        key2: the column of what they are paired with.
    """

    def __init__(self, dataset: Any, key1: str, key2: str) -> None:
        self.dataset = dataset
        self.key1 = key1
        self.key2 = key2

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.dataset[index]
        return {"text": row[self.key1], "text_pair": row[self.key2]}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row in rows(self.dataset):
            yield {"text": row[self.key1], "text_pair": row[self.key2]}


def rows(dataset: Any) -> Iterator[Any]:
    """The rows of a dataset in order: as it iterates, else by number up to its length."""
    if hasattr(type(dataset), "__iter__"):
        yield from dataset
    else:
        for index in range(len(dataset)):
            yield dataset[index]
