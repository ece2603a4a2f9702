"""Delivery of stems as Broadcast WAV files.

48 kHz/24-bit by default, with a `bext` chunk (EBU Tech 3285) for position and provenance. The LIST INFO
chunk holds the full text of fields that do not fit into `bext` (ASCII, 256 bytes).
"""

from __future__ import annotations

import glob
import hashlib
import logging
import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import av
import numpy as np
from numpy.typing import NDArray

from rewas_engine.media.audio import sample_peak
from rewas_engine.runtime.atomic_files import open_atomic

log = logging.getLogger(__name__)

ORIGINATOR = "ReWaS NLE"
PEAK_AFTER_SCALING = 10 ** (-1 / 20)
"""Sounds that exceed full scale are scaled down to −1 dBFS."""
_WAV_OPTIONS = {"write_bext": "1", "rf64": "auto", "fflags": "+bitexact"}
"""Without bitexact, FFmpeg writes its own name as the software."""
_CHANNEL_LAYOUTS = {1: "mono", 2: "stereo"}
"""For more channels, the file states only their number."""
_CHUNK_SAMPLES = 2**18
_RESERVED_NAMES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
MAX_NAME_BYTES = 180
"""Limit for file names without extension. A number and an extension then still fit into 255 bytes."""


@dataclass(frozen=True)
class Provenance:
    """How a stem was generated, as written to its file.

    time_reference_samples: start of the stem in samples since midnight, at its own rate.
    """

    prompt: str
    seed: int
    pack_name: str
    pack_version: str
    licence: str
    time_reference_samples: int = 0

    def sentence(self) -> str:
        """Return all fields in one line, with the prompt last because it may be long."""
        return (
            f"pack={self.pack_name} {self.pack_version}; licence={self.licence}; seed={self.seed}; prompt={self.prompt}"
        )


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
    """Writes the stems of one job to a folder: all of them, or none if the job fails.

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

    def adopt(self, other: StemFolder) -> None:
        """Take over the files of another one of the same folder: they are now kept or removed with these."""
        self._written += other._written

    def write(
        self, waveform: NDArray[np.float32], sample_rate_hz: int, name: str, provenance: Provenance
    ) -> WrittenStem:
        """Write one stem with a safe, unused name.

        Args:
            waveform: `[channels, samples]` float32.
            sample_rate_hz: Of the waveform.
            name: File name without extension.
            provenance: Written to the file.

        Raises OSError if the folder is not writable, ValueError for samples that are not finite.
        """
        check_finite(waveform)
        path = self.claim(name, ".wav")
        with open_atomic(path) as file:
            write_broadcast_wav(file, waveform, sample_rate_hz, provenance)
        with path.open("rb") as written:
            digest = hashlib.file_digest(written, "sha256").hexdigest()
        return WrittenStem(
            path=path,
            size_bytes=path.stat().st_size,
            sha256=digest,
            sample_rate_hz=sample_rate_hz,
            channels=waveform.shape[0],
            samples=waveform.shape[1],
            time_reference_samples=provenance.time_reference_samples,
        )


def check_finite(waveform: NDArray[np.float32]) -> None:
    """Raise ValueError for samples that are not finite."""
    # A single non-finite sample makes the sum non-finite.
    if not np.isfinite(waveform.sum(dtype=np.float64)):
        raise ValueError("the waveform holds samples that are not finite numbers")


def write_broadcast_wav(
    file: BinaryIO, waveform: NDArray[np.float32], sample_rate_hz: int, provenance: Provenance
) -> None:
    """Write a complete 24-bit Broadcast WAV file, in chunks, so that long sounds are not copied as a whole.

    FFmpeg's muxer writes the `bext` chunk (EBU Tech 3285) before the samples, and RF64 (EBU Tech 3306) beyond 4 GiB.

    Args:
        file: Open for writing, at its beginning, seekable.
        waveform: `[channels, samples]` float32. A peak beyond ±1 is scaled down to −1 dBFS, and the coding history in
            the file records the gain.
        sample_rate_hz: Sample rate of the waveform and the file.
        provenance: Origin and position in time, written to the file.

    Raises:
        OSError: The file cannot be written.
        ValueError: The waveform holds samples that are not finite.
    """
    check_finite(waveform)
    history, gain = "", np.float32(1)
    peak = sample_peak(waveform)
    if peak > 1.0:
        gain = np.float32(PEAK_AFTER_SCALING / peak)
        history = f"A=PCM,T=scaled by {20 * np.log10(gain):.2f} dB to keep it from clipping\r\n"
        # Without the prompt, which stays out of logs.
        log.warning("A sound peaked at %.2f of full scale and was scaled down.", peak)
    layout = _CHANNEL_LAYOUTS.get(waveform.shape[0], f"{waveform.shape[0]} channels")
    guarded = _ErrorKeepingFile(file)
    try:
        with av.open(guarded, "w", format="wav", options=_WAV_OPTIONS) as container:
            container.metadata.update(_wav_metadata(provenance, history))
            stream = container.add_stream("pcm_s24le", rate=sample_rate_hz, layout=layout)
            for first in range(0, waveform.shape[1], _CHUNK_SAMPLES):
                chunk = _to_32_bit(waveform[:, first : first + _CHUNK_SAMPLES] * gain)
                frame = av.AudioFrame.from_ndarray(chunk.T.reshape(1, -1), format="s32", layout=stream.layout)
                frame.sample_rate, frame.pts = sample_rate_hz, first
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    except Exception:
        # PyAV replaces an error that a callback raises with another one.
        if guarded.error is not None:
            raise guarded.error from None
        raise
    if guarded.error is not None:
        raise guarded.error


class _ErrorKeepingFile:
    """A file for PyAV that keeps the first OSError of a write."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _to_32_bit(waveform: NDArray[np.float32]) -> NDArray[np.int32]:
    # The encoder keeps the upper 24 bits, as libsndfile does for the same floats.
    return np.clip(np.rint(waveform.astype(np.float64) * 2**31), -(2**31), 2**31 - 1).astype(np.int32)


def safe_file_name(name: str, max_bytes: int = MAX_NAME_BYTES) -> str:
    """Return a file name that is valid on every system and close to the given name; never empty.

    max_bytes: maximum length in UTF-8.
    """
    text = unicodedata.normalize("NFC", name)
    text = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in text)
    text = re.sub(r'[/\\:*?"<>|]+', "-", text)
    text = re.sub(r"\s+", " ", text)
    while len(text.encode()) > max_bytes:
        text = text[:-1]
    text = text.strip(" .-")
    if text.split(".")[0].casefold() in _RESERVED_NAMES:
        text = f"_{text}"
    return text or "clip"


def _claim_free_name(folder: Path, stem: str, suffix: str) -> Path:
    """Reserve the first free name, so that two jobs never use the same file."""
    for candidate in _numbered_names(stem):
        path = folder / f"{candidate}{suffix}"
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            continue
        return path
    raise AssertionError("the numbers never end")


def _numbered_names(stem: str) -> Iterable[str]:
    yield stem
    number = 2
    while True:
        yield f"{stem} {number}"
        number += 1


def _wav_metadata(provenance: Provenance, history: str) -> dict[str, str]:
    """Fields of the `bext` chunk, which is ASCII, and of LIST INFO, which holds the prompt in full."""
    now = datetime.now()
    return {
        "description": _ascii(provenance.sentence(), 256),
        "originator": _ascii(ORIGINATOR, 32),
        "originator_reference": _ascii(f"{provenance.pack_name} {provenance.pack_version} {provenance.seed}", 32),
        "origination_date": now.strftime("%Y-%m-%d"),
        "origination_time": now.strftime("%H:%M:%S"),
        "time_reference": str(provenance.time_reference_samples),
        "coding_history": history,
        "comment": provenance.sentence(),
        "copyright": provenance.licence,
        "encoded_by": ORIGINATOR,
    }


def _ascii(text: str, length: int) -> str:
    """Return ASCII text: accents are removed, other characters become question marks."""
    plain = "".join(
        letter for letter in unicodedata.normalize("NFKD", " ".join(text.split())) if not unicodedata.combining(letter)
    )
    return plain.encode("ascii", "replace")[:length].decode("ascii")
