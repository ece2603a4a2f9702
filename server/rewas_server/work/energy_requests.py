"""The energies of a request: their curves, their edits, and the checks of both."""

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
"""Points of a longer clip are checked after its media has been read, because a source range can claim any length."""

Given = rewas_pb2.EnergyCurve | rewas_pb2.EnergyPoints | float
EditT = TypeVar("EditT")


@dataclass(frozen=True)
class EnergySpec:
    """One energy of a request, with its edits parsed.

    Attributes:
        given: Curve, points or a level in nats, as in the request; None if the energy comes from the clip.
        edits: In the order of the request.
    """

    given: Given | None
    edits: tuple[EnergyEdit, ...] = ()

    def check(self, duration_s: Fraction | None) -> None:
        """Check the given energy. duration_s: of the clip, if known. Raises ProblemError (SETTINGS)."""
        if isinstance(self.given, rewas_pb2.EnergyPoints) and (
            duration_s is None or duration_s > _MAX_CHECKED_DURATION_S
        ):
            return
        if isinstance(self.given, float):
            duration_s = Fraction(1)
        if self.given is not None:
            _curve(self.given, duration_s or Fraction(1))

    def resolve_unedited(self, clip: VideoClip) -> EnergyCurve | None:
        """Return the given energy over a clip, before the edits; None if it comes from the clip.

        Raises MediaError, SettingsError, ProblemError.
        """
        if self.given is None:
            return None
        read = read_clip(clip)
        curve = _curve(self.given, read.duration_s)
        check_curve_covers_clip(curve, read)
        return curve

    def resolve_edited(self, clip: VideoClip) -> EnergyCurve | None:
        """Return the same after the edits. Raises MediaError, SettingsError, ProblemError."""
        curve = self.resolve_unedited(clip)
        return None if curve is None else apply_edits(curve, self.edits)


def parse_energy_work(work: rewas_pb2.EnergyWork, label: str) -> EnergySpec:
    """Parse the energy of an EnergyWork. label: name of the clip, for errors. Raises ProblemError (SETTINGS)."""
    spec = _parse_spec(work.energy)
    if spec.given is None and work.source == rewas_pb2.ENERGY_SOURCE_USER:
        raise ProblemError(
            f'The energy of "{label}" has the source USER, but no curve is given.',
            "Give a curve, points or a level, or choose the video or the sound as the source.",
            ProblemKind.SETTINGS,
        )
    if spec.given is not None and work.source in (rewas_pb2.ENERGY_SOURCE_VIDEO, rewas_pb2.ENERGY_SOURCE_AUDIO):
        raise ProblemError(
            f'The energy of "{label}" is both given and taken from the clip.',
            "Use one of the two.",
            ProblemKind.SETTINGS,
        )
    return spec


def parse_sound_energy(work: rewas_pb2.SoundWork) -> EnergySpec:
    """Parse the energy of the primary sound. Raises ProblemError (SETTINGS)."""
    return _parse_spec(work.energy)


def parse_layer_energies(work: rewas_pb2.SoundWork, label: str) -> dict[str, EnergySpec]:
    """Parse the energy curves of layers, by layer name. label: from `clip_label`.

    Raises ProblemError (SETTINGS) for an unknown layer, for an energy without a curve, and for a layer whose settings
    choose another energy.
    """
    clip = label[0].lower() + label[1:]
    layers = {layer.name: layer for layer in work.settings.layers}
    specs = {name: _parse_spec(energy) for name, energy in work.layer_energies.items()}
    for name, spec in specs.items():
        if name not in layers:
            raise ProblemError(
                f"An energy is set for the layer {name!r}, but {clip} has no such layer.",
                "Add the layer, or remove its energy.",
                ProblemKind.SETTINGS,
            )
        energy_name = enum_names.LAYER_ENERGY.to_name(layers[name].energy)
        if energy_name is not None:
            raise ProblemError(
                f"The energy of the layer {name!r} of {clip} is {energy_name}, but a curve is given too.",
                "Use one of the two.",
                ProblemKind.SETTINGS,
            )
        if spec.given is None:
            raise ProblemError(
                f"The energy of the layer {name!r} of {clip} has no curve.",
                "Give a curve, points or a level.",
                ProblemKind.SETTINGS,
            )
    return specs


def parse_edits(edits: Sequence[str], parse: Callable[[str], EditT]) -> tuple[EditT, ...]:
    """Parse edits from their text. Raises SettingsError for an invalid edit, and for too many."""
    if len(edits) > MAX_EDITS:
        raise SettingsError(f"There are {len(edits)} edits.", f"Use at most {MAX_EDITS}.")
    return tuple(parse(edit) for edit in edits)


def _parse_spec(energy: rewas_pb2.EnergyInput) -> EnergySpec:
    name = energy.WhichOneof("source")
    try:
        return EnergySpec(None if name is None else getattr(energy, name), parse_edits(energy.edits, parse_edit))
    except EngineError as error:
        raise problem_from_error(error) from error


def _curve(given: Given, duration_s: Fraction) -> EnergyCurve:
    """Convert a given energy to a curve. duration_s: of the clip. Raises ProblemError (SETTINGS) if it is invalid."""
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
