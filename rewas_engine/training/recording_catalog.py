"""List the recordings in the user's folders with their captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rewas_engine.errors import SettingsError
from rewas_engine.recordings.captions import LeftOut, ManifestRow, caption_of_folder, caption_of_name, read_manifest
from rewas_engine.recordings.files import SOUND_SUFFIXES, VIDEO_SUFFIXES, MediaFolder, find_sidecar, read_sidecar

CaptionWords = Literal["auto", "text", "folder", "name"]
CAPTION_WORDS: tuple[CaptionWords, ...] = ("auto", "text", "folder", "name")


@dataclass(frozen=True)
class CaptionSource:
    """Source of captions.

    Attributes:
        manifest: A table; None uses the table at the top of the folder, if any.
        file_column, caption_column: Columns of the table; None recognises the usual names.
        words: Source without a table: the .txt or .json next to each file ("text"), the name of the nearest folder
            ("folder"), the file name ("name"), or the first of these that gives a caption ("auto").
    """

    manifest: Path | None = None
    file_column: str | None = None
    caption_column: str | None = None
    words: CaptionWords = "auto"


@dataclass(frozen=True)
class Recording:
    """One file of sound, or of video with sound, and its captions.

    Attributes:
        path: The file.
        name: Path within its folder, with slashes.
        captions: At least one.
        is_seen: Whether its video is used.
    """

    path: Path
    name: str
    captions: tuple[str, ...]
    is_seen: bool


@dataclass(frozen=True)
class RecordingCatalog:
    """The recordings of one or two folders, ordered by name, and the files and lines that were left out."""

    recordings: tuple[Recording, ...]
    left_out: tuple[LeftOut, ...] = field(default=())


def list_recordings(
    sounds: Path | None, videos: Path | None, captions: CaptionSource | None = None
) -> RecordingCatalog:
    """List all recordings with captions in a folder of sounds and a folder of videos.

    Subfolders are searched too; hidden files and links to files outside the folder are skipped. Videos in the folder of
    sounds are used for their sound. A file found in both folders counts as a video.

    Args:
        sounds: Folder of sounds, or None.
        videos: Folder of videos, or None.
        captions: Where captions come from.

    Raises:
        SettingsError: A folder does not exist, a table of captions cannot be read, or there is no recording with a
            caption.
    """
    captions = captions or CaptionSource()
    places = [] if videos is None else [MediaFolder.search(videos, VIDEO_SUFFIXES, is_seen=True)]
    if sounds is not None:
        seen = {path.resolve() for place in places for path in place.media.values()}
        places.append(MediaFolder.search(sounds, SOUND_SUFFIXES | VIDEO_SUFFIXES, is_seen=False, but=seen))
    if not places:
        raise SettingsError("No recordings are given.", "Give a folder of sounds, of videos, or both.")
    left_out = [problem for place in places for problem in place.left_out]
    if captions.manifest is not None:
        found = _match_table(places, captions, captions.manifest, left_out)
    else:
        found = [recording for place in places for recording in _find_captions(place, captions, left_out)]
    if not found:
        folders = " or ".join(str(place.folder) for place in places)
        first = f" First of {len(left_out)} problems: {left_out[0]}." if left_out else ""
        raise SettingsError(
            f"No recording with a caption was found in {folders}.{first}",
            "Add a table of captions or a .txt next to each file, or use descriptive names.",
        )
    return RecordingCatalog(
        tuple(sorted(found, key=lambda recording: (recording.is_seen, recording.name))), tuple(left_out)
    )


def _recording(place: MediaFolder, name: str, captions: Sequence[str]) -> Recording:
    return Recording(place.media[name], name, tuple(dict.fromkeys(captions)), place.is_seen)


def _match_table(
    places: Sequence[MediaFolder], source: CaptionSource, manifest: Path, left_out: list[LeftOut]
) -> list[Recording]:
    rows, unusable = read_manifest(manifest, source.file_column, source.caption_column)
    left_out += unusable
    captions_of: dict[tuple[int, str], list[str]] = {}
    for row in rows:
        meant = [(index, name) for index, place in enumerate(places) for name in place.matches(row.file)]
        distinct = {places[index].media[name].resolve() for index, name in meant}
        if len(distinct) != 1:
            left_out.append(_unmatched(row, manifest, len(distinct), places))
        for where in meant if len(distinct) == 1 else []:
            captions_of.setdefault(where, []).extend(row.captions)
    unnamed = sum(len(place.media) for place in places) - len(captions_of)
    if unnamed:
        left_out.append(LeftOut(f"{unnamed} files", f"{manifest.name} does not list them"))
    return [_recording(places[index], name, captions) for (index, name), captions in captions_of.items()]


def _unmatched(row: ManifestRow, manifest: Path, matches: int, places: Sequence[MediaFolder]) -> LeftOut:
    line = f"{manifest.name}, line {row.line}"
    if matches:
        return LeftOut(line, f"{row.file} matches {matches} files")
    folders = [place.folder for place in places]
    parts = row.file.replace("\\", "/").split("/")
    if Path(row.file).is_absolute() or ".." in parts:
        return LeftOut(line, f"{row.file} is outside the folder or does not exist")
    return LeftOut(line, f"there is no sound or video {row.file} in {' or '.join(map(str, folders))}")


def _find_captions(place: MediaFolder, source: CaptionSource, left_out: list[LeftOut]) -> list[Recording]:
    """Find the recordings of one folder, with captions from the table at its top, or from text files and names."""
    table = place.find_table() if source.words == "auto" else None
    if table is not None:
        return _match_table([place], source, table, left_out)
    recordings = []
    for name, path in place.media.items():
        captions, why = _read_caption(path, place.folder, source.words)
        if captions:
            recordings.append(_recording(place, name, captions))
        else:
            left_out.append(LeftOut(name, why))
    return recordings


def _read_caption(path: Path, folder: Path, words: CaptionWords) -> tuple[list[str], str]:
    """Read the captions of a file without a table. Returns also the reason if there are none."""
    text_file = find_sidecar(path)
    if text_file is not None and words in ("auto", "text"):
        return read_sidecar(text_file, folder)
    if words == "text":
        return [], f"there is no {path.stem}.txt next to it"
    caption = ""
    if words in ("auto", "folder"):
        caption = caption_of_folder(path.parent, folder)
    if not caption and words in ("auto", "name"):
        caption = caption_of_name(path.stem)
    return ([caption] if caption else []), "neither a .txt next to it nor its name describes the sound"
