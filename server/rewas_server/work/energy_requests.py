"""The energies that requests ask for: what they are taken from, how they are edited, and what cannot be right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from rewas_api import enum_names
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_engine import (
    EnergyCurve,
    EnergyEdit,
    EngineError,
    SettingsError,
    VideoClip,
    apply_edits,
    curve_from_points,
    flat_curve,
    parse_edit,
)
from rewas_engine.media.probe import read_clip
from rewas_engine.requests.validation import check_curve_covers_clip
from rewas_server.work.translation import curve_from_message, fraction, problem_from_error

MAX_EDITS = 1000

_MAX_CHECKED_DURATION_S = Fraction(24 * 60 * 60)
"""Points over a longer clip are checked once its media has been read: a range alone may claim any length."""

Given = rewas_pb2.EnergyCurve | rewas_pb2.EnergyPoints | float
EditT = TypeVar("EditT")


@dataclass(frozen=True)
class EnergySpec:
    """One energy that a request asks for, its words understood.

    given: values, points or a level in nats, as they travelled; None where it is to be taken from the clip. edits: in
    their order.
    """

    given: Given | None
    edits: tuple[EnergyEdit, ...] = ()

    def check(self, duration_s: Fraction | None) -> None:
        """Raises ProblemError (SETTINGS) for what cannot be right. duration_s: the clip's, where it is known."""
        if isinstance(self.given, rewas_pb2.EnergyPoints) and (
            duration_s is None or duration_s > _MAX_CHECKED_DURATION_S
        ):
            return
        if isinstance(self.given, float):
            duration_s = Fraction(1)
        if self.given is not None:
            _curve(self.given, duration_s or Fraction(1))

    def of_clip(self, clip: VideoClip) -> EnergyCurve | None:
        """What is given, over a clip, before its edits; None where it is to be taken from the clip.

        Raises MediaError, SettingsError, ProblemError.
        """
        if self.given is None:
            return None
        read = read_clip(clip)
        curve = _curve(self.given, read.duration_s)
        check_curve_covers_clip(curve, read)
        return curve

    def resolve_edited(self, clip: VideoClip) -> EnergyCurve | None:
        """The same after the edits. Raises MediaError, SettingsError, ProblemError."""
        curve = self.of_clip(clip)
        return None if curve is None else apply_edits(curve, self.edits)


def energy_work_spec(work: rewas_pb2.EnergyWork, label: str) -> EnergySpec:
    """The energy that is to be taken. label: of the clip, "shot". Raises ProblemError (SETTINGS)."""
    asked = _parse_spec(work.energy)
    if asked.given is None and work.source == rewas_pb2.ENERGY_SOURCE_USER:
        raise ProblemError(
            f'The energy of "{label}" cannot be taken from the user, who gives none.',
            "Give a curve, points or a level, or choose the picture or the sound.",
            ProblemKind.SETTINGS,
        )
    if asked.given is not None and work.source in (rewas_pb2.ENERGY_SOURCE_VIDEO, rewas_pb2.ENERGY_SOURCE_AUDIO):
        raise ProblemError(
            f'The energy of "{label}" is given, and to be taken from the clip too.',
            "Ask for one of the two.",
            ProblemKind.SETTINGS,
        )
    return asked


def sound_work_spec(work: rewas_pb2.SoundWork) -> EnergySpec:
    """The energy that the primary sound is to follow. Raises ProblemError (SETTINGS)."""
    return _parse_spec(work.energy)


def layer_energy_specs(work: rewas_pb2.SoundWork, label: str) -> dict[str, EnergySpec]:
    """The energies that layers are to follow, by their names. label: as of `clip_label`.

    Raises ProblemError (SETTINGS) for one that is not there, not given, or not the only one of its layer.
    """
    within = label[0].lower() + label[1:]
    layers = {layer.name: layer for layer in work.settings.layers}
    asked = {name: _parse_spec(energy) for name, energy in work.layer_energies.items()}
    for name, energy_asked in asked.items():
        if name not in layers:
            raise ProblemError(
                f"There is an energy for the layer {name!r} of {within}, which there is not.",
                "Add the layer, or leave its energy out.",
                ProblemKind.SETTINGS,
            )
        energy_name = enum_names.LAYER_ENERGY.to_name(layers[name].energy)
        if energy_name is not None:
            raise ProblemError(
                f"The layer {name!r} of {within} is to be {energy_name} and to follow a curve.",
                "Ask for one of the two.",
                ProblemKind.SETTINGS,
            )
        if energy_asked.given is None:
            raise ProblemError(
                f"The layer {name!r} of {within} is to follow an energy of its own, but none is given.",
                "Give a curve, points or a level.",
                ProblemKind.SETTINGS,
            )
    return asked


def parse_edits(edits: Sequence[str], parse: Callable[[str], EditT]) -> tuple[EditT, ...]:
    """Edits in words, each understood. Raises SettingsError for one that is not, and for too many."""
    if len(edits) > MAX_EDITS:
        raise SettingsError(f"There are {len(edits)} edits.", f"Give at most {MAX_EDITS}.")
    return tuple(parse(words) for words in edits)


def _parse_spec(energy: rewas_pb2.EnergyInput) -> EnergySpec:
    name = energy.WhichOneof("source")
    try:
        return EnergySpec(None if name is None else getattr(energy, name), parse_edits(energy.edits, parse_edit))
    except EngineError as error:
        raise problem_from_error(error) from error


def _curve(given: Given, duration_s: Fraction) -> EnergyCurve:
    """What is given, as a curve. duration_s: of the clip. Raises ProblemError (SETTINGS) for what is none."""
    if isinstance(given, rewas_pb2.EnergyCurve):
        return curve_from_message(given)
    try:
        if isinstance(given, float):
            return flat_curve(duration=duration_s, nats=given)
        points = [
            (float(fraction(point.time_s, f"The time of point {number}")), point.level_nats)
            for number, point in enumerate(given.points, start=1)
        ]
        return curve_from_points(points, duration=duration_s)
    except EngineError as error:
        raise problem_from_error(error) from error
