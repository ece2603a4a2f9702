"""The metadata of delivered files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from rewas_server import __version__
from rewas_server.delivery.loudness import LoudnessFigures
from rewas_server.delivery.provenance import Provenance
from rewas_server.timecode import uses_drop_frame

ORIGINATOR = "ReWaS NLE"
SOFTWARE = f"{ORIGINATOR} {__version__}"

_COUNTED_RATES_HZ = (24, 25, 30, 48, 50, 60, 72, 96, 100, 120)
"""Numbers of frames that timecode may count in a second."""


@dataclass(frozen=True)
class TimecodeRate:
    """Rate of the timecode of a timeline or clip.

    Attributes:
        frame_rate: Exact, in frames per second, such as 24000/1001.
        is_drop_frame: Whether the timecode skips frame numbers to follow the clock.
    """

    frame_rate: Fraction
    is_drop_frame: bool = False

    @classmethod
    def usual(cls, frame_rate: Fraction) -> TimecodeRate:
        """The timecode that is usual at a rate: drop-frame at 30000/1001 and 60000/1001."""
        return cls(frame_rate, uses_drop_frame(frame_rate))

    @classmethod
    def of_first(cls, *frame_rates: Fraction | None) -> TimecodeRate | None:
        """The usual timecode at the first of these rates at which timecode can count; None if there is none.

        A range given in seconds or samples has no such rate.
        """
        for frame_rate in frame_rates:
            if frame_rate is not None and any(frame_rate in (n, Fraction(n * 1000, 1001)) for n in _COUNTED_RATES_HZ):
                return cls.usual(frame_rate)
        return None


@dataclass(frozen=True)
class BroadcastMetadata:
    """The metadata of a Broadcast WAV file.

    Attributes:
        provenance: How the sound was generated.
        time_reference_samples: Start of the sound in samples since midnight, at its own sample rate.
        timecode_rate: Rate of the timeline or clip; None if there is no timecode.
        title: Name of the clip.
        track_names: Names of the channels, such as "primary". Missing names are left out.
        project: Title of the film or timeline.
        scene: Scene of the production.
        take: Number of the take.
        tape: Reel of the picture.
        note: Free text.
        credits: Creator, copyright and contact.
        processing: Changes to the samples since the sound was generated, such as a gain, in order.
        created: Time of creation; None means now.
        loudness: Measured figures; None if they were not measured.
    """

    provenance: Provenance
    time_reference_samples: int = 0
    timecode_rate: TimecodeRate | None = None
    title: str = ""
    track_names: tuple[str, ...] = ()
    project: str = ""
    scene: str = ""
    take: str = ""
    tape: str = ""
    note: str = ""
    credits: str = ""
    processing: tuple[str, ...] = ()
    created: datetime | None = None
    loudness: LoudnessFigures | None = None

    def creation_time(self) -> datetime:
        """Time of creation, in local time with its offset from UTC."""
        return self.created or datetime.now().astimezone()
