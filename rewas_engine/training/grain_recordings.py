"""Recordings that the sounds of the world can use, from a folder with a table, some of them left out of training.

This module does not import torch, because the workers that render clips read recordings too.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath

import numpy as np
import soxr
from numpy.typing import NDArray

from rewas_engine.errors import MediaError, SettingsError
from rewas_engine.recordings.packaged.collecting import CAPTIONS_FILE
from rewas_engine.recordings.packaged.table import PERMISSIVE_LICENCES
from rewas_engine.recordings.reading import mono_mix
from rewas_engine.recordings.sound_blocks import open_blocks
from rewas_engine.world import AMBIENCE_CLASSES, SAMPLE_RATE_HZ, is_struck
from rewas_engine.world.grains import Grains, cut_strikes, cut_texture
from rewas_engine.world.recorded_kinds import class_of_kind

COLUMNS = ("file", "kind", "licence", "credit")
SPLIT, HELD_OUT = "split", "held-out"
LEFT_OUT_SHARE = 0.2
LONGEST_READ_S = 60.0
"""Longer recordings are used up to here."""


@dataclass(frozen=True)
class GrainRecording:
    """A recording that scenes of one class can use.

    Attributes:
        path: The file.
        name: Its path within the folder.
        kind: Its kind in the table.
        class_name: The class of the world that this kind belongs to.
        licence: SPDX expression.
        credit: Author and source.
        digest: SHA-256 of its content.
    """

    path: Path
    name: str
    kind: str
    class_name: str
    licence: str
    credit: str
    digest: str


@dataclass(frozen=True)
class GrainRecordings:
    """The recordings of a folder whose kinds belong to some classes, in the order of their names.

    Attributes:
        training: Recordings that the training uses.
        left_out: Recordings for measuring; the training never uses them.
    """

    training: tuple[GrainRecording, ...]
    left_out: tuple[GrainRecording, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything in the recordings for training that affects sounds."""
        lines = [f"{each.name}\n{each.class_name}\n{each.digest}\n" for each in self.training]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def list_recordings(folder: Path, classes: Sequence[str]) -> GrainRecordings:
    """List the recordings in the table of a folder that scenes of classes, and their ambiences, can use.

    The table has the columns `file`, `kind`, `licence` and `credit`. With a column `split`, rows with "held-out" are
    left out of training. Without it, the name of a file decides; of a kind with several files, at least one is used
    and at least one is left out. Rows of other kinds are ignored.

    Raises:
        SettingsError: The table is missing or invalid, a file is missing, a licence is not permissive, or there
            are no recordings for training.
    """
    table = folder / CAPTIONS_FILE
    rows, has_split = _read_rows(table)
    known = tuple(dict.fromkeys((*classes, *AMBIENCE_CLASSES)))
    kinds: dict[str, dict[str, tuple[GrainRecording, bool]]] = {}
    for line, row in rows:
        class_name = class_of_kind(row["kind"], known)
        if class_name is not None:
            recording = _recording(folder, f"Line {line} of {table}", row, class_name)
            kinds.setdefault(recording.kind, {})[recording.name] = recording, row[SPLIT] == HELD_OUT
    training: list[GrainRecording] = []
    left_out: list[GrainRecording] = []
    for found in kinds.values():
        names = {name for name, (_, held) in found.items() if held} if has_split else _left_out(list(found))
        for name, (recording, _) in found.items():
            (left_out if name in names else training).append(recording)
    if not training:
        raise SettingsError(
            f"{table} lists no recordings for training that belong to the trained classes.",
            "Choose another folder, or leave grains_folder empty.",
        )
    training.sort(key=lambda each: each.name)
    left_out.sort(key=lambda each: each.name)
    return GrainRecordings(tuple(training), tuple(left_out))


@lru_cache(maxsize=1)
def read_grains(recordings: tuple[GrainRecording, ...]) -> Grains:
    """Read recordings, and cut them into strikes and textures.

    Raises:
        MediaError: A recording cannot be read, is silent, or is too short.
    """
    strikes: dict[str, list[tuple[NDArray[np.floating], ...]]] = {}
    textures: dict[str, list[NDArray[np.floating]]] = {}
    for recording in recordings:
        sound = _read(recording.path)
        if is_struck(recording.class_name):
            cuts = cut_strikes(sound)
            if not cuts:
                raise _useless(recording)
            strikes.setdefault(recording.class_name, []).append(cuts)
        else:
            texture = cut_texture(sound)
            if texture is None:
                raise _useless(recording)
            textures.setdefault(recording.class_name, []).append(texture)
    return Grains(
        {name: tuple(found) for name, found in strikes.items()},
        {name: tuple(found) for name, found in textures.items()},
    )


def _left_out(names: list[str]) -> set[str]:
    """Names that are left out: about LEFT_OUT_SHARE, at least one of several, never all."""
    shares = {name: int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32 for name in names}
    order = sorted(names, key=lambda name: (shares[name], name))
    count = sum(share < LEFT_OUT_SHARE for share in shares.values())
    least = 1 if len(names) > 1 else 0
    return set(order[: min(max(count, least), len(names) - 1)])


def _read_rows(table: Path) -> tuple[list[tuple[int, dict[str, str]]], bool]:
    """Line and cells of each row, and whether the table has a column for the split."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            rows = [
                (reader.line_num, {name: (row.get(name) or "").strip() for name in (*COLUMNS, SPLIT)}) for row in reader
            ]
            columns = set(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(
            f"The table {table} cannot be read ({error}).",
            f"Give a folder with recordings and a table {CAPTIONS_FILE}, such as that of `make foley`.",
        ) from error
    if missing := [name for name in COLUMNS if name not in columns]:
        raise SettingsError(f"The table {table} has no column “{missing[0]}”.", "Add it.")
    return rows, SPLIT in columns


def _recording(folder: Path, place: str, row: dict[str, str], class_name: str) -> GrainRecording:
    name, path = row["file"], folder / row["file"]
    if not name or PurePath(name).is_absolute() or ".." in PurePath(name).parts or not path.is_file():
        raise SettingsError(f"{place}: the folder does not contain {name!r}.", "Correct or remove the line.")
    if not row["credit"] or not set(row["licence"].split(" AND ")) <= PERMISSIVE_LICENCES:
        raise SettingsError(
            f"{place}: a credit or a permissive licence is missing.",
            f"Use only recordings under {', '.join(sorted(PERMISSIVE_LICENCES))}, and name their authors.",
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return GrainRecording(path, name, row["kind"], class_name, row["licence"], row["credit"], digest)


def _read(path: Path) -> NDArray[np.float32]:
    """The beginning of a recording: [samples] float32, mono, SAMPLE_RATE_HZ."""
    with open_blocks(path) as opened:
        blocks, left = [], round(LONGEST_READ_S * opened.sample_rate_hz)
        for block in opened.blocks:
            blocks.append(block[:left])
            left -= len(blocks[-1])
            if left <= 0:
                break
        sound = mono_mix(np.concatenate(blocks).T) if blocks else np.zeros(0, np.float32)
    return np.asarray(soxr.resample(sound, opened.sample_rate_hz, SAMPLE_RATE_HZ), np.float32)


def _useless(recording: GrainRecording) -> MediaError:
    return MediaError(
        f"The recording {recording.name} is silent or too short.", f"Remove its line from {CAPTIONS_FILE}."
    )
