"""File transfers: uploads in parts, and downloads that arrive complete or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2

CHUNK_BYTES = 256 * 1024
"""The fastest message size over loopback."""
HASH_CHUNK_BYTES = 1024**2
"""Small enough for reading to stop within a second on a slow drive."""

TransferProgress = Callable[[int, int], object]
"""Called with the number of bytes transferred and the total number of bytes."""


def hash_file(path: Path, on_progress: TransferProgress | None = None) -> str:
    """Compute the SHA-256 of a file, in lower-case hex.

    on_progress: called with the number of bytes read and the size of the file. May raise to abort. Raises ProblemError
    (MEDIA) if the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            size_bytes, read_bytes = os.fstat(file.fileno()).st_size, 0
            while data := file.read(HASH_CHUNK_BYTES):
                digest.update(data)
                read_bytes += len(data)
                if on_progress is not None:
                    on_progress(read_bytes, size_bytes)
            return digest.hexdigest()
    except OSError as error:
        raise read_problem(path, error) from error


def upload_messages(
    path: Path, sha256: str, on_progress: TransferProgress | None, offset_bytes: int = 0
) -> Iterator[rewas_pb2.UploadMediaRequest]:
    """Generate the messages of an upload. Raises ProblemError (MEDIA) if the file cannot be read.

    offset_bytes: Number of bytes that the server has already.
    """
    try:
        size_bytes = path.stat().st_size
        header = rewas_pb2.UploadHeader(
            sha256=sha256, size_bytes=size_bytes, extension=path.suffix[:10], offset_bytes=offset_bytes
        )
        yield rewas_pb2.UploadMediaRequest(header=header)
        sent_bytes = offset_bytes
        with path.open("rb") as file:
            file.seek(offset_bytes)
            while data := file.read(CHUNK_BYTES):
                yield rewas_pb2.UploadMediaRequest(data=data)
                sent_bytes += len(data)
                if on_progress is not None:
                    on_progress(sent_bytes, size_bytes)
    except OSError as error:
        raise read_problem(path, error) from error


class GrowingProgress:
    """Passes progress on only where it exceeds what was reported before: a resumed transfer repeats some bytes."""

    def __init__(self, on_progress: TransferProgress | None) -> None:
        self._on_progress = on_progress
        self._reported_bytes = -1

    def __call__(self, transferred_bytes: int, total_bytes: int) -> None:
        if self._on_progress is not None and transferred_bytes > self._reported_bytes:
            self._reported_bytes = transferred_bytes
            self._on_progress(transferred_bytes, total_bytes)


class PartialFile:
    """A download of an artifact to `destination`, under a temporary name until it is complete and verified.

    Resumes an earlier, broken transfer of the same content. Raises ProblemError (RESOURCES) if the folder is not
    writable.
    """

    def __init__(self, artifact: rewas_pb2.Artifact, destination: Path) -> None:
        self._artifact = artifact
        self._destination = destination
        self._part_path = destination.with_name(f".{destination.name}.{artifact.sha256[:16]}.part")
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part_path.open("ab")
            if self._file.tell() > artifact.size_bytes:
                self._file.truncate(0)
        except OSError as error:
            raise write_problem(destination, error) from error

    @property
    def received_bytes(self) -> int:
        """Number of bytes received, and offset of the next ones."""
        return self._file.seek(0, os.SEEK_END)

    def append(self, data: bytes) -> None:
        """Write the next bytes. Raises ProblemError (RESOURCES) if that fails."""
        try:
            self._file.write(data)
        except OSError as error:
            raise write_problem(self._destination, error) from error

    def finish(self) -> Path:
        """Verify the content and rename the file. Raises ProblemError if the content is not the artifact's."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            received = self._part_path.stat().st_size, hash_file(self._part_path)
            if received != (self._artifact.size_bytes, self._artifact.sha256):
                self._part_path.unlink()
                raise ProblemError(f"{self._artifact.name} arrived damaged.", "Fetch it again.", ProblemKind.RESOURCES)
            self._part_path.replace(self._destination)
        except OSError as error:
            raise write_problem(self._destination, error) from error
        return self._destination

    @contextlib.contextmanager
    def discard_on_error(self) -> Iterator[None]:
        """Delete the partial file if an error leaves this context, because nobody will fetch the rest."""
        try:
            yield
        except BaseException:
            self._file.close()
            self._part_path.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Close the file. Its content stays for the next attempt."""
        self._file.close()
        with contextlib.suppress(OSError):
            if self._part_path.stat().st_size == 0:
                self._part_path.unlink()


def read_problem(path: Path, error: OSError) -> ProblemError:
    """The problem for a media file that cannot be read."""
    return ProblemError(
        f"{path} cannot be read ({error.strerror or error}).",
        "Check that the file exists and that you may read it.",
        ProblemKind.MEDIA,
    )


def write_problem(path: Path, error: OSError) -> ProblemError:
    """The problem for a file that cannot be written."""
    return ProblemError(
        f"{path} cannot be written ({error.strerror or error}).",
        "Choose a folder that you may write to, with enough free space.",
        ProblemKind.RESOURCES,
    )


__all__ = [
    "CHUNK_BYTES",
    "GrowingProgress",
    "PartialFile",
    "TransferProgress",
    "hash_file",
    "read_problem",
    "upload_messages",
    "write_problem",
]
