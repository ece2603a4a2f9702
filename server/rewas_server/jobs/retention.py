"""Retention: old jobs, stems and uploads are deleted, so that a server that runs for years needs a bounded disk.

A job is deleted first in the store and then on the disk, and its files are marked as deleted before they are. So a
server that is killed in between never promises a file that is missing; the next pass deletes what was left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.files.content_store import LIFETIME_S, ContentStore
from rewas_server.files.expiry import StoredItem, choose_expired
from rewas_server.files.uploads import (
    FREE_SPACE_MARGIN_BYTES,
    PARTIAL_LIFETIME_S,
    Shortage,
    StoredUpload,
    delete_leftovers,
    delete_upload,
    free_disk_bytes,
    list_uploads,
)
from rewas_server.jobs import lifecycle
from rewas_server.jobs.store import JobStore, StoredJob, StoreUnavailable

PASS_INTERVAL_S = 3600.0
CHECK_INTERVAL_S = 60.0
"""Interval at which the free space is checked between the passes."""
RECENT_S = 3600.0
"""Time for which a job that has ended, its files, and an upload that was used are kept whatever the limits say: the
client may be about to use them."""
UNNAMED_UPLOAD_S = 24 * 3600.0
"""Time for which an upload is kept that no job names."""
_log = logging.getLogger("rewas.server")


@dataclass(frozen=True)
class RetentionLimits:
    """What a server keeps.

    Attributes:
        stems_bytes: Size of the files of all jobs.
        uploads_bytes: Size of all uploads.
        requests_bytes: Size of all finished jobs in the store, with their requests and results.
        max_age_s: Age above which finished jobs and unused uploads are deleted.
        content_bytes: Size of the files that the server shares with a cluster.
    """

    stems_bytes: int
    uploads_bytes: int
    requests_bytes: int
    max_age_s: float
    content_bytes: int = 0


class FetchLog:
    """Which jobs' files clients are fetching, or have fetched a moment ago."""

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self._now_s = now_s
        self._running: Counter[str] = Counter()
        self._ended_at_s: dict[str, float] = {}

    @contextlib.contextmanager
    def fetching(self, job_id: str) -> Iterator[None]:
        """Protect the files of a job within the block, and for a while after it."""
        self._running[job_id] += 1
        try:
            yield
        finally:
            self._running[job_id] -= 1
            if not self._running[job_id]:
                del self._running[job_id]
            self._ended_at_s[job_id] = self._now_s()

    def is_fetched(self, job_id: str) -> bool:
        """Return whether a client may need the files of a job."""
        return job_id in self._running or self._now_s() - self._ended_at_s.get(job_id, float("-inf")) < RECENT_S

    def forget_old(self) -> None:
        """Forget fetches that ended long ago."""
        # The list is made at once, although fetches end in another thread.
        for job_id in list(self._ended_at_s):
            if not self.is_fetched(job_id):
                self._ended_at_s.pop(job_id, None)


@dataclass
class _Deleted:
    """What a pass has deleted."""

    jobs: int = 0
    stems_of_jobs: int = 0
    uploads: int = 0
    shared_files: int = 0
    leftovers: int = 0
    freed_bytes: int = 0
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = {
            "jobs": self.jobs,
            "jobs' stems": self.stems_of_jobs,
            "uploads": self.uploads,
            "shared files": self.shared_files,
            "leftover files and folders": self.leftovers,
        }
        listed = ", ".join(f"{number} {name}" for name, number in parts.items() if number)
        return f"{listed or 'nothing'} ({self.freed_bytes / 1e6:.1f} MB)"

    def is_anything(self) -> bool:
        return bool(
            self.jobs or self.stems_of_jobs or self.uploads or self.shared_files or self.leftovers or self.failures
        )


@dataclass(frozen=True)
class _Family:
    """A job with its children, which are kept or deleted together."""

    id: str
    members: Sequence[StoredJob]

    @property
    def is_final(self) -> bool:
        return all(member.state in lifecycle.FINAL_STATES for member in self.members)

    @property
    def is_pinned(self) -> bool:
        return any(member.pinned for member in self.members)

    @property
    def ended_at_s(self) -> float:
        return max((member.finished_at_s or 0.0 for member in self.members), default=0.0)

    @property
    def store_bytes(self) -> int:
        return sum(member.size_bytes for member in self.members)


class Retention:
    """Deletes what is too old or exceeds a limit. Only one pass runs at a time, off the event loop, in small steps.

    Args:
        store: The jobs.
        artifacts_dir: Folder with one subfolder per job.
        uploads_dir: Folder of the uploads.
        limits: What is kept.
        content: The files that the server shares with a cluster; None if there are none.
        active_uploads: Returns the SHA-256 of the uploads in progress.
        now_s: Returns the Unix time.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        store: JobStore,
        artifacts_dir: Path,
        uploads_dir: Path,
        limits: RetentionLimits,
        *,
        content: ContentStore | None = None,
        active_uploads: Callable[[], frozenset[str]] = frozenset,
        now_s: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.fetches = FetchLog(now_s)
        self._store = store
        self._artifacts_dir = artifacts_dir
        self._uploads_dir = uploads_dir
        self._limits = limits
        self._content = content
        self._active_uploads = active_uploads
        self._now_s = now_s
        self._sleep = sleep
        self._one_at_a_time = asyncio.Lock()
        self._last_pass_s = float("-inf")

    async def run(self) -> None:
        """Run a pass now, every hour, and when the disk is nearly full, until cancelled."""
        while True:
            await self.make_room()
            while True:
                await self._sleep(CHECK_INTERVAL_S)
                if self._now_s() - self._last_pass_s >= PASS_INTERVAL_S or self._missing_disk_bytes():
                    break

    async def make_room_for_job(self) -> None:
        """Run a pass if the disk is nearly full, unless one has just tried."""
        if self._missing_disk_bytes() and self._now_s() - self._last_pass_s >= CHECK_INTERVAL_S:
            await self.make_room()

    async def make_room(self, shortage: Shortage | None = None) -> None:
        """Run a pass. shortage: what to free in addition to what is too old or too much."""
        async with self._one_at_a_time:
            steps = self.delete_expired(shortage or Shortage(disk_bytes=self._missing_disk_bytes()))
            while await asyncio.to_thread(next, steps, False):
                pass
            self._last_pass_s = self._now_s()

    def delete_expired(self, shortage: Shortage) -> Iterator[bool]:
        """Run a pass, one small step for each value of the iterator, and log in one line what it did. It blocks."""
        done = _Deleted()
        try:
            yield from self._steps(shortage, done)
        except StoreUnavailable as problem:
            done.failures.append(str(problem))
        except Exception:
            # The next pass may succeed, and neither the server nor an upload depends on this one.
            _log.exception("Retention failed.")
        self.fetches.forget_old()
        if done.is_anything():
            failed = f" Not deleted: {'; '.join(done.failures[:3])}" if done.failures else ""
            _log.log(logging.WARNING if failed else logging.INFO, "Retention deleted %s.%s", done, failed)

    def _missing_disk_bytes(self) -> int:
        """Return how much the free space is below what a server leaves free; 0 if there is enough, or if unknown."""
        try:
            return max(0, FREE_SPACE_MARGIN_BYTES - free_disk_bytes(self._artifacts_dir))
        except OSError:
            return 0

    def _steps(self, shortage: Shortage, done: _Deleted) -> Iterator[bool]:
        # The folders come first: a folder that is listed belongs to a job that is in the store by now, or to none.
        folder_bytes: dict[str, int] = {}
        for name in _subfolders(self._artifacts_dir):
            folder_bytes[name] = _folder_bytes(self._artifacts_dir / name)
            yield True
        families = _families(self._store.list_stored())
        known = {member.id for family in families for member in family.members}
        unknown = set() if self._store.may_have_lost_jobs() else set(folder_bytes) - known
        for name in sorted(unknown):
            yield from self._delete_folder(name, done)
            done.leftovers += 1
        yield from self._delete_rest(families, folder_bytes, done)
        yield from self._delete_jobs(families, folder_bytes, done)
        yield from self._delete_stems(families, folder_bytes, shortage.disk_bytes - done.freed_bytes, done)
        yield from self._delete_uploads(shortage, shortage.disk_bytes - done.freed_bytes, done)
        if self._content is not None:
            yield from self._delete_content(self._content, done)

    def _delete_rest(self, families: Iterable[_Family], folder_bytes: dict[str, int], done: _Deleted) -> Iterator[bool]:
        """Delete what an interrupted pass has left, and empty folders of jobs that have ended."""
        for family in families:
            for member in family.members:
                if member.id not in folder_bytes or member.state not in lifecycle.FINAL_STATES:
                    continue
                if member.files_deleted:
                    yield from self._delete_folder(member.id, done)
                    folder_bytes[member.id] = 0
                elif not folder_bytes[member.id]:
                    with contextlib.suppress(OSError):
                        (self._artifacts_dir / member.id).rmdir()
                        done.leftovers += 1

    def _delete_jobs(self, families: Iterable[_Family], folder_bytes: dict[str, int], done: _Deleted) -> Iterator[bool]:
        """Delete whole jobs: the old ones, and the oldest if the store is too large."""
        by_id = {family.id: family for family in families}
        items = [self._item(family, family.store_bytes) for family in by_id.values()]
        for item in choose_expired(
            items, now_s=self._now_s(), max_age_s=self._limits.max_age_s, limit_bytes=self._limits.requests_bytes
        ):
            family = by_id[item.key]
            try:
                if self._is_in_use(family) or self._store.get(family.id).pinned:
                    continue
                self._store.delete(family.id)
            except ProblemError as problem:
                if problem.kind in (ProblemKind.NOT_FOUND, ProblemKind.SETTINGS):
                    # A client has deleted it or runs it again.
                    continue
                raise
            done.jobs += 1
            yield True
            for member in family.members:
                yield from self._delete_folder(member.id, done)
                folder_bytes.pop(member.id, None)

    def _delete_stems(
        self, families: Iterable[_Family], folder_bytes: dict[str, int], missing_bytes: int, done: _Deleted
    ) -> Iterator[bool]:
        """Delete the files of the oldest jobs if there are too many. The jobs stay, with their results."""
        by_id = {family.id: family for family in families}
        items = [
            self._item(family, sum(folder_bytes.get(member.id, 0) for member in family.members))
            for family in by_id.values()
        ]
        for item in choose_expired(
            items,
            now_s=self._now_s(),
            # Older jobs have been deleted as a whole.
            max_age_s=float("inf"),
            limit_bytes=self._limits.stems_bytes,
            free_bytes=missing_bytes,
        ):
            family = by_id[item.key]
            with_files = [one.id for one in family.members if folder_bytes.get(one.id)]
            if self._is_in_use(family) or not self._mark_files_deleted([family.id, *with_files]):
                continue
            done.stems_of_jobs += 1
            yield True
            for job_id in with_files:
                yield from self._delete_folder(job_id, done)

    def _mark_files_deleted(self, job_ids: Iterable[str]) -> bool:
        """Mark the files of these jobs as deleted. Returns False if one of them must stay."""
        try:
            for job_id in dict.fromkeys(job_ids):
                self._store.update(job_id, _mark_files_deleted)
        except _Protected:
            return False
        except ProblemError as problem:
            if problem.kind is ProblemKind.NOT_FOUND:
                return False
            raise
        return True

    def _delete_uploads(self, shortage: Shortage, missing_bytes: int, done: _Deleted) -> Iterator[bool]:
        now_s, limits = self._now_s(), self._limits
        # In this order: an upload that is listed and then named by a new job is in use.
        uploads = list_uploads(self._uploads_dir)
        needed, named = self._store.media_in_use(), self._store.media_named()
        active = self._active_uploads()
        complete = {upload.sha256: upload for upload in uploads if upload.complete}
        items = {
            sha256: StoredItem(
                sha256,
                upload.size_bytes,
                upload.used_at_s,
                in_use=sha256 in needed | active or now_s - upload.used_at_s < _protected_s(sha256 in named),
            )
            for sha256, upload in complete.items()
        }
        chosen = choose_expired(
            items.values(),
            now_s=now_s,
            max_age_s=limits.max_age_s,
            limit_bytes=limits.uploads_bytes,
            free_bytes=max(missing_bytes, shortage.uploads_bytes),
        )
        of_client = [item for item in items.values() if complete[item.key].client == shortage.client]
        chosen += choose_expired(
            of_client,
            now_s=now_s,
            max_age_s=limits.max_age_s,
            limit_bytes=limits.uploads_bytes,
            free_bytes=shortage.client_bytes,
        )
        if not self._store.may_have_lost_jobs():
            chosen += [item for item in items.values() if not item.is_protected and item.key not in named]
        expired = [complete[key] for key in dict.fromkeys(item.key for item in chosen)]
        expired += [
            upload
            for upload in uploads
            if not upload.complete and upload.sha256 not in active and now_s - upload.used_at_s > PARTIAL_LIFETIME_S
        ]
        for upload in expired:
            self._delete_upload(upload, done)
            yield True
        try:
            done.leftovers += delete_leftovers(self._uploads_dir, unused_since_s=now_s - UNNAMED_UPLOAD_S)
        except OSError as error:
            done.failures.append(str(error))

    def _delete_content(self, content: ContentStore, done: _Deleted) -> Iterator[bool]:
        """Delete shared files that no job has needed for a while, and the oldest if there are too many."""
        now_s = self._now_s()
        try:
            items = [
                StoredItem(
                    each.sha256,
                    each.size_bytes,
                    now_s if each.stored_at_s is None else each.stored_at_s,
                    in_use=each.stored_at_s is None or now_s - each.stored_at_s < RECENT_S,
                )
                for each in content.list_content()
            ]
            yield True
            for item in choose_expired(
                items, now_s=now_s, max_age_s=LIFETIME_S, limit_bytes=self._limits.content_bytes
            ):
                content.delete(item.key)
                done.shared_files += 1
                done.freed_bytes += item.size_bytes
                yield True
            content.delete_unfinished(now_s - LIFETIME_S)
        except ProblemError as problem:
            done.failures.append(str(problem))

    def _delete_upload(self, upload: StoredUpload, done: _Deleted) -> None:
        if upload.sha256 in self._active_uploads():
            return
        try:
            freed_bytes = delete_upload(self._uploads_dir, upload)
        except OSError as error:
            done.failures.append(str(error))
            return
        done.uploads += freed_bytes > 0
        done.freed_bytes += freed_bytes

    def _delete_folder(self, name: str, done: _Deleted) -> Iterator[bool]:
        """Delete the folder of a job, file by file: the end of a large file takes a while."""
        folder = self._artifacts_dir / name
        try:
            for entry in _entries(folder):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    size_bytes = entry.stat(follow_symlinks=False).st_size
                    Path(entry.path).unlink(missing_ok=True)
                    done.freed_bytes += size_bytes
                yield True
            if folder.is_dir():
                folder.rmdir()
        except OSError as error:
            done.failures.append(str(error))

    def _item(self, family: _Family, size_bytes: int) -> StoredItem:
        return StoredItem(family.id, size_bytes, family.ended_at_s, self._is_in_use(family), family.is_pinned)

    def _is_in_use(self, family: _Family) -> bool:
        is_recent = self._now_s() - family.ended_at_s < RECENT_S
        return not family.is_final or is_recent or any(self.fetches.is_fetched(one.id) for one in family.members)


class _Protected(Exception):
    """The files of a job must stay: a client has pinned it or runs it again."""


def _mark_files_deleted(job: rewas_pb2.Job) -> rewas_pb2.Job:
    if job.pinned or job.state not in lifecycle.FINAL_STATES:
        raise _Protected
    after = rewas_pb2.Job()
    after.CopyFrom(job)
    after.revision += 1
    after.files_deleted = True
    return after


def _families(jobs: Iterable[StoredJob]) -> list[_Family]:
    members: defaultdict[str, list[StoredJob]] = defaultdict(list)
    for job in jobs:
        members[job.parent_id or job.id].append(job)
    return [_Family(family_id, ones) for family_id, ones in members.items()]


def _protected_s(is_named: bool) -> float:
    """Return the time for which an upload that was used is kept whatever the limits say."""
    return RECENT_S if is_named else UNNAMED_UPLOAD_S


def _subfolders(folder: Path) -> list[str]:
    return [entry.name for entry in _entries(folder) if entry.is_dir(follow_symlinks=False)]


def _folder_bytes(folder: Path) -> int:
    """Return the size of the files in a folder, without those in subfolders, which jobs do not have."""
    size_bytes = 0
    for entry in _entries(folder):
        with contextlib.suppress(FileNotFoundError):
            size_bytes += entry.stat(follow_symlinks=False).st_size
    return size_bytes


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
