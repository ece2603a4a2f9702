# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of jobs: everything that another Blender needs to continue a job and to place its sound."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..timeline.strips import SelectedClip
from .messages import Problem, StemsReceived
from .plain_json import from_plain, to_plain
from .proxies import use_proxy
from .sound_settings import SoundSettings

FORMAT_VERSION = 1


@dataclass(frozen=True)
class JobRecord:
    """A job for the sound of one clip.

    Attributes:
        key: UUID of the request, also the key that makes submissions idempotent.
        clip: The clip as it was read from its strip.
        settings: Settings of the request.
        scene_name: Scene with the strip.
        stems_folder: Absolute folder for the sound files.
        strip_uid: Identity of the strip, "" if it has none.
        batch_id: Shared by all clips of one press of Generate.
        blend_file: Absolute path of the .blend file, "" while it is unsaved.
        server: Address of the server, "HOST:PORT".
        job_id: Name of the job on the server, "" until the server has accepted it.
        request: The submitted message in base64, "" until it was built. Submitted again, it creates no second job.
        submission: How many times the job was submitted as a new one because its files no longer exist.
        received: The stems, once they are in the stems folder.
        is_placed: Whether the stems are on the timeline of the open file, which may not have been saved since.
        is_cancelled: Whether the user has cancelled the job. The server may not know this yet.
        problem: Why the job failed.
        created_at_s: Time of the request, in seconds since 1970.
    """

    key: str
    clip: SelectedClip
    settings: SoundSettings
    scene_name: str
    stems_folder: Path
    strip_uid: str = ""
    batch_id: str = ""
    blend_file: str = ""
    server: str = ""
    job_id: str = ""
    request: str = ""
    submission: int = 0
    received: StemsReceived | None = None
    is_placed: bool = False
    is_cancelled: bool = False
    problem: Problem | None = None
    created_at_s: int = 0

    @property
    def idempotency_key(self) -> str:
        """The key under which the server knows the job."""
        return f"{self.key}-{self.submission}" if self.submission else self.key

    @property
    def stem_paths(self) -> tuple[Path, ...]:
        """The files that have arrived."""
        return self.received.stem_paths if self.received is not None else ()

    @property
    def needs_picture(self) -> bool:
        """Whether Blender must render the picture before the job can be submitted."""
        is_known = bool(self.request or self.job_id) or self.received is not None or self.is_cancelled
        return self.clip.proxy is not None and not is_known and not use_proxy(Path(self.clip.path))

    def to_json(self) -> str:
        """Return the record as JSON on one line."""
        return json.dumps({"version": FORMAT_VERSION, **to_plain(self)}, ensure_ascii=False)

    def for_file(self) -> JobRecord:
        """Return what is saved in the .blend file: no result, because the stems can be fetched again."""
        return replace(self, received=None)

    @classmethod
    def from_json(cls, text: str) -> JobRecord:
        """Read a record. Raises ValueError if it is damaged or of another version."""
        try:
            plain: Any = json.loads(text)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        if not isinstance(plain, dict) or plain.get("version") != FORMAT_VERSION:
            raise ValueError("not a job record of this version")
        record: JobRecord = from_plain(cls, plain)
        if not is_key(record.key):
            raise ValueError(f"not a key: {record.key!r:.40}")
        return record


@dataclass(frozen=True)
class RecordsFound:
    """The records of jobs for a .blend file. token: that of the question."""

    token: object
    records: tuple[JobRecord, ...]


def new_key() -> str:
    """Return a new key for a record."""
    return uuid.uuid4().hex


def is_key(key: str) -> bool:
    """Return whether a text is a key. Keys become file names, so nothing else may pass."""
    return len(key) == 32 and all(character in "0123456789abcdef" for character in key)


def merge_records(in_file: Iterable[JobRecord], in_journal: Iterable[JobRecord]) -> list[JobRecord]:
    """Return one record for each key. The record in the journal is newer than the one in the saved file."""
    merged = {record.key: record for record in in_file}
    merged |= {record.key: record for record in in_journal}
    return sorted(merged.values(), key=lambda record: record.created_at_s)
