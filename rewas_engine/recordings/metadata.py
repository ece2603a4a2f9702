"""Words, credit and licence from the metadata in sound files.

The chunks of WAV files (`bext`, iXML, RIFF INFO) are read here, because neither libsndfile's Python binding nor FFmpeg
reads iXML. FFmpeg reads the tags of all other formats.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from xml.etree.ElementTree import Element

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from rewas_engine.errors import MediaError
from rewas_engine.media.container import open_media
from rewas_engine.recordings.captions import clean_caption

METADATA_VERSION = 1
"""Increase it when more is read from the same file, so that the metadata of libraries is read again."""
MOST_TEXT_BYTES = 1 << 20
"""Larger chunks of text are not read."""
_MOST_CHUNKS = 10_000
_BEXT_DESCRIPTION_BYTES = 256
_UNKNOWN_SIZE = 0xFFFFFFFF
_DESCRIPTIONS = ("description", "title", "comment", "subject", "keywords")
_CREDITS = ("artist", "creator", "originator", "author", "album_artist", "composer", "designer")
_LICENCES = ("license", "licence", "copyright")
_INFO_NAMES = {
    b"INAM": "title", b"ICMT": "comment", b"ISBJ": "subject", b"IKEY": "keywords", b"IART": "artist",
    b"ICOP": "copyright", b"IENG": "engineer", b"ICRD": "date",
}  # fmt: skip
_WAVE_KINDS = (b"RIFF", b"RF64", b"BW64")
_XML_NAMES = {
    "FXNAME": "title", "DESCRIPTION": "description", "BWF_DESCRIPTION": "description", "NOTE": "comment",
    "KEYWORDS": "keywords", "DESIGNER": "designer", "BWF_ORIGINATOR": "originator", "LICENSE": "license",
    "CATEGORY": "category", "SUBCATEGORY": "subcategory",
}  # fmt: skip
"""Elements of iXML, including those of the Steinberg, ASWG and UCS extensions."""
_MOST_BYTES_OF_CHARACTER = 4


@dataclass(frozen=True)
class SoundMetadata:
    """What the metadata of a file says; "" for what it does not say.

    Attributes:
        description: What it sounds like.
        licence, credit: Its terms, and who made it.
        is_cut_short: Whether the file is shorter than its header says.
        category: Its category and subcategory in a catalogue of sounds, in lower case.
    """

    description: str = ""
    licence: str = ""
    credit: str = ""
    is_cut_short: bool = False
    category: str = ""

    @classmethod
    def of(cls, tags: Mapping[str, str], is_cut_short: bool = False) -> SoundMetadata:
        """Choose the texts from tags with lower-case names."""

        def first(names: tuple[str, ...]) -> str:
            return next((text for name in names if (text := clean_caption(tags.get(name, "")))), "")

        category = clean_caption(f"{tags.get('category', '')} {tags.get('subcategory', '')}").lower()
        return cls(first(_DESCRIPTIONS), first(_LICENCES), first(_CREDITS), is_cut_short, category)


def read_metadata(path: Path) -> SoundMetadata:
    """Read the metadata of a sound file. Damaged metadata is ignored. Raises OSError if the file cannot be read."""
    with path.open("rb") as file:
        kind = file.read(12)
        if kind[:4] in _WAVE_KINDS and kind[8:] == b"WAVE":
            return _read_wave(file, path)
        is_form = len(kind) == 12 and kind[:4] == b"FORM"
        is_cut_short = is_form and struct.unpack(">I", kind[4:8])[0] + 8 > path.stat().st_size + 1
    return SoundMetadata.of(_tags_of(path), is_cut_short)


def read_ixml(path: Path) -> Element | None:
    """Read the iXML chunk of a WAV, RF64 or BW64 file; None if there is none that can be read.

    Raises OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        kind = file.read(12)
        if kind[:4] not in _WAVE_KINDS or kind[8:] != b"WAVE":
            return None
        for name, length, _ in _chunks(file, path.stat().st_size):
            if name == b"iXML" and length <= MOST_TEXT_BYTES:
                return _parse_xml(file.read(length))
    return None


def _tags_of(path: Path) -> dict[str, str]:
    """The tags that FFmpeg reads, with lower-case names; none if it does not support the file."""
    try:
        with open_media(path) as container:
            tags = {**container.metadata}
            for stream in container.streams.audio:
                tags.update(stream.metadata)
    except (MediaError, UnicodeDecodeError):
        return {}
    return {name.lower(): text for name, text in tags.items()}


def _read_wave(file: BinaryIO, path: Path) -> SoundMetadata:
    size_bytes = path.stat().st_size
    found: dict[str, str] = {}
    id3: dict[str, str] = {}
    xml: dict[str, str] = {}
    is_cut_short = False
    for name, length, position in _chunks(file, size_bytes):
        if name == b"data":
            # A recorder that has lost power leaves 0 or the largest number.
            is_cut_short = length != _UNKNOWN_SIZE and position + length > size_bytes
        if name.lower() == b"id3 ":
            id3 = _tags_of(path)
        if name not in (b"bext", b"iXML", b"LIST") or length > MOST_TEXT_BYTES:
            continue
        content = file.read(length)
        if name == b"bext":
            found.setdefault("description", _decoded(content[:_BEXT_DESCRIPTION_BYTES]))
            found.setdefault("originator", _decoded(content[_BEXT_DESCRIPTION_BYTES : _BEXT_DESCRIPTION_BYTES + 32]))
        elif name == b"iXML":
            xml = _xml_tags(content)
        elif content[:4] == b"INFO":
            for tag, text in _info_tags(content[4:]):
                found.setdefault(tag, text)
    # The texts of iXML are complete and in UTF-8. Those of bext may be neither.
    found = {name: text for name, text in found.items() if text}
    return SoundMetadata.of({**id3, **found, **xml}, is_cut_short)


def _chunks(file: BinaryIO, size_bytes: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, length and position of each chunk of a RIFF or RF64 file; the file position is at its content."""
    position, long_data = 12, None
    for _ in range(_MOST_CHUNKS):
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            return
        name, length = header[:4], struct.unpack("<I", header[4:])[0]
        if name == b"ds64":
            sizes = file.read(16)
            long_data = struct.unpack("<QQ", sizes)[1] if len(sizes) == 16 else None
            file.seek(position + 8)
        if name == b"data" and length == _UNKNOWN_SIZE and long_data is not None:
            length = long_data
        yield name, length, position + 8
        position += 8 + length + length % 2
        if position >= size_bytes:
            return


def _info_tags(content: bytes) -> Iterator[tuple[str, str]]:
    position = 0
    while position + 8 <= len(content):
        name, length = content[position : position + 4], struct.unpack("<I", content[position + 4 : position + 8])[0]
        if name in _INFO_NAMES:
            yield _INFO_NAMES[name], _decoded(content[position + 8 : position + 8 + length])
        position += 8 + length + length % 2


def _parse_xml(content: bytes) -> Element | None:
    try:
        root: Element = ElementTree.fromstring(content.rstrip(b"\0 \r\n"))
    except (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError):
        return None
    return root


def _xml_tags(content: bytes) -> dict[str, str]:
    root = _parse_xml(content)
    if root is None:
        return {}
    tags: dict[str, str] = {}
    for element in root.iter():
        name = _XML_NAMES.get(str(element.tag).upper())
        text = (element.text or "").strip()
        if name and text:
            tags.setdefault(name, text)
    return tags


def _decoded(content: bytes) -> str:
    """Text of a field of fixed length: in UTF-8, as many programs write it, or in Latin-1."""
    text = content.split(b"\0", 1)[0]
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        # The end of the field may cut a character.
        if error.reason == "unexpected end of data" and error.start > len(content) - _MOST_BYTES_OF_CHARACTER:
            return text[: error.start].decode("utf-8")
        return text.decode("latin-1")
