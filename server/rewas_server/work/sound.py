"""Generates sound for a clip: from the request to stems on disk."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import get_args

from rewas_api.clip_settings import DEFAULT_SAMPLE_RATE_HZ, SAMPLE_RATES_HZ, ClipSettings
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_engine import (
    Cancelled,
    Control,
    EnergyCurve,
    EnergyEdit,
    GenerationResult,
    Layer,
    MediaError,
    Output,
    Regenerate,
    Sampling,
    Stem,
    Take,
    TextureCurve,
    VideoClip,
    find_cuts,
)
from rewas_engine.matching.report import ConflictPolicy
from rewas_engine.media.stem import MIX
from rewas_engine.runtime.progress import CancelSignal
from rewas_server.delivery.file_names import safe_file_name
from rewas_server.delivery.metadata import BroadcastMetadata, TimecodeRate
from rewas_server.delivery.provenance import Provenance
from rewas_server.delivery.stem_folder import StemFolder, WrittenStem
from rewas_server.delivery.time_reference import time_reference_samples
from rewas_server.files.media import local_path
from rewas_server.otio.clips import ClipSource
from rewas_server.work.context import MonotonicProgress, WorkContext, name_clip_in_media_errors
from rewas_server.work.requests import RegenerateRequest, SoundRequest
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
    return Regenerate(stem, existing.start_s, existing.end_s, existing.strength)


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
            ),
            layers=_layers(settings, assignment.layer_energies),
            regenerate=assignment.regenerate,
            conflict=_policy(settings),
            on_progress=progress.part(0.0, delivery_begin),
            cancel=cancel,
        )
    delivery_began_s = time.monotonic()
    takes = []
    for number, take in enumerate(generated.takes, start=1):
        progress.report("deliver", number - 1, len(generated.takes), delivery_begin)
        stems = _write_take(assignment, generated, number, take, folder, cancel)
        takes.append(take_message(take, stems))
    progress.report("deliver", len(generated.takes), len(generated.takes), 1.0)
    if cancel.is_set():
        raise Cancelled
    return rewas_pb2.SoundResult(
        clip=clip_message(generated.clip),
        pack=loaded_pack_message(model),
        takes=takes,
        requested_energy=curve_message(generated.requested_energy),
        cuts_s=[rational(cut_s) for cut_s in generated.cuts_s],
        timings=durations({**generated.timings_s, "deliver": time.monotonic() - delivery_began_s}),
        settings=replace(
            settings,
            num_inference_steps=generated.settings.num_inference_steps,
            sampler=generated.settings.sampler,
            guidance_scale=generated.settings.guidance_scale,
            control_strength=generated.settings.control_strength,
            control_start=generated.settings.control_start,
            control_end=generated.settings.control_end,
        ).to_proto(),
        requested_texture=None if generated.requested_texture is None else texture_message(generated.requested_texture),
        conflict=None if generated.conflict is None else conflict_message(generated.conflict),
        prompt_weight=None if generated.conflict is None else generated.settings.prompt_weight,
        notes=[note_message(note) for note in generated.notes],
        familiarity=None if generated.familiarity is None else familiarity_message(generated.familiarity),
    )


def _write_take(
    assignment: _ClipJob,
    generated: GenerationResult,
    number: int,
    take: Take,
    folder: StemFolder,
    cancel: CancelSignal,
) -> list[rewas_pb2.Stem]:
    prompts = {layer.name: layer.prompt for layer in assignment.settings.layers or ()}
    stems = dict(take.stems)
    if assignment.settings.mix:
        stems[MIX] = take.mix()
        prompts[MIX] = "; ".join([generated.prompt, *prompts.values()])
    delivered = []
    source = assignment.source
    timecode_rate = TimecodeRate.of_first(source.frame_rate, generated.clip.frame_rate)
    for role, stem in stems.items():
        if cancel.is_set():
            raise Cancelled
        provenance = Provenance(
            prompt=prompts.get(role, generated.prompt),
            seed=take.layers[role].seed if role in take.layers else take.seed,
            pack_name=generated.pack.name,
            pack_version=generated.pack.version,
            licence=generated.pack.licence,
            permitted_use=generated.pack.permits,
        )
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


def _control(assignment: _ClipJob) -> Control:
    settings = assignment.settings
    return Control(
        kind="onsets" if settings.control == "onsets" else "energy",
        energy=assignment.energy,
        edits=assignment.edits,
        texture=assignment.texture,
        strength=1.0 if settings.control_strength is None else settings.control_strength,
        start=0.0 if settings.control_start is None else settings.control_start,
        end=1.0 if settings.control_end is None else settings.control_end,
    )


def _policy(settings: ClipSettings) -> ConflictPolicy:
    policies: dict[str, ConflictPolicy] = {policy: policy for policy in get_args(ConflictPolicy)}
    return policies[settings.conflict_policy or "off"]


def _layers(settings: ClipSettings, energies: Mapping[str, EnergyCurve]) -> tuple[Layer, ...]:
    return tuple(
        Layer(
            layer.name,
            layer.prompt,
            energies.get(layer.name, "following" if layer.energy == "following" else "steady"),
            layer.gain_db or 0.0,
        )
        for layer in settings.layers or ()
    )


def _file_name(source: ClipSource) -> str:
    """Return the base of a clip's file names: the name of the clip, without the extension of its media file."""
    name = Path(source.name)
    is_file_name = bool(name.suffix) and name.suffix.casefold() == Path(source.target_url).suffix.casefold()
    return safe_file_name(name.stem if is_file_name else source.name, _MAX_CLIP_NAME_BYTES)
