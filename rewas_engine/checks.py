"""Validate single values: numbers, prompts, and the range of sampling steps in which controls act."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Literal

from rewas_engine.errors import SettingsError

ControlName = Literal["energy", "onsets"]
"""The control that the primary sound follows."""
MAX_PROMPT_CHARACTERS = 2000
MAX_STEPS = 1000
MAX_GUIDANCE_SCALE = 20.0
MAX_CONTROL_STRENGTH = 2.0
MIN_NEGATIVE_GUIDANCE = 2.0
MAX_SEED = 2**63 - 1


def validate_prompt(prompt: str, name: str = "prompt") -> str:
    """Return a prompt without surrounding spaces.

    Args:
        prompt: The text.
        name: Name of the prompt in error messages.

    Raises:
        SettingsError: The prompt is not text, is empty or is too long.
    """
    if not isinstance(prompt, str):
        raise SettingsError(f"The {name} is {prompt!r}, which is not text.", "Describe the sound in words.")
    stripped = prompt.strip()
    if not stripped:
        wanted = "should not" if name.startswith("negative") else "should"
        raise SettingsError(f"The {name} is empty.", f"Say what {wanted} be heard.")
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise SettingsError(
            f"The {name} has {len(prompt)} characters.", f"Say it in at most {MAX_PROMPT_CHARACTERS} characters."
        )
    return stripped


def check_range(name: str, value: float, lowest: float, highest: float) -> None:
    """Raise SettingsError if a setting is not a number from `lowest` to `highest`."""
    if not isinstance(value, Real) or not lowest <= value <= highest:
        raise SettingsError(f"{name} is {value}.", f"Give a value from {lowest:g} to {highest:g}.")


def check_integer(name: str, value: int, lowest: int, highest: int) -> None:
    """Raise SettingsError if a setting is not a whole number from `lowest` to `highest`."""
    if not isinstance(value, Integral) or not lowest <= value <= highest:
        raise SettingsError(f"{name} is {value}.", f"Give a whole number from {lowest} to {highest}.")


def validate_control_range(part: tuple[float, float]) -> tuple[float, float]:
    """Return the range of the sampling in which controls act, as fractions from 0 (first step) to 1 (last step).

    Raises:
        SettingsError: The range is empty or not within 0 to 1.
    """
    begin, end = part
    if not (isinstance(begin, Real) and isinstance(end, Real) and 0 <= begin < end <= 1):
        raise SettingsError(
            f"The controls are to act from {begin} to {end} of the sampling.",
            "Give a beginning before the end, both from 0 to 1.",
        )
    return float(begin), float(end)
