"""Converts text to what the chunks of a sound file can contain."""

from __future__ import annotations

import unicodedata
import xml.etree.ElementTree as ET

_ASCII_SPELLINGS = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ł": "l", "Ł": "L"}
    | dict.fromkeys("‘’‚′", "'")
    | dict.fromkeys("“”„″", '"')
    | dict.fromkeys("‐‑‒–—−", "-")
)


def ascii_text(text: str, length: int | None = None) -> str:
    """Return ASCII text in one line: accents are removed, letters of other scripts become question marks.

    length: largest number of characters; None is unlimited.
    """
    return _plain(text).encode("ascii", "replace")[:length].decode("ascii")


def has_ascii_spelling(text: str) -> bool:
    """Whether a text can be written in ASCII, except for its accents."""
    return _plain(text).isascii()


def _plain(text: str) -> str:
    spelled = " ".join(text.split()).translate(_ASCII_SPELLINGS)
    return "".join(letter for letter in unicodedata.normalize("NFKD", spelled) if not unicodedata.combining(letter))


def xml_text(text: str) -> str:
    """Return text without the characters that XML 1.0 cannot hold, such as NUL."""
    return "".join(letter for letter in text if letter in "\t\n\r" or _is_xml_character(ord(letter)))


def add_element(parent: ET.Element, name: str, text: str) -> None:
    """Add an element with text; an empty text adds nothing."""
    cleaned = xml_text(text)
    if cleaned:
        ET.SubElement(parent, name).text = cleaned


def _is_xml_character(code: int) -> bool:
    return 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000
