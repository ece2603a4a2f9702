"""The world written to disk in shards, by several processes, and read back.

A dataset is a folder:

- ``dataset.json``: the settings that it was written with.
- ``shard-00000.json``: a list of what each clip is; written last, so that a shard with it is whole.
- ``sound-00000.npy``: [clips, samples] int16, each clip at full scale; ``scale`` of its entry gives the true peak back.
- ``envelope-00000.npy``: [clips, T] float32 intensities at ENVELOPE_RATE_HZ.
- ``picture-00000.npy``: [clips, frames, height, width, 3] uint8, only where pictures were asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.errors import SettingsError
from rewas_engine.training.world.classes import CLIP_DURATION_S, FRAME_RATE, FRAME_SIZE
from rewas_engine.training.world.picture import render_picture
from rewas_engine.training.world.scene import Scene, sample_scene
from rewas_engine.training.world.sound import render_sound

CLIPS_PER_SHARD = 256
_FULL_SCALE = 32767.0


@dataclass(frozen=True)
class DatasetSettings:
    """What decides a dataset's content, bit for bit.

    count: clips in all. seed: seed of the first clip; the others follow. with_picture: whether pictures are written.
    duration_s: of each clip. frame_rate: pictures per second, as text ("25", "24000/1001"). width, height: of the
    picture in pixels. clips_per_shard: clips in each file.
    """

    count: int
    seed: int
    with_picture: bool
    duration_s: float = CLIP_DURATION_S
    frame_rate: str = str(FRAME_RATE)
    width: int = FRAME_SIZE
    height: int = FRAME_SIZE
    clips_per_shard: int = CLIPS_PER_SHARD

    @property
    def shard_count(self) -> int:
        """Shards that hold all clips."""
        return -(-self.count // self.clips_per_shard)

    def seeds_of(self, shard: int) -> range:
        """Seeds of the clips in a shard."""
        start = shard * self.clips_per_shard
        return range(self.seed + start, self.seed + min(start + self.clips_per_shard, self.count))


@dataclass(frozen=True, eq=False)
class Shard:
    """One shard, read without copying it into memory.

    entries: for each clip seed, class_name, pattern, caption, silent_motion, still, distance, reverb_s,
        event_times_s, event_strengths and scale. sound: [clips, samples] int16. envelope: [clips, T] float32.
    picture: [clips, frames, height, width, 3] uint8, or None.
    """

    entries: list[dict[str, Any]]
    sound: NDArray[np.int16]
    envelope: NDArray[np.float32]
    picture: NDArray[np.uint8] | None

    def waveform(self, index: int) -> NDArray[np.float32]:
        """A clip's sound at its true level: [samples] float32."""
        gain = np.float32(self.entries[index]["scale"] / _FULL_SCALE)
        return np.asarray(self.sound[index].astype(np.float32) * gain)


def write_dataset(
    folder: Path,
    count: int,
    seed: int = 0,
    *,
    with_picture: bool,
    workers: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
    frame_rate: Fraction | float = FRAME_RATE,
    width: int = FRAME_SIZE,
    height: int = FRAME_SIZE,
    clips_per_shard: int = CLIPS_PER_SHARD,
) -> DatasetSettings:
    """Renders clips with seeds seed .. seed + count - 1 into shards under a folder.

    Shards that are there already are kept, so that a broken run goes on where it stopped. on_progress is told how many
    clips of how many are done. Raises SettingsError where the folder holds a dataset of other settings, or a number
    is not positive.
    """
    if min(count, workers, clips_per_shard) < 1:
        raise SettingsError(
            f"A dataset of {count} clips by {workers} workers, {clips_per_shard} in a shard, cannot be written.",
            "Give numbers of at least 1.",
        )
    settings = DatasetSettings(
        count=count,
        seed=seed,
        with_picture=with_picture,
        frame_rate=str(Fraction(frame_rate).limit_denominator(100_000)),
        width=width,
        height=height,
        clips_per_shard=clips_per_shard,
    )
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, settings)
    missing = [shard for shard in range(settings.shard_count) if not _entries_path(folder, shard).exists()]
    done = count - sum(len(settings.seeds_of(shard)) for shard in missing)
    if on_progress:
        on_progress(done, count)
    # Spawned, not forked: a training process may hold threads and a GPU, neither of which survives a fork.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(write_shard, folder, settings, shard) for shard in missing]
        for finished in as_completed(running):
            done += finished.result()
            if on_progress:
                on_progress(done, count)
    return settings


def write_shard(folder: Path, settings: DatasetSettings, shard: int) -> int:
    """Renders one shard and returns its number of clips; nothing of it counts until its entries are written."""
    seeds = settings.seeds_of(shard)
    entries: list[dict[str, Any]] = []
    sounds: list[NDArray[np.int16]] = []
    scenes = [sample_scene(seed, duration_s=settings.duration_s) for seed in seeds]
    for scene in scenes:
        sound = render_sound(scene)
        peak = float(np.abs(sound).max())
        sounds.append(np.round(sound * (_FULL_SCALE / (peak or 1.0))).astype(np.int16))
        entries.append(_entry(scene, peak))
    if settings.with_picture:
        _write_pictures(_array_path(folder, "picture", shard), scenes, settings)
    _write_array(_array_path(folder, "sound", shard), np.stack(sounds))
    _write_array(_array_path(folder, "envelope", shard), np.stack([s.envelope for s in scenes]).astype(np.float32))
    _write_json(_entries_path(folder, shard), entries)
    return len(entries)


def read_settings(folder: Path) -> DatasetSettings:
    """The settings of a dataset. Raises SettingsError where the folder holds none that can be read."""
    try:
        return DatasetSettings(**json.loads((folder / "dataset.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as problem:
        raise SettingsError(
            f"{folder} holds no dataset that can be read: {problem}.", "Write it again, into an empty folder."
        ) from problem


def read_shard(folder: Path, shard: int) -> Shard:
    """One shard of a dataset, its arrays mapped from disk. Raises SettingsError where it is not whole."""
    settings = read_settings(folder)
    try:
        return Shard(
            entries=json.loads(_entries_path(folder, shard).read_text(encoding="utf-8")),
            sound=np.load(_array_path(folder, "sound", shard), mmap_mode="r", allow_pickle=False),
            envelope=np.load(_array_path(folder, "envelope", shard), mmap_mode="r", allow_pickle=False),
            picture=np.load(_array_path(folder, "picture", shard), mmap_mode="r", allow_pickle=False)
            if settings.with_picture
            else None,
        )
    except (OSError, ValueError) as problem:
        raise SettingsError(
            f"Shard {shard} of the dataset {folder} cannot be read: {problem}.",
            "Write the dataset again with the same settings; whole shards are kept.",
        ) from problem


def _claim(folder: Path, settings: DatasetSettings) -> None:
    """Marks the folder as holding this dataset, or refuses one that holds another."""
    if not (folder / "dataset.json").exists():
        _write_json(folder / "dataset.json", asdict(settings))
        return
    present = read_settings(folder)
    if present != settings:
        raise SettingsError(
            f"{folder} already holds a dataset of other settings ({present}).",
            "Write into another folder, or give the same settings to go on.",
        )


def _entry(scene: Scene, peak: float) -> dict[str, Any]:
    return {
        "seed": scene.seed,
        "class_name": scene.class_name,
        "pattern": scene.pattern,
        "caption": scene.caption,
        "silent_motion": scene.silent_motion,
        "still": scene.still,
        "distance": scene.distance,
        "reverb_s": scene.reverb_s,
        "event_times_s": [round(float(value), 5) for value in scene.event_times_s],
        "event_strengths": [round(float(value), 4) for value in scene.event_strengths],
        "scale": peak,
    }


def _write_pictures(path: Path, scenes: list[Scene], settings: DatasetSettings) -> None:
    def render(scene: Scene) -> NDArray[np.uint8]:
        return render_picture(
            scene, frame_rate=Fraction(settings.frame_rate), width=settings.width, height=settings.height
        )

    first = render(scenes[0])
    unfinished = path.with_suffix(".npy.tmp")
    shape = (len(scenes), *first.shape)
    pictures = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=shape)
    pictures[0] = first
    for index, scene in enumerate(scenes[1:], start=1):
        pictures[index] = render(scene)
    pictures.flush()
    del pictures
    unfinished.replace(path)


def _write_array(path: Path, array: NDArray[Any]) -> None:
    unfinished = path.with_suffix(".npy.tmp")
    with unfinished.open("wb") as file:
        np.save(file, array, allow_pickle=False)
    unfinished.replace(path)


def _write_json(path: Path, content: object) -> None:
    unfinished = path.with_suffix(".json.tmp")
    unfinished.write_text(json.dumps(content), encoding="utf-8")
    unfinished.replace(path)


def _entries_path(folder: Path, shard: int) -> Path:
    return folder / f"shard-{shard:05d}.json"


def _array_path(folder: Path, kind: str, shard: int) -> Path:
    return folder / f"{kind}-{shard:05d}.npy"
