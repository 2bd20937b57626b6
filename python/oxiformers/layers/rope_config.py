"""Rotary positions in config.json: ``rope_parameters``, or ``rope_theta`` with ``rope_scaling``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from oxiformers.config import Config
from oxiformers.config_types import fits
from oxiformers.logging import get_logger

logger = get_logger(__name__)

# The keys each kind of scaling cannot do without, beside rope_theta.
REQUIRED: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "proportional": (),
    "yarn": ("original_max_position_embeddings",),
    "longrope": ("original_max_position_embeddings", "short_factor", "long_factor"),
    "llama3": ("original_max_position_embeddings", "factor", "low_freq_factor", "high_freq_factor"),
}
# The further keys that each kind reads.
OPTIONAL: dict[str, tuple[str, ...]] = {
    "proportional": ("factor", "partial_rotary_factor"),
    "yarn": (
        "factor", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate",
    ),
    "longrope": ("factor", "attention_factor"),
}  # fmt: skip
_LISTS = ("short_factor", "long_factor")
_NUMBERS = (
    "rope_theta",
    "factor",
    "original_max_position_embeddings",
    "low_freq_factor",
    "high_freq_factor",
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "mscale",
    "mscale_all_dim",
    "partial_rotary_factor",
)


@dataclass
class RotaryConfig(Config):
    """A config with rotary positions, read in either spelling and written in both.

    ``rope_parameters`` (transformers 5) holds everything: ``rope_theta``, ``rope_type`` and what that type
    needs. ``rope_theta`` and ``rope_scaling`` (transformers 4) are views of it, and written too, so that both
    read the same. A config that is made with both spellings has to say the same in both.
    """

    default_theta: ClassVar[float] = 10_000.0

    rope_parameters: dict[str, Any] | None = None

    @property
    def rope_theta(self) -> float:
        """The base of the wavelengths."""
        theta: float = (self.rope_parameters or {}).get("rope_theta", self.default_theta)
        return theta

    @rope_theta.setter
    def rope_theta(self, value: float | None) -> None:
        if value is not None:
            self.rope_parameters = {**(self.rope_parameters or {}), "rope_theta": value}

    @property
    def rope_scaling(self) -> dict[str, Any] | None:
        """How wavelengths are stretched, None where they are not; setting None changes nothing."""
        parameters = self.rope_parameters or {}
        if parameters.get("rope_type", "default") == "default":
            return None
        return {key: value for key, value in parameters.items() if key != "rope_theta"}

    @rope_scaling.setter
    def rope_scaling(self, value: dict[str, Any] | None) -> None:
        if value is not None and not isinstance(value, dict):
            raise self.error("rope_scaling", "an object or null", repr(value))
        if value:
            self.rope_parameters = {"rope_theta": self.rope_theta, **value}

    def check(self) -> None:
        """Checks everything, ``rope_parameters`` too."""
        super().check()
        self._check_rope_parameters()

    def to_dict(self) -> dict[str, Any]:
        """Every key and value, rotary positions in both spellings."""
        scaling = self.rope_scaling
        return super().to_dict() | {"rope_theta": self.rope_theta, "rope_scaling": scaling and dict(scaling)}

    def _keys(self) -> set[str]:
        return super()._keys() | {"rope_theta", "rope_scaling"}

    def _set_others(self, values: dict[str, Any]) -> None:
        new = self.rope_parameters
        super()._set_others(values)
        theta, scaling = values.get("rope_theta"), values.get("rope_scaling") or {}
        if theta is not None and "rope_theta" in scaling and scaling["rope_theta"] != theta:
            raise self.error("rope_theta", f"{scaling['rope_theta']}, as rope_scaling says"[:80])
        if not new or not isinstance(new, dict) or not {"rope_theta", "rope_scaling"} & values.keys():
            return
        new = self._standard(new if theta is None else {"rope_theta": theta, **new})
        old = {"rope_theta": new["rope_theta"], **scaling} if "rope_scaling" in values else dict(new)
        if theta is not None:
            old["rope_theta"] = theta
        # transformers 4 reads the one spelling, transformers 5 the other.
        if (old := self._standard(old)) != new:
            words = f"{old}, as rope_theta and rope_scaling say"
            raise self.error("rope_parameters", words[:200], str(new)[:200])
        self.rope_parameters = new

    def _standardize(self) -> None:
        self.rope_parameters = self._standard(self.rope_parameters or {})

    def _standard(self, given: dict[str, Any]) -> dict[str, Any]:
        parameters = dict(given)
        kind = parameters.pop("type", None)
        kind = parameters.setdefault("rope_type", kind or "default")
        parameters.setdefault("rope_theta", self.default_theta)
        if "original_max_position_embeddings" in REQUIRED.get(str(kind), ()):
            # Phi-3 states it beside the scaling, and there it counts first.
            outside = getattr(self, "original_max_position_embeddings", None)
            if outside is not None:
                parameters["original_max_position_embeddings"] = outside
            parameters.setdefault("original_max_position_embeddings", self.max_position_embeddings)
        return parameters

    def _check_rope_parameters(self) -> None:
        parameters = self.rope_parameters or {}
        kind = parameters["rope_type"]
        if kind not in REQUIRED:
            raise self.error("rope_parameters.rope_type", "one of " + ", ".join(sorted(REQUIRED)), repr(kind))
        share = parameters.get("partial_rotary_factor", getattr(self, "partial_rotary_factor", None))
        if kind != "proportional" and share not in (None, 1):
            raise self.error(
                "partial_rotary_factor", f"1, as all of a head is rotated for rope_type {kind!r}", str(share)
            )
        for key in REQUIRED[kind]:
            if parameters.get(key) is None:
                raise self.error(f"rope_parameters.{key}", f"there for rope_type {kind!r}", "absent")
        for key in _NUMBERS:
            value = parameters.get(key)
            if value is not None and not _positive(value):
                raise self.error(f"rope_parameters.{key}", "a number above 0", repr(value)[:80])
        for key in _LISTS:
            value = parameters.get(key)
            if value is None:
                continue
            if not isinstance(value, list) or not all(map(_positive, value)):
                raise self.error(f"rope_parameters.{key}", "an array of numbers above 0", repr(value)[:80])
        known = {"rope_type", "rope_theta", "partial_rotary_factor", *REQUIRED[kind], *OPTIONAL.get(kind, ())}
        if unused := parameters.keys() - known:
            logger.warning("rope_parameters: rope_type %r does not use %s", kind, ", ".join(sorted(unused)))
        # Logarithms of these are divided by.
        for above_one, needed in (("rope_theta", "yarn"), ("original_max_position_embeddings", "longrope")):
            if kind == needed and parameters[above_one] <= 1:
                raise self.error(f"rope_parameters.{above_one}", "above 1", str(parameters[above_one]))
        if kind == "dynamic" and self.head_dim <= 2:
            raise self.error("head_dim", "above 2 for dynamic scaling")
        if kind == "llama3" and parameters["high_freq_factor"] == parameters["low_freq_factor"]:
            raise self.error(
                "rope_parameters.high_freq_factor", "another number than low_freq_factor", "the same"
            )


def _positive(value: object) -> bool:
    return fits(value, float) and float(value) > 0  # type: ignore[arg-type]
