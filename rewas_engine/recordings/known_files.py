"""What earlier runs found out about the files of a library, so that the next run reads only those that have changed.

A library stores it beside its index (`KnownFiles`). Until the index is written, a `Journal` keeps it, so that the run
after one that was stopped or killed continues from there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import soundfile

from rewas_engine.recordings.analysis import ANALYSIS_VERSION
from rewas_engine.recordings.file_state import FileState
from rewas_engine.recordings.index import LibraryIndex, Recording, SoundEvent, Stretch
from rewas_engine.recordings.metadata import METADATA_VERSION, SoundMetadata
from rewas_engine.runtime.atomic_files import write_text_atomic

KNOWN_FILE = "files.json"
READERS = f"PyAV {av.__version__}, libsndfile {soundfile.__libsndfile_version__}"
"""The libraries that read sounds. Another version may be able to read a file that this one cannot."""


@dataclass(frozen=True)
class Measured:
    """A file and what was found in it. Its recording has no words; its events and stretches have the number 0.

    Attributes:
        notes: Problems of the file, which is used nevertheless, as predicates that follow its name.
    """

    recording: Recording
    events: tuple[SoundEvent, ...]
    stretches: tuple[Stretch, ...]
    notes: tuple[str, ...] = ()

    def is_of(self, state: FileState) -> bool:
        """Whether a file with this state has not changed since it was measured."""
        return (self.recording.size_bytes, self.recording.modified_ns) == (state.size_bytes, state.modified_ns)

    def at(self, path: Path, state: FileState) -> Measured:
        """The same, for another file with the same content."""
        moved = replace(self.recording, path=path, size_bytes=state.size_bytes, modified_ns=state.modified_ns)
        return replace(self, recording=moved)


@dataclass(frozen=True)
class Unusable:
    """A file that was read and cannot be used.

    Attributes:
        why: The reason, as a clause.
    """

    path: Path
    state: FileState
    why: str


@dataclass(frozen=True)
class KnownFile:
    """What is known about a file that had a certain state.

    Attributes:
        metadata: Its metadata.
        content: SHA-256 of the file in hex if it was measured; else "".
        why: Why it cannot be used, as a clause; "" if it can.
        notes: As those of `Measured`.
    """

    state: FileState
    metadata: SoundMetadata
    content: str = ""
    why: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class KnownFiles:
    """What is known about the files of a library.

    Attributes:
        folders: Name in the library of each folder of recordings.
        files: What is known, by the name of the folder and the path within it, with slashes.
        encoder: Name and version of the encoder that embedded the words of the index; "" if unknown.
        has_metadata: Whether this version would read the same metadata.
    """

    folders: Mapping[Path, str]
    files: Mapping[str, KnownFile] = field(default_factory=dict)
    encoder: str = ""
    has_metadata: bool = True

    def name(self, source: Path, path: Path) -> str:
        """The name in the library of a file in one of the folders."""
        return f"{self.folders[source]}/{path.relative_to(source).as_posix()}"

    def unchanged(self, source: Path, path: Path, state: FileState) -> KnownFile | None:
        """What is known about a file, if it has not changed."""
        known = self.files.get(self.name(source, path))
        return known if known is not None and known.state.has_content_of(state) else None

    def save(self, folder: Path) -> None:
        """Write everything to a file in a folder. Raises OSError."""
        entries = {name: asdict(known) for name, known in self.files.items()}
        document = {
            "analysis": ANALYSIS_VERSION, "metadata": METADATA_VERSION, "readers": READERS, "encoder": self.encoder,
            "files": entries,
        }  # fmt: skip
        write_text_atomic(folder / KNOWN_FILE, json.dumps(document, ensure_ascii=False))

    @classmethod
    def load(cls, folder: Path, folders: Mapping[Path, str]) -> KnownFiles | None:
        """Read what is known; None if the file is missing or damaged, or if its version analysed sounds differently.

        Files that could not be read by another version of the libraries are not known.
        """
        try:
            document = json.loads((folder / KNOWN_FILE).read_text("utf-8"))
            if document["analysis"] != ANALYSIS_VERSION:
                return None
            files = {name: _known_file(entry) for name, entry in document["files"].items()}
            can_read_as_well, encoder = document["readers"] == READERS, str(document["encoder"])
            has_metadata = document["metadata"] == METADATA_VERSION
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        kept = {name: known for name, known in files.items() if can_read_as_well or not known.why}
        return cls(folders, kept, encoder, has_metadata)


class Journal:
    """What the present run has found, one JSON object per line. Incomplete lines are ignored."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Iterator[Measured | Unusable]:
        """Yield everything that was found by the same version."""
        if not self.path.is_file():
            return
        with self.path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    entry = json.loads(line)
                    if entry["analysis"] == ANALYSIS_VERSION and entry["readers"] == READERS:
                        yield _finding(entry)
                except (ValueError, KeyError, TypeError):
                    continue

    def add(self, found: Measured | Unusable) -> None:
        """Append what was found. Raises OSError if the disk is full."""
        entry: dict[str, Any] = {"analysis": ANALYSIS_VERSION, "readers": READERS}
        if isinstance(found, Unusable):
            entry |= {"unusable": str(found.path), "state": asdict(found.state), "why": found.why}
        else:
            entry |= {
                "recording": {**asdict(found.recording), "path": str(found.recording.path)},
                "events": [list(vars(event).values()) for event in found.events],
                "stretches": [list(vars(stretch).values()) for stretch in found.stretches],
                "notes": list(found.notes),
            }
        with self.path.open("a", encoding="utf-8") as file:
            # Begin with a line break, because a killed process may have left an incomplete line.
            file.write("\n" + json.dumps(entry) + "\n")


def measurements_of(index: LibraryIndex) -> Iterator[Measured]:
    """Yield what an index knows about each of its recordings."""
    for number, recording in enumerate(index.recordings):
        yield Measured(
            recording,
            tuple(replace(event, recording=0) for event in index.events_of(number)),
            tuple(replace(stretch, recording=0) for stretch in index.stretches_of(number)),
        )


def _known_file(entry: Mapping[str, Any]) -> KnownFile:
    return KnownFile(
        FileState(**entry["state"]),
        SoundMetadata(**entry["metadata"]),
        str(entry["content"]),
        str(entry["why"]),
        tuple(entry["notes"]),
    )


def _finding(entry: Mapping[str, Any]) -> Measured | Unusable:
    if "unusable" in entry:
        return Unusable(Path(entry["unusable"]), FileState(**entry["state"]), str(entry["why"]))
    return Measured(
        Recording(**{**entry["recording"], "path": Path(entry["recording"]["path"])}),
        tuple(SoundEvent(*row) for row in entry["events"]),
        tuple(Stretch(*row) for row in entry["stretches"]),
        tuple(entry["notes"]),
    )
