"""Notes of a result: what the editor must know about a sound although nothing failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from rewas_engine.matching.report import Familiarity
from rewas_engine.matching.sound_kinds import Character
from rewas_engine.media.audio import AudioTrack

NoteKind = Literal[
    "little_motion",
    "silent_energy",
    "unknown_prompt",
    "audio_track",
    "retimed_sound",
    "reference",
    "unused_setting",
    "recordings_repeat",
]
_MAX_QUOTED_CHARACTERS = 60


@dataclass(frozen=True)
class Note:
    """One thing to know about a result.

    Attributes:
        kind: "little_motion": the video gives no usable energy. "silent_energy": the given energy is silent.
            "unknown_prompt": the pack does not know the prompt. "audio_track": the file has several audio tracks.
            "retimed_sound": the energy was measured on the sound of a clip at another speed. "reference": the pack
            follows only a part of the reference sound. "unused_setting": the pack does not use a setting of the
            request. "recordings_repeat": the list of recordings starts over from the first.
        text: One or two sentences for the user.
    """

    kind: NoteKind
    text: str


def words_not_read_note(pack: str, *, is_level_used: bool) -> Note:
    """Describe that an energy was estimated without the words of its prompt.

    Args:
        pack: Name of the pack.
        is_level_used: Whether the energy was moved to the typical level of the prompt.
    """
    effect = "Only the level depends on the prompt." if is_level_used else "The prompt has no effect."
    return Note("unused_setting", f"The pack {pack} estimates energy from the video alone. {effect}")


def little_motion_note(character: Character, *, is_still: bool, is_raw: bool, is_silent: bool) -> Note:
    """Describe what was done about a video with little or no motion.

    Args:
        character: Character of the prompt's sound.
        is_still: Whether the clip shows the same picture throughout.
        is_raw: Whether the level of the estimate was kept.
        is_silent: Whether the energy that the sound follows is silent throughout.
    """
    if is_raw:
        outcome = 'so the sound is very quiet. Choose the level "standard" to raise it.'
    elif is_silent:
        outcome = "so the sound has no strikes. Use a curve or a recording as the energy, or a range with more motion."
    elif character == "struck":
        outcome = "so the sound has few strikes. To add strikes, use a curve or a recording as the energy."
    else:
        outcome = "so the level of the sound hardly changes. To shape it, use a curve or a recording as the energy."
    cause = "The picture stands still" if is_still else "Little motion was found in the video"
    return Note("little_motion", f"{cause}, {outcome}")


def still_picture_note() -> Note:
    """Describe the energy of a clip that shows the same picture throughout."""
    return Note("little_motion", "The picture stands still, so its energy is steady.")


def silent_energy_note() -> Note:
    """Describe a given energy that requests silence throughout."""
    return Note("silent_energy", "The energy is silent throughout, so the sound is silent. Raise the energy.")


def unknown_prompt_note(pack_name: str, prompt: str, familiarity: Familiarity) -> Note:
    """Describe a prompt that the pack does not know, with the nearest prompts that it does know."""
    text = (
        f"The {pack_name} pack does not know “{_shorten(prompt)}” and may generate a different sound, so its takes "
        "have no score."
    )
    if familiarity.nearest:
        text += f" It knows {_join([f'“{word}”' for word in familiarity.nearest])}."
    return Note("unknown_prompt", text)


def unknown_recording_note(pack_name: str, prompt: str, familiarity: Familiarity) -> Note:
    """Describe a prompt for which a library has no recording, with the words of the nearest ones."""
    text = f"The {pack_name} library has no recording like “{_shorten(prompt)}” and performs another one."
    if familiarity.nearest:
        text += f" It has {_join([f'“{_shorten(words)}”' for words in familiarity.nearest])}."
    return Note("unknown_prompt", text)


def recordings_repeat_note(pack_name: str, prompt: str, count: int) -> Note:
    """Describe a place beyond the last recordings for a prompt. count: how many choices of recordings there are."""
    if count == 1:
        text = f"The {pack_name} library has no other recordings for “{_shorten(prompt)}”, so the same ones are used."
    else:
        text = (
            f"The {pack_name} library has {count} choices of recordings for “{_shorten(prompt)}”, so the list starts "
            "over from the first."
        )
    return Note("recordings_repeat", text)


def unused_settings_note(pack_name: str, names: Sequence[str], *, is_library: bool) -> Note:
    """Describe settings that a pack does not use. names: such as "steps"."""
    why = "performs recordings" if is_library else "has no recordings"
    return Note("unused_setting", f"The pack {pack_name} {why}, so it does not use {_join(list(names))}.")


def audio_track_note(name: str, track: AudioTrack) -> Note:
    """Describe which of several audio tracks was read. name: of the file or clip."""
    text = f"{name} has {track.count} audio tracks, and track {track.number} was read"
    if track.silent:
        many = len(track.silent) > 1
        numbers = _join([str(number) for number in track.silent])
        text += f", since track{'s' if many else ''} {numbers} {'are' if many else 'is'} silent in this range"
    return Note("audio_track", f"{text}. To read another, choose its number.")


def retimed_sound_note(name: str, speed: Fraction) -> Note:
    """Describe how the energy of a clip's own sound was measured. speed: of the clip, not 0 or 1."""
    percent = f"{float(100 * abs(speed)):.4g} %"
    how = f"runs at {percent} speed" if speed > 0 else f"runs backwards at {percent} speed"
    if speed == -1:
        how = "runs backwards"
    return Note(
        "retimed_sound",
        f"{name} {how}. Its sound was measured at the original speed, and the energy was then retimed to match the "
        "clip.",
    )


def spectrum_only_note(pack_name: str) -> Note:
    """Describe how a pack without the control "texture" follows a reference sound."""
    return Note(
        "reference",
        f"The {pack_name} pack does not follow texture, so its sound has only the spectrum of the reference sound.",
    )


def _shorten(prompt: str) -> str:
    return prompt if len(prompt) <= _MAX_QUOTED_CHARACTERS else f"{prompt[: _MAX_QUOTED_CHARACTERS - 1].rstrip()}…"


def _join(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
