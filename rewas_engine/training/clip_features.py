"""Features of the clips of a data set, computed once and kept in shards that are read without loading them whole."""

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
from rewas_engine.runtime.atomic_files import save_array_atomic, write_text_atomic
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.training.datasets import DatasetClip
from rewas_engine.training.distributed import ALONE, Alone
from rewas_engine.training.manifests import LeftOut
from rewas_engine.training.progress import TrainingStopped

SHARD_CLIPS = 32
_READ_AHEAD = 2
"""Clips that wait to be computed, for each that is being read."""

Read = TypeVar("Read")
ReportClips = Callable[[int, int], object]


@dataclass(frozen=True)
class Feature:
    """Rows of one clip's features: in which shard, from which row on, how many."""

    shard: int
    start: int
    rows: int


@dataclass(frozen=True)
class ClipFeatures:
    """One kind of features [T, D] float16 of many clips, in a folder of their own.

    kind: what decides the features beside the clips; where it or the clips change, another folder is used.
    """

    parent: Path
    clips: Sequence[DatasetClip]
    kind: Mapping[str, Any]

    @cached_property
    def folder(self) -> Path:
        """Where the shards lie."""
        told = [
            [clip.name, str(clip.start_s), str(clip.duration_s), *(_size(path) for path in (clip.video, clip.sound))]
            for clip in self.clips
        ]
        digest = hashlib.sha256(json.dumps([dict(self.kind), told], sort_keys=True).encode()).hexdigest()
        return self.parent / f"{self.kind['name']}-{digest[:16]}"

    def write(
        self,
        read: Callable[[DatasetClip], Read],
        compute: Callable[[Read], NDArray[np.float16]],
        *,
        workers: int,
        processes: Alone = ALONE,
        report: ReportClips | None = None,
        cancel: CancelSignal | None = None,
    ) -> None:
        """Compute what is not there yet: `read` in threads, `compute` in this one; processes share the shards.

        A clip that cannot be read is left out. Raises TrainingStopped where asked to stop; whole shards stay.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        missing = [
            shard for shard in range(self._shards)[processes.rank :: processes.count] if not self._is_there(shard)
        ]
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
    def is_whole(self) -> bool:
        """Whether nothing is left to compute."""
        return all(self._is_there(shard) for shard in range(self._shards))

    def left_out(self) -> list[LeftOut]:
        """Clips that could not be read, with the reason of each, once `write` has run."""
        return [LeftOut(*each) for shard in self._told for each in shard["left_out"]]

    @cached_property
    def of_clip(self) -> dict[str, Feature]:
        """Where the features of each clip lie, by its name."""
        return {name: Feature(shard, *rows) for shard, told in enumerate(self._told) for name, *rows in told["clips"]}

    def rows(self, name: str) -> NDArray[np.float16]:
        """The features [T, D] of a clip, as they lie on disk."""
        found = self.of_clip[name]
        mapped: NDArray[np.float16] = self._arrays[found.shard][found.start : found.start + found.rows]
        return mapped

    @cached_property
    def _told(self) -> list[dict[str, Any]]:
        return [json.loads(self._file(shard, "json").read_text("utf-8")) for shard in range(self._shards)]

    @cached_property
    def _arrays(self) -> dict[int, NDArray[np.float16]]:
        shards = [shard for shard in range(self._shards) if self._told[shard]["clips"]]
        return {shard: np.load(self._file(shard, "npy"), mmap_mode="r") for shard in shards}

    @property
    def _shards(self) -> int:
        return -(-len(self.clips) // SHARD_CLIPS)

    def _clips_of(self, shard: int) -> Sequence[DatasetClip]:
        return self.clips[shard * SHARD_CLIPS : (shard + 1) * SHARD_CLIPS]

    def _file(self, shard: int, suffix: str) -> Path:
        return self.folder / f"{shard:05d}.{suffix}"

    def _is_there(self, shard: int) -> bool:
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
        # Written last: its presence says that the shard is whole.
        write_text_atomic(self._file(shard, "json"), json.dumps({"clips": clips, "left_out": left_out}))


def _ahead(
    pool: ThreadPoolExecutor, read: Callable[[DatasetClip], Read], clips: Sequence[DatasetClip], workers: int
) -> Iterator[tuple[DatasetClip, Future[Read]]]:
    """The clips with what is read of them, a few ahead and no more: pictures are large."""
    waiting: list[tuple[DatasetClip, Future[Read]]] = []
    for clip in clips:
        waiting.append((clip, pool.submit(read, clip)))
        if len(waiting) > _READ_AHEAD * workers:
            yield waiting.pop(0)
    yield from waiting


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1
