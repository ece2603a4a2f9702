"""The folder for the stems of a job. If the job fails, none of them stay."""

from __future__ import annotations

import glob
import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rewas_engine.runtime.atomic_files import open_atomic
from rewas_server.delivery.broadcast_wav import check_finite, write_broadcast_wav
from rewas_server.delivery.file_names import numbered_names, safe_file_name
from rewas_server.delivery.finishing import finish_sound
from rewas_server.delivery.metadata import BroadcastMetadata


@dataclass(frozen=True)
class WrittenStem:
    """A stem on disk. samples: per channel."""

    path: Path
    size_bytes: int
    sha256: str
    sample_rate_hz: int
    channels: int
    samples: int
    time_reference_samples: int


class StemFolder:
    """Writes the stems of one job to a folder, and removes them if the job fails.

    Use it as a context manager. Existing files are never overwritten.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._new_folders = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        self._written: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            return
        for path in self._written:
            path.unlink(missing_ok=True)
            # Partial files that an interrupted transfer keeps for its next attempt.
            for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
                part.unlink(missing_ok=True)
        for folder in self._new_folders:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def claim(self, name: str, suffix: str) -> Path:
        """Reserve a free path in the folder with a name as close as possible to this one. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = _claim_free_name(self.folder, safe_file_name(name), suffix)
        self._written.append(path)
        return path

    def write(
        self, waveform: NDArray[np.float32], sample_rate_hz: int, name: str, metadata: BroadcastMetadata
    ) -> WrittenStem:
        """Write one stem as a 24-bit Broadcast WAV file with a safe, unused name. Its true peak is limited.

        Args:
            waveform: `[channels, samples]` float32.
            sample_rate_hz: Sample rate of the waveform.
            name: File name without extension.
            metadata: Metadata for the file.

        Raises OSError if the folder is not writable, ValueError if any sample is not finite.
        """
        check_finite(waveform)
        finished = finish_sound(waveform, sample_rate_hz, metadata)
        path = self.claim(name, ".wav")
        with open_atomic(path) as file:
            write_broadcast_wav(file, finished.waveform, sample_rate_hz, finished.metadata)
        with path.open("rb") as written:
            digest = hashlib.file_digest(written, "sha256").hexdigest()
        return WrittenStem(
            path=path,
            size_bytes=path.stat().st_size,
            sha256=digest,
            sample_rate_hz=sample_rate_hz,
            channels=waveform.shape[0],
            samples=waveform.shape[1],
            time_reference_samples=metadata.time_reference_samples,
        )


def _claim_free_name(folder: Path, stem: str, suffix: str) -> Path:
    """Reserve the first free name, so that two jobs never use the same file."""
    for candidate in numbered_names(stem):
        path = folder / f"{candidate}{suffix}"
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            continue
        return path
    raise AssertionError("the numbers never end")
