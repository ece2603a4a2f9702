"""What an evaluation comes to: figures with their bars, in sections, and what lies behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rewas_engine.errors import SettingsError

Trained = Literal["cpu", "gpu"]
"""On what a pack was trained: more is expected of one that had a GPU."""


@dataclass(frozen=True)
class Bar:
    """What a figure must reach: at_least a value, or (False) at most it. cpu, gpu: of packs trained there."""

    cpu: float
    gpu: float
    at_least: bool = True

    def value(self, trained: Trained) -> float:
        """The bar for packs trained there."""
        return self.cpu if trained == "cpu" else self.gpu

    def met_by(self, value: float, trained: Trained) -> bool:
        """Whether a value reaches it."""
        return value >= self.value(trained) if self.at_least else value <= self.value(trained)


BARS: Mapping[str, Bar] = {
    "energy_correlation_mean": Bar(0.96, 0.98),
    "energy_correlation_worse_tenth": Bar(0.90, 0.95),
    "energy_mae_nats": Bar(0.20, 0.12, at_least=False),
    "uncontrolled_correlation": Bar(0.05, 0.05, at_least=False),
    "real_class": Bar(0.97, 0.97),
    "class": Bar(0.88, 0.95),
    "class_worst": Bar(0.50, 0.75),
    "class_swapped": Bar(0.60, 0.75),
    "paraphrase_drop_points": Bar(5.0, 3.0, at_least=False),
    "vocoded_correlation_mean": Bar(0.95, 0.97),
    "vocoded_mae_nats": Bar(0.25, 0.18, at_least=False),
    "vocoded_class": Bar(0.82, 0.92),
    "vocoder_l1": Bar(0.12, 0.09, at_least=False),
    "vocoder_l1_worst": Bar(0.30, 0.20, at_least=False),
    "onset_f1": Bar(0.85, 0.92),
    "picture_visible": Bar(0.85, 0.85),
    "picture_silent_motion": Bar(0.30, 0.30, at_least=False),
    "real_clips_zero_lag": Bar(0.30, 0.30),
    "real_clips_best_lag": Bar(0.40, 0.40),
    "joint_auc_picture": Bar(0.95, 0.95),
    "joint_auc_sound": Bar(0.95, 0.95),
    "conflict_auc": Bar(0.95, 0.95),
    "take_s": Bar(1.5, 1.5, at_least=False),
}
"""The bars of a starter pack, by figure; figures without a bar are told and not judged."""


@dataclass(frozen=True)
class Figure:
    """One measured number.

    key: what it is called in figures.json, unique in an evaluation. label: for people. value: None where there is
    none, and then note says why ("not supported: …", "not measured: …"). unit: "nats", "s", "points" or "".
    """

    key: str
    label: str
    value: float | None
    unit: str = ""
    note: str = ""

    @property
    def bar(self) -> Bar | None:
        """What it must reach, if anything."""
        return BARS.get(self.key)

    def passed(self, trained: Trained) -> bool | None:
        """Whether it reaches its bar; None without a bar or a value."""
        return None if self.bar is None or self.value is None else self.bar.met_by(self.value, trained)

    def report(self, trained: Trained) -> dict[str, Any]:
        """As JSON."""
        bar = self.bar
        return {
            "label": self.label,
            "value": None if self.value is None else round(self.value, 5),
            "unit": self.unit,
            "note": self.note,
            "bar": None if bar is None else bar.value(trained),
            "at_least": None if bar is None else bar.at_least,
            "passed": self.passed(trained),
        }


@dataclass(frozen=True)
class Section:
    """Figures that belong together.

    details: what lies behind them (by class, by clip), as JSON holds it. drawn: arrays that only the plots need.
    """

    name: str
    title: str
    figures: tuple[Figure, ...]
    details: Mapping[str, Any] = field(default_factory=dict)
    drawn: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """All that was measured of one pack. pack, setting: what was measured and how, as JSON holds it."""

    pack: Mapping[str, Any]
    setting: Mapping[str, Any]
    trained: Trained
    sections: tuple[Section, ...]

    def figures(self) -> dict[str, Figure]:
        """Every figure by its key."""
        return {figure.key: figure for section in self.sections for figure in section.figures}

    def report(self) -> dict[str, Any]:
        """As one JSON object: figures first, then what lies behind them."""
        return {
            "pack": dict(self.pack),
            "setting": {**self.setting, "bars": self.trained},
            "figures": {key: figure.report(self.trained) for key, figure in self.figures().items()},
            "details": {section.name: dict(section.details) for section in self.sections if section.details},
        }


_DECISIVE = ("split", "clips_per_class", "classes", "num_steps", "guidance_scale", "unguided_share", "bars")
"""What must not differ between reports that are told together."""


def read_evaluation(reports: Sequence[Mapping[str, Any]]) -> Evaluation:
    """What reports of one pack tell together, each made by `Evaluation.report` of sections of its own.

    The setting is that of the report with the most clips: not every section needs them.
    Raises SettingsError for reports of different packs, or measured in different ways.
    """
    first = max(reports, key=lambda report: report["setting"]["clips"])
    for other in reports:
        alike = all(other["setting"].get(name) == first["setting"].get(name) for name in _DECISIVE)
        if other["pack"] != first["pack"] or not alike:
            raise SettingsError(
                "The reports are of different packs, or measured in different ways.",
                "Give reports of one pack, measured alike.",
            )
    figures = tuple(
        Figure(key, told["label"], told["value"], told["unit"], told["note"])
        for report in reports
        for key, told in report["figures"].items()
    )
    return Evaluation(first["pack"], first["setting"], first["setting"]["bars"], (Section("all", "All", figures),))


def not_supported(key: str, label: str, why: str) -> Figure:
    """A figure that this pack cannot have."""
    return Figure(key, label, None, note=f"not supported: {why}")
