"""Edits of an energy curve in words, as they are typed: "scale 1.2", "mute events 2 3", "move event 1 to 2.5"."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rewas_engine.energy_edits import (
    BoostEvents,
    Compress,
    DuplicateEvent,
    EnergyEdit,
    FadeIn,
    FadeOut,
    Gate,
    IsolateEvents,
    MoveEvent,
    MuteEvents,
    Offset,
    Scale,
    Shift,
    Smooth,
    Stretch,
)
from rewas_engine.errors import SettingsError

_MOST_CHARACTERS = 1000

_OF_NUMBERS: dict[str, tuple[Callable[..., EnergyEdit], tuple[str, ...]]] = {
    "scale": (Scale, ("FACTOR",)),
    "offset": (Offset, ("NATS",)),
    "smooth": (Smooth, ("SECONDS",)),
    "gate": (Gate, ("NATS",)),
    "compress": (Compress, ("NATS", "RATIO")),
    "fade in": (FadeIn, ("SECONDS",)),
    "fade out": (FadeOut, ("SECONDS",)),
    "shift": (Shift, ("SECONDS",)),
    "stretch": (Stretch, ("FACTOR",)),
}
_OF_EVENTS: dict[str, tuple[Callable[..., EnergyEdit], str]] = {
    "isolate": (IsolateEvents, ""),
    "mute": (MuteEvents, ""),
    "boost": (BoostEvents, "by NATS"),
}
_OF_ONE_EVENT: dict[str, tuple[Callable[..., EnergyEdit], str]] = {
    "move": (MoveEvent, "to SECONDS"),
    "duplicate": (DuplicateEvent, "to SECONDS"),
}

EDIT_FORMS = (
    *(" ".join([name, *numbers]) for name, (_, numbers) in _OF_NUMBERS.items()),
    *(f"{name} event N {rest}".rstrip() for name, (_, rest) in (_OF_EVENTS | _OF_ONE_EVENT).items()),
)
"""What can be said: "scale FACTOR", "mute event N", …"""


def parse_edit(text: str) -> EnergyEdit:
    """The edit that words mean; isolate, mute and boost also take several events: "mute events 2 3".

    Raises SettingsError for words that mean none, or a number that is missing, too much or out of bounds.
    """
    words = text[:_MOST_CHARACTERS].lower().replace(",", " ").split()
    name = " ".join(words[:2]) if words[:1] == ["fade"] else " ".join(words[:1])
    if name in _OF_NUMBERS:
        edit, wanted = _OF_NUMBERS[name]
        given = words[len(name.split()) :]
        if len(given) != len(wanted):
            raise _not_understood(text, name)
        return edit(*(_number(word, text, name) for word in given))
    if name in _OF_EVENTS | _OF_ONE_EVENT and words[1:2] in (["event"], ["events"]):
        return _edit_of_events(name, words[2:], text)
    raise _not_understood(text, name)


def _edit_of_events(name: str, words: Sequence[str], text: str) -> EnergyEdit:
    edit, rest = (_OF_EVENTS | _OF_ONE_EVENT)[name]
    joint = rest.split()[:1]
    named, change = list(words), []
    if joint:
        # The last words are "by 2" or "to 2.5", all before them are events.
        named, change = named[:-2], named[-2:]
        if change[:1] != joint or len(change) != 2:
            raise _not_understood(text, name)
    numbers = tuple(_whole(word, text, name) for word in named)
    if not numbers or (name in _OF_ONE_EVENT and len(numbers) != 1):
        raise _not_understood(text, name)
    which = numbers[0] if name in _OF_ONE_EVENT else numbers
    return edit(which, *(_number(word, text, name) for word in change[1:]))


def _number(word: str, text: str, name: str) -> float:
    try:
        # Python also reads 1_000 and the digits of other scripts.
        return float(word if word.isascii() and "_" not in word else "")
    except ValueError:
        raise _not_understood(text, name) from None


def _whole(word: str, text: str, name: str) -> int:
    if not (word.isascii() and word.isdecimal() and len(word) < 10):
        raise _not_understood(text, name)
    return int(word)


def _not_understood(text: str, name: str) -> SettingsError:
    shown = text if len(text) <= 60 else text[:59] + "…"
    forms = [form for form in EDIT_FORMS if form.startswith(f"{name} ")] if name else []
    return SettingsError(
        f"The edit “{shown}” is not understood.",
        f"Write it as {forms[0]}." if forms else f"Write one of: {'; '.join(EDIT_FORMS)}.",
    )
