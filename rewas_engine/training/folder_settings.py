"""What a folder was begun with, written into it, so that nothing else is ever mixed in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewas_engine.errors import SettingsError
from rewas_engine.runtime.atomic_files import write_text_atomic


@dataclass(frozen=True)
class Claim:
    """A file in a folder, with all that decides what is put there.

    settings: by name, in values that JSON knows. unlike: what the folder holds where another claim stands in it, in
    words.
    """

    path: Path
    settings: Mapping[str, Any]
    unlike: str = "clips of other settings"

    def is_made(self) -> bool:
        """Whether it stands there; raises SettingsError where another one does."""
        if not self.path.is_file():
            return False
        theirs, ours = json.loads(self.path.read_text("utf-8")), json.loads(json.dumps(self.settings))
        names = {**ours, **theirs}
        differing = [name for name in names if (name in ours, ours.get(name)) != (name in theirs, theirs.get(name))]
        if differing:
            raise SettingsError(
                f"The folder {self.path.parent} holds {self.unlike}; what differs is: {', '.join(differing)}.",
                "Choose another folder, or remove it.",
            )
        return True

    def make(self) -> None:
        """Write it where it does not stand yet, with its folder. Raises SettingsError where another one does."""
        if not self.is_made():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text_atomic(self.path, json.dumps(self.settings, indent=1))
