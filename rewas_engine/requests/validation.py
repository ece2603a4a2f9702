"""Validation of a request: lengths, curves, and settings that exclude each other. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from rewas_engine.curves.curve import SampledCurve
from rewas_engine.curves.energy import EnergyCurve
from rewas_engine.errors import SettingsError
from rewas_engine.exact_time import Seconds, exact_seconds
from rewas_engine.media.cuts import MIN_SHOT_S
from rewas_engine.media.probe import ProbedClip

MAX_TOTAL_DURATION_S = 2 * 60 * 60
"""Total duration of all takes of a request, which stay in memory until they are delivered."""
OUTPUT_RATES_HZ = (16_000, 22_050, 44_100, 48_000, 96_000)


def check_combination(
    *,
    regenerates: bool = False,
    loops: bool = False,
    has_cuts: bool = False,
    has_layers: bool = False,
    gain_db: float = 0,
    has_texture: bool = False,
    has_reference: bool = False,
) -> None:
    """Raise SettingsError for settings of a request that exclude each other.

    Args:
        regenerates: Whether an existing sound is regenerated.
        loops: Whether the sound is a loop.
        has_cuts: Whether the sound starts anew at cuts.
        has_layers: Whether there are other sounds than the primary one.
        gain_db: Change in level of the primary stem.
        has_texture: Whether a texture for the primary sound is given.
        has_reference: Whether a reference sound for the primary sound is given.
    """
    if has_texture and has_reference:
        raise SettingsError(
            "A texture and a reference sound both decide which frequencies stand out.", "Choose one of the two."
        )
    if regenerates and has_layers:
        raise SettingsError(
            "A regenerated sound cannot have layers.", "Regenerate each stem in a request without layers."
        )
    if regenerates and gain_db:
        raise SettingsError(
            f"A regenerated sound cannot have a gain ({gain_db:g} dB), because its kept part keeps its level.",
            "Leave the gain out.",
        )
    if regenerates and loops:
        raise SettingsError("A regenerated sound cannot be a loop.", "Choose one of the two.")
    if has_cuts and loops:
        raise SettingsError("A loop cannot have a new sound at cuts.", "Choose one of the two.")
    if has_cuts and regenerates:
        raise SettingsError("A regenerated sound cannot have a new sound at cuts.", "Choose one of the two.")


def validate_cuts(cuts: Sequence[Seconds], duration_s: Fraction | None = None) -> tuple[Fraction, ...]:
    """Check cuts, in seconds from the start of a clip.

    Args:
        cuts: At least MIN_SHOT_S apart, in order.
        duration_s: Duration of the clip; None if it is not known yet.

    Returns:
        The cuts as exact fractions.

    Raises:
        SettingsError: They are out of order, outside the clip or too close together.
    """
    if not cuts:
        return ()  # A clip without cuts may be shorter than a shot.
    exact = tuple(exact_seconds(cut, "A cut") for cut in cuts)
    outside = [cut for cut in exact if cut <= 0 or (duration_s is not None and cut >= duration_s)]
    if outside:
        length = "" if duration_s is None else f", which lasts {float(duration_s):g} s"
        raise SettingsError(
            f"The cut at {float(outside[0]):g} s is not within the clip{length}.",
            "Give times after its start and before its end.",
        )
    for earlier_s, later_s in pairwise((Fraction(0), *exact, *(() if duration_s is None else (duration_s,)))):
        if later_s - earlier_s < MIN_SHOT_S:
            raise SettingsError(
                f"The cuts leave a shot from {float(earlier_s):g} s to {float(later_s):g} s.",
                f"Give cuts in order of time, each shot at least {float(MIN_SHOT_S):g} s long.",
            )
    return exact


def resolve_output_rate_hz(sample_rate_hz: int | None, pack_rate_hz: int, existing_rate_hz: int | None = None) -> int:
    """Return the sample rate of the stems.

    Args:
        sample_rate_hz: Requested rate; None for the default.
        pack_rate_hz: Rate of the pack, the default.
        existing_rate_hz: Rate of the sound to regenerate, which cannot change. None if there is no such sound.

    Raises:
        SettingsError: The rate is not supported, or differs from that of the sound to regenerate.
    """
    if existing_rate_hz is not None:
        if sample_rate_hz not in (None, existing_rate_hz):
            raise SettingsError(
                f"The sound to regenerate is at {existing_rate_hz} Hz, but the sample rate is set to "
                f"{sample_rate_hz} Hz.",
                f"Use {existing_rate_hz} Hz, because the kept part of the sound is not resampled.",
            )
        return existing_rate_hz
    rate_hz = pack_rate_hz if sample_rate_hz is None else sample_rate_hz
    if rate_hz not in (*OUTPUT_RATES_HZ, pack_rate_hz):
        raise SettingsError(f"sample_rate_hz is {rate_hz}.", f"Choose one of {', '.join(map(str, OUTPUT_RATES_HZ))}.")
    return rate_hz


def check_total_duration(takes: int, stems: int, duration_s: Fraction) -> None:
    """Raise SettingsError if all stems of all takes together are longer than MAX_TOTAL_DURATION_S."""
    whole_s = takes * stems * duration_s
    if whole_s > MAX_TOTAL_DURATION_S:
        of_stems = f" of {stems} stems" if stems > 1 else ""
        noun, verb = ("take", "is") if takes == 1 else ("takes", "are")
        raise SettingsError(
            f"{takes} {noun}{of_stems} of {float(duration_s):g} s {verb} {float(whole_s) / 3600:.1f} hours of sound.",
            f"Request at most {MAX_TOTAL_DURATION_S // 3600} hours: fewer takes or layers, or a shorter clip.",
        )


def check_curve_covers_clip(curve: SampledCurve, read: ProbedClip, kind: type[SampledCurve] = EnergyCurve) -> None:
    """Raise SettingsError if a curve has the wrong type, or a length that differs from that of its clip.

    The lengths may differ by one value of the curve and one frame of the video.
    """
    name, maker = ("energy", "curve_from_points") if kind is EnergyCurve else ("texture", "texture_from_points")
    if not isinstance(curve, kind):
        raise SettingsError(
            f"The {name} is of the type {type(curve).__name__}.",
            f"Give a curve of the type {kind.__name__}, for example from {maker}.",
        )
    slack_s = 1 / curve.rate_hz + 1 / read.frame_rate
    if abs(curve.duration_s - read.duration_s) > slack_s:
        raise SettingsError(
            f"The {name} curve lasts {float(curve.duration_s):.3f} s, but the clip {read.name} lasts "
            f"{float(read.duration_s):.3f} s.",
            "Give a curve that is as long as the clip.",
        )
