"""Prepares timelines for OTIO's AAF writer, and corrects what it writes.

The writer requires a mob ID and ranges at one rate everywhere, writes rates as floating-point numbers, and guesses
which timecodes are drop-frame.
"""

from __future__ import annotations

import shutil
import uuid
from fractions import Fraction
from pathlib import Path
from typing import Any

import opentimelineio as otio

from rewas_api.errors import ProblemError, ProblemKind
from rewas_server.otio.audio_files import read_audio_facts, read_pcm
from rewas_server.otio.clips import timeline_frame_rate
from rewas_server.otio.exact_times import exact_rate
from rewas_server.otio.frame_timeline import is_drop_frame, on_whole_frames, placed_clips
from rewas_server.otio.media_paths import file_url, find_path, location
from rewas_server.timecode import frames_per_label_second

_KEY = "AAF"
_MOB_NAMESPACE = uuid.UUID("8f0c5a9e-6d43-5b0c-9a51-0b7a4a4f7b1d")
_MOB_PREFIX = "urn:smpte:umid:060a2b34.01010105.01010f20.13000000"


def prepare(timeline: otio.schema.Timeline) -> otio.schema.Timeline:
    """Return a timeline that OTIO's adapter can write. The media references of `timeline` are absolute.

    Raises ProblemError (TIMELINE) for invalid times.
    """
    rate = timeline_frame_rate(timeline)
    ready = on_whole_frames(timeline, rate)
    for index in reversed(range(len(ready.tracks))):
        track = ready.tracks[index]
        if track.enabled and track.kind in (otio.schema.TrackKind.Video, otio.schema.TrackKind.Audio):
            for position in reversed(range(len(track))):
                _prepare_item(track, position, rate)
        else:
            track.clear()
        if not len(track):
            del ready.tracks[index]
    return ready


def check_sounds(timeline: otio.schema.Timeline, source_folder: Path, target: Path) -> list[str]:
    """Return what a file with embedded sounds will lack, such as "2 embedded sounds (they are missing or not PCM)".

    Args:
        timeline: The timeline to write.
        source_folder: Where relative references start.
        target: The file.

    Raises ProblemError (RESOURCES) if there is not enough space on the disk.
    """
    clips = [
        (location(reference), placed.item.name)
        for track in timeline.tracks
        if isinstance(track, otio.schema.Track) and track.kind == otio.schema.TrackKind.Audio and track.enabled
        for placed in placed_clips(track)
        if placed.item.enabled and (reference := placed.item.media_reference) is not None and location(reference)
    ]
    # Clips of one name that show the same file share one mob, see `_prepare_clip`.
    paths = {sound: find_path(sound[0], source_folder) for sound in dict.fromkeys(clips)}
    facts = {sound: read_audio_facts(path) if isinstance(path, Path) else None for sound, path in paths.items()}
    embedded = {sound: each for sound, each in facts.items() if each is not None and each.is_pcm}
    needed = sum(each.data_bytes for each in embedded.values())
    free = shutil.disk_usage(target.absolute().parent).free
    if needed > free:
        raise ProblemError(
            f"The sounds of {target.name} need {needed / 2**30:.2f} GiB, but the disk has {free / 2**30:.2f} GiB free.",
            "Free some space, or link the sounds with --media-paths url.",
            ProblemKind.RESOURCES,
        )
    links = sum(sound not in embedded for sound in clips)
    if not links:
        return []
    why = "missing or not PCM"
    return [f"1 embedded sound (it is {why})" if links == 1 else f"{links} embedded sounds (they are {why})"]


def finish(path: Path, timeline: otio.schema.Timeline, *, embeds_sounds: bool = False) -> None:
    """Make the rates of a written file exact, mark its timecodes as drop-frame or not, and embed its sounds.

    A sound that is missing or not PCM stays a link. Raises OSError.
    """
    import aaf2

    rate = timeline_frame_rate(timeline)
    is_drop = is_drop_frame(timeline, rate)
    with aaf2.open(str(path), "rw") as file:
        if embeds_sounds:
            # OTIO's adapter makes a file mob for each clip, even if clips share a master mob, which refers to the last.
            heard = {
                slot.segment.mob_id
                for master in file.content.mastermobs()
                for slot in master.slots
                if isinstance(slot.segment, aaf2.components.SourceClip)
            }
            for mob in list(file.content.sourcemobs()):
                if mob.mob_id in heard and isinstance(mob.descriptor, aaf2.essence.PCMDescriptor):
                    _embed(file, mob)
        for mob in file.content.mobs:
            for slot in mob.slots:
                if isinstance(slot, aaf2.mobslots.TimelineMobSlot):
                    slot.edit_rate = _exact(slot.edit_rate)
                    if isinstance(slot.segment, aaf2.components.Timecode):
                        slot.segment.drop = is_drop
                        slot.segment.fps = frames_per_label_second(rate)


def _embed(file: Any, mob: Any) -> None:
    """Store the samples of a file mob in the file, instead of a link to them."""
    (locator,) = mob.descriptor["Locator"].value
    path = find_path(locator["URLString"].value, Path.cwd())
    if not isinstance(path, Path) or (facts := read_audio_facts(path)) is None or not facts.is_pcm:
        return
    essence = file.create.EssenceData()
    essence.mob_id = mob.mob_id
    file.content.essencedata.append(essence)
    stream = essence.open("w")
    for block in read_pcm(path, facts.depth_bits):
        stream.write(block)
    mob.descriptor["Locator"].clear()


def _prepare_item(track: otio.schema.Track, position: int, rate: Fraction) -> None:
    item = track[position]
    if isinstance(item, otio.schema.Transition):
        del track[position]
    elif isinstance(item, otio.schema.Clip):
        if not item.enabled or isinstance(item.media_reference, otio.schema.GeneratorReference):
            track[position] = otio.schema.Gap(duration=item.source_range.duration)
        else:
            _prepare_clip(item, track.kind, rate)


def _prepare_clip(clip: otio.schema.Clip, kind: str, rate: Fraction) -> None:
    clip.effects.clear()
    reference = clip.media_reference
    url = "" if reference is None else location(reference)
    path = find_path(url, Path.cwd())
    available = reference.available_range if reference is not None else clip.source_range
    if reference is None or not isinstance(reference, otio.schema.ExternalReference | otio.schema.MissingReference):
        reference = otio.schema.ExternalReference(url, available)
    clip.set_media_references({otio.schema.Clip.DEFAULT_MEDIA_KEY: reference}, otio.schema.Clip.DEFAULT_MEDIA_KEY)
    if isinstance(reference, otio.schema.ExternalReference) and path is not None:
        reference.target_url = file_url(path)
    # A mob has the name of its clip. The same clip is the same mob in every file.
    clip.metadata[_KEY] = {"MobID": _mob_id(f"{kind}:{url}:{clip.name}")}
    facts = read_audio_facts(path) if kind == otio.schema.TrackKind.Audio and isinstance(path, Path) else None
    description = {}
    if facts is not None:
        block_align = facts.channels * facts.depth_bits // 8
        description = {
            "SampleRate": str(facts.sample_rate_hz),
            "AudioSamplingRate": str(facts.sample_rate_hz),
            "Channels": facts.channels,
            "QuantizationBits": facts.depth_bits,
            "BlockAlign": block_align,
            "AverageBPS": block_align * facts.sample_rate_hz,
            "Length": facts.samples,
        }
    elif kind == otio.schema.TrackKind.Video:
        description = {"SampleRate": str(rate)}
    reference.metadata[_KEY] = {"EssenceDescription": description}


def _mob_id(name: str) -> str:
    digits = uuid.uuid5(_MOB_NAMESPACE, name).hex
    return f"{_MOB_PREFIX}.{'.'.join(digits[at : at + 8] for at in range(0, 32, 8))}"


def _exact(rate: Fraction) -> Fraction:
    return exact_rate(float(rate), "A slot", "rate")
