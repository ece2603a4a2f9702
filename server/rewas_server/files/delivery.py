"""Delivery: stems as Broadcast WAV files that a sound editor can take as they are.

48 kHz/24-bit by default, with a `bext` chunk (EBU Tech 3285) that says where the sound belongs on the time line and how
it was made. What `bext` cannot hold (it is ASCII, 256 bytes) stands in full in the LIST INFO chunk.
"""

from __future__ import annotations

import glob
import hashlib
import logging
import os
import re
import struct
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import soundfile
from numpy.typing import NDArray

log = logging.getLogger(__name__)

ORIGINATOR = "ReWaS NLE"
PEAK_AFTER_SCALING = 10 ** (-1 / 20)
"""Full-scale overshoots are scaled down to −1 dBFS."""
MAX_WAV_BYTES = 2**32 - 2**16
_CHUNK_SAMPLES = 2**18
_RESERVED_NAMES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
MAX_NAME_BYTES = 180
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
        self._made_folders = [parent for parent in (folder, *folder.parents) if not parent.exists()]
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
            # What a transfer that was broken off keeps for its next attempt: there will be none.
            for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
                part.unlink(missing_ok=True)
        for made in self._made_folders:
            if made.is_dir() and not any(made.iterdir()):
                made.rmdir()

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
        check_fits_wav(waveform)
        path = self.claim(name, ".wav")
        with written_whole(path) as file:
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


def check_fits_wav(waveform: NDArray[np.float32]) -> None:
    """Raises ValueError for samples that are not finite or a file beyond WAV's 4 GiB."""
    # A single number that is not finite makes the sum so.
    if not np.isfinite(waveform.sum(dtype=np.float64)):
        raise ValueError("the waveform holds samples that are not finite numbers")
    if waveform.size * 3 > MAX_WAV_BYTES:
        raise ValueError("the waveform is too long for one WAV file")


def write_broadcast_wav(
    file: BinaryIO, waveform: NDArray[np.float32], sample_rate_hz: int, provenance: Provenance
) -> None:
    """Write a whole 24-bit Broadcast WAV file, a part at a time: an hour of sound is not there twice.

    file: open for writing, at its beginning, able to seek. waveform: [channels, samples] float32. A peak beyond ±1 is
    scaled down to −1 dBFS, and the file says so.

    Raises OSError where the file cannot be written, ValueError for samples that are not finite or a file beyond WAV's
    4 GiB.
    """
    check_fits_wav(waveform)
    history, gain = "", np.float32(1)
    peak = max(float(waveform.max(initial=0.0)), -float(waveform.min(initial=0.0)))
    if peak > 1.0:
        gain = np.float32(PEAK_AFTER_SCALING / peak)
        history = f"A=PCM,T=scaled by {20 * np.log10(gain):.2f} dB to keep it from clipping\r\n"
        log.warning("The sound for “%s” peaked at %.2f of full scale and was scaled down.", provenance.prompt, peak)
    spaced = _BextInsertingFile(file, _bext_chunk(provenance, history))
    with soundfile.SoundFile(spaced, "w", sample_rate_hz, waveform.shape[0], "PCM_24", format="WAV") as sound:
        sound.comment = provenance.sentence()
        sound.software = ORIGINATOR
        sound.copyright = provenance.licence
        for first in range(0, waveform.shape[1], _CHUNK_SAMPLES):
            sound.write(waveform[:, first : first + _CHUNK_SAMPLES].T * gain)
            spaced.check()
    spaced.finish()


def safe_file_name(name: str, max_bytes: int = MAX_NAME_BYTES) -> str:
    """A file name that every system accepts, as near to the name as that allows; never empty, no extension added.

    max_bytes: of the name in UTF-8; what is beyond is cut off.
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


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Write a file whole or not at all. Raises OSError."""
    with written_whole(path) as file:
        file.write(content)


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to be written whole or not at all: under a temporary name beside it, then renamed.

    Raises OSError that names the file itself.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=f".{path.suffix.lstrip('.')}.part")
        try:
            with os.fdopen(handle, "w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o666 & ~_umask())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        # Nobody has heard of the temporary name.
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _claim_free_name(folder: Path, stem: str, suffix: str) -> Path:
    """Reserve the first free name: two jobs that write into one folder never meet on one file."""
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


class _BextInsertingFile:
    """A WAV file as its writer sees it, which has no `bext` chunk; in the file itself the chunk stands.

    It goes first, before the format and the samples: some readers stop at the samples. The writer calls from C, through
    which no error can rise: the first one is kept for `check`, and all else is taken as if it were written.
    """

    _HEAD_BYTES = 12

    def __init__(self, file: BinaryIO, bext: bytes) -> None:
        self._file, self._bext, self._place = file, bext, 0
        self._error: OSError | None = None
        file.write(bytes(self._HEAD_BYTES) + bext)

    def write(self, content: Any) -> int:
        content = bytes(content)
        within = max(0, self._HEAD_BYTES - self._place)
        with self._record_error():
            for place, part in ((self._place, content[:within]), (self._place + within, content[within:])):
                if part:
                    self._file.seek(place if place < self._HEAD_BYTES else place + len(self._bext))
                    self._file.write(part)
        self._place += len(content)
        return len(content)

    def read(self, size: int) -> bytes:
        within = max(0, self._HEAD_BYTES - self._place)
        content = b""
        with self._record_error():
            self._file.seek(self._place if within else self._place + len(self._bext))
            content = self._file.read(min(size, within) if within else size)
        self._place += len(content)
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        length = self._place
        with self._record_error():
            length = self._file.seek(0, os.SEEK_END) - len(self._bext)
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: length}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def check(self) -> None:
        """Raises the first OSError of all that was written."""
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Count the chunk in the file's size. Raises OSError, of what was written before too."""
        self.check()
        self._file.seek(4)
        (size,) = struct.unpack("<I", self._file.read(4))
        self._file.seek(4)
        self._file.write(struct.pack("<I", size + len(self._bext)))

    @contextmanager
    def _record_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._error = self._error or error


def _ascii(text: str, length: int) -> bytes:
    """Accents fall off, other scripts become question marks: the field is ASCII by its standard."""
    plain = "".join(
        letter for letter in unicodedata.normalize("NFKD", " ".join(text.split())) if not unicodedata.combining(letter)
    )
    return plain.encode("ascii", "replace")[:length]
