"""Files that several machines share: in a folder, or in a store that fsspec knows, such as S3.

The name of each file is its SHA-256: it never changes, and two machines that store the same one do not collide.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import fsspec

from rewas_api.errors import ProblemError, ProblemKind
from rewas_engine.runtime.atomic_files import flush_to_disk
from rewas_server.files.expiry import StoredItem, choose_expired

BLOCK_BYTES = 8 * 1024**2
"""Size of the parts in which files travel. S3 takes at most 10 000 parts, and thus files of up to 80 GB."""

_ATOMIC_PROTOCOLS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"})
"""Stores in which a file appears only when it is complete. In others, it gets its name at the end."""

LIFETIME_S = 3 * 24 * 3600.0
"""Time after which a file is deleted unless it is stored again."""
REFRESH_S = 24 * 3600.0
"""Age at which a file that is stored again gets a new time, so that it is kept."""
FETCH_PAUSE_S = 3600.0
"""An unfinished local copy that has not grown for this long is no longer being fetched."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_UNFINISHED = ".unfinished-"


@dataclass(frozen=True)
class StoredContent:
    """A file in the store.

    Attributes:
        sha256: Its name.
        size_bytes: Its size.
        stored_at_s: Unix time at which it was stored; None if the store does not say.
    """

    sha256: str
    size_bytes: int
    stored_at_s: float | None


class ContentStore:
    """A store of files by content. Its calls block and are thread-safe.

    Args:
        url: A folder, or a URL of fsspec such as `s3://bucket/folder`. Credentials, and the address of a store that is
            not Amazon's, are where the store's own tools look for them (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL).
        cache_dir: Folder of the local copies, which is created if necessary.

    Attributes:
        name: The URL without its password.

    Every call raises ProblemError (RESOURCES) if the store cannot be read or written; the constructor raises it
    (SETTINGS) if the package for this kind of URL is not installed.
    """

    def __init__(self, url: str, cache_dir: Path) -> None:
        self._cache_dir = cache_dir
        parts = urlsplit(url)
        self.name = url if not parts.password else url.replace(f":{parts.password}@", "@")
        try:
            self._files, root = fsspec.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
        except (ImportError, ValueError) as error:
            raise ProblemError(
                f"The content store {self.name} cannot be used ({error}).",
                'Check the URL. For s3:// URLs, install the extra: pip install "rewas-nle[s3]".',
                ProblemKind.SETTINGS,
            ) from error
        self._root = root.rstrip("/")
        protocol = self._files.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        self._is_local = bool(names & {"file", "local"})
        self._is_atomic = bool(names & _ATOMIC_PROTOCOLS)

    def put(self, path: Path, known_sha256: str | None = None) -> str:
        """Store a file, and return its SHA-256. Others can read it only when it is complete.

        known_sha256: its SHA-256, if that has been computed before. It is verified if the file has to be written.
        """
        with path.open("rb") as source:
            sha256 = known_sha256 or hashlib.file_digest(source, "sha256").hexdigest()
            with self._reporting():
                if self._keeps(sha256, path.stat().st_size):
                    return sha256
                source.seek(0)
                self._write(source, sha256)
        return sha256

    def get(self, sha256: str) -> Path:
        """Return a local copy, whose content was compared with its name when it was made.

        Raises ProblemError: NOT_FOUND if the store does not have it, MEDIA if its content is damaged.
        """
        copy = self._cache_dir / _checked(sha256)
        try:
            # The time of its last use.
            os.utime(copy)
        except FileNotFoundError:
            self.fetch(sha256, copy)
        return copy

    def fetch(self, sha256: str, target: Path) -> None:
        """Write a file of the store to a path, whose folder is created if necessary. See `get` for the errors."""
        place = self._place(sha256)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished = target.parent / f"{_UNFINISHED}{secrets.token_hex(8)}"
        try:
            with self._reporting(sha256), self._open(place, "rb") as source:
                descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    found = _copy(source, file)
            if found != sha256:
                raise ProblemError(
                    f"The file {sha256[:12]}… in the content store {self.name} is damaged.",
                    "Delete it there, and upload it again.",
                    ProblemKind.MEDIA,
                )
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)

    def trim_cache(self, limit_bytes: int, keep: Collection[str]) -> None:
        """Delete the least recently used local copies until the rest fit. keep: SHA-256 of copies to keep."""
        copies = []
        for path in self._cache_dir.glob("*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                # Another job may still be fetching this file.
                is_new = path.name.startswith(_UNFINISHED) and status.st_mtime > time.time() - FETCH_PAUSE_S
                in_use = path.name in keep or is_new
                copies.append(StoredItem(path.name, status.st_size, status.st_mtime, in_use=in_use))
        for item in choose_expired(copies, now_s=time.time(), max_age_s=float("inf"), limit_bytes=limit_bytes):
            (self._cache_dir / item.key).unlink(missing_ok=True)

    def delete(self, sha256: str) -> None:
        """Delete a file from the store and the local copies. It may be gone already."""
        place = self._place(sha256)
        with self._reporting(), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(place)
        (self._cache_dir / sha256).unlink(missing_ok=True)

    def list_content(self) -> Iterator[StoredContent]:
        """Yield the files in the store, in no order. Unfinished ones are left out."""
        for name, size_bytes, stored_at_s in self._list():
            if _SHA256.fullmatch(name):
                yield StoredContent(name, size_bytes, stored_at_s)

    def delete_unfinished(self, before_s: float) -> None:
        """Delete what interrupted calls of `put` have left. before_s: unix time before which they began."""
        for name, _, stored_at_s in self._list():
            if name.startswith(_UNFINISHED) and stored_at_s is not None and stored_at_s < before_s:
                with self._reporting(), contextlib.suppress(FileNotFoundError):
                    self._files.rm_file(f"{self._root}/{name}")

    def _list(self) -> list[tuple[str, int, float | None]]:
        with self._reporting():
            try:
                entries = self._files.ls(self._root, detail=True, refresh=True)
            except FileNotFoundError:
                return []
        return [
            (entry["name"].rpartition("/")[2], entry["size"] or 0, _time_of(entry))
            for entry in entries
            if entry["type"] == "file"
        ]

    def _write(self, source: IO[bytes], sha256: str) -> None:
        if self._is_local:
            Path(self._root).mkdir(parents=True, exist_ok=True, mode=0o700)
        elif not self._is_atomic:
            self._files.makedirs(self._root, exist_ok=True)
        target = self._place(sha256)
        place = target if self._is_atomic else f"{self._root}/{_UNFINISHED}{secrets.token_hex(8)}"
        # Not a with block: it would complete a file that was interrupted by an error.
        file = self._open(place, "wb")
        try:
            found = _copy(source, file)
            if found != sha256:
                raise ProblemError(
                    "A file changed while it was being stored.", "Store it again.", ProblemKind.RESOURCES
                )
            if self._is_local:
                flush_to_disk(file)
        except BaseException:
            self._discard(file, place)
            raise
        file.close()
        if place != target:
            self._rename(place, target)

    def _open(self, place: str, mode: str) -> Any:
        if self._is_local:
            return Path(place).open(mode)
        return self._files.open(place, mode, block_size=BLOCK_BYTES)

    def _discard(self, file: Any, place: str) -> None:
        discard: Callable[[], None] | None = getattr(file, "discard", None)
        with contextlib.suppress(Exception):
            if discard is not None and self._is_atomic:
                discard()
                # Else its end would complete it after all.
                file.closed = True
            else:
                file.close()
                self._files.rm_file(place)

    def _rename(self, place: str, target: str) -> None:
        if self._is_local:
            Path(place).replace(target)
        else:
            self._files.mv(place, target)

    def _keeps(self, sha256: str, size_bytes: int) -> bool:
        """Return whether the store has this file and keeps it for a while. False if it must be written (again)."""
        try:
            entry = self._files.info(self._place(sha256))
        except FileNotFoundError:
            return False
        if entry["size"] != size_bytes:
            return False
        stored_at_s = _time_of(entry)
        if stored_at_s is None or time.time() - stored_at_s < REFRESH_S:
            return True
        if not self._is_local:
            return False
        try:
            os.utime(self._place(sha256))
        except OSError:
            # It was deleted, or belongs to another user of a shared folder.
            return False
        return True

    def _place(self, sha256: str) -> str:
        return f"{self._root}/{_checked(sha256)}"

    @contextlib.contextmanager
    def _reporting(self, sha256: str = "") -> Iterator[None]:
        """Report the errors of the store, of which each kind has its own, as problems. sha256: of a file to read."""
        try:
            yield
        except ProblemError:
            raise
        except Exception as error:
            if sha256 and isinstance(error, FileNotFoundError):
                raise ProblemError(
                    f"The content store {self.name} does not have the file {sha256[:12]}….",
                    "Upload it again.",
                    ProblemKind.NOT_FOUND,
                ) from error
            raise ProblemError(
                f"The content store {self.name} cannot be used ({type(error).__name__}).",
                "Check the network, the credentials and the free space of the store.",
                ProblemKind.RESOURCES,
            ) from error


def _copy(source: IO[bytes], target: IO[bytes]) -> str:
    """Copy a file in parts. Returns its SHA-256."""
    digest = hashlib.sha256()
    while block := source.read(BLOCK_BYTES):
        digest.update(block)
        target.write(block)
    return digest.hexdigest()


def _checked(sha256: str) -> str:
    """Return a name that cannot lead out of the store. Raises ValueError."""
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"not a SHA-256: {sha256[:80]!r}")
    return sha256


def _time_of(entry: dict[str, Any]) -> float | None:
    found = next((entry[key] for key in ("LastModified", "mtime", "created") if entry.get(key) is not None), None)
    return found.timestamp() if isinstance(found, datetime) else found
