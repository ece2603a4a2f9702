"""Annotations of clips as a JSON file that grows clip by clip, and as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rewas_engine.annotation.annotator import Annotation
    from rewas_engine.media.clip import VideoClip

COLUMNS = ("file", "prompt", "picture", "sound", "description", "seconds", "notes")


@dataclass
class AnnotationRecord:
    """The annotations of a run, with those of an earlier run whose files and models are the same.

    Attributes:
        path: The JSON file; None keeps nothing.
        stages: Name of the model of each stage.
        rows: One row for each annotated clip, in order.
        failed: Clips that could not be annotated, with the reason.
    """

    path: Path | None
    stages: Mapping[str, str]
    rows: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    _earlier: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)

    def read_earlier(self) -> None:
        """Read the finished clips of an earlier run. A file that is not such a record counts for nothing."""
        if self.path is None or not self.path.is_file():
            return
        try:
            document = json.loads(self.path.read_text("utf-8"))
            if document["stages"] == dict(self.stages):
                rows = {_row_key(row): row for row in document["clips"] if all(name in row for name in COLUMNS)}
                statistics(list(rows.values()))
                self._earlier = rows
        except (ValueError, LookupError, TypeError, AttributeError, OSError):
            return

    def reuse(self, clip: VideoClip) -> dict[str, Any] | None:
        """Take over and return the row of an unchanged clip from an earlier run, if there is one."""
        named = _clip_names(clip)
        row = self._earlier.get(_row_key(named))
        if row is None or row.get("state") is None or row["state"] != file_state(clip.path):
            return None
        self.rows.append(row)
        return row

    def add(self, clip: VideoClip, annotation: Annotation) -> dict[str, Any]:
        """Add an annotated clip, write the file, and return the new row."""
        row = {**_clip_names(clip), "state": file_state(clip.path), **annotation_row(annotation)}
        self.rows.append(row)
        # If the run is stopped now, the next one still needs the earlier clips that this one has not reached.
        reached = set(map(_row_key, self.rows))
        self._save([*self.rows, *(row for key, row in self._earlier.items() if key not in reached)])
        return row

    def add_failed(self, clip: Path, reason: str) -> None:
        """Add a clip that could not be annotated."""
        self.failed.append({"file": str(clip), "reason": reason})

    def write(self) -> None:
        """Write the file atomically, with the clips of this run only."""
        self._save(self.rows)

    def report(self) -> dict[str, Any]:
        """Everything as one JSON object."""
        return self._document(self.rows)

    def _save(self, rows: list[dict[str, Any]]) -> None:
        if self.path is not None:
            from rewas_engine.runtime.atomic_files import write_text_atomic

            write_text_atomic(self.path, json.dumps(self._document(rows), indent=1, ensure_ascii=False) + "\n")

    def _document(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "stages": dict(self.stages),
            "statistics": statistics(rows),
            "clips": rows,
            "failed": self.failed,
        }


def _clip_names(clip: VideoClip) -> dict[str, Any]:
    """What a clip shows, as JSON. Times are exact fractions of a second; a whole file has no range."""
    if not clip.start_s and clip.duration_s is None and clip.speed == 1:
        return {"file": str(clip.path)}
    shown = {"start": clip.start_s, "duration": clip.duration_s, "speed": clip.speed}
    return {"file": str(clip.path), "range": {name: str(value) for name, value in shown.items() if value is not None}}


def _row_key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (str(row["file"]), *(f"{name} {value}" for name, value in row.get("range", {}).items()))


def annotation_row(annotation: Annotation) -> dict[str, Any]:
    """An annotation as JSON."""

    def captions(found: Sequence[Any]) -> list[dict[str, Any]]:
        return [
            {"text": caption.text, **({} if caption.score is None else {"score": round(caption.score, 3)})}
            for caption in found
        ]

    return {
        "seconds": round(float(annotation.duration_s), 3),
        "prompt": annotation.prompt,
        "picture": annotation.picture,
        "sound": annotation.sound,
        "description": annotation.description,
        "picture_captions": captions(annotation.picture_captions),
        "sound_captions": captions(annotation.sound_captions),
        "notes": list(annotation.notes),
    }


def statistics(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of table 1 of TAVGBench: clips, hours, and mean sentences and words per clip."""
    from rewas_engine.annotation.statistics import Statistics

    found = Statistics.of((Fraction(str(row["seconds"])), str(row["description"])) for row in rows)
    return {
        "clips": found.clips,
        "hours": round(found.hours, 6),
        "sentences": round(found.sentences, 3),
        "words": round(found.words, 3),
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as CSV."""
    from rewas_server.delivery.csv_tables import csv_text

    cells = [[" ".join(row["notes"]) if name == "notes" else row[name] for name in COLUMNS] for row in rows]
    return csv_text(COLUMNS, cells)


def file_state(path: Path) -> list[int] | None:
    """Size and time of change of a file, by which an unchanged one is recognised; None for an image sequence."""
    if not path.is_file():
        return None
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]
