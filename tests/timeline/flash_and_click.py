"""Timelines on which every clip has a flash and a click at the same time, and where they are after a round trip."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePath
from random import Random

import av
import numpy as np
import opentimelineio as otio
import soundfile
from numpy.typing import NDArray
from wavinfo import WavInfoReader

from rewas_server.delivery.broadcast_wav import write_broadcast_wav
from rewas_server.delivery.metadata import BroadcastMetadata
from rewas_server.delivery.provenance import Provenance
from rewas_server.otio.clips import timeline_start_s
from rewas_server.otio.exact_times import exact_seconds
from rewas_server.otio.frame_timeline import placed_items
from rewas_server.otio.media_paths import find_path

SAMPLE_RATE_HZ = 48000
_BRIGHT = 128


@dataclass(frozen=True)
class Reel:
    """A timeline with cuts.

    flashes_s: timecode of the flash and the click of each cut, in seconds. flash_s: of the flash in the film.
    """

    timeline: otio.schema.Timeline
    flashes_s: list[Fraction]
    film: Path
    flash_s: Fraction


def make_reel(
    folder: Path, rate: Fraction, cuts: int, length_s: int, *, start_frames: int, off_frames: bool = False
) -> Reel:
    """Make a reel with its film and its sounds.

    Args:
        folder: For the film and the sounds.
        rate: Frames per second.
        cuts: How many clips.
        length_s: Of all clips together.
        start_frames: Timecode of the first frame.
        off_frames: Move each cut by a part of a frame.
    """
    random = Random(cuts)
    lengths = _lengths(random, cuts, round(length_s * rate))
    flash_frame = max(lengths)
    film = folder / "film.mp4"
    write_film(film, rate, flash_frame, 2 * flash_frame + 2)
    timeline = otio.schema.Timeline("reel", global_start_time=_time(start_frames, rate))
    pictures = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    sounds = otio.schema.Track("A1", kind=otio.schema.TrackKind.Audio)
    timeline.tracks.extend([pictures, sounds])
    (folder / "stems").mkdir(parents=True, exist_ok=True)
    flashes_s = []
    position = Fraction(0)
    for number, frames in enumerate(lengths, start=1):
        length = frames + (Fraction(random.randrange(1, 1000), 1000) if off_frames else 0)
        # Not at the ends, which rounding to frames may cut off.
        flash = random.randrange(1, frames - 1)
        media = otio.schema.ExternalReference(str(film), _range(0, 2 * flash_frame + 2, rate))
        pictures.append(otio.schema.Clip(f"cut {number}", media, _range(flash_frame - flash, length, rate)))
        begin_s, flash_s = (start_frames + position) / rate, (start_frames + position + flash) / rate
        sounds.append(_click(folder / "stems" / f"click {number}.wav", begin_s, flash_s, length, rate))
        flashes_s.append(flash_s)
        position += length
    return Reel(timeline, flashes_s, film, flash_frame / rate)


def write_film(path: Path, rate: Fraction, flash_frame: int, frames: int) -> None:
    """Write a dark film with one bright frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            picture = np.full((48, 64, 3), 255 if number == flash_frame else 0, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))


def find_flashes(path: Path) -> list[int]:
    """Return the numbers of the bright frames of a film."""
    with av.open(str(path)) as container:
        return [
            number
            for number, frame in enumerate(container.decode(video=0))
            if frame.to_ndarray(format="gray").mean() > _BRIGHT
        ]


def flash_errors_s(timeline: otio.schema.Timeline, reel: Reel) -> list[float]:
    """Return the distance of each flash of a timeline from its computed place, in seconds."""
    found = []
    for begin_s, duration_s, offset_s, _ in _clips(timeline, otio.schema.TrackKind.Video, Path()):
        flash_s = begin_s + reel.flash_s - offset_s
        assert begin_s <= flash_s < begin_s + duration_s
        found.append(flash_s)
    return _errors(found, reel.flashes_s)


def click_errors_samples(timeline: otio.schema.Timeline, folder: Path, reel: Reel) -> list[float]:
    """Mix the sounds of a timeline, and return the distance of each click from its computed place, in samples."""
    start_s = timeline_start_s(reel.timeline)
    first = _round(start_s * SAMPLE_RATE_HZ)
    mixed = mix(timeline, folder, first)
    found = [Fraction(first + int(sample)) for sample in np.flatnonzero(np.abs(mixed) > 0.25)]
    return _errors(found, [flash_s * SAMPLE_RATE_HZ for flash_s in reel.flashes_s])


def mix(timeline: otio.schema.Timeline, folder: Path, first_sample: int) -> NDArray[np.float32]:
    """Return the mono mix of the audio clips of a timeline. Each file begins at one sample, and no sample is changed.

    Args:
        timeline: Relative media references start at `folder`.
        folder: See above.
        first_sample: Of the mix, counted from midnight of the timecode.
    """
    mixed = np.zeros(0, np.float32)
    for begin_s, duration_s, offset_s, path in _clips(timeline, otio.schema.TrackKind.Audio, folder):
        samples, _ = soundfile.read(path, dtype="float32")
        file_begin = _round((begin_s - offset_s) * SAMPLE_RATE_HZ)
        begin, end = (_round(at_s * SAMPLE_RATE_HZ) for at_s in (begin_s, begin_s + duration_s))
        part = samples[max(0, begin - file_begin) : end - file_begin]
        place = max(begin, file_begin) - first_sample
        if len(mixed) < place + len(part):
            mixed = np.concatenate([mixed, np.zeros(max(place + len(part) - len(mixed), len(mixed)), np.float32)])
        mixed[place : place + len(part)] += part
    return mixed


def _clips(
    timeline: otio.schema.Timeline, kind: str, folder: Path
) -> list[tuple[Fraction, Fraction, Fraction, PurePath]]:
    """Timecode, duration, start in the file in seconds, and file of each clip of a kind that is not disabled."""
    found = []
    for track in timeline.tracks:
        if track.kind != kind:
            continue
        for placed in placed_items(track):
            clip = placed.item
            if not isinstance(clip, otio.schema.Clip) or not clip.enabled:
                continue
            path = find_path(clip.media_reference.target_url, folder)
            offset_s = exact_seconds(clip.source_range.start_time, clip.name, "start") - _media_begin_s(clip, path)
            found.append((timeline_start_s(timeline) + placed.start_s, placed.duration_s, offset_s, path))
    return found


def _media_begin_s(clip: otio.schema.Clip, path: PurePath | None) -> Fraction:
    """Return what the start of a source range counts from: the available range, else the timecode of the file."""
    available = clip.media_reference.available_range
    if available is not None:
        return exact_seconds(available.start_time, clip.name, "media start")
    is_project = "reaper" in clip.metadata
    if is_project or path is None or path.suffix != ".wav":
        return Fraction(0)
    return Fraction(WavInfoReader(str(path)).bext.time_reference, SAMPLE_RATE_HZ)


def _click(path: Path, begin_s: Fraction, flash_s: Fraction, frames: Fraction, rate: Fraction) -> otio.schema.Clip:
    begin = _round(begin_s * SAMPLE_RATE_HZ)
    samples = _round((begin_s + frames / rate) * SAMPLE_RATE_HZ) - begin
    waveform = np.zeros((1, samples), np.float32)
    waveform[0, min(_round(flash_s * SAMPLE_RATE_HZ) - begin, samples - 1)] = 0.5
    provenance = Provenance("click", 1, "none", "1", "CC0-1.0")
    with path.open("w+b") as file:
        write_broadcast_wav(file, waveform, SAMPLE_RATE_HZ, BroadcastMetadata(provenance, begin))
    media = otio.schema.ExternalReference(str(path), _range(begin, samples, Fraction(SAMPLE_RATE_HZ)))
    clip = otio.schema.Clip(path.stem, media, _range(begin_s * rate, frames, rate))
    clip.metadata["rewas"] = {"role": "primary", "sample_rate_hz": SAMPLE_RATE_HZ}
    return clip


def _lengths(random: Random, cuts: int, frames: int) -> list[int]:
    """Split frames into cuts of different lengths, from half to one and a half of the mean."""
    mean = frames / cuts
    marks = [round(number * mean + random.uniform(-0.25, 0.25) * mean) for number in range(1, cuts)]
    return [last - first for first, last in zip([0, *marks], [*marks, frames], strict=True)]


def _errors(found: list[Fraction], expected: list[Fraction]) -> list[float]:
    assert len(found) == len(expected)
    return [float(abs(one - other)) for one, other in zip(found, expected, strict=True)]


def _round(value: Fraction) -> int:
    return int((value + Fraction(1, 2)) // 1)


def _time(value: Fraction | int, rate: Fraction) -> otio.opentime.RationalTime:
    return otio.opentime.RationalTime(float(value), float(rate))


def _range(start: Fraction | int, duration: Fraction | int, rate: Fraction) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(_time(start, rate), _time(duration, rate))
