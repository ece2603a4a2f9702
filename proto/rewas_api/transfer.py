"""Files on their way: uploads in pieces, artifacts that arrive whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2

CHUNK_BYTES = 256 * 1024
"""The fastest size over loopback."""

TransferProgress = Callable[[int, int], object]
"""Called with the bytes that have passed and the bytes in all."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, lower-case hex. Raises ProblemError (MEDIA) where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error


def upload_messages(
    path: Path, sha256: str, on_progress: TransferProgress | None
) -> Iterator[rewas_pb2.UploadMediaRequest]:
    """The messages of one upload. Raises ProblemError (MEDIA) where the file cannot be read."""
    try:
        size_bytes = path.stat().st_size
        header = rewas_pb2.UploadHeader(sha256=sha256, size_bytes=size_bytes, extension=path.suffix[:10])
        yield rewas_pb2.UploadMediaRequest(header=header)
        sent_bytes = 0
        with path.open("rb") as file:
            while data := file.read(CHUNK_BYTES):
                yield rewas_pb2.UploadMediaRequest(data=data)
                sent_bytes += len(data)
                if on_progress is not None:
                    on_progress(sent_bytes, size_bytes)
    except OSError as error:
        raise unreadable(path, error) from error


class PartialFile:
    """An artifact on its way to `destination`: bytes gather under another name until they are all there and right.

    What an earlier, broken transfer of the same bytes left behind is taken up again. Raises ProblemError (RESOURCES)
    where the folder cannot be written.
    """

    def __init__(self, artifact: rewas_pb2.Artifact, destination: Path) -> None:
        self._artifact = artifact
        self._to_path = destination
        self._part_path = destination.with_name(f".{destination.name}.{artifact.sha256[:16]}.part")
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part_path.open("ab")
            if self._file.tell() > artifact.size_bytes:
                self._file.truncate(0)
        except OSError as error:
            raise unwritable(destination, error) from error

    @property
    def received_bytes(self) -> int:
        """Where the next bytes belong."""
        return self._file.seek(0, os.SEEK_END)

    def append(self, data: bytes) -> None:
        """Take the next bytes. Raises ProblemError (RESOURCES) where the disk refuses them."""
        try:
            self._file.write(data)
        except OSError as error:
            raise unwritable(self._to_path, error) from error

    def finish(self) -> Path:
        """Check the bytes and give the file its name. Raises ProblemError where they are not the artifact's."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            arrived = self._part_path.stat().st_size, sha256_of(self._part_path)
            if arrived != (self._artifact.size_bytes, self._artifact.sha256):
                self._part_path.unlink()
                raise ProblemError(f"{self._artifact.name} arrived damaged.", "Fetch it again.", ProblemKind.RESOURCES)
            self._part_path.replace(self._to_path)
        except OSError as error:
            raise unwritable(self._to_path, error) from error
        return self._to_path

    @contextlib.contextmanager
    def discard_on_error(self) -> Iterator[None]:
        """Within, an error says that nobody wants the bytes any more: what has arrived goes too."""
        try:
            yield
        except BaseException:
            self._file.close()
            self._part_path.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Let go of the file; what has arrived stays for the next attempt."""
        self._file.close()
        with contextlib.suppress(OSError):
            if self._part_path.stat().st_size == 0:
                self._part_path.unlink()


def unreadable(path: Path, error: OSError) -> ProblemError:
    """The problem of a media file that cannot be read."""
    return ProblemError(
        f"{path} cannot be read ({error.strerror or error}).",
        "See that the file exists and that you may read it.",
        ProblemKind.MEDIA,
    )


def unwritable(path: Path, error: OSError) -> ProblemError:
    """The problem of a file that cannot be written."""
    return ProblemError(
        f"{path} cannot be written ({error.strerror or error}).",
        "Choose a folder that you may write to, with enough free space.",
        ProblemKind.RESOURCES,
    )


__all__ = [
    "CHUNK_BYTES",
    "PartialFile",
    "TransferProgress",
    "sha256_of",
    "unreadable",
    "unwritable",
    "upload_messages",
]
