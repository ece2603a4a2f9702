"""A library pack of sounds of the synthetic world, in which every event is known, for tests and measurements."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from rewas_engine.checks import check_integer
from rewas_engine.errors import PackError
from rewas_engine.models.sentence_encoder import sentence_encoder_version
from rewas_engine.models.text import SentenceEncoder
from rewas_engine.recordings.index import LibraryIndex
from rewas_engine.recordings.library_pack import LibraryPack, LibraryTerms, make_library
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback
from rewas_engine.world import CLASS_NAMES, SAMPLE_RATE_HZ, Scene, captions, is_struck, render_sound, sample_scene

RATE_HZ = 48_000
TAKES = 3
MAX_TAKES = 99
FIRST_SEED = 1000
"""Training uses such seeds, and the held-out splits of an evaluation do not."""
STRIKES, STRIKE_GAP_S, FIRST_STRIKE_S = 12, 1.4, 0.3
STRIKE_STRENGTHS = (0.35, 1.0)
STEADY_S = 12.0
SOFTEST_STEADY = 0.5
"""Intensity of the last take of a steady sound. The first one has intensity 1."""
DISTANCE = 0.1
PEAK = 0.7
PAN_DB = 3.0
"""Largest difference of the channels from the mean level."""
SOURCE_FOLDER = "synthetic-world"
_PAN_STREAM, _STRENGTHS_STREAM = 20, 21
"""Streams of random numbers of a scene that the world itself does not use."""


@dataclass(frozen=True, eq=False)
class WorldRecording:
    """A recording of the world.

    Attributes:
        name: File name.
        scene: What sounds in it. Its event_times_s are the onsets of all events, in seconds.
    """

    name: str
    scene: Scene


def write_world_library(
    output: Path,
    *,
    classes: Sequence[str] = CLASS_NAMES,
    takes: int = TAKES,
    on_progress: ProgressCallback | None = None,
    cancel: CancelSignal | None = None,
) -> LibraryPack:
    """Write a library pack that contains its recordings. The same arguments give the same recordings.

    Args:
        output: Folder of the pack. It must not exist.
        classes: Classes of the world.
        takes: Recordings of each class, each of another body.
        on_progress: Called after each recording that is indexed.
        cancel: Stops the work.

    Raises:
        SettingsError: A class is unknown, or the number of takes is out of range.
        PackError: The folder exists, or the pack cannot be written.
        Cancelled: The caller asked to stop.
    """
    if output.exists():
        raise PackError(f"{output} already exists.", "Choose another folder for the library.")
    encoder = SentenceEncoder.default()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / SOURCE_FOLDER
        write_recordings(source, world_recordings(classes, takes))
        made = make_library(
            [source],
            output,
            LibraryTerms("CC0-1.0"),
            lambda words: encoder(list(words)).numpy(),
            copies=True,
            encoder=sentence_encoder_version(),
            on_progress=on_progress,
            cancel=cancel,
        )
    return made.pack


def world_recordings(classes: Sequence[str] = CLASS_NAMES, takes: int = TAKES) -> list[WorldRecording]:
    """Return the recordings of a library, class by class.

    A struck class has separate strikes of all strengths. Any other class has a steady sound, softer in each take.

    Raises:
        SettingsError: A class is unknown, or the number of takes is out of range.
    """
    check_integer("takes", takes, 1, MAX_TAKES)
    return [
        WorldRecording(
            f"{name}-{take + 1:02}.wav", _struck(name, take) if is_struck(name) else _steady(name, take, takes)
        )
        for name in classes
        for take in range(takes)
    ]


def write_recordings(folder: Path, recordings: Sequence[WorldRecording]) -> None:
    """Write recordings in stereo at 48 kHz and 24 bits into a new folder, with a table of captions."""
    folder.mkdir()
    with (folder / "captions.csv").open("w", encoding="utf-8", newline="") as table:
        rows = csv.writer(table)
        rows.writerow(("file", "description"))
        for recording in recordings:
            soundfile.write(folder / recording.name, _in_stereo(recording.scene), RATE_HZ, subtype="PCM_24")
            rows.writerow((recording.name, captions(recording.scene.class_name)[0]))


def find_class(index: LibraryIndex, class_name: str) -> tuple[int, ...]:
    """Return the numbers of the recordings of a class in the index of such a library."""
    return tuple(
        number
        for number, recording in enumerate(index.recordings)
        if recording.path.stem.rpartition("-")[0] == class_name
    )


def _struck(name: str, take: int) -> Scene:
    """Separate strikes of all strengths, in a random order."""
    scene = sample_scene(FIRST_SEED + take, name, STRIKES * STRIKE_GAP_S + 1.0, pattern="regular")
    strengths = scene.random(_STRENGTHS_STREAM).permutation(np.linspace(*STRIKE_STRENGTHS, STRIKES))
    times_s = FIRST_STRIKE_S + STRIKE_GAP_S * np.arange(STRIKES)
    scene = replace(scene, floor=0.0, ambience=None, distance=DISTANCE)
    return replace(scene, event_times_s=times_s, event_strengths=strengths)


def _steady(name: str, take: int, takes: int) -> Scene:
    scene = sample_scene(FIRST_SEED + take, name, STEADY_S, pattern="steady")
    intensity = float(np.linspace(1.0, SOFTEST_STEADY, takes)[take])
    return replace(scene, floor=0.0, ambience=None, distance=DISTANCE, envelope=np.full_like(scene.envelope, intensity))


def _in_stereo(scene: Scene) -> NDArray[np.float32]:
    """The sound of a scene `[samples, 2]` at 48 kHz, panned by its seed."""
    sound = PEAK * soxr.resample(render_sound(scene), SAMPLE_RATE_HZ, RATE_HZ, quality="VHQ")
    pan_db = float(scene.random(_PAN_STREAM).uniform(-PAN_DB, PAN_DB))
    gains = 10 ** (np.array([-pan_db, pan_db]) / 20)
    return np.asarray(sound[:, None] * gains / gains.max(), np.float32)
