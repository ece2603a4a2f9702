"""Features of a data set's clips, computed once and stored in memory-mapped shards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rewas_engine.errors import Cancelled, MediaError
from rewas_engine.recordings.captions import LeftOut
from rewas_engine.runtime.atomic_files import save_array_atomic, write_text_atomic
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.training.dataset_clips import DatasetClip
from rewas_engine.training.distributed import SINGLE_PROCESS, SingleProcess
from rewas_engine.training.progress import TrainingStopped

SHARD_CLIPS = 32
_READ_AHEAD = 2
"""Clips read ahead for each worker."""

Read = TypeVar("Read")
ReportClips = Callable[[int, int], object]


@dataclass(frozen=True)
class Feature:
    """Location of one clip's features: shard, first row and number of rows."""

    shard: int
    start: int
    rows: int


@dataclass(frozen=True)
class ClipFeatures:
    """One kind of features [T, D] float16 of many clips, in its own folder.

    Attributes:
        parent: Folder that contains the features' folder.
        clips: The clips.
        kind: Everything else that determines the features. If it or the clips change, another folder is used.
    """

    parent: Path
    clips: Sequence[DatasetClip]
    kind: Mapping[str, Any]

    @cached_property
    def folder(self) -> Path:
        """Folder of the shards."""
        identity = [
            [clip.name, str(clip.start_s), str(clip.duration_s), *(_size(path) for path in (clip.video, clip.sound))]
            for clip in self.clips
        ]
        digest = hashlib.sha256(json.dumps([dict(self.kind), identity], sort_keys=True).encode()).hexdigest()
        return self.parent / f"{self.kind['name']}-{digest[:16]}"

    def write(
        self,
        read: Callable[[DatasetClip], Read],
        compute: Callable[[Read], NDArray[np.float16]],
        *,
        workers: int,
        processes: SingleProcess = SINGLE_PROCESS,
        report: ReportClips | None = None,
        cancel: CancelSignal | None = None,
    ) -> None:
        """Compute the missing features. Clips that cannot be read are left out.

        `read` runs in threads and `compute` in the calling thread; processes divide the shards among them.

        Raises:
            TrainingStopped: The work was cancelled; complete shards are kept.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        missing = [shard for shard in range(self._shards)[processes.rank :: processes.count] if not self._exists(shard)]
        done, total = 0, sum(len(self._clips_of(shard)) for shard in missing)
        with ThreadPoolExecutor(workers) as pool:
            try:
                for shard in missing:
                    self._write_shard(shard, _ahead(pool, read, self._clips_of(shard), workers), compute, cancel)
                    done += len(self._clips_of(shard))
                    if report is not None and processes.is_first:
                        report(done, total)
            except Cancelled as cancelled:
                raise TrainingStopped(str(self.kind["name"]), done) from cancelled
            finally:
                pool.shutdown(cancel_futures=True)
        processes.wait()

    @property
    def is_complete(self) -> bool:
        """Whether all features are computed."""
        return all(self._exists(shard) for shard in range(self._shards))

    def left_out(self) -> list[LeftOut]:
        """Clips that could not be read, with the reason for each; call `write` first."""
        return [LeftOut(*each) for shard in self._shard_tables for each in shard["left_out"]]

    @cached_property
    def of_clip(self) -> dict[str, Feature]:
        """Location of each clip's features by its name."""
        return {
            name: Feature(shard, *rows)
            for shard, table in enumerate(self._shard_tables)
            for name, *rows in table["clips"]
        }

    def rows(self, name: str) -> NDArray[np.float16]:
        """The features [T, D] of a clip, memory-mapped."""
        found = self.of_clip[name]
        mapped: NDArray[np.float16] = self._arrays[found.shard][found.start : found.start + found.rows]
        return mapped

    @cached_property
    def _shard_tables(self) -> list[dict[str, Any]]:
        return [json.loads(self._file(shard, "json").read_text("utf-8")) for shard in range(self._shards)]

    @cached_property
    def _arrays(self) -> dict[int, NDArray[np.float16]]:
        shards = [shard for shard in range(self._shards) if self._shard_tables[shard]["clips"]]
        return {shard: np.load(self._file(shard, "npy"), mmap_mode="r") for shard in shards}

    @property
    def _shards(self) -> int:
        return -(-len(self.clips) // SHARD_CLIPS)

    def _clips_of(self, shard: int) -> Sequence[DatasetClip]:
        return self.clips[shard * SHARD_CLIPS : (shard + 1) * SHARD_CLIPS]

    def _file(self, shard: int, suffix: str) -> Path:
        return self.folder / f"{shard:05d}.{suffix}"

    def _exists(self, shard: int) -> bool:
        return self._file(shard, "json").is_file()

    def _write_shard(
        self,
        shard: int,
        reads: Iterator[tuple[DatasetClip, Future[Read]]],
        compute: Callable[[Read], NDArray[np.float16]],
        cancel: CancelSignal | None,
    ) -> None:
        arrays: list[NDArray[np.float16]] = []
        clips: list[tuple[str, int, int]] = []
        left_out: list[tuple[str, str]] = []
        start = 0
        for clip, reading in reads:
            if cancel is not None and cancel.is_set():
                raise Cancelled
            try:
                features = compute(reading.result())
            except MediaError as error:
                left_out.append((clip.name, error.what.removesuffix(".")))
                continue
            arrays.append(features)
            clips.append((clip.name, start, len(features)))
            start += len(features)
        if arrays:
            save_array_atomic(self._file(shard, "npy"), np.concatenate(arrays))
        # Written last: its presence marks the shard as complete.
        write_text_atomic(self._file(shard, "json"), json.dumps({"clips": clips, "left_out": left_out}))


def _ahead(
    pool: ThreadPoolExecutor, read: Callable[[DatasetClip], Read], clips: Sequence[DatasetClip], workers: int
) -> Iterator[tuple[DatasetClip, Future[Read]]]:
    """Iterate over clips with their pending reads, only a few ahead because frames are large."""
    waiting: list[tuple[DatasetClip, Future[Read]]] = []
    for clip in clips:
        waiting.append((clip, pool.submit(read, clip)))
        if len(waiting) > _READ_AHEAD * workers:
            yield waiting.pop(0)
    yield from waiting


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1
