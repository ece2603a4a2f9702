"""Generates sound for a clip: from the request to stems on disk."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import get_args

from rewas_api.clip_settings import DEFAULT_SAMPLE_RATE_HZ, SAMPLE_RATES_HZ, ClipSettings
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.performance_settings import PerformanceSettings
from rewas_api.v1 import rewas_pb2
from rewas_engine import (
    Cancelled,
    Control,
    EnergyCurve,
    EnergyEdit,
    EngineError,
    GenerationResult,
    Layer,
    MediaError,
    Output,
    PerformanceOptions,
    ReferenceSound,
    Regenerate,
    ReWaS,
    Sampling,
    Stem,
    Take,
    TextureCurve,
    VideoClip,
    find_cuts,
)
from rewas_engine.matching.report import ConflictPolicy
from rewas_engine.media.stem import MIX
from rewas_engine.requests.layers import LayerEnergy
from rewas_engine.runtime.progress import CancelSignal
from rewas_server.delivery.file_names import safe_file_name
from rewas_server.delivery.ixml import recordings_in_file
from rewas_server.delivery.metadata import BroadcastMetadata, TimecodeRate
from rewas_server.delivery.stem_folder import StemFolder, WrittenStem
from rewas_server.delivery.time_reference import time_reference_samples
from rewas_server.files.media import local_path
from rewas_server.otio.clips import ClipSource
from rewas_server.work.context import MonotonicProgress, WorkContext, name_clip_in_media_errors
from rewas_server.work.requests import RegenerateRequest, SoundRequest, pack_uses
from rewas_server.work.stem_provenance import SoundProvenance
from rewas_server.work.translation import (
    clip_message,
    conflict_message,
    curve_message,
    durations,
    familiarity_message,
    loaded_pack_message,
    note_message,
    rational,
    take_message,
    texture_message,
)

_MAX_CLIP_NAME_BYTES = 80
_DELIVERY_SHARE = 0.02
"""Approximate share of a job that writing the files takes."""


@dataclass(frozen=True)
class _ClipJob:
    """One clip with all settings resolved.

    Attributes:
        settings: With seed, takes, pack and sample rate filled in.
        energy: The given energy before its edits.
        edits: Edits of the energy, whether it is given or estimated.
        references: The reference sounds by their location in the settings.
        source: The clip as requested, with its timecode.
    """

    clip: VideoClip
    settings: ClipSettings
    energy: EnergyCurve | None
    file_name: str
    source: ClipSource
    regenerate: Regenerate | None = None
    cuts_s: tuple[Fraction, ...] = ()
    texture: TextureCurve | None = None
    layer_energies: Mapping[str, EnergyCurve] = field(default_factory=dict)
    edits: tuple[EnergyEdit, ...] = ()
    references: Mapping[str, ReferenceSound] = field(default_factory=dict)


def generate_sound(
    request: SoundRequest,
    context: WorkContext,
    progress: MonotonicProgress,
    cancel: CancelSignal,
    folder: StemFolder,
) -> rewas_pb2.SoundResult:
    """Generate the takes of one clip and write their stems.

    Args:
        request: The request.
        context: What the work needs.
        progress: Receives the progress.
        cancel: Stops the work.
        folder: Receives the stems.
    """
    settings = _resolve_settings(request.settings, context)
    clip = request.video_clip(context.locate_media)
    regenerate = None if request.regenerate is None else _read_regenerate(request, request.regenerate, context)
    if regenerate is not None:
        _check_rate(request, regenerate)
        settings = replace(settings, sample_rate_hz=regenerate.stem.sample_rate_hz)
    assert settings.sample_rate_hz is not None
    with name_clip_in_media_errors(clip):
        energy = request.energy.resolve_unedited(clip)
        curves = {name: spec.resolve_edited(clip) for name, spec in request.layer_energies.items()}
    number = request.timeline_number
    assignment = _ClipJob(
        clip=clip,
        settings=settings,
        energy=energy,
        file_name=_file_name(request.source) if number is None else f"{number:03d} {_file_name(request.source)}",
        source=request.source,
        regenerate=regenerate,
        cuts_s=request.cuts_s,
        texture=request.texture,
        layer_energies={name: curve for name, curve in curves.items() if curve is not None},
        edits=request.energy.edits,
        references=request.reference_sounds(context.locate_media),
    )
    return _generate_takes(assignment, context, folder, progress, cancel)


def _check_rate(request: SoundRequest, regenerate: Regenerate) -> None:
    """Raise ProblemError for a sound at an unsupported rate, or at another rate than the requested one."""
    assert request.regenerate is not None
    own_hz, requested_hz = regenerate.stem.sample_rate_hz, request.settings.sample_rate_hz
    if own_hz not in SAMPLE_RATES_HZ:
        raise ProblemError(
            f"The sound {local_path(request.regenerate.sound_url).name} to regenerate for the clip "
            f'"{request.name}" has a sample rate of {own_hz} Hz.',
            f"Use a sound at {', '.join(map(str, SAMPLE_RATES_HZ))} Hz.",
            ProblemKind.SETTINGS,
        )
    if requested_hz not in (None, own_hz):
        raise ProblemError(
            f'The sound to regenerate for the clip "{request.name}" has a sample rate of {own_hz} Hz, but '
            f"{requested_hz} Hz was requested.",
            "Omit the sample rate: the existing sound is not resampled.",
            ProblemKind.SETTINGS,
        )


def _read_regenerate(request: SoundRequest, existing: RegenerateRequest, context: WorkContext) -> Regenerate:
    """Read the sound to regenerate. Raises MediaError, ProblemError."""
    path = request.locate_sound(context.locate_media)
    assert path is not None
    try:
        stem = Stem.read(path)
    except MediaError as error:
        # An upload is named by its hash, which says nothing to the user.
        shown = Path(existing.sound_url).name
        raise MediaError(error.what.replace(str(path), shown).replace(path.name, shown), error.remedy) from error
    return Regenerate(stem, existing.start_s, existing.end_s, existing.strength, recordings_in_file(path))


def _resolve_settings(settings: ClipSettings, context: WorkContext) -> ClipSettings:
    """Fill in the settings that a result must state: random seed, takes, pack, control strength and sample rate."""
    return settings.over(
        ClipSettings(
            pack=context.default_pack,
            seed=secrets.randbelow(2**31),
            takes=1,
            control_strength=1.0,
            sample_rate_hz=DEFAULT_SAMPLE_RATE_HZ,
        )
    )


def _generate_takes(
    assignment: _ClipJob,
    context: WorkContext,
    folder: StemFolder,
    progress: MonotonicProgress,
    cancel: CancelSignal,
) -> rewas_pb2.SoundResult:
    """Generate and write the takes of one clip."""
    settings = assignment.settings
    assert settings.seed is not None
    delivery_begin = 1 - _DELIVERY_SHARE
    model = context.engine(settings.pack or context.default_pack)
    layer_packs = _load_layer_packs(assignment, model, context)
    with name_clip_in_media_errors(assignment.clip):
        cuts_s = assignment.cuts_s
        if settings.new_sound_at_cuts and not cuts_s:
            cuts_s = find_cuts(assignment.clip, on_progress=progress.part(0.0, 0.0), cancel=cancel)
        generated = model.generate(
            assignment.clip,
            prompt=settings.prompt,
            seed=settings.seed,
            takes=settings.takes or 1,
            control=_control(assignment),
            sampling=Sampling(
                num_inference_steps=settings.num_inference_steps,
                guidance_scale=settings.guidance_scale,
                negative_prompt=settings.negative_prompt,
                sampler=settings.sampler,
            ),
            output=Output(
                sample_rate_hz=settings.sample_rate_hz,
                gain_db=settings.gain_db or 0.0,
                level="raw" if settings.level == "raw" else "standard",
                loop=bool(settings.loop),
                cuts=cuts_s,
                rank_by="avh" if settings.rank_by == "avh" else "score",
            ),
            performance=_performance(settings.performance),
            layers=_layers(assignment),
            layer_packs=layer_packs,
            regenerate=assignment.regenerate,
            conflict=_policy(settings),
            on_progress=progress.part(0.0, delivery_begin),
            cancel=cancel,
        )
    delivery_began_s = time.monotonic()
    pack = loaded_pack_message(model)
    provenance = SoundProvenance(settings, pack)
    takes = []
    for number, take in enumerate(generated.takes, start=1):
        progress.report("deliver", number - 1, len(generated.takes), delivery_begin)
        message = take_message(take, [])
        message.stems.extend(_write_take(assignment, generated, number, take, message, provenance, folder, cancel))
        takes.append(message)
    progress.report("deliver", len(generated.takes), len(generated.takes), 1.0)
    if cancel.is_set():
        raise Cancelled
    return rewas_pb2.SoundResult(
        clip=clip_message(generated.clip),
        pack=pack,
        takes=takes,
        requested_energy=curve_message(generated.requested_energy),
        cuts_s=[rational(cut_s) for cut_s in generated.cuts_s],
        timings=durations({**generated.timings_s, "deliver": time.monotonic() - delivery_began_s}),
        settings=_used_settings(settings, generated).to_proto(),
        requested_texture=None if generated.requested_texture is None else texture_message(generated.requested_texture),
        conflict=None if generated.conflict is None else conflict_message(generated.conflict),
        prompt_weight=_prompt_weight(generated),
        notes=[note_message(note) for note in generated.notes],
        familiarity=None if generated.familiarity is None else familiarity_message(generated.familiarity),
    )


def _used_settings(settings: ClipSettings, generated: GenerationResult) -> ClipSettings:
    """The settings, completed with those of the sampling or of the performance that made the sound."""
    used, performance = generated.settings, generated.performance
    if performance is not None:
        # The control of the request decides what a performance follows.
        known = {each.name: getattr(performance, each.name) for each in fields(PerformanceSettings)}
        settings = replace(settings, performance=PerformanceSettings(**known))
    if used is None:
        return replace(settings, num_inference_steps=None, sampler=None, guidance_scale=None)
    return replace(
        settings,
        num_inference_steps=used.num_inference_steps,
        sampler=used.sampler,
        guidance_scale=used.guidance_scale,
        control_strength=used.control_strength,
        control_start=used.control_start,
        control_end=used.control_end,
    )


def _prompt_weight(generated: GenerationResult) -> float | None:
    """The weight of the prompt after a conflict check; None if there was none or if recordings were performed."""
    if generated.conflict is None or generated.settings is None:
        return None
    return generated.settings.prompt_weight


def _write_take(
    assignment: _ClipJob,
    generated: GenerationResult,
    number: int,
    take: Take,
    message: rewas_pb2.Take,
    made: SoundProvenance,
    folder: StemFolder,
    cancel: CancelSignal,
) -> list[rewas_pb2.Stem]:
    stems = dict(take.stems)
    if assignment.settings.mix:
        stems[MIX] = take.mix()
    delivered = []
    source = assignment.source
    timecode_rate = TimecodeRate.of_first(source.frame_rate, generated.clip.frame_rate)
    for role, stem in stems.items():
        if cancel.is_set():
            raise Cancelled
        provenance = made.of_stem(message, role)
        metadata = BroadcastMetadata(
            provenance=provenance,
            time_reference_samples=time_reference_samples(source.timecode_s, timecode_rate, stem.sample_rate_hz),
            timecode_rate=timecode_rate,
            title=source.name,
            track_names=(role,) * stem.waveform.shape[0],
            take=str(number),
        )
        name = f"{assignment.file_name} {role} take {number} seed {provenance.seed}"
        written = folder.write(stem.waveform, stem.sample_rate_hz, name, metadata)
        delivered.append(_stem_message(role, written))
    return delivered


def _stem_message(role: str, written: WrittenStem) -> rewas_pb2.Stem:
    return rewas_pb2.Stem(
        role=role,
        artifact=rewas_pb2.Artifact(
            name=written.path.name,
            size_bytes=written.size_bytes,
            sha256=written.sha256,
            path=str(written.path.absolute()),
        ),
        sample_rate_hz=written.sample_rate_hz,
        channels=written.channels,
        samples=written.samples,
    )


def _load_layer_packs(assignment: _ClipJob, model: ReWaS, context: WorkContext) -> dict[str, ReWaS]:
    """Load the packs of the layers. model: the pack of the primary sound, which layers may also name.

    Raises ProblemError, which names the clip and the layer.
    """
    primary, *layers = pack_uses(assignment.settings, assignment.source.name)
    loaded = {primary.pack: model}
    for use in layers:
        try:
            loaded[use.pack] = context.engine(use.pack)
        except EngineError as error:
            raise use.name_in_problem(error) from error
    return loaded


def _performance(settings: PerformanceSettings | None) -> PerformanceOptions | None:
    return None if settings is None else PerformanceOptions(**settings.to_metadata())


def _control(assignment: _ClipJob) -> Control:
    settings = assignment.settings
    return Control(
        kind="onsets" if settings.control == "onsets" else "energy",
        energy=assignment.energy,
        edits=assignment.edits,
        texture=assignment.texture,
        like=assignment.references.get(settings.like or ""),
        strength=1.0 if settings.control_strength is None else settings.control_strength,
        start=0.0 if settings.control_start is None else settings.control_start,
        end=1.0 if settings.control_end is None else settings.control_end,
    )


def _policy(settings: ClipSettings) -> ConflictPolicy:
    policies: dict[str, ConflictPolicy] = {policy: policy for policy in get_args(ConflictPolicy)}
    return policies[settings.conflict_policy or "off"]


def _layers(assignment: _ClipJob) -> tuple[Layer, ...]:
    energies = assignment.layer_energies
    kinds: dict[str, LayerEnergy] = {kind: kind for kind in get_args(LayerEnergy)}
    return tuple(
        Layer(
            layer.name,
            layer.prompt,
            energies.get(layer.name) or kinds[layer.energy or "steady"],
            layer.gain_db or 0.0,
            assignment.references.get(layer.like or ""),
            layer.pack,
            _performance(layer.performance),
        )
        for layer in assignment.settings.layers or ()
    )


def _file_name(source: ClipSource) -> str:
    """Return the base of a clip's file names: the name of the clip, without the extension of its media file."""
    name = Path(source.name)
    is_file_name = bool(name.suffix) and name.suffix.casefold() == Path(source.target_url).suffix.casefold()
    return safe_file_name(name.stem if is_file_name else source.name, _MAX_CLIP_NAME_BYTES)
