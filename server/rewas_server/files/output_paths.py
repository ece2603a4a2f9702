"""Checks of output paths before any work, so that a long job does not fail when it writes its result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rewas_api.errors import ProblemError, ProblemKind


def check_folder_writable(folder: Path) -> None:
    """Check that a folder is writable, or can be created. Raises ProblemError (SETTINGS)."""
    whole = folder.absolute()
    nearest = next(one for one in (whole, *whole.parents) if one.exists())
    if not nearest.is_dir():
        raise ProblemError(f"{nearest} is a file, not a folder.", "Choose another folder.", ProblemKind.SETTINGS)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ProblemError(
            f"The folder {nearest} is not writable.",
            "Choose another folder, or change its permissions.",
            ProblemKind.SETTINGS,
        )


def check_file_writable(
    path: Path, what: str, *, read: Sequence[Path] = (), created_folder: Path | None = None
) -> None:
    """Check that a file can be written to an existing folder without overwriting an input.

    Args:
        path: The file to write.
        what: What it contains, for error messages: "plot".
        read: Input files of the command.
        created_folder: A folder that the command creates, with its parents.

    Raises ProblemError (SETTINGS).
    """
    folder = path.absolute().parent
    will_be_there = () if created_folder is None else (created_folder.absolute(), *created_folder.absolute().parents)
    if not folder.exists() and folder not in will_be_there:
        raise ProblemError(
            f"The folder {folder} for the {what} does not exist.", "Create it first.", ProblemKind.SETTINGS
        )
    check_folder_writable(folder)
    if path.is_dir():
        raise ProblemError(
            f"Cannot write the {what} to {path}, which is a folder.", "Choose a file name.", ProblemKind.SETTINGS
        )
    if any(path.exists() and one.exists() and path.samefile(one) for one in read):
        raise ProblemError(
            f"Cannot write the {what} to {path}, which is also an input.",
            "Choose another file name.",
            ProblemKind.SETTINGS,
        )
