# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns settings into the messages of the contract. Called in threads: it imports gRPC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..timeline.clips import clip_to_otio
from ..timeline.energy_keys import DB_PER_NAT, SILENCE_NATS
from ..timeline.strips import SelectedClip
from .sound_settings import LayerChoice, PerformanceChoice, SoundSettings

if TYPE_CHECKING:
    from rewas_api.clip_settings import ClipSettings
    from rewas_api.layer_settings import LayerSettings
    from rewas_api.performance_settings import PerformanceSettings
    from rewas_api.v1 import rewas_pb2

_SOUND_CLOCK_HZ = Fraction(48000)
"""Rate of the times in a sound file, which has no frames."""


_METADATA = (
    "pack",
    "seed",
    "takes",
    "negative_prompt",
    "control",
    "control_strength",
    "control_start",
    "control_end",
    "num_inference_steps",
    "guidance_scale",
    "sampler",
    "conflict_policy",
    "loop",
    "new_sound_at_cuts",
    "gain_db",
    "mix",
    "sample_rate_hz",
    "level",
    "rank_by",
    "like",
)
"""Settings of a clip that have the same names in the metadata of a timeline."""


@dataclass(frozen=True)
class MeasuredSound:
    """The energy of a sound, and its texture if the request needs it."""

    energy: rewas_pb2.EnergyCurve
    texture: rewas_pb2.TextureCurve | None = None


def media_paths(clip: SelectedClip, settings: SoundSettings) -> tuple[str, ...]:
    """Return the files that the server must read for the sound of a clip."""
    existing = settings.regenerate
    likes = [settings.like, *(layer.like for layer in settings.layers)]
    paths = [clip.path, None if existing is None else str(existing.sound), *likes]
    return tuple(dict.fromkeys(path for path in paths if path))


def build_sound_work(
    clip: SelectedClip,
    settings: SoundSettings,
    uploaded: Mapping[str, str],
    measured: MeasuredSound | None = None,
) -> rewas_pb2.SoundWork:
    """Return the work that generates the sound of a clip.

    Args:
        clip: The clip, with its prompt.
        settings: What to generate, and how.
        uploaded: SHA-256 of uploaded files by path.
        measured: Energy and texture of the sound that controls this one, if `settings.energy` names a sound.

    Raises:
        ProblemError: SETTINGS for a value out of bounds.
    """
    from rewas_api.v1 import rewas_pb2

    work = rewas_pb2.SoundWork(
        clip_otio_json=clip_to_otio(clip).to_json_string(),
        settings=_clip_settings(clip, settings).to_proto(),
        uploaded_media=dict(uploaded),
        energy=_energy_input(settings, measured),
        texture=measured.texture if measured is not None and settings.energy.use_texture else None,
        cuts_s=[_rational(cut_s) for cut_s in settings.cuts_s],
        layer_energies={layer.name: _layer_energy(layer) for layer in settings.layers if not layer.standard_energy},
    )
    existing = settings.regenerate
    if existing is not None:
        work.regenerate.CopyFrom(
            rewas_pb2.Regeneration(
                sound_url=str(existing.sound),
                start_s=_rational(existing.start_s),
                end_s=_rational(existing.end_s),
                strength=existing.strength,
            )
        )
    return work


def build_measuring_work(
    clip: SelectedClip, settings: SoundSettings, uploaded: Mapping[str, str]
) -> rewas_pb2.EnergyWork:
    """Return the work that measures the sound from which a clip's sound takes its energy."""
    from rewas_api.v1 import rewas_pb2

    return rewas_pb2.EnergyWork(
        clip_otio_json=clip_to_otio(measured_clip(clip, settings)).to_json_string(),
        uploaded_media=dict(uploaded),
        pack=settings.pack,
        source=rewas_pb2.ENERGY_SOURCE_AUDIO,
        measure_texture=settings.energy.use_texture,
        audio_track=settings.energy.audio_track,
    )


def build_estimate_work(
    clip: SelectedClip, settings: SoundSettings, uploaded: Mapping[str, str]
) -> rewas_pb2.EnergyWork:
    """Return the work that finds the energy that a clip's sound would follow: that of its picture or of a sound.

    The edits in the settings are part of the answer.
    """
    from rewas_api.v1 import rewas_pb2

    if settings.energy.is_measured:
        work = build_measuring_work(clip, settings, uploaded)
    else:
        work = rewas_pb2.EnergyWork(
            clip_otio_json=clip_to_otio(clip).to_json_string(),
            uploaded_media=dict(uploaded),
            pack=settings.pack,
            source=rewas_pb2.ENERGY_SOURCE_VIDEO,
            # For the prompt and at its level, as when the sound is generated from the picture.
            prompt=clip.prompt or None,
            # The default is left out, because older servers do not know the field.
            level=rewas_pb2.LEVEL_RAW if clip.prompt and settings.level == "raw" else None,
        )
    work.energy.edits.extend(settings.energy.edits)
    return work


def measured_path(clip: SelectedClip, settings: SoundSettings) -> str:
    """Return the file from which the energy of a clip's sound is taken."""
    return settings.energy.sound if settings.energy.source == "other_sound" else clip.path


def build_conflict_work(
    clip: SelectedClip, prompt: str, pack: str | None, uploaded: Mapping[str, str]
) -> rewas_pb2.ConflictWork:
    """Return the work that compares a prompt with the picture of a clip."""
    from rewas_api.v1 import rewas_pb2

    return rewas_pb2.ConflictWork(
        clip_otio_json=clip_to_otio(clip).to_json_string(), uploaded_media=dict(uploaded), pack=pack, prompt=prompt
    )


def build_description_work(
    clip: SelectedClip, pack: str | None, uploaded: Mapping[str, str]
) -> rewas_pb2.DescriptionWork:
    """Return the work that describes a clip and suggests prompts for it."""
    from rewas_api.v1 import rewas_pb2

    return rewas_pb2.DescriptionWork(
        clip_otio_json=clip_to_otio(clip).to_json_string(), uploaded_media=dict(uploaded), pack=pack
    )


def measured_clip(clip: SelectedClip, settings: SoundSettings) -> SelectedClip:
    """Return the clip to measure: the clip itself, or the same length of another sound."""
    energy = settings.energy
    if energy.source != "other_sound":
        return clip
    duration_s = clip.source_duration_s
    sound_end_s = energy.sound_start_s + duration_s
    if energy.sound_duration_s is not None:
        duration_s = min(duration_s, max(energy.sound_duration_s - energy.sound_start_s, Fraction(0)))
        sound_end_s = energy.sound_duration_s
    return replace(
        clip,
        path=energy.sound,
        prompt="",
        muted=False,
        source_start_s=energy.sound_start_s,
        source_duration_s=duration_s,
        media_rate=_SOUND_CLOCK_HZ,
        media_frames=round(sound_end_s * _SOUND_CLOCK_HZ),
    )


def extend_with_silence(measured: MeasuredSound, duration_s: Fraction) -> MeasuredSound:
    """Return curves that are as long as the clip: silent after the end of the measured sound."""
    from rewas_api.v1 import rewas_pb2

    curve, texture = measured.energy, measured.texture
    rate_hz = Fraction(curve.rate_hz.numerator, curve.rate_hz.denominator)
    missing = max(round(duration_s * rate_hz) - len(curve.values), 0)
    if not missing:
        return measured
    energy = rewas_pb2.EnergyCurve(
        rate_hz=curve.rate_hz, values=[*curve.values, *[SILENCE_NATS] * missing], source=curve.source
    )
    if texture is not None:
        # Each point has one value for each band; 0 is a flat spectrum.
        bands = len(texture.values) // max(len(curve.values), 1)
        texture = rewas_pb2.TextureCurve(
            rate_hz=texture.rate_hz, values=[*texture.values, *[0.0] * (missing * bands)], source=texture.source
        )
    return MeasuredSound(energy, texture)


def clip_metadata(prompt: str, settings: SoundSettings | None) -> dict[str, Any]:
    """Return the ReWaS metadata of a clip: what `rewas batch` generates for it. None stands for default settings."""
    metadata: dict[str, Any] = {"prompt": prompt}
    if settings is None:
        return metadata
    for name in _METADATA:
        value = getattr(settings, name)
        if value is not None:
            metadata[name] = value
    if performance := _given(settings.performance):
        metadata["performance"] = performance
    if settings.layers:
        metadata["layers"] = list(map(_layer_metadata, settings.layers))
    return metadata


def _layer_metadata(layer: LayerChoice) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": layer.name,
        "prompt": layer.prompt,
        "gain_db": layer.gain_db,
        # The metadata of a clip cannot contain curves.
        "energy": layer.standard_energy or "steady",
    }
    if layer.pack is not None:
        metadata["pack"] = layer.pack
    if performance := _given(layer.performance):
        metadata["performance"] = performance
    if layer.like is not None:
        metadata["like"] = layer.like
    return metadata


def _clip_settings(clip: SelectedClip, settings: SoundSettings) -> ClipSettings:
    from rewas_api.clip_settings import ClipSettings

    existing = settings.regenerate
    completion = existing.completion if existing is not None else None
    return ClipSettings(
        prompt=clip.prompt if completion is None else completion.prompt,
        pack=settings.pack,
        seed=settings.seed,
        takes=settings.takes,
        negative_prompt=settings.negative_prompt,
        layers=tuple(map(_layer, settings.layers)) or None,
        control=settings.control,
        control_strength=settings.control_strength,
        control_start=settings.control_start,
        control_end=settings.control_end,
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
        sampler=settings.sampler,
        conflict_policy=settings.conflict_policy,
        loop=settings.loop,
        new_sound_at_cuts=settings.new_sound_at_cuts,
        gain_db=settings.gain_db,
        mix=settings.mix,
        sample_rate_hz=settings.sample_rate_hz,
        level=settings.level,
        rank_by=settings.rank_by,
        performance=_performance(settings.performance),
        like=settings.like,
    )


def _layer(layer: LayerChoice) -> LayerSettings:
    from rewas_api.layer_settings import LayerSettings

    return LayerSettings(
        layer.name,
        layer.prompt,
        layer.gain_db,
        layer.standard_energy,
        like=layer.like,
        pack=layer.pack,
        performance=_performance(layer.performance),
    )


def _performance(performance: PerformanceChoice) -> PerformanceSettings | None:
    from rewas_api.performance_settings import PerformanceSettings

    return PerformanceSettings(**given) if (given := _given(performance)) else None


def _given(performance: PerformanceChoice) -> dict[str, Any]:
    """Return the values that are set, by name. The contract has the same names."""
    return {name: value for name, value in vars(performance).items() if value is not None}


def _layer_energy(layer: LayerChoice) -> rewas_pb2.EnergyInput:
    from rewas_api.v1 import rewas_pb2

    if layer.energy == "flat":
        return rewas_pb2.EnergyInput(flat_nats=layer.flat_nats)
    return rewas_pb2.EnergyInput(points=_points(layer.keys))


def _points(keys: Sequence[tuple[float, float]]) -> rewas_pb2.EnergyPoints:
    from rewas_api.v1 import rewas_pb2

    return rewas_pb2.EnergyPoints(
        points=[
            rewas_pb2.EnergyPoint(time_s=_microseconds(time_s), level_nats=level_db / DB_PER_NAT)
            for time_s, level_db in keys
        ]
    )


def _energy_input(settings: SoundSettings, measured: MeasuredSound | None) -> rewas_pb2.EnergyInput | None:
    from rewas_api.v1 import rewas_pb2

    energy = settings.energy
    given = rewas_pb2.EnergyInput(edits=energy.edits)
    if energy.source == "flat":
        given.flat_nats = energy.flat_nats
    elif energy.is_measured:
        assert measured is not None
        given.curve.CopyFrom(measured.energy)
    elif energy.keys:
        given.points.CopyFrom(_points(energy.keys))
    elif not energy.edits:
        return None
    return given


def _microseconds(seconds: float) -> rewas_pb2.Rational:
    return _rational(Fraction(round(seconds * 1_000_000), 1_000_000))


def _rational(value: Fraction) -> rewas_pb2.Rational:
    from rewas_api.v1 import rewas_pb2

    return rewas_pb2.Rational(numerator=value.numerator, denominator=value.denominator)
