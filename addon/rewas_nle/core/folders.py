# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's folder in the user's data, which outlives the extension and Blender's profile."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_NAME = "rewas-nle"


def data_folder() -> Path:
    """Return the add-on's folder in the user's data folder of this platform. It may not exist yet."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / _NAME
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / _NAME
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / _NAME


def journal_folder() -> Path:
    """Return the folder with the records of unfinished jobs."""
    return data_folder() / "jobs"


def unsaved_stems_folder() -> Path:
    """Return the folder with the sounds of .blend files that were never saved. It has one folder for each file."""
    return data_folder() / "unsaved"
