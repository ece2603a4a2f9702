"""Writes prompts into a timeline: into the metadata of its clips or, where a format has none, into markers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import opentimelineio as otio

from rewas_api.clip_settings import METADATA_KEY
from rewas_api.errors import ProblemError, ProblemKind
from rewas_server.otio.clip_keys import ANNOTATION_KEY
from rewas_server.otio.formats import FORMATS, Feature, format_for
from rewas_server.otio.metadata import has_key

MARKER_LABEL = "PROMPT:"


def keeps_metadata(output: Path) -> bool:
    """Whether prompts in the metadata of clips survive in a file of this format; otherwise, those in markers do.

    Raises ProblemError (TIMELINE) if neither does.
    """
    found = format_for(output, writes=True)
    if Feature.METADATA not in found.loses:
        return True
    if Feature.MARKERS in found.loses:
        others = ", ".join(
            suffix
            for suffix, each in FORMATS.items()
            if each.writes and not {Feature.METADATA, Feature.MARKERS} <= each.loses
        )
        raise ProblemError(
            f"A file with the suffix {found.suffix} cannot hold prompts.",
            f"Choose one of {others}, or write the prompts into a spotting sheet with `rewas timeline sheet`.",
            ProblemKind.TIMELINE,
        )
    return False


def find_clip(timeline: otio.schema.Timeline, path: tuple[int, ...]) -> otio.schema.Clip:
    """Return a clip of a timeline. path: indexes of children, from the tracks down."""
    found = timeline.tracks
    for index in path:
        found = found[index]
    return found


def write_prompt(clip: otio.schema.Clip, prompt: str, sentences: Mapping[str, str]) -> None:
    """Write a prompt into the metadata of a clip, and sentences about it. Other settings of the clip stay."""
    held = clip.metadata[METADATA_KEY] if has_key(clip.metadata, METADATA_KEY) else None
    if not hasattr(held, "items"):
        clip.metadata[METADATA_KEY] = {}
    clip.metadata[METADATA_KEY]["prompt"] = prompt
    clip.metadata[METADATA_KEY][ANNOTATION_KEY] = dict(sentences)


def mark_prompt(clip: otio.schema.Clip, prompt: str) -> None:
    """Add a marker with a prompt to the first frame of a clip."""
    shown = clip.trimmed_range()
    first_frame = otio.opentime.TimeRange(shown.start_time, otio.opentime.RationalTime(0, shown.start_time.rate))
    clip.markers.append(otio.schema.Marker(f"{MARKER_LABEL} {prompt}", first_frame))
