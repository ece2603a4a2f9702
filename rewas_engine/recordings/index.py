"""The index of a library: its recordings, the events and stretches in them, and the meaning of their words.

This module does not import torch.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from rewas_engine.errors import MediaError
from rewas_engine.runtime.atomic_files import write_bytes_atomic, write_text_atomic

INDEX_FORMAT = 1
"""Layout of the indexes that this version reads and writes."""
INDEX_FILE = "index.json"
NUMBERS_PATTERN = "numbers-*.safetensors"

FloatArray = NDArray[np.float16]


@dataclass(frozen=True)
class Recording:
    """One sound file of a library.

    Attributes:
        path: The file, absolute.
        size_bytes, modified_ns: State of the file when it was indexed, by which a changed file is recognised.
        content: SHA-256 of the file, in hex.
        channels, samples: Audio channels, and samples of each.
        words: What the recording sounds like, such as "footsteps on gravel, boots, slow"; "" if unknown.
        licence, credit: Terms of this recording, and whom to name; None if those of the library apply.
        noise_floor_db: Level in dBFS that the quietest twentieth of the recording stays below.
        peak_db: Sample peak in dBFS.
        stereo_width: From 0 (all channels equal) to 1 (uncorrelated channels).
    """

    path: Path
    size_bytes: int
    modified_ns: int
    content: str
    sample_rate_hz: int
    channels: int
    samples: int
    words: str
    licence: str | None
    credit: str | None
    noise_floor_db: float
    peak_db: float
    stereo_width: float


@dataclass(frozen=True)
class SoundEvent:
    """One hit in a recording. Positions are samples of the recording: start <= onset < end.

    Attributes:
        recording: Index of the recording.
        start_sample: Where to start reading: silence or a zero crossing before the onset.
        onset_sample: Where the sound begins to rise.
        end_sample: End of the decay.
        peak_db: Sample peak in dBFS.
        level_nats: Energy of the loudest log-mel frame at 16 kHz, comparable with an EnergyCurve.
        centroid_hz: Spectral centroid of the attack.
        decay_s: Seconds from the onset until the sound stays 20 dB below its peak.
        round: Equal for the events of a recording that are variations of one sound.
    """

    recording: int
    start_sample: int
    onset_sample: int
    end_sample: int
    peak_db: float
    level_nats: float
    centroid_hz: float
    decay_s: float
    round: int


@dataclass(frozen=True)
class Stretch:
    """A steady part of a recording. Positions are samples of the recording.

    Attributes:
        recording: Index of the recording.
        start_sample, end_sample: Limits of the part.
        loop_start_sample, loop_end_sample: Loop points, at which level and spectrum agree.
        level_db: RMS level in dBFS.
        level_nats: Mean energy of its log-mel frames at 16 kHz, comparable with an EnergyCurve.
        centroid_hz: Mean of the spectral centroid.
    """

    recording: int
    start_sample: int
    end_sample: int
    loop_start_sample: int
    loop_end_sample: int
    level_db: float
    level_nats: float
    centroid_hz: float


_Found = TypeVar("_Found", SoundEvent, Stretch)


@dataclass(frozen=True, eq=False)
class LibraryIndex:
    """Everything that is known about a library.

    Attributes:
        sources: The folders that the recordings are in, absolute.
        recordings: The files, in the order in which events and stretches count them.
        events, stretches: What was found in them, ordered by recording and start.
        embeddings: Meaning of each recording's words, `[recordings, dimensions]` float16; each of norm 1, or zeros
            without words.
    """

    sources: tuple[Path, ...]
    recordings: tuple[Recording, ...]
    events: tuple[SoundEvent, ...] = ()
    stretches: tuple[Stretch, ...] = ()
    embeddings: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float16))

    def __post_init__(self) -> None:
        """Raise ValueError for an index that contradicts itself."""
        count = len(self.recordings)
        if self.embeddings.ndim != 2 or len(self.embeddings) != count:
            raise ValueError(f"{count} recordings have embeddings of shape {self.embeddings.shape}")
        for event in self.events:
            self._check(event, event.start_sample <= event.onset_sample < event.end_sample, event.start_sample)
        for stretch in self.stretches:
            positions = (stretch.start_sample, stretch.loop_start_sample, stretch.loop_end_sample, stretch.end_sample)
            self._check(stretch, list(positions) == sorted(positions) and positions[1] < positions[2], positions[0])

    def _check(self, found: SoundEvent | Stretch, is_ordered: bool, start_sample: int) -> None:
        if not 0 <= found.recording < len(self.recordings):
            raise ValueError(f"there is no recording {found.recording}")
        if not is_ordered or start_sample < 0 or found.end_sample > self.recordings[found.recording].samples:
            raise ValueError(
                f"a sound of recording {found.recording} is outside the recording, or its positions are not in order"
            )

    def events_of(self, recording: int) -> list[SoundEvent]:
        """Return the events of a recording."""
        return list(self._events_by_recording.get(recording, ()))

    def stretches_of(self, recording: int) -> list[Stretch]:
        """Return the stretches of a recording."""
        return list(self._stretches_by_recording.get(recording, ()))

    def is_mainly_steady(self, recording: int) -> bool:
        """Return whether the stretches of a recording are longer than its events."""
        struck = sum(event.end_sample - event.onset_sample for event in self.events_of(recording))
        steady = sum(stretch.end_sample - stretch.start_sample for stretch in self.stretches_of(recording))
        return steady > 0 and steady >= struck

    @cached_property
    def _events_by_recording(self) -> dict[int, list[SoundEvent]]:
        return _by_recording(self.events)

    @cached_property
    def _stretches_by_recording(self) -> dict[int, list[Stretch]]:
        return _by_recording(self.stretches)

    def without(self, numbers: Collection[int]) -> LibraryIndex:
        """Return the index without some recordings, whose numbers are given."""
        if not numbers:
            return self
        kept = [number for number in range(len(self.recordings)) if number not in numbers]
        return LibraryIndex(
            self.sources,
            tuple(self.recordings[number] for number in kept),
            tuple(replace(event, recording=new) for new, old in enumerate(kept) for event in self.events_of(old)),
            tuple(replace(part, recording=new) for new, old in enumerate(kept) for part in self.stretches_of(old)),
            self.embeddings[kept],
        )

    def save(self, folder: Path, final_folder: Path | None = None) -> None:
        """Write the index into a folder. A reader finds the old index or the new one, never a mixture.

        A source folder next to the index folder, such as that of copied recordings, is stored relative to it, so that
        both can be moved together.

        Args:
            folder: The folder of the index.
            final_folder: Where the folder will be if it is moved later. None means that it stays.

        Raises:
            OSError: The folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        numbers = save(self._numbers())
        digest = hashlib.sha256(numbers).hexdigest()
        name = NUMBERS_PATTERN.replace("*", digest[:16])
        write_bytes_atomic(folder / name, numbers)
        document = {
            "format": INDEX_FORMAT,
            "numbers": {"file": name, "sha256": digest},
            "sources": [_stored_source(source, final_folder or folder) for source in self.sources],
            "recordings": [self._text_row(recording) for recording in self.recordings],
        }
        write_text_atomic(folder / INDEX_FILE, json.dumps(document, ensure_ascii=False))
        for other in folder.glob(NUMBERS_PATTERN):
            if other.name != name:
                other.unlink(missing_ok=True)

    @classmethod
    def load(cls, folder: Path) -> LibraryIndex:
        """Read an index. Raises MediaError if it is missing, damaged or of a newer format."""
        path = folder / INDEX_FILE
        try:
            document = json.loads(path.read_text("utf-8"))
            found = document["format"]
            if isinstance(found, int) and found > INDEX_FORMAT:
                raise MediaError(
                    f"The index {path} has format {found}, but this version reads formats only up to {INDEX_FORMAT}.",
                    "Update ReWaS, or make the library again.",
                )
            content = (folder / PurePosixPath(document["numbers"]["file"]).name).read_bytes()
            if hashlib.sha256(content).hexdigest() != document["numbers"]["sha256"]:
                raise ValueError("its numbers are not the original ones")
            return cls._from_document(document, load(content), folder)
        except FileNotFoundError as error:
            raise MediaError(f"There is no index of a library in {folder}.", "Make the library again.") from error
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, SafetensorError) as error:
            raise MediaError(f"The index {path} is damaged: {error}.", "Make the library again.") from error

    def _numbers(self) -> dict[str, NDArray[Any]]:
        columns = {f"recording.{name}": column for name, column in _columns(self.recordings, Recording).items()}
        columns |= {f"event.{name}": column for name, column in _columns(self.events, SoundEvent).items()}
        columns |= {f"stretch.{name}": column for name, column in _columns(self.stretches, Stretch).items()}
        return columns | {"embeddings": np.ascontiguousarray(self.embeddings, np.float16)}

    def _text_row(self, recording: Recording) -> dict[str, Any]:
        """The fields of a recording that are not numbers, and its path within one of the sources."""
        for number, source in enumerate(self.sources):
            if recording.path.is_relative_to(source):
                place = {"source": number, "path": recording.path.relative_to(source).as_posix()}
                return place | {name: getattr(recording, name) for name in ("content", "words", "licence", "credit")}
        raise ValueError(f"{recording.path} is in none of the library's folders")

    @classmethod
    def _from_document(
        cls, document: Mapping[str, Any], numbers: dict[str, NDArray[Any]], folder: Path
    ) -> LibraryIndex:
        sources = tuple(_located(source, folder.absolute()) for source in document["sources"])
        texts = [{**row, "path": sources[row["source"]] / _checked(row["path"])} for row in document["recordings"]]
        for text in texts:
            text.pop("source")
        names = _numeric_fields(Recording)
        rows = [dict(zip(names, row, strict=True)) for row in _rows(Recording, numbers, "recording", len(texts))]
        return cls(
            sources,
            tuple(Recording(**text, **row) for text, row in zip(texts, rows, strict=True)),
            tuple(itertools.starmap(SoundEvent, _rows(SoundEvent, numbers, "event"))),
            tuple(itertools.starmap(Stretch, _rows(Stretch, numbers, "stretch"))),
            numbers["embeddings"],
        )


def _checked(inner: str) -> str:
    """The path of a recording within its folder. Raises ValueError if it leads out of it."""
    if inner.startswith("/") or ".." in inner.split("/"):
        raise ValueError(f"{inner} is outside its folder")
    return inner


def _by_recording(found: Iterable[_Found]) -> dict[int, list[_Found]]:
    groups: dict[int, list[_Found]] = {}
    for each in found:
        groups.setdefault(each.recording, []).append(each)
    return groups


def _stored_source(source: Path, folder: Path) -> str:
    source, folder = source.absolute(), folder.absolute()
    if source.is_relative_to(folder.parent):
        return PurePosixPath(os.path.relpath(source, folder)).as_posix()
    return str(source)


def _located(source: str, folder: Path) -> Path:
    """The folder of recordings that is stored in the index in a folder."""
    if os.name != "nt" and PureWindowsPath(source).drive:
        return Path("/", source)  # a folder of another computer, which must not be taken for a part of the pack
    return Path(os.path.normpath(folder / source))


def _numeric_fields(kind: type) -> dict[str, type]:
    types = {"int": np.int64, "float": np.float64}
    return {each.name: types[str(each.type)] for each in fields(kind) if str(each.type) in types}


def _columns(rows: Sequence[Any], kind: type) -> dict[str, NDArray[Any]]:
    return {
        name: np.array([getattr(row, name) for row in rows], dtype) for name, dtype in _numeric_fields(kind).items()
    }


def _rows(
    kind: type, numbers: Mapping[str, NDArray[Any]], prefix: str, count: int | None = None
) -> Iterable[tuple[Any, ...]]:
    """The numbers of each row in the order of the fields. Raises ValueError if the columns differ in length."""
    columns = [numbers[f"{prefix}.{name}"].tolist() for name in _numeric_fields(kind)]
    if len({len(column) for column in columns} | ({count} if count is not None else set())) != 1:
        raise ValueError(f"the columns of {prefix} differ in length")
    return zip(*columns, strict=True)
