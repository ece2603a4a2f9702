"""Validation of a request: lengths, curves, and settings that contradict each other."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from rewas_engine.curves.curve import SampledCurve
from rewas_engine.curves.energy import EnergyCurve
from rewas_engine.errors import SettingsError
from rewas_engine.exact_time import Seconds
from rewas_engine.media.probe import ProbedClip
from rewas_engine.requests.layers import Layer

if TYPE_CHECKING:
    from rewas_engine.requests.regeneration import Revision


def check_combination(
    *, layers: Sequence[Layer], gain_db: float, loop: bool, cuts: Sequence[Seconds], revision: Revision | None
) -> None:
    """Raises SettingsError where what is asked for cannot be had at once."""
    if layers and revision is not None:
        raise SettingsError(
            "A part of a sound is to be made again, and there are layers beside it.", "Make each again by itself."
        )
    if gain_db and revision is not None:
        raise SettingsError(
            f"A part of a sound is to be made again, with a gain of {gain_db:g} dB: what stays keeps its level.",
            "Leave the gain out.",
        )
    if loop and revision is not None:
        raise SettingsError("A part of a sound is to be made again, and to loop.", "Ask for one of the two.")
    if cuts and (loop or revision is not None):
        other = "it is to loop" if loop else "a part of it is to be made again"
        raise SettingsError(f"The sound is to begin anew at cuts, and {other}.", "Ask for one of the two.")


def resolve_output_rate_hz(sample_rate_hz: int | None, pack_rate_hz: int, revision: Revision | None) -> int:
    """The rate of the stems: what is asked for, or the pack's own, or that of the sound that is revised.

    Raises SettingsError for a rate that is not offered, or another one than that of the sound that is revised.
    """
    if revision is not None:
        own_hz = revision.stem.sample_rate_hz
        if sample_rate_hz not in (None, own_hz):
            raise SettingsError(
                f"A sound at {own_hz} Hz is to be made again in part, at {sample_rate_hz} Hz.",
                f"Ask for {own_hz} Hz: what stays is not resampled.",
            )
        return own_hz
    rate_hz = pack_rate_hz if sample_rate_hz is None else sample_rate_hz
    if rate_hz not in (*OUTPUT_RATES_HZ, pack_rate_hz):
        raise SettingsError(f"sample_rate_hz is {rate_hz}.", f"Choose one of {', '.join(map(str, OUTPUT_RATES_HZ))}.")
    return rate_hz


MAX_TAKES = 100
MAX_TOTAL_DURATION_S = 2 * 60 * 60
"""Of all takes of one request together: they are held in memory until they are delivered."""
OUTPUT_RATES_HZ = (16_000, 22_050, 44_100, 48_000, 96_000)


def check_total_duration(takes: int, stems: int, duration_s: Fraction) -> None:
    """Raises SettingsError where all stems of all takes together are longer than one request may be."""
    whole_s = takes * stems * duration_s
    if whole_s > MAX_TOTAL_DURATION_S:
        of_stems = f" of {stems} stems" if stems > 1 else ""
        noun, verb = ("take", "is") if takes == 1 else ("takes", "are")
        raise SettingsError(
            f"{takes} {noun}{of_stems} of {float(duration_s):g} s {verb} {float(whole_s) / 3600:.1f} hours of sound.",
            f"Ask for at most {MAX_TOTAL_DURATION_S // 3600} hours at once: fewer takes or layers, or a shorter clip.",
        )


def check_curve_covers_clip(curve: SampledCurve, read: ProbedClip, kind: type[SampledCurve] = EnergyCurve) -> None:
    """Raises SettingsError for a curve of another kind, or not as long as its clip, to a frame and a value."""
    name, maker = ("energy", "curve_from_points") if kind is EnergyCurve else ("texture", "texture_from_points")
    if not isinstance(curve, kind):
        raise SettingsError(
            f"The {name} is of the type {type(curve).__name__}.",
            f"Give a curve of the type {kind.__name__}, as {maker} makes one.",
        )
    slack_s = 1 / curve.rate_hz + 1 / read.frame_rate
    if abs(curve.duration_s - read.duration_s) > slack_s:
        raise SettingsError(
            f"The {name} curve lasts {float(curve.duration_s):.3f} s, but the clip {read.name} lasts "
            f"{float(read.duration_s):.3f} s.",
            "Give a curve that is as long as the clip.",
        )
