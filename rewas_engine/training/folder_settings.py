"""A file with the settings of a folder's content, so that results of different settings never mix."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewas_engine.errors import SettingsError
from rewas_engine.runtime.atomic_files import write_text_atomic


@dataclass(frozen=True)
class FolderSettings:
    """The settings file of a folder.

    Attributes:
        path: The file.
        settings: Everything that determines the folder's content, as JSON values by name.
        other_content: Description of the content of a folder with other settings, for errors.
    """

    path: Path
    settings: Mapping[str, Any]
    other_content: str = "clips with other settings"

    def matches(self) -> bool:
        """Whether the file exists. Raises SettingsError if its settings differ."""
        if not self.path.is_file():
            return False
        theirs, ours = json.loads(self.path.read_text("utf-8")), json.loads(json.dumps(self.settings))
        names = {**ours, **theirs}
        differing = [name for name in names if (name in ours, ours.get(name)) != (name in theirs, theirs.get(name))]
        if differing:
            raise SettingsError(
                f"The folder {self.path.parent} contains {self.other_content}; these settings differ: "
                f"{', '.join(differing)}.",
                "Choose another folder, or delete this one.",
            )
        return True

    def ensure(self) -> None:
        """Write the file, and create its folder, unless it exists. Raises SettingsError if its settings differ."""
        if not self.matches():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text_atomic(self.path, json.dumps(self.settings, indent=1))
