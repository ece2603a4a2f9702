# SPDX-License-Identifier: GPL-3.0-or-later
"""Which selected strips can get sound, and which range of their media each one shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from .rates import rate_label
from .strips import Proxy, Refusal, SelectedClip, StripSnapshot

PICTURE_KINDS = frozenset({"MOVIE", "IMAGE", "SCENE", "META", "MOVIECLIP"})
"""Blender's types of the strips that can get sound."""
MAX_PROMPT_CHARACTERS = 2000
"""The server's limit. Longer prompts are refused before anything is sent."""
MAX_PROXY_FRAMES = 1_000_000
_OTHER_KINDS = {
    "SOUND": "a sound",
    "TEXT": "a text strip",
    "COLOR": "a colour strip",
    "ADJUSTMENT": "an adjustment layer",
    "MASK": "a mask strip",
    "MULTICAM": "a multicam selector",
}


@dataclass(frozen=True)
class Selection:
    """The clips to generate sound for, and why other strips are refused."""

    clips: tuple[SelectedClip, ...]
    refusals: tuple[Refusal, ...]


def select_clips(strips: Sequence[StripSnapshot], scene_rate: Fraction) -> Selection:
    """Turn selected strips into clips. Each strip that cannot get sound is refused by its name."""
    clips: list[SelectedClip] = []
    refusals: list[Refusal] = []
    for strip in sorted(strips, key=lambda strip: (strip.start_frame, strip.channel)):
        read = clip_from_strip(strip, scene_rate)
        refusal = read if isinstance(read, Refusal) else prompt_refusal(strip)
        if refusal is not None:
            refusals.append(refusal)
        elif isinstance(read, SelectedClip):
            clips.append(read)
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
    """Return what a strip shows: a range of its movie, or a proxy of its picture. Or why it cannot get sound."""
    refusal = _kind_refusal(strip) or _media_refusal(strip)
    if refusal is not None:
        return refusal
    reason = proxy_reason(strip, scene_rate)
    return _proxy_clip(strip, scene_rate, reason) if reason else _native_clip(strip, scene_rate)


def native_clip(strip: StripSnapshot, scene_rate: Fraction) -> SelectedClip | Refusal:
    """Return the range of its movie that a strip shows, or why no range shows the same."""
    refusal = _kind_refusal(strip) or _media_refusal(strip)
    if refusal is not None:
        return refusal
    reason = proxy_reason(strip, scene_rate)
    if reason:
        return Refusal(f'The strip "{strip.name}" {reason}.', "Render it to a movie file and use that instead.")
    return _native_clip(strip, scene_rate)


def proxy_reason(strip: StripSnapshot, scene_rate: Fraction) -> str:
    """Return why no range of a movie shows what this strip shows, or "".

    The reason completes the sentence 'The strip "x" …'.
    """
    if strip.changes:
        return strip.changes[0]
    if strip.kind != "MOVIE" or strip.media_rate is None:
        return ""
    if _has_rate_drift(strip, scene_rate):
        return (
            f"plays its {rate_label(strip.media_rate)} fps media frame by frame in this "
            f"{rate_label(scene_rate)} fps scene"
        )
    if strip.start_frame < strip.content_start_frame or strip.end_frame > (
        strip.content_start_frame + strip.content_frames
    ):
        return "extends beyond its media and holds a still frame"
    return ""


def _native_clip(strip: StripSnapshot, scene_rate: Fraction) -> SelectedClip:
    assert strip.media_rate is not None  # _media_refusal has checked it
    lead_in_frames = strip.start_frame - strip.content_start_frame
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


def _proxy_clip(strip: StripSnapshot, scene_rate: Fraction, reason: str) -> SelectedClip | Refusal:
    if strip.frames > MAX_PROXY_FRAMES:
        return Refusal(
            f'The strip "{strip.name}" is {strip.frames} frames long and {reason}, so Blender would have to render it.',
            f"Split it into strips of at most {MAX_PROXY_FRAMES} frames.",
        )
    return SelectedClip(
        name=strip.name,
        path=strip.proxy_path,
        prompt=strip.prompt.strip(),
        start_frame=strip.start_frame,
        frames=strip.frames,
        content_start_frame=strip.content_start_frame,
        rate=scene_rate,
        source_start_s=Fraction(0),
        source_duration_s=strip.frames / scene_rate,
        media_frames=strip.frames,
        media_rate=scene_rate,
        muted=strip.muted,
        proxy=Proxy(reason, strip.path),
    )


def _kind_refusal(strip: StripSnapshot) -> Refusal | None:
    if strip.kind in PICTURE_KINDS:
        return None
    kind = _OTHER_KINDS.get(strip.kind, "an effect")
    return Refusal(
        f'The strip "{strip.name}" is {kind}. Sound cannot be generated for that.',
        "Select movie, image, scene or meta strips.",
    )


def _media_refusal(strip: StripSnapshot) -> Refusal | None:
    if strip.missing_file:
        others = f" and {strip.missing_files - 1} other files" if strip.missing_files > 1 else ""
        return Refusal(
            f'The media of the strip "{strip.name}" is missing ({strip.missing_file}{others}).',
            "Restore the file, or choose another one under Source in the strip's properties.",
        )
    if strip.frames < 1:
        return Refusal(f'The strip "{strip.name}" has no frames.', "Drag its handles apart.")
    if strip.kind == "MOVIE" and (strip.media_rate is None or strip.media_frames < 1):
        return Refusal(
            f'Blender cannot read the media of the strip "{strip.name}" ({strip.path}).',
            "Check that the file plays, or choose another one under Source in the strip's properties.",
        )
    return None


def _has_rate_drift(strip: StripSnapshot, scene_rate: Fraction) -> bool:
    """Return whether the strip drifts from its media by a frame or more over its content.

    Blender either plays media frame by frame or converts the rate. The length of the strip's content shows which one.
    """
    assert strip.media_rate is not None
    at_own_speed_frames = strip.playable_frames * scene_rate / strip.media_rate
    drift_frames = abs(strip.content_frames - at_own_speed_frames)
    return drift_frames >= 1 and strip.content_frames == strip.playable_frames
