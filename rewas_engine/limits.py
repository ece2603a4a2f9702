"""What may be asked of a pack, and what is said where it may not."""

from __future__ import annotations

from fractions import Fraction
from numbers import Integral, Real

from rewas_engine.curve import SampledCurve
from rewas_engine.energy import EnergyCurve
from rewas_engine.errors import SettingsError
from rewas_engine.results import ClipRead

MAX_PROMPT_CHARACTERS = 2000
MAX_TAKES = 100
MAX_STEPS = 1000
MAX_GUIDANCE_SCALE = 20.0
MAX_CONTROL_STRENGTH = 2.0
LONGEST_SOUND_S = 2 * 60 * 60
"""Of all takes of one request together: they are held in memory until they are delivered."""
NEGATIVE_GUIDANCE = 2.0
MAX_SEED = 2**63 - 1
OUTPUT_RATES_HZ = (16_000, 22_050, 44_100, 48_000, 96_000)


def checked_prompt(prompt: str, name: str = "prompt") -> str:
    """The prompt without spaces around it. Raises SettingsError, with its name, for one that is empty or too long."""
    if not isinstance(prompt, str):
        raise SettingsError(f"The {name} is {prompt!r}, no text.", "Say in words what is meant.")
    stripped = prompt.strip()
    if not stripped:
        wanted = "should not" if name.startswith("negative") else "should"
        raise SettingsError(f"The {name} is empty.", f"Say what {wanted} be heard.")
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise SettingsError(
            f"The {name} has {len(prompt)} characters.", f"Say it in at most {MAX_PROMPT_CHARACTERS} characters."
        )
    return stripped


def check_between(name: str, value: float, lowest: float, highest: float) -> None:
    """Raises SettingsError for a setting that is not a number from lowest to highest."""
    if not isinstance(value, Real) or not lowest <= value <= highest:
        raise SettingsError(f"{name} is {value}.", f"Give a value from {lowest:g} to {highest:g}.")


def check_whole(name: str, value: int, lowest: int, highest: int) -> None:
    """Raises SettingsError for a setting that is not a whole number from lowest to highest."""
    if not isinstance(value, Integral) or not lowest <= value <= highest:
        raise SettingsError(f"{name} is {value}.", f"Give a whole number from {lowest} to {highest}.")


def check_length(takes: int, stems: int, duration_s: Fraction) -> None:
    """Raises SettingsError where all stems of all takes together are longer than one request may be."""
    whole_s = takes * stems * duration_s
    if whole_s > LONGEST_SOUND_S:
        of_stems = f" of {stems} stems" if stems > 1 else ""
        noun, verb = ("take", "is") if takes == 1 else ("takes", "are")
        raise SettingsError(
            f"{takes} {noun}{of_stems} of {float(duration_s):g} s {verb} {float(whole_s) / 3600:.1f} hours of sound.",
            f"Ask for at most {LONGEST_SOUND_S // 3600} hours at once: fewer takes or layers, or a shorter clip.",
        )


def checked_part(part: tuple[float, float]) -> tuple[float, float]:
    """The part of the sampling in which the controls act. Raises SettingsError where it is none within 0 to 1."""
    begin, end = part
    if not (isinstance(begin, Real) and isinstance(end, Real) and 0 <= begin < end <= 1):
        raise SettingsError(
            f"The controls are to act from {begin} to {end} of the sampling.",
            "Give a beginning before the end, both from 0 to 1.",
        )
    return float(begin), float(end)


def check_covers(curve: SampledCurve, read: ClipRead, kind: type[SampledCurve] = EnergyCurve) -> None:
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
