"""The texture options: from a sound, a texture file or a constant tilt, with edits."""

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

_SOURCE_KEYWORDS = (Origin.AUDIO, Origin.FLAT)
_TILT_PREFIX = "tilt:"


@dataclass(frozen=True)
class TextureOptions:
    """The requested texture, parsed but not yet computed.

    Args:
        origin: Where the texture comes from.
        path: The texture or sound file, if the origin is one.
        tilt_nats: The tilt of a constant texture.
        edits: The edits, in order.
    """

    origin: Origin
    path: Path | None = None
    tilt_nats: float = 0.0
    edits: tuple[TextureEdit, ...] = ()

    @classmethod
    def from_options(cls, source: str | None, edits: Sequence[str] | None) -> TextureOptions | None:
        """Parse --texture and --texture-edit; return None if there is no texture.

        Raises SettingsError if they cannot be parsed, and for edits without a texture.
        """
        parsed_edits = parse_edits(edits or (), parse_texture_edit)
        if source is None:
            if parsed_edits:
                raise SettingsError("--texture-edit has no texture to edit.", "Choose its source with --texture.")
            return None
        if source in _SOURCE_KEYWORDS:
            return cls(Origin(source), edits=parsed_edits)
        if source.startswith(_TILT_PREFIX):
            tilt_nats = parse_number(source, _TILT_PREFIX, "tilt:-2")
            flat_texture(duration=1, tilt_nats=tilt_nats)
            return cls(Origin.FLAT, tilt_nats=tilt_nats, edits=parsed_edits)
        origin, path = parse_source(source, "texture", (*_SOURCE_KEYWORDS, f"{_TILT_PREFIX}NATS"))
        return cls(origin, path, edits=parsed_edits)

    @property
    def input_files(self) -> tuple[Path, ...]:
        """The files that the texture is read from, other than the clip."""
        return () if self.path is None else (self.path,)


@dataclass(frozen=True)
class ResolvedTexture:
    """An edited texture and its report (see `texture_report`)."""

    texture: TextureCurve
    report: dict[str, Any]


@dataclass(frozen=True)
class TextureResolver:
    """Computes textures for one clip, with the model if it is needed."""

    energy_resolver: EnergyResolver

    def resolve(self, choice: TextureOptions) -> ResolvedTexture:
        """Return the edited texture. Raises EngineError, ProblemError."""
        texture = self._resolve_unedited(choice)
        changed = apply_edits(texture, choice.edits)
        report = texture_report(texture_message(changed)) | {"edits": [str(edit) for edit in choice.edits]}
        if choice.edits:
            report["unedited"] = texture.values.tolist()
        return ResolvedTexture(changed, report)

    def _resolve_unedited(self, choice: TextureOptions) -> TextureCurve:
        if choice.origin is Origin.AUDIO:
            return self._measure_texture(None)
        duration_s = self.energy_resolver.clip.video_probe.duration_s
        if choice.origin is Origin.FLAT:
            return flat_texture(duration=duration_s, tilt_nats=choice.tilt_nats)
        assert choice.path is not None
        if choice.origin is Origin.CURVE_FILE:
            return read_texture(choice.path, duration=duration_s)
        return self._measure_texture(choice.path).with_duration(duration_s)

    def _measure_texture(self, sound: Path | None) -> TextureCurve:
        """Return the texture of a sound file, or of the clip's own sound. Raises MediaError for silence."""
        measured = self.energy_resolver.measure_sound(sound, texture=True)
        if max(measured.energy.values) <= SILENCE_THRESHOLD_NATS:
            name = self.energy_resolver.clip.media.name if sound is None else sound.name
            raise MediaError(
                f"The sound of {name} is silent, so it has no texture.",
                "Choose a sound that is not silent, or use flat.",
            )
        return texture_from_message(measured.texture)
