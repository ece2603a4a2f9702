"""Figures of an evaluation with their targets and details, in sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rewas_engine.errors import SettingsError

Trained = Literal["cpu", "gpu"]
"""Device that a pack was trained on. Targets are higher for a GPU."""


@dataclass(frozen=True)
class Target:
    """The value that a figure should reach.

    Attributes:
        cpu: Target for packs trained on a CPU.
        gpu: Target for packs trained on a GPU.
        at_least: Whether the figure should be at least the target, instead of at most.
    """

    cpu: float
    gpu: float
    at_least: bool = True

    def value(self, trained: Trained) -> float:
        """The target for packs trained on a device."""
        return self.cpu if trained == "cpu" else self.gpu

    def is_met_by(self, value: float, trained: Trained) -> bool:
        """Whether a value reaches the target."""
        return value >= self.value(trained) if self.at_least else value <= self.value(trained)


TARGETS: Mapping[str, Target] = {
    "energy_correlation_mean": Target(0.96, 0.98),
    "energy_correlation_worse_tenth": Target(0.90, 0.95),
    "energy_mae_nats": Target(0.20, 0.12, at_least=False),
    "uncontrolled_correlation": Target(0.05, 0.05, at_least=False),
    "real_class": Target(0.97, 0.97),
    "class": Target(0.88, 0.95),
    "class_worst": Target(0.50, 0.75),
    "class_swapped": Target(0.60, 0.75),
    "paraphrase_drop_points": Target(5.0, 3.0, at_least=False),
    "vocoded_correlation_mean": Target(0.95, 0.97),
    "vocoded_mae_nats": Target(0.25, 0.18, at_least=False),
    "vocoded_class": Target(0.82, 0.92),
    "vocoder_l1": Target(0.12, 0.09, at_least=False),
    "vocoder_l1_worst": Target(0.30, 0.20, at_least=False),
    "onset_f1": Target(0.85, 0.92),
    "picture_visible": Target(0.85, 0.85),
    "picture_silent_motion": Target(0.30, 0.30, at_least=False),
    "real_clips_zero_lag": Target(0.30, 0.30),
    "real_clips_best_lag": Target(0.40, 0.40),
    "realism_nearness": Target(0.50, 0.50),
    "joint_auc_picture": Target(0.95, 0.95),
    "joint_auc_sound": Target(0.95, 0.95),
    "conflict_auc": Target(0.95, 0.95),
    "take_s": Target(1.5, 1.5, at_least=False),
}
"""Targets of a starter pack, by figure. Figures without a target are only reported."""


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        key: Name in figures.json, unique within an evaluation.
        label: Name in reports.
        value: The value, or None; the note then gives the reason ("not supported: …", "not measured: …").
        unit: "nats", "s", "points" or "".
        note: A remark for the report.
    """

    key: str
    label: str
    value: float | None
    unit: str = ""
    note: str = ""

    @property
    def target(self) -> Target | None:
        """Target of the figure, or None."""
        return TARGETS.get(self.key)

    def passed(self, trained: Trained) -> bool | None:
        """Whether the figure reaches its target; None without a target or a value."""
        return None if self.target is None or self.value is None else self.target.is_met_by(self.value, trained)

    def report(self, trained: Trained) -> dict[str, Any]:
        """Convert to JSON."""
        target = self.target
        return {
            "label": self.label,
            "value": None if self.value is None else round(self.value, 5),
            "unit": self.unit,
            "note": self.note,
            "target": None if target is None else target.value(trained),
            "at_least": None if target is None else target.at_least,
            "passed": self.passed(trained),
        }


@dataclass(frozen=True)
class Section:
    """Figures that belong together.

    Attributes:
        name: Name on the command line.
        title: Heading in the report.
        figures: The figures.
        details: Numbers by class or by clip, as JSON values.
        plot_data: Arrays for the plots.
    """

    name: str
    title: str
    figures: tuple[Figure, ...]
    details: Mapping[str, Any] = field(default_factory=dict)
    plot_data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """All figures of one pack.

    Attributes:
        pack: What was measured, as JSON values.
        setting: How it was measured, as JSON values.
        trained: Device that the targets are for.
        sections: The sections, in order.
    """

    pack: Mapping[str, Any]
    setting: Mapping[str, Any]
    trained: Trained
    sections: tuple[Section, ...]

    def figures(self) -> dict[str, Figure]:
        """Return all figures by key."""
        return {figure.key: figure for section in self.sections for figure in section.figures}

    def report(self) -> dict[str, Any]:
        """Convert to one JSON object: figures first, then the details."""
        return {
            "pack": dict(self.pack),
            "setting": {**self.setting, "targets": self.trained},
            "figures": {key: figure.report(self.trained) for key, figure in self.figures().items()},
            "details": {section.name: dict(section.details) for section in self.sections if section.details},
        }


_DECISIVE = ("split", "clips_per_class", "classes", "num_steps", "guidance_scale", "unguided_share", "targets")
"""Settings that must agree between reports that are merged."""


def merge_reports(reports: Sequence[Mapping[str, Any]]) -> Evaluation:
    """Merge reports of one pack, each from `Evaluation.report` with its own sections.

    The merged setting is that of the report with the most clips, because not every section uses clips.

    Raises:
        SettingsError: The reports are of different packs, or were measured with different settings.
    """
    first = max(reports, key=lambda report: report["setting"]["clips"])
    for other in reports:
        alike = all(other["setting"].get(name) == first["setting"].get(name) for name in _DECISIVE)
        if other["pack"] != first["pack"] or not alike:
            raise SettingsError(
                "The reports are of different packs, or were measured with different settings.",
                "Give reports of one pack with the same settings.",
            )
    figures = tuple(
        Figure(key, entry["label"], entry["value"], entry["unit"], entry["note"])
        for report in reports
        for key, entry in report["figures"].items()
    )
    return Evaluation(first["pack"], first["setting"], first["setting"]["targets"], (Section("all", "All", figures),))


def unsupported_figure(key: str, label: str, why: str) -> Figure:
    """Build a figure that the pack does not support, with the reason."""
    return Figure(key, label, None, note=f"not supported: {why}")
