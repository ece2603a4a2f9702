# SPDX-License-Identifier: GPL-3.0-or-later
"""Volume, pan and fades of sounds in OpenTimelineIO files, which have no field for them, so they are metadata.

The metadata has the same key as in REAPER projects. So a project gets the volume and fades of a strip, and a strip gets
those of a project.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor
from typing import Any

from .exchange_values import as_mapping
from .exchanged import ExchangedStrip, ExchangeNote
from .fades import Fades, Level, level_of
from .otio_json import Clip, Track

REAPER_KEY = "reaper"
"""Key of the metadata with the volume, pan, fades and envelopes of a REAPER project."""
_VOLUME, _PAN, _FADE_IN, _FADE_OUT, _ENVELOPES = "volume", "pan", "fade_in_s", "fade_out_s", "envelopes"
_OURS = frozenset({_VOLUME, _PAN, _FADE_IN, _FADE_OUT})
_SAME_PAN = 1e-4
_MOST_FADE_S = 10**6


@dataclass(frozen=True)
class Mix:
    """What a file states about how a sound is played. A value is None if the file does not state it.

    Attributes:
        volume: Linear volume.
        pan: From -1 (left) to 1 (right).
        fade_in_s: Length of the fade at its start, 0 if it has none.
        fade_out_s: The same at its end.
        has_envelopes: Whether envelopes change its volume or pan.
    """

    volume: float | None = None
    pan: float | None = None
    fade_in_s: Fraction | None = None
    fade_out_s: Fraction | None = None
    has_envelopes: bool = False

    def applied_to(self, level: Level, frames: int, rate: Fraction) -> Level:
        """Return a level with the volume and fades of the file, to whole frames. frames: length of the sound."""
        fades = level.fades
        if self.fade_in_s is not None:
            fades = replace(fades, in_frames=_frames(self.fade_in_s, rate))
        if self.fade_out_s is not None:
            fades = replace(fades, out_frames=_frames(self.fade_out_s, rate))
        return Level(level.volume if self.volume is None else self.volume, fades.within(frames))

    def new_pan(self, pan: float) -> float | None:
        """Return the pan of the file if it differs from that of a strip, which may be beyond -1 and 1."""
        if self.pan is None or abs(self.pan - _within_pan(pan)) <= _SAME_PAN:
            return None
        return self.pan


def read_mix(metadata: Mapping[str, Any]) -> Mix:
    """Return what the metadata of a clip states about its volume, pan and fades."""
    values = as_mapping(metadata.get(REAPER_KEY))
    return Mix(
        volume=_number(values.get(_VOLUME)),
        pan=_number(values.get(_PAN)),
        fade_in_s=_seconds(values.get(_FADE_IN)),
        fade_out_s=_seconds(values.get(_FADE_OUT)),
        has_envelopes=values.get(_ENVELOPES) is True,
    )


def write_mix(strip: ExchangedStrip, rate: Fraction, metadata: dict[str, Any]) -> None:
    """Store the volume, pan and fades of a sound strip in the metadata of its clip.

    A strip without fades that is not from a REAPER project needs no such metadata.
    """
    level, stored = level_of(strip), metadata.get(REAPER_KEY)
    has_fades = level is not None and level.fades != Fades()
    if not has_fades and not isinstance(stored, dict):
        return
    kept = dict(stored) if isinstance(stored, dict) else {}
    before = read_mix(metadata)
    written: dict[str, Any] = {name: value for name, value in kept.items() if name not in _OURS}
    if level is not None:
        written[_VOLUME] = level.volume
        for name, frames, seconds in (
            (_FADE_IN, level.fades.in_frames, before.fade_in_s),
            (_FADE_OUT, level.fades.out_frames, before.fade_out_s),
        ):
            is_kept = seconds is not None and _frames(seconds, rate) == frames
            written[name] = kept[name] if is_kept else float(frames / rate)
    written[_PAN] = _within_pan(pan_of(strip))
    metadata[REAPER_KEY] = written


def pan_of(strip: ExchangedStrip) -> float:
    """Return the pan of a sound strip, or 0 if it is not a number."""
    pan = strip.properties.get("pan", 0.0)
    return float(pan) if isinstance(pan, int | float) else 0.0


def is_own_mix(metadata: Mapping[str, Any]) -> bool:
    """Return whether the metadata under REAPER_KEY is only what `write_mix` writes."""
    return as_mapping(metadata.get(REAPER_KEY)).keys() <= _OURS


class MixedTracks:
    """The tracks that change the volume or pan of their sounds."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def add(self, track: Track) -> None:
        """Note a track if it changes its sounds."""
        if not any(isinstance(child, Clip) for child in track.children):
            return
        mixed = as_mapping(track.metadata.get(REAPER_KEY))
        if (mixed.get(_VOLUME, 1), mixed.get(_PAN, 0), mixed.get(_ENVELOPES, False)) != (1, 0, False):
            # Items that overlap are on several tracks here.
            self._names[str(mixed.get("guid") or track.name)] = track.name

    def notes(self) -> Iterator[ExchangeNote]:
        """Yield a note if there are any."""
        if self._names:
            first, *more = self._names.values()
            also = f" and {len(more)} more change" if more else " changes"
            yield ExchangeNote(
                f'The track "{first}"{also} the volume or pan of {"their" if more else "its"} sounds in the file.',
                "The volume, pan and envelopes of tracks are not imported. Change the strips instead.",
            )


def _frames(seconds: Fraction, rate: Fraction) -> int:
    return floor(seconds * rate + Fraction(1, 2))


def _within_pan(pan: float) -> float:
    return max(-1.0, min(1.0, pan))


def _seconds(value: Any) -> Fraction | None:
    number = _number(value)
    return None if number is None else Fraction(str(min(max(number, 0.0), _MOST_FADE_S)))


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < 1e6 else None
