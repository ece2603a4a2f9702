"""Credits: the recordings that a sound uses, with their licences and the people to name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rewas_engine.recordings.index import LibraryIndex, Recording

_NON_COMMERCIAL = re.compile(r"\b(NC|non[- ]?commercial)\b", re.IGNORECASE)


@dataclass(frozen=True)
class UsedRecording:
    """A recording in a take.

    Attributes:
        name: The file within the folder of its library, with "/" between folders.
        words: What it sounds like; "" if unknown.
        licence: Its own licence, or else that of its library; "" if none is stated.
        credit: The people to name for it; "" if there are none.
        content_sha256: SHA-256 of the file.
    """

    name: str
    words: str
    licence: str
    credit: str
    content_sha256: str

    @property
    def is_non_commercial(self) -> bool:
        """Whether the name of its licence forbids commercial use, as that of CC BY-NC does."""
        return _NON_COMMERCIAL.search(self.licence) is not None

    def credit_line(self) -> str:
        """Return its name, licence and credit in one line."""
        return ", ".join(filter(None, (self.name, self.licence, self.credit)))


def used_recordings(
    index: LibraryIndex, recordings: Iterable[Recording], licence: str, credit: str
) -> tuple[UsedRecording, ...]:
    """Return recordings with the terms of their use.

    Args:
        index: The index that they are from.
        recordings: The recordings.
        licence, credit: Terms of the library, for recordings without their own.
    """
    return tuple(
        UsedRecording(
            name=_name_in(index, recording),
            words=recording.words,
            licence=licence if recording.licence is None else recording.licence,
            credit=credit if recording.credit is None else recording.credit,
            content_sha256=recording.content,
        )
        for recording in recordings
    )


def _name_in(index: LibraryIndex, recording: Recording) -> str:
    for source in index.sources:
        if recording.path.is_relative_to(source):
            return recording.path.relative_to(source).as_posix()
    return recording.path.name
