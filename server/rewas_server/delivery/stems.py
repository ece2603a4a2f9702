"""Stems as they were generated, and as they are placed on the tracks of a timeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from rewas_server.delivery.provenance import Provenance


@dataclass(frozen=True)
class TimelineFacts:
    """What delivery needs to know about a timeline.

    Attributes:
        name: Name of the timeline.
        start_s: Timecode of its first frame, in seconds since midnight.
        frame_rate: Frame rate of its timecode.
        is_drop_frame: Whether its timecode is drop-frame.
        identity: Distinguishes timelines whose stems are in the same folder; "" means the name.
    """

    name: str
    start_s: Fraction = Fraction(0)
    frame_rate: Fraction = Fraction(24)
    is_drop_frame: bool = False
    identity: str = ""


@dataclass(frozen=True)
class GeneratedStem:
    """One stem of one take as it was generated.

    Attributes:
        path: A sound file. It begins `head_handle_s` before the clip and ends `tail_handle_s` after it.
        sha256: SHA-256 of the file, or another key that changes with its samples.
        clip_name: Name of the clip.
        clip_number: Number from 1, in the order of the timeline; each sound of the timeline has its own.
        role: "primary", "mix" or the name of a layer.
        take_number: From 1.
        position_s: Start of the clip on the timeline, from its first frame.
        duration_s: Duration of the clip on the timeline, without handles.
        provenance: How it was generated.
        head_handle_s: Duration of the sound before the clip.
        tail_handle_s: Duration of the sound after the clip.
        frame_rate: Frame rate of the clip; None means that of the timeline.
        score: Score of the take, 0 to 1; None if it has none.
        has_faults: Whether the take has faults.
        track: Track that the user has chosen for the primary stem; None lets the profile decide.
        loops: Whether the end of the sound continues into its beginning.
        created: When it was generated; None means the time of the file.
        media_name: File name of the clip's picture.
        model_rate_hz: Sample rate at which the pack generates; the sound has nothing above half of it.
    """

    path: Path
    sha256: str
    clip_name: str
    clip_number: int
    role: str
    take_number: int
    position_s: Fraction
    duration_s: Fraction
    provenance: Provenance
    head_handle_s: Fraction = Fraction(0)
    tail_handle_s: Fraction = Fraction(0)
    frame_rate: Fraction | None = None
    score: float | None = None
    has_faults: bool = False
    track: str | None = None
    loops: bool = False
    created: datetime | None = None
    media_name: str = ""
    model_rate_hz: int | None = None


@dataclass(frozen=True)
class MissingSound:
    """A clip without a sound.

    Attributes:
        clip_name: Name of the clip.
        clip_number: As for a generated stem; None for a clip without a prompt.
        position_s: Start of the clip on the timeline, from its first frame; None if it is not known.
        duration_s: Duration of the clip on the timeline.
        reason: Why it has no sound, and what to do about it, in sentences.
    """

    clip_name: str
    clip_number: int | None
    position_s: Fraction | None
    duration_s: Fraction
    reason: str

    @property
    def has_prompt(self) -> bool:
        """Whether a sound was requested."""
        return self.clip_number is not None


@dataclass(frozen=True)
class PlacedStem:
    """A stem as a clip on an audio track.

    Attributes:
        clip_name: Name of the picture's clip.
        role: "primary", "mix" or the name of a layer.
        take_number: From 1.
        track: Name of the profile's track; the role if the profile has no tracks.
        is_audible: Whether it is not muted. One take of each clip is audible.
        position_s: Start of the clip on the timeline, from its first frame.
        duration_s: Duration of the clip on the timeline, without handles.
        frame_rate: Frame rate of the picture's clip.
        target_url: Location of the file, as in the timeline.
        sample_rate_hz: Sample rate of the file.
        samples: Samples of the whole file, per channel.
        channels: Channels of the file.
        time_reference_samples: Timecode of the file's first sample, in samples since midnight.
        provenance: How it was generated.
        head_handle_s: Duration of the sound in the file before the clip.
        tail_handle_s: Duration of the sound in the file after the clip.
        clip_number: Number of the sound on the timeline; all takes of a sound have the same number.
        origin: Further metadata for the timeline, for example a content key.
    """

    clip_name: str
    role: str
    take_number: int
    track: str
    is_audible: bool
    position_s: Fraction
    duration_s: Fraction
    frame_rate: Fraction
    target_url: str
    sample_rate_hz: int
    samples: int
    time_reference_samples: int
    provenance: Provenance
    channels: int = 1
    head_handle_s: Fraction = Fraction(0)
    tail_handle_s: Fraction = Fraction(0)
    clip_number: int = 0
    origin: Mapping[str, Any] = field(default_factory=dict)
