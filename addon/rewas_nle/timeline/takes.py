# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes: every version of the sound that was generated for a strip, and what it was generated from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

PRIMARY_ROLE = "primary"
MIX_ROLE = "mix"
"""The sum of the other stems."""


@dataclass(frozen=True)
class Stem:
    """One sound of a take in its own file.

    role: "primary", "ambience" or the name of a layer. path: absolute.
    """

    role: str
    path: Path
    sample_rate_hz: int
    channels: int
    samples: int


@dataclass(frozen=True)
class UsedRecording:
    """A recording in a take.

    Attributes:
        role: Role of the stem that uses it.
        name: The file within the folder of its library, with "/" between folders.
        words: What it sounds like; "" if unknown.
        licence: Its licence; "" if none is stated.
        credit: The people to name for it; "" if there are none.
        content_sha256: SHA-256 of the file.
    """

    role: str
    name: str
    words: str = ""
    licence: str = ""
    credit: str = ""
    content_sha256: str = ""

    @property
    def title(self) -> str:
        """What it sounds like, or the name of its file."""
        return self.words or self.name.rpartition("/")[2]

    @property
    def credit_line(self) -> str:
        """Title, licence and credit on one line."""
        return " ".join(", ".join(part for part in (self.title, self.licence, self.credit) if part).split())


@dataclass(frozen=True)
class StemPack:
    """The pack that made a stem, with its licence."""

    role: str
    name: str
    version: str
    licence: str


@dataclass(frozen=True)
class EnergyCurve:
    """Energy in nats at a constant rate. Value i lies at (i + 0.5) / rate_hz seconds after the start of the take."""

    rate_hz: Fraction
    values: tuple[float, ...]


@dataclass(frozen=True)
class Take:
    """One version of the sound for a strip.

    id: 32 hexadecimal digits. number: from 1 within its strip, never used again; 0 until it is in a list. name: ""
    shows the number instead.

    Position: scene_rate is the frame rate of the scene. lead_in_frames: scene frames from the start of the strip's
    content to the first sample. frames: scene frames of the sound. media: path of the media. source_start_s and
    source_duration_s: its range, in seconds.

    Request: prompt, seed, settings (plain JSON values), pack with version and licence. layer_packs: those of stems that
    another pack made.

    Result: stems, the recordings in them, scores from 0 to 1 where known, faults and notes (sentences for the user),
    energies. job_id: the server's.
    """

    id: str
    scene_rate: Fraction
    lead_in_frames: int
    frames: int
    stems: tuple[Stem, ...]
    number: int = 0
    name: str = ""
    is_favourite: bool = False
    media: str = ""
    source_start_s: Fraction = Fraction(0)
    source_duration_s: Fraction = Fraction(0)
    prompt: str = ""
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    pack: str = ""
    pack_version: str = ""
    licence: str = ""
    score: float | None = None
    text_score: float | None = None
    avh_score: float | None = None
    energy_mae_nats: float | None = None
    energy_correlation: float | None = None
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    requested_energy: EnergyCurve | None = None
    output_energy: EnergyCurve | None = None
    job_id: str = ""
    recordings: tuple[UsedRecording, ...] = ()
    layer_packs: tuple[StemPack, ...] = ()

    @property
    def label(self) -> str:
        """Its name, or "Take 3"."""
        return self.name or f"Take {self.number}"

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles of its stems."""
        return tuple(stem.role for stem in self.stems)

    @property
    def place(self) -> int:
        """Which recordings of a library were performed: 0 for those nearest to the prompt."""
        performance = self.settings.get("performance")
        place = performance.get("place") if isinstance(performance, Mapping) else None
        return place if isinstance(place, int) else 0

    def pack_of(self, role: str) -> StemPack:
        """Return the pack that made the stem of a role."""
        own = StemPack(role, self.pack, self.pack_version, self.licence)
        return next((pack for pack in self.layer_packs if pack.role == role), own)

    def recordings_of(self, role: str) -> tuple[UsedRecording, ...]:
        """Return the recordings in the stem of a role. A mix contains those of all roles."""
        return tuple(each for each in self.recordings if role in (each.role, MIX_ROLE))

    def stem(self, role: str) -> Stem | None:
        """Return the stem of a role."""
        return next((stem for stem in self.stems if stem.role == role), None)

    def to_json(self) -> str:
        """Return the take as a JSON object. Fractions are strings such as "24000/1001"."""
        return json.dumps({item.name: _plain(getattr(self, item.name)) for item in fields(self)}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Take:
        """Read the JSON object. Raises ValueError if it is not that of a take."""
        try:
            values = json.loads(text)
            for name in _FRACTIONS:
                values[name] = Fraction(values[name])
            for name in ("requested_energy", "output_energy"):
                values[name] = _curve_from(values[name])
            for name in ("faults", "notes"):
                values[name] = tuple(values[name])
            values["settings"] = MappingProxyType(dict(values["settings"]))
            values["recordings"] = tuple(UsedRecording(**each) for each in values.get("recordings", ()))
            values["layer_packs"] = tuple(StemPack(**each) for each in values.get("layer_packs", ()))
            values["stems"] = tuple(Stem(**{**stem, "path": Path(stem["path"])}) for stem in values["stems"])
            return cls(**values)
        except (KeyError, TypeError, ZeroDivisionError) as error:
            raise ValueError(f"not a take: {error!r}") from error


@dataclass(frozen=True)
class StoredTake:
    """A take as a strip stores it. Its record takes milliseconds to read, because it contains curves.

    record: the take as JSON, without what the other fields contain.
    """

    id: str
    record: str
    number: int
    name: str
    is_favourite: bool
    stems: tuple[Stem, ...]

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles of its stems."""
        return tuple(stem.role for stem in self.stems)

    def read(self) -> Take:
        """Return the take. Raises ValueError if the record is damaged."""
        take = Take.from_json(self.record)
        return replace(take, number=self.number, name=self.name, is_favourite=self.is_favourite, stems=self.stems)


def store_take(take: Take) -> StoredTake:
    """Return a take as a strip stores it."""
    record = replace(take, number=0, name="", is_favourite=False, stems=()).to_json()
    return StoredTake(take.id, record, take.number, take.name, take.is_favourite, take.stems)


_FRACTIONS = ("scene_rate", "source_start_s", "source_duration_s")


def number_takes(takes: Sequence[Take], last_number: int) -> tuple[Take, ...]:
    """Number takes after the last number that the list has used."""
    return tuple(replace(take, number=number) for number, take in enumerate(takes, start=last_number + 1))


def _plain(value: Any) -> Any:
    match value:
        case Fraction() | Path():
            return str(value)
        case EnergyCurve():
            # A thousandth of a nat is inaudible and invisible, and the curve takes a third of the space.
            return {"rate_hz": str(value.rate_hz), "values": [round(nats, 3) for nats in value.values]}
        case Stem() | UsedRecording() | StemPack():
            return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
        case tuple():
            return [_plain(item) for item in value]
        case Mapping():
            return dict(value)
    return value


def _curve_from(values: Mapping[str, Any] | None) -> EnergyCurve | None:
    if values is None:
        return None
    return EnergyCurve(Fraction(values["rate_hz"]), tuple(float(nats) for nats in values["values"]))
