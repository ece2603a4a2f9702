"""The folders of a client's project, whose media a server on the same machine reads by path."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

MAX_PROJECT_FOLDERS = 64
"""Maximum number of folders in a request."""


def is_too_wide(folder: Path) -> bool:
    """Return whether a folder holds far more than a project: a whole disk, or the home folder of the user."""
    return folder == Path(folder.anchor) or Path.home().resolve().is_relative_to(folder)


def find_project_folders(files: Iterable[Path]) -> list[str]:
    """Return the folders of these files, without repetitions, for SubmitJobRequest.project_folders.

    Symbolic links are resolved, because the server resolves them too. Folders that a server refuses, and those beyond
    the limit, are left out.
    """
    folders: dict[str, None] = {}
    for file in files:
        folder = file.resolve().parent
        if not is_too_wide(folder) and len(folders) < MAX_PROJECT_FOLDERS:
            folders[str(folder)] = None
    return list(folders)


__all__ = ["MAX_PROJECT_FOLDERS", "find_project_folders", "is_too_wide"]
