"""Parse edits of curves: "scale 1.2", "mute events 2 3", "move event 1 to 2.5", "tilt -1"."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rewas_engine.curves.edits import (
    BoostEvents,
    Compress,
    CurveEdit,
    DuplicateEvent,
    EnergyEdit,
    FadeIn,
    FadeOut,
    Gate,
    IsolateEvents,
    MoveEvent,
    MuteEvents,
    Offset,
    RaiseBand,
    Scale,
    Shift,
    Smooth,
    Stretch,
    TextureEdit,
    Tilt,
)
from rewas_engine.curves.texture import BAND_NAMES
from rewas_engine.errors import SettingsError

_MAX_CHARACTERS = 1000

_COMMON_EDITS: dict[str, tuple[Callable[..., CurveEdit], tuple[str, ...]]] = {
    "scale": (Scale, ("FACTOR",)),
    "smooth": (Smooth, ("SECONDS",)),
    "fade in": (FadeIn, ("SECONDS",)),
    "fade out": (FadeOut, ("SECONDS",)),
    "shift": (Shift, ("SECONDS",)),
    "stretch": (Stretch, ("FACTOR",)),
}
_ENERGY_EDITS: dict[str, tuple[Callable[..., EnergyEdit], tuple[str, ...]]] = {
    **_COMMON_EDITS,
    "offset": (Offset, ("NATS",)),
    "gate": (Gate, ("NATS",)),
    "compress": (Compress, ("NATS", "RATIO")),
}
_EVENT_EDITS: dict[str, tuple[Callable[..., EnergyEdit], str]] = {
    "isolate": (IsolateEvents, ""),
    "mute": (MuteEvents, ""),
    "boost": (BoostEvents, "by NATS"),
}
_SINGLE_EVENT_EDITS: dict[str, tuple[Callable[..., EnergyEdit], str]] = {
    "move": (MoveEvent, "to SECONDS"),
    "duplicate": (DuplicateEvent, "to SECONDS"),
}
_TEXTURE_EDITS: dict[str, tuple[Callable[..., TextureEdit], tuple[str, ...]]] = {
    **_COMMON_EDITS,
    "tilt": (Tilt, ("NATS",)),
    "brighter": (Tilt, ("NATS",)),
    "darker": (lambda nats: Tilt(-nats), ("NATS",)),
}

EDIT_FORMS = (
    *(" ".join([name, *numbers]) for name, (_, numbers) in _ENERGY_EDITS.items()),
    *(f"{name} event N {rest}".rstrip() for name, (_, rest) in (_EVENT_EDITS | _SINGLE_EVENT_EDITS).items()),
)
"""Syntax of energy edits: "scale FACTOR", "mute event N", …"""
TEXTURE_EDIT_FORMS = (*(" ".join([name, *numbers]) for name, (_, numbers) in _TEXTURE_EDITS.items()), "raise BAND NATS")
"""Syntax of texture edits: "tilt NATS", "raise BAND NATS", …"""


def parse_edit(text: str) -> EnergyEdit:
    """Parse an energy edit. isolate, mute and boost accept several events: "mute events 2 3".

    Raises:
        SettingsError: The text is not an edit, or a number is missing or out of bounds.
    """
    words, name = _split_words(text)
    if name in _EVENT_EDITS | _SINGLE_EVENT_EDITS and words[1:2] in (["event"], ["events"]):
        return _parse_event_edit(name, words[2:], text)
    if name in _ENERGY_EDITS:
        edit, wanted = _ENERGY_EDITS[name]
        return edit(*_parse_numbers(words[len(name.split()) :], wanted, text, name, EDIT_FORMS))
    raise _syntax_error(text, name, EDIT_FORMS)


def parse_texture_edit(text: str) -> TextureEdit:
    """Parse a texture edit: "brighter 1.5", "raise low_mid -2", "smooth 0.3".

    Raises:
        SettingsError: The text is not an edit, or a number is missing or out of bounds.
    """
    words, name = _split_words(text)
    if name == "raise" and len(words) == 3:
        band = words[1].replace("-", "_")
        if band not in BAND_NAMES:
            raise _syntax_error(text, name, TEXTURE_EDIT_FORMS, f" BAND is one of {', '.join(BAND_NAMES)}.")
        return RaiseBand(band, *_parse_numbers(words[2:], ("NATS",), text, name, TEXTURE_EDIT_FORMS))
    if name in _TEXTURE_EDITS:
        edit, wanted = _TEXTURE_EDITS[name]
        return edit(*_parse_numbers(words[len(name.split()) :], wanted, text, name, TEXTURE_EDIT_FORMS))
    raise _syntax_error(text, name, TEXTURE_EDIT_FORMS)


def _split_words(text: str) -> tuple[list[str], str]:
    """Split an edit into words, and return them with its name."""
    words = text[:_MAX_CHARACTERS].lower().replace(",", " ").split()
    return words, " ".join(words[:2] if words[:1] == ["fade"] else words[:1])


def _parse_event_edit(name: str, words: Sequence[str], text: str) -> EnergyEdit:
    edit, rest = (_EVENT_EDITS | _SINGLE_EVENT_EDITS)[name]
    joint = rest.split()[:1]
    named, change = list(words), []
    if joint:
        # The last two words are "by 2" or "to 2.5"; those before are events.
        named, change = named[:-2], named[-2:]
        if change[:1] != joint or len(change) != 2:
            raise _syntax_error(text, name, EDIT_FORMS)
    numbers = tuple(_parse_integer(word, text, name) for word in named)
    if not numbers or (name in _SINGLE_EVENT_EDITS and len(numbers) != 1):
        raise _syntax_error(text, name, EDIT_FORMS)
    which = numbers[0] if name in _SINGLE_EVENT_EDITS else numbers
    return edit(which, *(_parse_number(word, text, name, EDIT_FORMS) for word in change[1:]))


def _parse_numbers(
    given: Sequence[str], wanted: Sequence[str], text: str, name: str, forms: Sequence[str]
) -> list[float]:
    if len(given) != len(wanted):
        raise _syntax_error(text, name, forms)
    return [_parse_number(word, text, name, forms) for word in given]


def _parse_number(word: str, text: str, name: str, forms: Sequence[str]) -> float:
    try:
        # float() also accepts 1_000 and the digits of other scripts.
        return float(word if word.isascii() and "_" not in word else "")
    except ValueError:
        raise _syntax_error(text, name, forms) from None


def _parse_integer(word: str, text: str, name: str) -> int:
    if not (word.isascii() and word.isdecimal() and len(word) < 10):
        raise _syntax_error(text, name, EDIT_FORMS)
    return int(word)


def _syntax_error(text: str, name: str, forms: Sequence[str], more: str = "") -> SettingsError:
    shown = text if len(text) <= 60 else text[:59] + "…"
    meant = [form for form in forms if form.startswith(f"{name} ")] if name else []
    return SettingsError(
        f"The edit “{shown}” is not understood.",
        f"Write it as {meant[0]}.{more}" if meant else f"Write one of: {'; '.join(forms)}.",
    )
