"""Where a command is told to write: seen before any work, so that nobody waits for what can then not be kept."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rewas_api.errors import ProblemError, ProblemKind


def check_folder_writable(folder: Path) -> None:
    """See, before any work, that files can be written into a folder, which is made where it is missing.

    Raises ProblemError (SETTINGS).
    """
    whole = folder.absolute()
    nearest = next(one for one in (whole, *whole.parents) if one.exists())
    if not nearest.is_dir():
        raise ProblemError(f"{nearest} is a file, not a folder.", "Choose another folder.", ProblemKind.SETTINGS)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ProblemError(
            f"Nothing can be written into the folder {nearest}.",
            "Choose another folder, or change who may write into it.",
            ProblemKind.SETTINGS,
        )


def check_file_writable(
    path: Path, what: str, *, read: Sequence[Path] = (), created_folder: Path | None = None
) -> None:
    """See, before any work, that a file can be written, in a folder that is there and over nothing that is read.

    what: the file is for, "plot". read: files that the command reads. created_folder: one that the command makes
    itself, with those above it. Raises ProblemError (SETTINGS).
    """
    folder = path.absolute().parent
    will_be_there = () if created_folder is None else (created_folder.absolute(), *created_folder.absolute().parents)
    if not folder.exists() and folder not in will_be_there:
        raise ProblemError(f"There is no folder {folder} for the {what}.", "Make it first.", ProblemKind.SETTINGS)
    check_folder_writable(folder)
    if path.is_dir():
        raise ProblemError(
            f"The {what} cannot be written as {path}, which is a folder.", "Name a file.", ProblemKind.SETTINGS
        )
    if any(path.exists() and one.exists() and path.samefile(one) for one in read):
        raise ProblemError(
            f"The {what} cannot be written as {path}, which is read at the same time.",
            "Choose another name.",
            ProblemKind.SETTINGS,
        )
