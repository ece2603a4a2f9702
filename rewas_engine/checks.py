"""Checks of single values: numbers in a range, prompts, seeds, takes and gains.

This module does not import torch, because the server checks requests with it before it starts a worker.
"""

from __future__ import annotations

from fractions import Fraction
from numbers import Integral, Real
from typing import Literal, get_args

from rewas_engine.errors import SettingsError

ControlName = Literal["energy", "onsets"]
"""What the primary sound follows."""
LevelName = Literal["standard", "raw"]
"""How loud sounds are: "standard" takes the level of an energy from the prompt and delivers stems at a standard level;
"raw" keeps the level of the energy and of the model."""
RankName = Literal["score", "avh"]
"""What orders takes: "score" is how well each follows its request; "avh" is AVHScore, the similarity of the whole sound
to the frames of the clip."""
MAX_PROMPT_CHARACTERS = 2000
MAX_STEPS = 1000
MAX_GUIDANCE_SCALE = 20.0
MAX_CONTROL_STRENGTH = 2.0
MIN_NEGATIVE_GUIDANCE = 2.0
MAX_SEED = 2**63 - 1
MAX_TAKES = 100
MIN_GAIN_DB, MAX_GAIN_DB = -60.0, 24.0
DEFAULT_VIDEO_STEPS = 50
"""Steps of DDIM for an audible video."""
DEFAULT_VIDEO_GUIDANCE = 3.0
DEFAULT_VIDEO_HEIGHT_PIXELS = 256
MIN_VIDEO_HEIGHT_PIXELS, MAX_VIDEO_HEIGHT_PIXELS = 32, 1024
MIN_FRAME_RATE, MAX_FRAME_RATE = 1, 240


def validate_prompt(prompt: str, name: str = "prompt") -> str:
    """Strip a prompt and check its length.

    Args:
        prompt: 1 to MAX_PROMPT_CHARACTERS characters.
        name: Name of the prompt in error messages.

    Returns:
        The prompt without surrounding white space.

    Raises:
        SettingsError: The prompt is not text, is empty or is too long.
    """
    if not isinstance(prompt, str):
        raise SettingsError(f"The {name} is {prompt!r}, which is not text.", "Describe the sound in words.")
    stripped = prompt.strip()
    if not stripped:
        remedy = "must not be" if name.startswith("negative") else "should be"
        raise SettingsError(f"The {name} is empty.", f"Describe what the sound {remedy}.")
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise SettingsError(
            f"The {name} has {len(prompt)} characters.", f"Shorten it to at most {MAX_PROMPT_CHARACTERS} characters."
        )
    return stripped


def check_range(name: str, value: float | Fraction, lowest: float, highest: float) -> None:
    """Raise SettingsError if a setting is not a number from lowest to highest."""
    if not isinstance(value, Real) or not lowest <= value <= highest:
        raise SettingsError(f"{name} is {value}.", f"Give a value from {lowest:g} to {highest:g}.")


def check_integer(name: str, value: int, lowest: int, highest: int) -> None:
    """Raise SettingsError if a setting is not a whole number from lowest to highest."""
    if not isinstance(value, Integral) or not lowest <= value <= highest:
        raise SettingsError(f"{name} is {value}.", f"Give a whole number from {lowest} to {highest}.")


def check_takes(takes: int) -> None:
    """Raise SettingsError if the number of takes is not from 1 to MAX_TAKES."""
    check_integer("takes", takes, 1, MAX_TAKES)


def check_rank(rank_by: str) -> None:
    """Raise SettingsError if takes cannot be ranked by this."""
    if rank_by not in get_args(RankName):
        raise SettingsError(f"rank_by is {rank_by!r}.", f"Choose one of {', '.join(get_args(RankName))}.")


def check_seed(seed: int, takes: int = 1) -> None:
    """Raise SettingsError if a seed is negative or too large for the number of takes.

    Each take uses one seed, counting up from `seed`, and one more in reserve in case it has faults.
    """
    check_integer("seed", seed, 0, MAX_SEED - 2 * takes + 1)


def check_gain(gain_db: float, name: str = "gain_db") -> None:
    """Raise SettingsError if a gain is not from MIN_GAIN_DB to MAX_GAIN_DB."""
    check_range(name, gain_db, MIN_GAIN_DB, MAX_GAIN_DB)


def check_strength(strength: float) -> None:
    """Raise SettingsError if the strength of a regeneration is not above 0 and at most 1."""
    if not isinstance(strength, Real) or not 0 < strength <= 1:
        raise SettingsError(f"The strength is {strength}.", "Give a number above 0 and up to 1.")


def check_control_range(start: float, end: float) -> None:
    """Raise SettingsError unless 0 <= start < end <= 1, for the part of the sampling in which controls act."""
    if not (isinstance(start, Real) and isinstance(end, Real) and 0 <= start < end <= 1):
        raise SettingsError(
            f"The control acts from {start} to {end} of the sampling.",
            "Give a start before the end, both from 0 to 1.",
        )
