"""Uploaded media: one file for each content, named by its SHA-256, with resumable transfers and quotas."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_engine.runtime.atomic_files import flush_folder, flush_to_disk

SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
EXTENSION_PATTERN = re.compile(r"(\.[A-Za-z0-9]{1,9})?")
FREE_SPACE_MARGIN_BYTES = 256 * 1024**2
"""Space that uploads leave free, for the job store and for stems."""
PARTIAL_LIFETIME_S = 24 * 3600.0
"""Time for which the beginning of an interrupted upload is kept."""
TAKEOVER_S = 5.0
"""Silence after which a sender is ended if another one of the same content waits: often it is the same client, whose
new connection has come before the end of its old one was noticed."""
_Result = TypeVar("_Result")
_BLOCK_BYTES = 1024**2
_BLOCKS_PER_STEP = 16
_PARTIAL_SUFFIX = ".part"
_CLIENT_SUFFIX = ".client"


@dataclass(frozen=True)
class UploadLimits:
    """Limits of uploads.

    Attributes:
        upload_bytes: Size of one file.
        total_bytes: Size of all files, with those in progress.
        client_bytes: The same for one client.
    """

    upload_bytes: int
    total_bytes: int
    client_bytes: int


@dataclass(frozen=True)
class StoredUpload:
    """An upload on disk.

    Attributes:
        client: Name of the client that sent it; "" if unknown.
        used_at_s: Unix time at which it was last sent, looked for, or named by a job.
        complete: False for the beginning of an interrupted upload.
    """

    sha256: str
    size_bytes: int
    used_at_s: float
    client: str
    complete: bool


@dataclass(frozen=True)
class Shortage:
    """What keeps an upload, or a job, from being accepted.

    Attributes:
        disk_bytes: Free space that is missing on the disk.
        uploads_bytes: Size by which all uploads would exceed their limit.
        client_bytes: Size by which the uploads of the client would exceed its limit.
        client: Name of the client.
    """

    disk_bytes: int = 0
    uploads_bytes: int = 0
    client_bytes: int = 0
    client: str = ""


MakeRoom = Callable[[Shortage], Awaitable[object]]
"""Deletes what is no longer needed until a shortage has ended, or nothing is left to delete."""


async def _keep_everything(shortage: Shortage) -> None:
    """Make no room."""


class UploadStore:
    """The uploads of a server. Call its coroutines in one event loop.

    Several senders of the same content take turns: the others wait, and when the first one has finished, they get its
    answer. So nobody is refused for sending what somebody else is sending, and no byte is stored twice.

    Args:
        folder: Folder of the uploads. It is created with the first one.
        limits: Limits of sizes and numbers.
        make_room: Called if there is too little space, before an upload is refused.
        takeover_s: See TAKEOVER_S.
    """

    def __init__(
        self,
        folder: Path,
        limits: UploadLimits,
        *,
        make_room: MakeRoom = _keep_everything,
        takeover_s: float = TAKEOVER_S,
    ) -> None:
        self.folder = folder
        self.make_room = make_room
        self.limits = limits
        self._takeover_s = takeover_s
        self._turns: dict[str, asyncio.Lock] = {}
        self._waiting: Counter[str] = Counter()
        self._active: dict[str, _Reservation] = {}
        self._admission = asyncio.Lock()

    async def find(self, sha256: str) -> rewas_pb2.FindMediaResponse:
        """Look for an upload, which counts as a use of it. Raises ProblemError (SETTINGS) for an invalid SHA-256."""
        if await asyncio.to_thread(use_upload, self.folder, sha256) is not None:
            return rewas_pb2.FindMediaResponse(present=True)
        received_bytes = await asyncio.to_thread(_size_bytes, _partial_path(self.folder, sha256))
        return rewas_pb2.FindMediaResponse(received_bytes=received_bytes)

    async def size_bytes(self, sha256: str) -> int:
        """Return the size of an upload, which counts as a use of it; 0 if there is none.

        sha256: "" for none. Raises ProblemError (SETTINGS) for an invalid SHA-256.
        """
        found = await asyncio.to_thread(use_upload, self.folder, sha256) if sha256 else None
        return 0 if found is None else _size_bytes(found)

    async def receive(
        self, messages: AsyncIterator[rewas_pb2.UploadMediaRequest], client: str
    ) -> rewas_pb2.UploadMediaResponse:
        """Receive a file: the header, then its bytes from the announced offset on.

        An interrupted upload leaves its beginning on disk, from which the next one continues.

        Raises:
            ProblemError: SETTINGS for an invalid header, a wrong offset, content that does not match, or if another
                sender of this content has taken over; MEDIA for an empty file; RESOURCES for a limit or a full disk.
        """
        first = await anext(messages, None)
        if first is None or not first.HasField("header"):
            raise ProblemError(
                "The upload does not begin with a header.", "Send the header first.", ProblemKind.SETTINGS
            )
        header = first.header
        self._check_header(header)
        async with self._take_turn(header.sha256):
            stored = await asyncio.to_thread(use_upload, self.folder, header.sha256)
            if stored is not None:
                return rewas_pb2.UploadMediaResponse(sha256=header.sha256, size_bytes=_size_bytes(stored))
            return await self._receive_content(header, messages, client)

    def active_uploads(self) -> frozenset[str]:
        """Return the SHA-256 of the contents that clients are sending or waiting to send."""
        return frozenset(self._active) | frozenset(self._turns)

    def is_awaited(self, sha256: str) -> bool:
        """Return whether a sender waits for another one of the same content."""
        return self._waiting[sha256] > 0

    async def _receive_content(
        self, header: rewas_pb2.UploadHeader, messages: AsyncIterator[rewas_pb2.UploadMediaRequest], client: str
    ) -> rewas_pb2.UploadMediaResponse:
        async with self._reserve(header, client):
            upload = await _complete_in_thread(PartialUpload, self.folder, header, client)
            try:
                while await _complete_in_thread(upload.hash_next_blocks):
                    pass
                while (message := await self._next_message(messages, header.sha256)) is not None:
                    await _complete_in_thread(upload.append, message.data)
                    self._active[header.sha256].received_bytes = upload.received_bytes
                await _complete_in_thread(upload.finish)
            finally:
                upload.close()
        return rewas_pb2.UploadMediaResponse(sha256=header.sha256, size_bytes=header.size_bytes)

    async def _next_message(
        self, messages: AsyncIterator[rewas_pb2.UploadMediaRequest], sha256: str
    ) -> rewas_pb2.UploadMediaRequest | None:
        """Return the next message, or None at the end. Raises ProblemError for a silent sender that others wait for."""
        arrival = asyncio.ensure_future(anext(messages, None))
        try:
            while not (await asyncio.wait([arrival], timeout=self._takeover_s))[0]:
                if self.is_awaited(sha256):
                    raise ProblemError(
                        "The upload stalled, and another client is uploading the same file.",
                        "Upload the file again; it resumes where the other upload is.",
                        ProblemKind.SETTINGS,
                    )
            return arrival.result()
        finally:
            if not arrival.done():
                # The messages cannot be closed while one of them is being received.
                arrival.cancel()
                await asyncio.wait([arrival])
                if not arrival.cancelled():
                    arrival.exception()

    def _check_header(self, header: rewas_pb2.UploadHeader) -> None:
        if not SHA256_PATTERN.fullmatch(header.sha256) or not EXTENSION_PATTERN.fullmatch(header.extension):
            raise ProblemError(
                f'The hash "{header.sha256[:80]}" or the extension "{header.extension[:20]}" is not valid.',
                'Use a hash of 64 lower-case hexadecimal digits and an extension such as ".mov".',
                ProblemKind.SETTINGS,
            )
        if header.size_bytes == 0:
            raise ProblemError("The media to upload is empty.", "Choose a file with video.", ProblemKind.MEDIA)
        if header.size_bytes > self.limits.upload_bytes:
            raise ProblemError(
                f"The upload has {header.size_bytes} bytes; the limit is {self.limits.upload_bytes}.",
                "Trim or transcode the file, or use a path that the server can read.",
                ProblemKind.RESOURCES,
            )

    @contextlib.asynccontextmanager
    async def _take_turn(self, sha256: str) -> AsyncIterator[None]:
        """Wait until nobody else sends this content."""
        turn = self._turns.setdefault(sha256, asyncio.Lock())
        self._waiting[sha256] += 1
        has_waited = False
        try:
            async with turn:
                self._waiting[sha256] -= 1
                has_waited = True
                yield
        finally:
            if not has_waited:
                self._waiting[sha256] -= 1
            if not self._waiting[sha256] and not turn.locked():
                del self._waiting[sha256]
                self._turns.pop(sha256, None)

    @contextlib.asynccontextmanager
    async def _reserve(self, header: rewas_pb2.UploadHeader, client: str) -> AsyncIterator[None]:
        """Reserve the announced size on the disk and in the quotas. Raises ProblemError (RESOURCES)."""
        wanted = _Reservation(client, header.size_bytes)
        async with self._admission:
            # The part that is on disk already is free space no more.
            wanted.received_bytes = header.offset_bytes
            shortage = await asyncio.to_thread(self._shortage, header.sha256, wanted)
            if shortage is not None:
                await self.make_room(shortage)
                shortage = await asyncio.to_thread(self._shortage, header.sha256, wanted)
            if shortage is not None:
                raise self._shortage_problem(shortage)
            self._active[header.sha256] = wanted
        try:
            yield
        finally:
            del self._active[header.sha256]

    def _shortage(self, sha256: str, wanted: _Reservation) -> Shortage | None:
        """Return what keeps an upload from being stored now, or None."""
        active = {**self._active, sha256: wanted}
        sizes = [(one.client, one.size_bytes) for one in active.values()]
        sizes += [(one.client, one.size_bytes) for one in list_uploads(self.folder) if one.sha256 not in active]
        missing_bytes = sum(one.size_bytes - one.received_bytes for one in active.values()) + FREE_SPACE_MARGIN_BYTES
        shortage = Shortage(
            disk_bytes=max(0, missing_bytes - free_disk_bytes(self.folder)),
            uploads_bytes=max(0, sum(size for _, size in sizes) - self.limits.total_bytes),
            client_bytes=max(0, sum(size for one, size in sizes if one == wanted.client) - self.limits.client_bytes),
            client=wanted.client,
        )
        return shortage if shortage.disk_bytes or shortage.uploads_bytes or shortage.client_bytes else None

    def _shortage_problem(self, shortage: Shortage) -> ProblemError:
        remedy = "Delete or unpin jobs that use earlier uploads, or use a path that the server can read."
        if shortage.client_bytes:
            what = (
                f"This client's uploads are limited to {self.limits.client_bytes} bytes, and this one would exceed "
                f"the limit by {shortage.client_bytes} bytes."
            )
        elif shortage.uploads_bytes:
            what = (
                f"All uploads together are limited to {self.limits.total_bytes} bytes, and this one would exceed "
                f"the limit by {shortage.uploads_bytes} bytes."
            )
        else:
            return _storage_problem(OSError(f"the disk lacks {shortage.disk_bytes} bytes of free space"))
        return ProblemError(what, remedy, ProblemKind.RESOURCES)


async def _complete_in_thread(step: Callable[..., _Result], *args: Any) -> _Result:
    """Run a step in a thread. It is complete when this returns or raises, even if the call is cancelled."""
    running = asyncio.ensure_future(asyncio.to_thread(step, *args))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        # The next sender of this content must not meet this step at work.
        await asyncio.wait([running])
        # Nobody waits for its error any more; asyncio would log one that is never looked at.
        if not running.cancelled():
            running.exception()
        raise


@dataclass
class _Reservation:
    client: str
    size_bytes: int
    received_bytes: int = 0


class PartialUpload:
    """The file of an upload in progress. It gets its final name only after size and hash have been verified.

    Raises ProblemError: SETTINGS if the offset is not the size of the part on disk, RESOURCES if the disk refuses.
    """

    def __init__(self, folder: Path, header: rewas_pb2.UploadHeader, client: str) -> None:
        self._folder = folder
        self._header = header
        self._hash = hashlib.sha256()
        self._hashed_bytes = 0
        self._path = _partial_path(folder, header.sha256)
        stored_bytes = _size_bytes(self._path)
        if header.offset_bytes not in (0, stored_bytes) or header.offset_bytes > header.size_bytes:
            raise ProblemError(
                f"The upload begins at byte {header.offset_bytes}, but the server has {stored_bytes} bytes of it.",
                f"Begin at byte {stored_bytes} to resume, or at byte 0 to start over.",
                ProblemKind.SETTINGS,
            )
        self.received_bytes = header.offset_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write_private(_client_path(folder, header.sha256), client)
            self._file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | _O_BINARY, 0o600), "r+b")
            self._file.truncate(header.offset_bytes)
        except OSError as error:
            raise _storage_problem(error) from error

    def hash_next_blocks(self) -> bool:
        """Hash some blocks of the part that was on disk already. Returns False when there are none left."""
        self._file.seek(self._hashed_bytes)
        for _ in range(_BLOCKS_PER_STEP):
            block = self._file.read(min(_BLOCK_BYTES, self._header.offset_bytes - self._hashed_bytes))
            if not block:
                return False
            self._hash.update(block)
            self._hashed_bytes += len(block)
        return True

    def append(self, data: bytes) -> None:
        """Append data. Raises ProblemError if there is too much, or if the disk is full."""
        if self.received_bytes + len(data) > self._header.size_bytes:
            self._discard()
            raise self._mismatch_problem(self.received_bytes + len(data))
        self._hash.update(data)
        try:
            self._file.write(data)
            # The size of the file is the offset at which the next attempt begins.
            self._file.flush()
        except OSError as error:
            # A full disk stops the whole server, so the upload goes.
            self._discard()
            raise _storage_problem(error) from error
        self.received_bytes += len(data)

    def finish(self) -> None:
        """Verify the file and give it its final name.

        Raises ProblemError: SETTINGS if bytes are missing, which leaves the file for the next attempt, or if the
        content is another one; RESOURCES if the disk refuses.
        """
        if self.received_bytes < self._header.size_bytes:
            raise self._mismatch_problem(self.received_bytes)
        if self._hash.hexdigest() != self._header.sha256:
            self._discard()
            raise self._mismatch_problem(self.received_bytes)
        try:
            flush_to_disk(self._file)
            self._file.close()
            self._path.replace(_final_path(self._folder, self._header.sha256))
            flush_folder(self._folder)
        except OSError as error:
            raise _storage_problem(error) from error

    def close(self) -> None:
        """Close the file. An unfinished one stays for the next attempt."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            if self._path.stat().st_size == 0:
                self._discard()

    def _discard(self) -> None:
        self._path.unlink(missing_ok=True)
        _client_path(self._folder, self._header.sha256).unlink(missing_ok=True)

    def _mismatch_problem(self, received_bytes: int) -> ProblemError:
        return ProblemError(
            f"The upload does not match its header (received {received_bytes} of "
            f"{self._header.size_bytes} bytes, or different content).",
            "Make sure that the file is not being modified, and upload it again.",
            ProblemKind.SETTINGS,
        )


def use_upload(folder: Path, sha256: str) -> Path | None:
    """Return the complete upload with this hash, or None. The use keeps it from being deleted for a while.

    Raises ProblemError (SETTINGS) for an invalid SHA-256.
    """
    if not SHA256_PATTERN.fullmatch(sha256):
        raise ProblemError(
            f'"{sha256[:80]}" is not a SHA-256 hash.', "Use 64 lower-case hexadecimal digits.", ProblemKind.SETTINGS
        )
    path = _final_path(folder, sha256)
    if not path.is_file():
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return path


def list_uploads(folder: Path) -> list[StoredUpload]:
    """Return all uploads on disk, complete ones and beginnings, in no order."""
    uploads = []
    for entry in _scan(folder):
        name, suffix = entry.name[:64], entry.name[64:]
        if SHA256_PATTERN.fullmatch(name) is None or suffix not in ("", _PARTIAL_SUFFIX):
            continue
        with contextlib.suppress(FileNotFoundError):
            status = entry.stat(follow_symlinks=False)
            client = _read_client(folder, name)
            uploads.append(StoredUpload(name, status.st_size, status.st_mtime, client, complete=not suffix))
    return uploads


def delete_upload(folder: Path, upload: StoredUpload) -> int:
    """Delete an upload unless it was used since it was listed. Returns the number of freed bytes. Raises OSError."""
    path = (_final_path if upload.complete else _partial_path)(folder, upload.sha256)
    try:
        if path.stat().st_mtime != upload.used_at_s:
            return 0
        path.unlink()
    except FileNotFoundError:
        return 0
    _client_path(folder, upload.sha256).unlink(missing_ok=True)
    return upload.size_bytes


def delete_leftovers(folder: Path, *, unused_since_s: float) -> int:
    """Delete files that belong to no upload and are older than this Unix time. Returns their number. Raises OSError."""
    deleted = 0
    for entry in _scan(folder):
        name, suffix = entry.name[:64], entry.name[64:]
        is_upload = SHA256_PATTERN.fullmatch(name) is not None and suffix in ("", _PARTIAL_SUFFIX)
        has_upload = suffix == _CLIENT_SUFFIX and any(
            path.exists() for path in (_final_path(folder, name), _partial_path(folder, name))
        )
        if is_upload or has_upload or not entry.is_file(follow_symlinks=False):
            continue
        with contextlib.suppress(FileNotFoundError):
            if entry.stat(follow_symlinks=False).st_mtime <= unused_since_s:
                Path(entry.path).unlink()
                deleted += 1
    return deleted


def free_disk_bytes(folder: Path) -> int:
    """Return the free space of the disk of a folder, which need not exist yet."""
    nearest = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    return shutil.disk_usage(nearest).free


_O_BINARY = getattr(os, "O_BINARY", 0)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _final_path(folder: Path, sha256: str) -> Path:
    return folder / sha256


def _partial_path(folder: Path, sha256: str) -> Path:
    return folder / f"{sha256}{_PARTIAL_SUFFIX}"


def _client_path(folder: Path, sha256: str) -> Path:
    return folder / f"{sha256}{_CLIENT_SUFFIX}"


def _read_client(folder: Path, sha256: str) -> str:
    try:
        return _client_path(folder, sha256).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _O_BINARY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode())


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _storage_problem(error: OSError) -> ProblemError:
    reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
    return ProblemError(
        f"The upload cannot be stored ({reason}).",
        "Free some space in the server's state folder, or use a path that the server can read.",
        ProblemKind.RESOURCES,
    )
