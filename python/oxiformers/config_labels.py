"""The labels of a config: how id2label, label2id and num_labels follow from one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from oxiformers import config_types
from oxiformers.errors import ConfigError
from oxiformers.logging import get_logger

logger = get_logger(__name__)

#: Labels are kept as a table in the config, so their number is bounded.
MAX_LABELS = 1_000_000


class LabelMaps:
    """What a config has for labels: `id2label` is what counts, the others follow from it."""

    default_labels: ClassVar[int] = 2

    if TYPE_CHECKING:
        id2label: dict[int, str] | None
        label2id: dict[str, Any] | None

        def error(self, key: str, expected: str, actual: str | None = None) -> ConfigError: ...

    @property
    def num_labels(self) -> int:
        """The number of labels. Setting another number names them LABEL_0, LABEL_1, ..."""
        return len(self.id2label or ())

    @num_labels.setter
    def num_labels(self, count: int) -> None:
        if not config_types.fits(count, int) or not 0 <= count <= MAX_LABELS:
            raise self.error(
                "num_labels", f"an integer from 0 to {MAX_LABELS}", config_types.actual_words(count)
            )
        if self.id2label is None or len(self.id2label) != count:
            self.id2label = {index: f"LABEL_{index}" for index in range(count)}
            self.label2id = {name: index for index, name in self.id2label.items()}

    def _complete_labels(self, num_labels: int | None = None) -> None:
        """Makes id2label's keys integers and fills in what is not given: `default_labels`, label2id."""
        if not config_types.fits(num_labels, int | None):
            raise self.error("num_labels", "an integer", config_types.actual_words(num_labels))
        if not config_types.fits(self.label2id, dict[str, Any] | None):
            raise self.error("label2id", "an object or null")
        if self.id2label is None:
            self.num_labels = self.default_labels if num_labels is None else num_labels
            return
        if not config_types.fits(self.id2label, dict[int, str]):
            raise self.error("id2label", "an object from integers to strings")
        if len(by_id := {int(key): name for key, name in self.id2label.items()}) != len(self.id2label):
            raise self.error("id2label", "an object with each integer once")
        self.id2label = by_id
        if self.label2id is None:
            self.label2id = {name: index for index, name in self.id2label.items()}
        if num_labels is not None and num_labels != len(self.id2label):
            logger.warning("num_labels=%s is ignored: id2label has %d labels", num_labels, len(self.id2label))

    def _override_labels(self, given: dict[str, Any]) -> None:
        """Puts passed labels in the place of those that were read; takes them out of `given`.

        `id2label=None` takes the names away and leaves their number, `label2id=None` has it follow from id2label, and
        `num_labels=None` is as if it were not passed.
        """
        passed = {key for key in ("id2label", "label2id") if key in given}
        count, by_id, by_name = (given.pop(key, None) for key in ("num_labels", "id2label", "label2id"))
        if isinstance(by_id, dict) and count is not None and count != len(by_id):
            raise self.error(
                "num_labels",
                f"the number of labels passed as id2label, {len(by_id)}",
                config_types.actual_words(count),
            )
        if by_id is not None:
            self.id2label, self.label2id = by_id, None
        elif "id2label" in passed:
            count = self.num_labels if count is None else count
            self.id2label = None
        if count is not None and by_id is None:
            self.num_labels = count
        if "label2id" in passed:
            self.label2id = by_name
        self._complete_labels()
