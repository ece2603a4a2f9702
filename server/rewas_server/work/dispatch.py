"""The job code: what each kind of request does, the same in the server's worker and in the command's own process."""

from __future__ import annotations

from collections.abc import Callable, Collection
from fractions import Fraction
from itertools import pairwise

from rewas_api.clip_settings import ClipSettings
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_engine import Cancelled, EngineError, ProbedClip
from rewas_engine.media.cuts import MIN_SHOT_S
from rewas_engine.packs.description import pack_not_installed_error
from rewas_engine.runtime.memory_errors import is_out_of_memory
from rewas_engine.runtime.progress import CancelSignal
from rewas_server.otio.clips import clip_label, parse_clip, parse_timeline, read_clip_source
from rewas_server.work.context import (
    MonotonicProgress,
    Result,
    WorkContext,
    WorkProgress,
    clips_with_prompt,
    name_clip_in_media_errors,
    read_clip_settings,
    settings_of,
    video_clip,
)
from rewas_server.work.energy_requests import energy_work_spec, layer_energy_specs, sound_work_spec
from rewas_server.work.translation import conflict_message, fraction, problem_from_error, texture_from_message

MAX_SEED = 2**63 - 1


def check_request(request: rewas_pb2.SubmitJobRequest, packs: Collection[str]) -> None:
    """Refuse what cannot be right, before any heavy work and without torch.

    packs: names of the packs that there are. Raises ProblemError that names the clip and the field.
    """
    kind = request.WhichOneof("work")
    if kind == "energy":
        source = read_clip_source(parse_clip(request.energy.clip_otio_json))
        energy_work_spec(request.energy, source.name).check(source.duration_s)
        if request.energy.measure_texture and request.energy.source != rewas_pb2.ENERGY_SOURCE_AUDIO:
            raise ProblemError(
                f'The texture of "{source.name}" cannot be taken from the picture.',
                "Choose the sound as the source.",
                ProblemKind.SETTINGS,
            )
        _check_pack(request.energy.pack, packs)
    elif kind == "conflict":
        clip = parse_clip(request.conflict.clip_otio_json)
        read_clip_source(clip)
        read_clip_settings(clip, rewas_pb2.SoundSettings(prompt=request.conflict.prompt))
        _check_pack(request.conflict.pack, packs)
    elif kind == "sound":
        clip = parse_clip(request.sound.clip_otio_json)
        duration_s = read_clip_source(clip).duration_s
        _check_settings(read_clip_settings(clip, request.sound.settings), packs, clip_label(clip))
        layers = layer_energy_specs(request.sound, clip_label(clip))
        for asked in (sound_work_spec(request.sound), *layers.values()):
            asked.check(duration_s)
        if request.sound.HasField("texture"):
            texture_from_message(request.sound.texture)
        if request.sound.HasField("regenerate"):
            _check_regenerate(request.sound.regenerate, clip_label(clip))
        _check_cuts(request.sound, clip_label(clip))
    elif kind == "timeline":
        with settings_of("The timeline's defaults"):
            defaults = ClipSettings.from_proto(request.timeline.defaults)
        timeline = parse_timeline(request.timeline.timeline_otio_json)
        for prompted in clips_with_prompt(timeline):
            settings = prompted.settings.over(defaults)
            _check_settings(settings, packs, f'The clip "{prompted.source.name}"')
    else:
        raise ProblemError("The request holds no work.", "Say what should be done.", ProblemKind.SETTINGS)


def request_name(request: rewas_pb2.SubmitJobRequest) -> str:
    """Name of the clip or timeline that a request is about, for lists. Raises ProblemError where it cannot be read."""
    kind = request.WhichOneof("work")
    if kind == "timeline":
        return parse_timeline(request.timeline.timeline_otio_json).name or "timeline"
    if kind is None:
        raise ProblemError("The request holds no work.", "Say what should be done.", ProblemKind.SETTINGS)
    return read_clip_source(parse_clip(getattr(request, kind).clip_otio_json)).name


def run_work(
    request: rewas_pb2.SubmitJobRequest,
    context: WorkContext,
    *,
    on_progress: Callable[[WorkProgress], None],
    cancel: CancelSignal,
) -> Result:
    """Do what a request asks for.

    Raises ProblemError where it cannot be done, and rewas_engine.Cancelled where the caller stopped it. In both cases
    no stem is left behind.
    """
    from rewas_server.work.energy import compute_energy
    from rewas_server.work.sound import generate_sound, make_timeline

    works: dict[str, Callable[..., Result]] = {
        "energy": compute_energy,
        "conflict": _check_conflict,
        "sound": generate_sound,
        "timeline": make_timeline,
    }
    kind = request.WhichOneof("work")
    if kind is None:
        raise ProblemError("The request holds no work.", "Say what should be done.", ProblemKind.SETTINGS)
    try:
        return works[kind](getattr(request, kind), context, MonotonicProgress(on_progress), cancel)
    except Cancelled:
        raise
    except Exception as error:
        if isinstance(error, EngineError | OSError) or is_out_of_memory(error):
            raise problem_from_error(error) from error
        raise


def _check_settings(settings: ClipSettings, packs: Collection[str], label: str) -> None:
    _check_pack(settings.pack or "", packs)
    last_seed = (settings.seed or 0) + 2 * (settings.takes or 1) - 1
    if last_seed > MAX_SEED:
        raise ProblemError(
            f"{label} asks for seeds up to {last_seed}.",
            f"Give a seed so that the last take's, and those that may replace others, are at most {MAX_SEED}.",
            ProblemKind.SETTINGS,
        )


def _check_regenerate(regenerate: rewas_pb2.Regeneration, label: str) -> None:
    within = label[0].lower() + label[1:]
    if not regenerate.sound_url:
        raise ProblemError(
            f"The request for {within} does not name the sound to regenerate.",
            "Set regenerate.sound_url.",
            ProblemKind.SETTINGS,
        )
    for name in ("start_s", "end_s"):
        if regenerate.HasField(name):
            fraction(getattr(regenerate, name), f"regenerate.{name}")
    if regenerate.HasField("strength") and not 0 < regenerate.strength <= 1:
        raise ProblemError(
            f"The strength of the regeneration of {within} is {regenerate.strength:g}.",
            "Set a number above 0, up to 1.",
            ProblemKind.SETTINGS,
        )


def _check_cuts(work: rewas_pb2.SoundWork, label: str) -> None:
    """Raises ProblemError (SETTINGS) for cuts that are out of order, and for what cannot be had beside them."""
    cuts_s = [Fraction(0), *(fraction(cut, "cuts_s") for cut in work.cuts_s)]
    for earlier_s, later_s in pairwise(cuts_s):
        if later_s - earlier_s < MIN_SHOT_S:
            raise ProblemError(
                f"{label} has cuts at {float(earlier_s):g} s and {float(later_s):g} s.",
                f"Give them in order, at least {float(MIN_SHOT_S):g} s apart and after the clip's start.",
                ProblemKind.SETTINGS,
            )
    anew = bool(work.cuts_s) or work.settings.new_sound_at_cuts
    other = "to loop" if work.settings.loop else "made again in part" if work.HasField("regenerate") else None
    if anew and other:
        raise ProblemError(
            f"{label} is to have a new sound at cuts, and {other}.", "Ask for one of the two.", ProblemKind.SETTINGS
        )


def _check_pack(pack: str, packs: Collection[str]) -> None:
    if pack and pack not in packs:
        raise problem_from_error(pack_not_installed_error(pack, packs))


def _check_conflict(
    work: rewas_pb2.ConflictWork, context: WorkContext, progress: MonotonicProgress, cancel: CancelSignal
) -> rewas_pb2.ConflictResult:
    model = context.engine(work.pack or context.default_pack)
    clip = video_clip(work.clip_otio_json, work.uploaded_media, context)
    with name_clip_in_media_errors(clip):
        read: ProbedClip = model.read_clip(clip)
        report = model.check_conflict(clip, work.prompt, on_progress=progress.part(0, 1), cancel=cancel)
    return conflict_message(report, read, model.pack)
