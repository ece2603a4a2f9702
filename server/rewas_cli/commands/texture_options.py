"""Which spectral texture a command is asked for: of a sound, of a file of points, or one throughout, and edited how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewas_cli.commands.energy_options import EnergyResolver, Origin, parse_number, parse_source
from rewas_cli.reports import texture_report
from rewas_engine import (
    MediaError,
    SettingsError,
    TextureCurve,
    TextureEdit,
    apply_edits,
    flat_texture,
    parse_texture_edit,
    read_texture,
)
from rewas_engine.curves.energy import SILENCE_THRESHOLD_NATS
from rewas_server.work.energy_requests import parse_edits
from rewas_server.work.translation import texture_from_message, texture_message

_WORDS = (Origin.AUDIO, Origin.FLAT)
_TILT = "tilt:"


@dataclass(frozen=True)
class TextureOptions:
    """What is asked for, understood as far as that takes no work.

    path: of a texture or sound file. tilt_nats: of one texture throughout. edits: in their order.
    """

    origin: Origin
    path: Path | None = None
    tilt_nats: float = 0.0
    edits: tuple[TextureEdit, ...] = ()

    @classmethod
    def parsed(cls, source: str | None, edits: Sequence[str] | None) -> TextureOptions | None:
        """What --texture and --texture-edit say; None where no texture is asked for.

        Raises SettingsError for what cannot be understood, and for edits of nothing.
        """
        understood = parse_edits(edits or (), parse_texture_edit)
        if source is None:
            if understood:
                raise SettingsError(
                    "A texture is to be edited, but it is not said which.", "Name its source with --texture."
                )
            return None
        if source in _WORDS:
            return cls(Origin(source), edits=understood)
        if source.startswith(_TILT):
            tilt_nats = parse_number(source, _TILT, "tilt:-2")
            flat_texture(duration=1, tilt_nats=tilt_nats)
            return cls(Origin.FLAT, tilt_nats=tilt_nats, edits=understood)
        origin, path = parse_source(source, "texture", (*_WORDS, f"{_TILT}NATS"))
        return cls(origin, path, edits=understood)

    @property
    def read(self) -> tuple[Path, ...]:
        """The files that it is taken from, beside the clip's own."""
        return () if self.path is None else (self.path,)


@dataclass(frozen=True)
class ResolvedTexture:
    """A texture, and how it came about: as of `texture_report`, after its edits."""

    texture: TextureCurve
    report: dict[str, Any]


@dataclass(frozen=True)
class TextureResolver:
    """Takes textures for one clip, with the model where that needs one."""

    sounds: EnergyResolver

    def taken(self, choice: TextureOptions) -> ResolvedTexture:
        """The texture that is asked for, edited. Raises EngineError, ProblemError."""
        texture = self._resolve_unedited(choice)
        changed = apply_edits(texture, choice.edits)
        report = texture_report(texture_message(changed)) | {"edits": [str(edit) for edit in choice.edits]}
        if choice.edits:
            report["unedited"] = texture.values.tolist()
        return ResolvedTexture(changed, report)

    def _resolve_unedited(self, choice: TextureOptions) -> TextureCurve:
        if choice.origin is Origin.AUDIO:
            return self._heard(None)
        duration_s = self.sounds.clip.read.duration_s
        if choice.origin is Origin.FLAT:
            return flat_texture(duration=duration_s, tilt_nats=choice.tilt_nats)
        assert choice.path is not None
        if choice.origin is Origin.CURVE_FILE:
            return read_texture(choice.path, duration=duration_s)
        return self._heard(choice.path).with_duration(duration_s)

    def _heard(self, sound: Path | None) -> TextureCurve:
        """The texture of a sound file, or of the clip's own sound. Raises MediaError where there is only silence."""
        heard = self.sounds.heard(sound, texture=True)
        if max(heard.energy.values) <= SILENCE_THRESHOLD_NATS:
            name = self.sounds.clip.media.name if sound is None else sound.name
            raise MediaError(
                f"The sound of {name} is silent: no texture can be taken from it.",
                "Choose one in which something is heard, or ask for flat.",
            )
        return texture_from_message(heard.texture)
