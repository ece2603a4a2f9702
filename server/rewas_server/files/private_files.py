"""Files that belong to the user of the server alone, from their first byte."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from rewas_engine.runtime.atomic_files import atomic_path, flush_to_disk

PRIVATE_UMASK = 0o077
DATABASE_FILE_NAME = "jobs.sqlite3"
LOCK_FILE_NAME = "server.lock"


def keep_new_files_private() -> None:
    """Create all files of this process and its children without access for others."""
    os.umask(PRIVATE_UMASK)


def tighten_state_folder(folder: Path) -> None:
    """Take the access of others away from a state folder and all its files, which a restored copy may have left open.

    Only a folder that holds nothing, or the files of a server, is changed: anything else may be in use by others.
    Symbolic links are not followed. Raises OSError.
    """
    names = {path.name for path in folder.iterdir()} - {LOCK_FILE_NAME}
    if names and DATABASE_FILE_NAME not in names:
        return
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and mode & PRIVATE_UMASK:
            path.chmod(stat.S_IMODE(mode) & ~PRIVATE_UMASK)


def write_private_text(path: Path, text: str) -> None:
    """Write a file that only the user can read, in a folder of that kind. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with atomic_path(path) as unfinished:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            flush_to_disk(file)
