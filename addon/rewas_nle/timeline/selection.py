# SPDX-License-Identifier: GPL-3.0-or-later
"""Which selected strips can get sound, and which range of their media each one shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from .rates import rate_label
from .strips import Refusal, SelectedClip, StripSnapshot

MAX_PROMPT_CHARACTERS = 2000
"""The server's limit. Longer prompts are refused before anything is sent."""


@dataclass(frozen=True)
class Selection:
    """The clips to generate sound for, and why other strips are refused."""

    clips: tuple[SelectedClip, ...]
    refusals: tuple[Refusal, ...]


def select_clips(strips: Sequence[StripSnapshot], scene_rate: Fraction) -> Selection:
    """Turn selected strips into clips. Meta strips are refused; sounds, texts and effects are ignored."""
    clips: list[SelectedClip] = []
    refusals: list[Refusal] = []
    for strip in sorted(strips, key=lambda strip: (strip.start_frame, strip.channel)):
        if strip.kind not in ("MOVIE", "META"):
            continue
        read = clip_from_strip(strip, scene_rate)
        refusal = read if isinstance(read, Refusal) else prompt_refusal(strip)
        if refusal is not None:
            refusals.append(refusal)
        elif isinstance(read, SelectedClip):
            clips.append(read)
    if not clips and not refusals:
        refusals.append(
            Refusal("No movie strip is selected.", "Select the movie strips that should get sound, then try again.")
        )
    return Selection(tuple(clips), tuple(refusals))


def prompt_refusal(strip: StripSnapshot) -> Refusal | None:
    """Return what is wrong with the strip's prompt, or None."""
    if not strip.prompt.strip():
        return Refusal(
            f'The strip "{strip.name}" has no prompt.',
            "Make it the active strip and describe the sound in the Prompt field.",
        )
    if len(strip.prompt) > MAX_PROMPT_CHARACTERS:
        return Refusal(
            f'The prompt of the strip "{strip.name}" has {len(strip.prompt)} characters.',
            f"Shorten it to at most {MAX_PROMPT_CHARACTERS}.",
        )
    return None


def clip_from_strip(strip: StripSnapshot, scene_rate: Fraction) -> SelectedClip | Refusal:
    """Return the media range that a strip shows, or why it does not show one range at normal speed."""
    refusal = _playback_refusal(strip) or _media_refusal(strip)
    if refusal is not None:
        return refusal
    assert strip.media_rate is not None  # _media_refusal has checked it
    if _has_rate_drift(strip, scene_rate):
        return Refusal(
            f'The strip "{strip.name}" shows each frame of its {rate_label(strip.media_rate)} fps media for one frame '
            f"of this {rate_label(scene_rate)} fps scene, so it does not play at its own speed.",
            f"Set the scene's frame rate to {rate_label(strip.media_rate)} in the Output properties, or add the movie "
            "again with Adjust Playback Rate enabled.",
        )
    lead_in_frames = strip.start_frame - strip.content_start_frame
    if lead_in_frames < 0 or strip.end_frame > strip.content_start_frame + strip.content_frames:
        return Refusal(
            f'The strip "{strip.name}" extends beyond its media and holds a still frame.',
            "Drag its handles back to the end of the media.",
        )
    frame_for_frame = strip.content_frames == strip.playable_frames
    source_rate = strip.media_rate if frame_for_frame else scene_rate
    start_s = strip.skipped_frames / strip.media_rate + lead_in_frames / source_rate
    # Where Blender converts between two rates, its last scene frame may end a fraction of a frame after the media.
    media_left_s = (strip.skipped_frames + strip.playable_frames) / strip.media_rate - start_s
    return SelectedClip(
        name=strip.name,
        path=strip.path,
        prompt=strip.prompt.strip(),
        start_frame=strip.start_frame,
        frames=strip.frames,
        content_start_frame=strip.content_start_frame,
        rate=scene_rate,
        source_start_s=start_s,
        source_duration_s=min(strip.frames / source_rate, media_left_s),
        media_frames=strip.media_frames,
        media_rate=strip.media_rate,
        muted=strip.muted,
    )


def _playback_refusal(strip: StripSnapshot) -> Refusal | None:
    named = f'The strip "{strip.name}"'
    if strip.kind == "META":
        return Refusal(
            f"{named} is a meta strip.",
            "Press Tab to open it, select the movie strips inside, and generate there.",
        )
    if strip.retimed:
        return Refusal(
            f"{named} is retimed.", "Reset its retiming (Strip > Retiming > Reset Retiming), or render it to a file."
        )
    if strip.reversed:
        return Refusal(f"{named} plays backwards.", "Disable Reverse Frames, or render it to a file first.")
    if strip.speed_effect:
        return Refusal(
            f'{named} is used by the speed effect "{strip.speed_effect}".',
            "Remove or mute that effect, or render the result to a file first.",
        )
    return None


def _media_refusal(strip: StripSnapshot) -> Refusal | None:
    if not strip.media_found:
        return Refusal(
            f'The media of the strip "{strip.name}" is missing ({strip.path}).',
            "Restore the file, or choose another one under Source in the strip's properties.",
        )
    if strip.media_rate is None or strip.media_frames < 1 or strip.frames < 1:
        return Refusal(
            f'Blender cannot read the media of the strip "{strip.name}" ({strip.path}).',
            "Check that the file plays, or choose another one under Source in the strip's properties.",
        )
    return None


def _has_rate_drift(strip: StripSnapshot, scene_rate: Fraction) -> bool:
    """Return whether the strip drifts from its media by a frame or more over its content.

    Blender either plays media frame by frame or converts the rate. The length of the strip's content shows which.
    """
    assert strip.media_rate is not None
    at_own_speed_frames = strip.playable_frames * scene_rate / strip.media_rate
    drift_frames = abs(strip.content_frames - at_own_speed_frames)
    return drift_frames >= 1 and strip.content_frames == strip.playable_frames
