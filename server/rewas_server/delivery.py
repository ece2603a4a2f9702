"""Delivery: stems as Broadcast WAV files that a sound editor can take as they are.

48 kHz/24-bit by default, with a `bext` chunk (EBU Tech 3285) that says where the sound belongs on the time line and how
it was made. What `bext` cannot hold (it is ASCII, 256 bytes) stands in full in the LIST INFO chunk.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import struct
import tempfile
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile
from numpy.typing import NDArray

log = logging.getLogger(__name__)

ORIGINATOR = "ReWaS NLE"
PEAK_AFTER_SCALING = 10 ** (-1 / 20)
"""Full-scale overshoots are scaled down to −1 dBFS."""
LARGEST_WAV_BYTES = 2**32 - 2**16
_RESERVED_NAMES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
LONGEST_NAME_BYTES = 180
"""Of file names without extension; with a number and an extension they stay below every file system's 255."""


@dataclass(frozen=True)
class Provenance:
    """How a stem was made; written into its file.

    time_reference_samples: where the stem starts, in samples since midnight at its own rate.
    """

    prompt: str
    seed: int
    pack_name: str
    pack_version: str
    licence: str
    time_reference_samples: int = 0

    def sentence(self) -> str:
        """Everything in one line, the prompt last because it may be long."""
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
    """Writes the stems of one job into a folder: all of them, or none where the job ends in an error.

    Use it as a context manager. No file that was there before is ever overwritten.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made_folder = not folder.exists()
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
        if self._made_folder and self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def claim(self, name: str, suffix: str) -> Path:
        """A path in the folder that is free and now ours, called as nearly so as possible. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = _claim_free_name(self.folder, safe_file_name(name), suffix)
        self._written.append(path)
        return path

    def write(
        self, waveform: NDArray[np.float32], sample_rate_hz: int, name: str, provenance: Provenance
    ) -> WrittenStem:
        """Write one stem under a safe name that is free in the folder.

        waveform: [channels, samples] float32. name: what the file should be called, without extension.

        Raises OSError where the folder cannot be written, ValueError for samples that are not finite or a file beyond
        WAV's 4 GiB.
        """
        content = broadcast_wav(waveform, sample_rate_hz, provenance)
        path = self.claim(name, ".wav")
        write_whole(path, content)
        return WrittenStem(
            path=path,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            sample_rate_hz=sample_rate_hz,
            channels=waveform.shape[0],
            samples=waveform.shape[1],
            time_reference_samples=provenance.time_reference_samples,
        )


def broadcast_wav(waveform: NDArray[np.float32], sample_rate_hz: int, provenance: Provenance) -> bytes:
    """A whole 24-bit Broadcast WAV file.

    waveform: [channels, samples] float32. A peak beyond ±1 is scaled down to −1 dBFS, and the file says so.

    Raises ValueError for samples that are not finite or a file beyond WAV's 4 GiB.
    """
    if not np.isfinite(waveform).all():
        raise ValueError("the waveform holds samples that are not finite numbers")
    if waveform.size * 3 > LARGEST_WAV_BYTES:
        raise ValueError("the waveform is too long for one WAV file")
    history = ""
    peak = float(np.abs(waveform).max(initial=0.0))
    if peak > 1.0:
        gain = PEAK_AFTER_SCALING / peak
        history = f"A=PCM,T=scaled by {20 * np.log10(gain):.2f} dB to keep it from clipping\r\n"
        log.warning("The sound for “%s” peaked at %.2f of full scale and was scaled down.", provenance.prompt, peak)
        waveform = waveform * np.float32(gain)
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", sample_rate_hz, waveform.shape[0], "PCM_24", format="WAV") as sound:
        sound.comment = provenance.sentence()
        sound.software = ORIGINATOR
        sound.copyright = provenance.licence
        sound.write(waveform.T)
    return _with_bext(file.getvalue(), _bext_chunk(provenance, history))


def safe_file_name(name: str, longest_bytes: int = LONGEST_NAME_BYTES) -> str:
    """A file name that every system accepts, as near to the name as that allows; never empty, no extension added.

    longest_bytes: of the name in UTF-8; what is beyond is cut off.
    """
    text = unicodedata.normalize("NFC", name)
    text = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in text)
    text = re.sub(r'[/\\:*?"<>|]+', "-", text)
    text = re.sub(r"\s+", " ", text)
    while len(text.encode()) > longest_bytes:
        text = text[:-1]
    text = text.strip(" .-")
    if text.split(".")[0].casefold() in _RESERVED_NAMES:
        text = f"_{text}"
    return text or "clip"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: under a temporary name beside it, then renamed. Raises OSError."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=f".{path.suffix.lstrip('.')}.part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _claim_free_name(folder: Path, stem: str, suffix: str) -> Path:
    """Reserve the first free name: two jobs that write into one folder never meet on one file."""
    for candidate in _numbered(stem):
        path = folder / f"{candidate}{suffix}"
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            continue
        return path
    raise AssertionError("the numbers never end")


def _numbered(stem: str) -> Iterable[str]:
    yield stem
    number = 2
    while True:
        yield f"{stem} {number}"
        number += 1


def _umask() -> int:
    # Only setting the mask tells it; mkstemp makes files private, a delivery should be as readable as any new file.
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _bext_chunk(provenance: Provenance, history: str) -> bytes:
    now = datetime.now()
    body = struct.pack(
        "<256s32s32s10s8sQH64s190s",
        _ascii(provenance.sentence(), 256),
        _ascii(ORIGINATOR, 32),
        _ascii(f"{provenance.pack_name} {provenance.pack_version} {provenance.seed}", 32),
        now.strftime("%Y-%m-%d").encode(),
        now.strftime("%H:%M:%S").encode(),
        provenance.time_reference_samples,
        1,
        b"",
        b"",
    ) + history.encode("ascii")
    return struct.pack("<4sI", b"bext", len(body)) + body + b"\0" * (len(body) % 2)


def _with_bext(wav: bytes, bext: bytes) -> bytes:
    """The chunk goes first, before the format and the samples: some readers stop at the samples."""
    riff, size, kind = struct.unpack("<4sI4s", wav[:12])
    return struct.pack("<4sI4s", riff, size + len(bext), kind) + bext + wav[12:]


def _ascii(text: str, length: int) -> bytes:
    """Accents fall off, other scripts become question marks: the field is ASCII by its standard."""
    plain = "".join(
        letter for letter in unicodedata.normalize("NFKD", " ".join(text.split())) if not unicodedata.combining(letter)
    )
    return plain.encode("ascii", "replace")[:length]
