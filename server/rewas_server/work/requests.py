"""Requests, parsed and checked once: the server, its worker and the command work with the same objects.

`parse_request` is the only place that reads the OTIO JSON and the settings of a request. It is fast and needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import opentimelineio as otio

from rewas_api.clip_settings import METADATA_KEY, ClipSettings
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_api.value_checks import format_value
from rewas_engine import ImageSequence, MediaError, SettingsError, TextureCurve, VideoClip
from rewas_engine.checks import (
    DEFAULT_VIDEO_GUIDANCE,
    DEFAULT_VIDEO_HEIGHT_PIXELS,
    DEFAULT_VIDEO_STEPS,
    MAX_FRAME_RATE,
    MAX_GUIDANCE_SCALE,
    MAX_STEPS,
    MAX_VIDEO_HEIGHT_PIXELS,
    MIN_FRAME_RATE,
    MIN_VIDEO_HEIGHT_PIXELS,
    check_integer,
    check_range,
    check_seed,
    validate_prompt,
)
from rewas_engine.requests.validation import check_combination, validate_cuts
from rewas_server.delivery.provenance import location_name
from rewas_server.files.media import local_path
from rewas_server.otio.clip_keys import COUNTS_BY_MEDIA_KEY, NUMBER_KEY
from rewas_server.otio.clips import (
    ClipSource,
    PromptedClip,
    clip_label,
    parse_clip,
    parse_timeline,
    read_clip_source,
    timeline_start_s,
)
from rewas_server.otio.media_timecode import read_as_timecode
from rewas_server.otio.names import shorten_name
from rewas_server.otio.planning import ClipState, ListedClip, find_clips
from rewas_server.work.clip_outcomes import raise_if_all_fail
from rewas_server.work.energy_requests import EnergySpec, parse_energy_work, parse_layer_energies, parse_sound_energy
from rewas_server.work.limits import MAX_TIMELINE_CLIPS, check_limits, check_url
from rewas_server.work.translation import fraction, problem_from_error, texture_from_message

if TYPE_CHECKING:
    from rewas_engine import ReferenceSound

MAX_TIMELINE_NUMBER = 999_999

T = TypeVar("T")
LocateMedia = Callable[[str, Mapping[str, str]], Path]
"""Maps a clip's target_url and the uploads of its request to the file to read. Raises ProblemError."""


@dataclass(frozen=True)
class PackUse:
    """A use of a pack.

    Attributes:
        pack: Name of the pack; "" for the default one.
        user: What needs it, as the start of a sentence; "" for a primary sound, which messages do not name.
    """

    pack: str
    user: str

    def name_in_problem(self, error: Exception) -> ProblemError:
        """Return the problem of a pack that cannot be used, with the name of what needs it."""
        problem = problem_from_error(error)
        what = f"{self.user} needs the pack {self.pack}. {problem.what}" if self.user else problem.what
        return ProblemError(what, problem.remedy, problem.kind)


def pack_uses(settings: ClipSettings, name: str) -> tuple[PackUse, ...]:
    """Return the uses of packs in a clip, that of the primary sound first. name: of the clip."""
    layers = (
        PackUse(pack, f'The layer {layer} of the clip "{name}"')
        for layer, pack in settings.layer_packs.items()
        if pack != settings.pack
    )
    return (PackUse(settings.pack or "", ""), *layers)


@dataclass(frozen=True)
class ClipRequest:
    """What requests about one clip have in common.

    Attributes:
        source: The range of media that the clip shows.
        uploaded_media: SHA-256 of uploaded files by target_url.
        pack: Name of the pack; "" for the default one.
    """

    source: ClipSource
    uploaded_media: Mapping[str, str]
    pack: str

    @property
    def name(self) -> str:
        """Name of the clip, as lists show it."""
        return self.source.name

    @property
    def pack_uses(self) -> tuple[PackUse, ...]:
        """The uses of packs in the request."""
        return (PackUse(self.pack, ""),)

    def check_media(self, locate_media: LocateMedia) -> None:
        """Raise ProblemError if a media file of the request is missing or may not be read."""
        locate_clip_media(self.source, self.uploaded_media, locate_media)

    def video_clip(self, locate_media: LocateMedia) -> VideoClip:
        """The clip for the engine. Raises ProblemError if its media is missing."""
        path = locate_clip_media(self.source, self.uploaded_media, locate_media)
        try:
            source = read_as_timecode(self.source, path)
        except MediaError:
            source = self.source  # The engine says what is wrong with the file.
        return video_clip(source, path, self.uploaded_media.get(source.target_url, ""))


@dataclass(frozen=True)
class EnergyRequest(ClipRequest):
    """Measure, estimate or edit the energy of a clip.

    Attributes:
        energy: The given energy, if any, and the edits.
        from_audio: Whether the energy is measured from the clip's own sound.
        measure_texture: Whether to measure the spectral texture too.
        find_cuts: Whether to find cuts in the video.
        prompt: The sound that an estimated energy is for; None estimates it without a prompt.
        has_typical_level: Whether an estimated energy is moved to the typical level of the prompt.
        audio_track: Number of the audio track, from 1; None is the first that is not silent.
    """

    energy: EnergySpec
    from_audio: bool
    measure_texture: bool
    find_cuts: bool
    prompt: str | None
    has_typical_level: bool
    audio_track: int | None


@dataclass(frozen=True)
class ConflictRequest(ClipRequest):
    """Check whether a prompt contradicts the video of a clip. With the prompt "", suggest prompts.

    Attributes:
        measures_avh: Whether to also measure the AVHScore of the clip's own sound.
    """

    prompt: str
    measures_avh: bool = False


@dataclass(frozen=True)
class DescriptionRequest(ClipRequest):
    """Describe a clip, and suggest prompts for it."""


@dataclass(frozen=True)
class AudibleVideoRequest:
    """Generate a video with its sound from a prompt.

    Attributes:
        prompt: What is seen and heard.
        seed: Seed of the noise; None means a random one.
        num_steps: Steps of DDIM.
        guidance_scale: Scale of classifier-free guidance.
        sound_lag: How far the sound is behind the video, as a share of the steps; None is the model's value.
        height_pixels: Height of the video.
        frame_rate: Frames per second of the file; None is the model's own rate.
    """

    prompt: str
    seed: int | None
    num_steps: int
    guidance_scale: float
    sound_lag: float | None
    height_pixels: int
    frame_rate: Fraction | None = None

    @property
    def name(self) -> str:
        """The prompt, as lists show it."""
        return shorten_name(self.prompt)

    @property
    def pack_uses(self) -> tuple[PackUse, ...]:
        """No pack: the model borrows from the one that it was trained with."""
        return ()

    def check_media(self, locate_media: LocateMedia) -> None:
        """It reads no media."""


def no_video_model() -> ProblemError:
    """Return the problem of a server without a model for audible video."""
    return ProblemError(
        "The server has no model for audible video.", "Start it with --video-model DIR.", ProblemKind.SETTINGS
    )


@dataclass(frozen=True)
class RegenerateRequest:
    """An existing sound to regenerate.

    Attributes:
        sound_url: Of the sound.
        start_s: Start of the range; None means the clip's start.
        end_s: End of the range; None means the clip's end.
        strength: Above 0, up to 1.
    """

    sound_url: str
    start_s: Fraction | None
    end_s: Fraction | None
    strength: float


@dataclass(frozen=True)
class SoundRequest(ClipRequest):
    """Generate sound for a clip.

    Attributes:
        settings: As requested, without defaults.
        energy: The energy of the primary sound.
        layer_energies: Energies of the layers that have their own curve, by name.
        cuts_s: Seconds from the clip's start at which the primary sound starts afresh.
        timeline_number: Number of the clip on its timeline, from 1, with which its file names begin; None if the
            request is not part of a timeline's.
    """

    settings: ClipSettings
    energy: EnergySpec
    layer_energies: Mapping[str, EnergySpec]
    texture: TextureCurve | None
    cuts_s: tuple[Fraction, ...]
    regenerate: RegenerateRequest | None
    timeline_number: int | None

    @property
    def pack_uses(self) -> tuple[PackUse, ...]:
        """See ClipRequest."""
        return pack_uses(self.settings, self.name)

    def check_media(self, locate_media: LocateMedia) -> None:
        """Raise ProblemError if a media file of the request is missing or may not be read."""
        super().check_media(locate_media)
        locate_references(self.settings, self.name, self.uploaded_media, locate_media)

    def reference_sounds(self, locate_media: LocateMedia) -> dict[str, ReferenceSound]:
        """Return the reference sounds of the settings by their location. Raises ProblemError, which names the clip."""
        from rewas_engine import ReferenceSound

        found = locate_references(self.settings, self.name, self.uploaded_media, locate_media)
        # An upload is named by its hash, which tells the user nothing.
        return {url: ReferenceSound(path, name=location_name(url)) for url, path in found.items()}

    def locate_sound(self, locate_media: LocateMedia) -> Path | None:
        """Return the file of the sound to regenerate, if there is one. Raises ProblemError, which names the clip."""
        if self.regenerate is None:
            return None
        with name_clip_in_location_errors(self.name):
            return locate_media(self.regenerate.sound_url, self.uploaded_media)


@dataclass(frozen=True)
class RefusedClip:
    """A clip with a prompt that cannot get a sound.

    Attributes:
        place: Number of clips with a prompt before it.
        name: Of the clip.
        problem: Why it gets no sound.
    """

    place: int
    name: str
    problem: ProblemError


@dataclass(frozen=True)
class TimelineRequest:
    """Generate sound for every clip of a timeline that has a prompt.

    Attributes:
        clips: In order of time, each with its settings over the timeline's defaults.
        uploaded_media: SHA-256 of uploaded files by target_url.
        refused: The clips with a prompt that cannot get a sound, in order of time.
    """

    timeline: otio.schema.Timeline
    clips: tuple[PromptedClip, ...]
    uploaded_media: Mapping[str, str]
    refused: tuple[RefusedClip, ...] = ()

    def with_refused(self, of_clips: Sequence[T], of_refused: Callable[[RefusedClip], T]) -> list[T]:
        """Merge values of `clips` with values of the refused clips, in order of time.

        of_clips: one value for each of `clips`. of_refused: returns the value of a refused clip.
        """
        merged = list(of_clips)
        for refused in self.refused:
            merged.insert(refused.place, of_refused(refused))
        return merged

    @property
    def name(self) -> str:
        """Name of the timeline, as lists show it."""
        return shorten_name(self.timeline.name or "timeline")

    @property
    def pack_uses(self) -> tuple[PackUse, ...]:
        """The first use of each pack in the request."""
        uses = [use for clip in self.clips for use in pack_uses(clip.settings, clip.source.name)]
        return tuple({use.pack: use for use in reversed(uses)}.values())

    def media_problems(self, locate_media: LocateMedia) -> list[ProblemError | None]:
        """Return for each clip why its media is missing or may not be read; None if it can be read.

        Raises ProblemError if there is no media at all.
        """
        problems: list[ProblemError | None] = []
        for clip in self.clips:
            try:
                locate_clip_media(clip.source, self.uploaded_media, locate_media)
                locate_references(clip.settings, clip.source.name, self.uploaded_media, locate_media)
                problems.append(None)
            except ProblemError as problem:
                problems.append(problem)
        raise_if_all_fail(self.name, problems)
        return problems


CheckedRequest = (
    EnergyRequest | ConflictRequest | DescriptionRequest | SoundRequest | TimelineRequest | AudibleVideoRequest
)


def parse_request(message: rewas_pb2.SubmitJobRequest) -> CheckedRequest:
    """Parse and check a request without reading packs or media.

    Raises ProblemError if the request cannot be fulfilled; the message names the clip and the field.
    """
    check_limits(message)
    parsers: dict[str, Callable[[], CheckedRequest]] = {
        "energy": lambda: _parse_energy(message.energy),
        "conflict": lambda: _parse_conflict(message.conflict),
        "description": lambda: _parse_description(message.description),
        "sound": lambda: _parse_sound(message.sound),
        "timeline": lambda: parse_timeline_request(message.timeline),
        "audible_video": lambda: _parse_audible_video(message.audible_video),
    }
    kind = message.WhichOneof("work")
    if kind is None:
        raise ProblemError("The request contains no work.", "Set one kind of work.", ProblemKind.SETTINGS)
    return parsers[kind]()


def parse_timeline_request(work: rewas_pb2.TimelineWork) -> TimelineRequest:
    """Parse and check a request for a timeline. Raises ProblemError if no clip can get a sound."""
    with name_clip_in_settings_errors("The timeline's defaults"):
        defaults = ClipSettings.from_proto(work.defaults)
    timeline = parse_timeline(work.timeline_otio_json)
    timeline_start_s(timeline)  # An invalid one must not fail after the work.
    wanted = [each for each in find_clips(timeline) if each.state in (ClipState.READY, ClipState.REFUSED)]
    if not wanted:
        raise ProblemError(
            f'No clip on the video tracks of the timeline "{shorten_name(timeline.name)}" has a prompt.',
            'Add one to the metadata of each clip, for example {"rewas": {"prompt": "dog growling"}}.',
            ProblemKind.TIMELINE,
        )
    if len(wanted) > MAX_TIMELINE_CLIPS:
        raise ProblemError(
            f'{len(wanted)} clips of the timeline "{shorten_name(timeline.name)}" have a prompt; '
            f"the limit is {MAX_TIMELINE_CLIPS}.",
            "Split the timeline.",
            ProblemKind.TIMELINE,
        )
    clips, refused = [], []
    for place, listed in enumerate(wanted):
        try:
            clips.append(_checked_clip(listed, defaults))
        except ProblemError as problem:
            refused.append(RefusedClip(place, listed.picture.name, problem))
    request = TimelineRequest(timeline, tuple(clips), dict(work.uploaded_media), tuple(refused))
    none: list[ProblemError | None] = [None] * len(clips)
    raise_if_all_fail(request.name, request.with_refused(none, lambda each: each.problem))
    return request


def _checked_clip(listed: ListedClip, defaults: ClipSettings) -> PromptedClip:
    """Return a clip with its settings over the defaults. Raises ProblemError if it cannot get a sound."""
    if listed.clip is None:
        assert listed.problem is not None
        raise listed.problem
    label = f'The clip "{listed.clip.source.name}"'
    with name_clip_in_settings_errors(label):
        clip = replace(listed.clip, settings=listed.clip.settings.over(defaults))
    _check_seed(clip.settings, label)
    _check_url(clip.source)
    return clip


def _parse_energy(work: rewas_pb2.EnergyWork) -> EnergyRequest:
    clip = parse_clip(work.clip_otio_json)
    source = _read_source(clip)
    energy = parse_energy_work(work, source.name)
    energy.check(source.duration_s)
    from_audio = work.source == rewas_pb2.ENERGY_SOURCE_AUDIO
    if work.measure_texture and not from_audio:
        raise ProblemError(
            f'The texture of "{source.name}" cannot be estimated from its video.',
            "Choose the clip's own sound as the source.",
            ProblemKind.SETTINGS,
        )
    if work.HasField("audio_track"):
        _check_audio_track(work.audio_track, from_audio, source.name)
    prompt, level = None, None
    if work.HasField("prompt"):
        settings = _parse_settings(rewas_pb2.SoundSettings(prompt=work.prompt, level=work.level), clip_label(clip))
        prompt, level = settings.prompt, settings.level
    elif work.level:
        raise ProblemError(
            f'The energy of "{source.name}" has a level but no prompt.',
            "Set the prompt too, or no level.",
            ProblemKind.SETTINGS,
        )
    return EnergyRequest(
        source,
        dict(work.uploaded_media),
        work.pack,
        energy,
        from_audio,
        work.measure_texture,
        work.find_cuts,
        prompt,
        prompt is not None and level != "raw",
        work.audio_track if work.HasField("audio_track") else None,
    )


def _read_source(clip: otio.schema.Clip) -> ClipSource:
    source = read_clip_source(clip)
    _check_url(source)
    held = clip.metadata.get(METADATA_KEY)
    is_guess = hasattr(held, "items") and held.get(COUNTS_BY_MEDIA_KEY) is True
    return replace(source, media_length_s=None) if is_guess else source


def _check_url(source: ClipSource) -> None:
    check_url(f'The media location of the clip "{source.name}"', source.target_url)


def _check_audio_track(number: int, from_audio: bool, name: str) -> None:
    if not from_audio:
        raise ProblemError(
            f'An audio track is chosen for "{name}", but its energy is not measured on its sound.',
            "Choose the clip's own sound as the source, or remove the audio track.",
            ProblemKind.SETTINGS,
        )
    if number < 1:
        raise ProblemError(f'The audio track of "{name}" is {number}.', "Choose a number from 1.", ProblemKind.SETTINGS)


def _parse_conflict(work: rewas_pb2.ConflictWork) -> ConflictRequest:
    clip = parse_clip(work.clip_otio_json)
    source = _read_source(clip)
    prompt = ""
    if work.prompt:
        prompt = _parse_settings(rewas_pb2.SoundSettings(prompt=work.prompt), clip_label(clip)).prompt
    if work.measure_avh and not prompt:
        raise ProblemError(
            f'The AVHScore of "{source.name}" is requested without a prompt.',
            "Set the prompt too, or do not measure the AVHScore.",
            ProblemKind.SETTINGS,
        )
    return ConflictRequest(source, dict(work.uploaded_media), work.pack, prompt, work.measure_avh)


def _parse_description(work: rewas_pb2.DescriptionWork) -> DescriptionRequest:
    source = _read_source(parse_clip(work.clip_otio_json))
    return DescriptionRequest(source, dict(work.uploaded_media), work.pack)


def _parse_audible_video(work: rewas_pb2.AudibleVideoWork) -> AudibleVideoRequest:
    request = AudibleVideoRequest(
        work.prompt.strip(),
        work.seed if work.HasField("seed") else None,
        work.num_inference_steps if work.HasField("num_inference_steps") else DEFAULT_VIDEO_STEPS,
        work.guidance_scale if work.HasField("guidance_scale") else DEFAULT_VIDEO_GUIDANCE,
        work.sound_lag if work.HasField("sound_lag") else None,
        work.height_pixels if work.HasField("height_pixels") else DEFAULT_VIDEO_HEIGHT_PIXELS,
        fraction(work.frame_rate, "frame_rate") if work.HasField("frame_rate") else None,
    )
    with _prefix_settings_errors("The video"):
        validate_prompt(work.prompt)
        if request.seed is not None:
            check_seed(request.seed)
        check_integer("num_inference_steps", request.num_steps, 1, MAX_STEPS)
        check_range("guidance_scale", request.guidance_scale, 0, MAX_GUIDANCE_SCALE)
        if request.sound_lag is not None:
            check_range("sound_lag", request.sound_lag, 0, 1)
        check_integer("height_pixels", request.height_pixels, MIN_VIDEO_HEIGHT_PIXELS, MAX_VIDEO_HEIGHT_PIXELS)
        if request.frame_rate is not None:
            check_range("frame_rate", request.frame_rate, MIN_FRAME_RATE, MAX_FRAME_RATE)
    return request


def _parse_sound(work: rewas_pb2.SoundWork) -> SoundRequest:
    clip = parse_clip(work.clip_otio_json)
    label, source = clip_label(clip), _read_source(clip)
    settings = _parse_settings(work.settings, label)
    _check_seed(settings, label)
    energy, layer_energies = parse_sound_energy(work), parse_layer_energies(work, label)
    for spec in (energy, *layer_energies.values()):
        spec.check(source.duration_s)
    cuts_s = tuple(fraction(cut, "cuts_s") for cut in work.cuts_s)
    regenerate = _parse_regenerate(work.regenerate, label) if work.HasField("regenerate") else None
    with _prefix_settings_errors(label):
        check_combination(
            regenerates=regenerate is not None,
            loops=bool(settings.loop),
            has_cuts=bool(cuts_s) or bool(settings.new_sound_at_cuts),
            has_layers=bool(settings.layers),
            gain_db=settings.gain_db or 0.0,
            has_texture=work.HasField("texture"),
            has_reference=settings.like is not None,
        )
        validate_cuts(cuts_s, source.duration_s)
    return SoundRequest(
        source,
        dict(work.uploaded_media),
        settings.pack or "",
        settings,
        energy,
        layer_energies,
        texture_from_message(work.texture) if work.HasField("texture") else None,
        cuts_s,
        regenerate,
        _timeline_number(clip, label),
    )


def _timeline_number(clip: otio.schema.Clip, label: str) -> int | None:
    held = clip.metadata.get(METADATA_KEY)
    number = held.get(NUMBER_KEY) if hasattr(held, "items") else None
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MAX_TIMELINE_NUMBER:
        raise ProblemError(
            f'{NUMBER_KEY} in metadata["{METADATA_KEY}"] of {_lower(label)} is {format_value(number)}.',
            f"Remove it, or set a whole number from 1 to {MAX_TIMELINE_NUMBER}.",
            ProblemKind.TIMELINE,
        )
    return number


def _parse_settings(message: rewas_pb2.SoundSettings, label: str) -> ClipSettings:
    with name_clip_in_settings_errors(label):
        settings = ClipSettings.from_proto(message)
    if not settings.prompt.strip():
        raise ProblemError(f"{label} has an empty prompt.", "Describe the sound.", ProblemKind.SETTINGS)
    return settings


def _parse_regenerate(message: rewas_pb2.Regeneration, label: str) -> RegenerateRequest:
    if not message.sound_url:
        raise ProblemError(
            f"The request for {_lower(label)} does not name the sound to regenerate.",
            "Set regenerate.sound_url.",
            ProblemKind.SETTINGS,
        )

    def time_s(name: str) -> Fraction | None:
        return fraction(getattr(message, name), f"regenerate.{name}") if message.HasField(name) else None

    strength = message.strength if message.HasField("strength") else 1.0
    if not 0 < strength <= 1:
        raise ProblemError(
            f"The strength of the regeneration of {_lower(label)} is {strength:g}.",
            "Set a number above 0, up to 1.",
            ProblemKind.SETTINGS,
        )
    return RegenerateRequest(message.sound_url, time_s("start_s"), time_s("end_s"), strength)


def _check_seed(settings: ClipSettings, label: str) -> None:
    with _prefix_settings_errors(label):
        check_seed(settings.seed or 0, settings.takes or 1)


@contextmanager
def name_clip_in_settings_errors(label: str) -> Iterator[None]:
    """Within the block, a ProblemError about "the clip" names the clip. label: from `clip_label`."""
    try:
        yield
    except ProblemError as problem:
        named = problem.what.replace("the clip", _lower(label), 1)
        raise ProblemError(named, problem.remedy, problem.kind) from None


@contextmanager
def _prefix_settings_errors(label: str) -> Iterator[None]:
    """Within the block, a SettingsError of the engine becomes a ProblemError that begins with the clip's name."""
    try:
        yield
    except SettingsError as error:
        problem = problem_from_error(error)
        raise ProblemError(f"{label}: {problem.what}", problem.remedy, problem.kind) from error


def locate_clip_media(source: ClipSource, uploaded_media: Mapping[str, str], locate_media: LocateMedia) -> Path:
    """Return the file of a clip; for an image sequence, its pattern in the folder of its pictures.

    Raises ProblemError, which names the clip, if the media is missing or may not be read.
    """
    with name_clip_in_location_errors(source.name):
        if source.sequence is None:
            return locate_media(source.target_url, uploaded_media)
        return _locate_sequence(source, source.sequence, locate_media)


def locate_references(
    settings: ClipSettings, name: str, uploaded_media: Mapping[str, str], locate_media: LocateMedia
) -> dict[str, Path]:
    """Return the files of the reference sounds of a clip by their location. name: of the clip.

    Raises ProblemError, which names the clip, if one is missing or may not be read.
    """
    with name_clip_in_location_errors(name):
        return {url: locate_media(url, uploaded_media) for url in settings.references}


def _locate_sequence(source: ClipSource, sequence: ImageSequence, locate_media: LocateMedia) -> Path:
    """Check each picture that a clip shows: any of them may be a link to another folder."""
    shown_s = (Fraction(0), sequence.duration_s) if source.duration_s is None else source.covered_s
    try:
        folder = local_path(source.target_url).parent.resolve()
        for number, path in enumerate(sequence.paths(folder, *shown_s)):
            if number and not path.is_symlink():
                if not path.is_file() and sequence.missing == "error":
                    raise problem_from_error(sequence.missing_error(folder, path.name))
                continue
            try:
                locate_media(str(path), {})
            except ProblemError as problem:
                if problem.kind is not ProblemKind.MEDIA or sequence.missing == "error":
                    raise
    except (OSError, RuntimeError) as error:
        raise ProblemError(
            f"The folder of the image sequence {source.target_url} cannot be read.",
            "Check the folder.",
            ProblemKind.MEDIA,
        ) from error
    except ProblemError as problem:
        if problem.kind is not ProblemKind.PERMISSION:
            raise
        raise ProblemError(
            problem.what,
            "Image sequences cannot be uploaded. Start the server with `rewas serve --allow-root FOLDER` for their "
            "folder, or render the sequence to a movie file.",
            problem.kind,
        ) from problem
    return folder / sequence.pattern


@contextmanager
def name_clip_in_location_errors(name: str) -> Iterator[None]:
    """Within the block, a ProblemError about the location of media names the clip."""
    try:
        yield
    except ProblemError as problem:
        if f'clip "{name}"' in problem.what:
            raise
        raise ProblemError(f'The clip "{name}": {problem.what}', problem.remedy, problem.kind) from problem


def _lower(label: str) -> str:
    return label[0].lower() + label[1:]


def follows_video(request: CheckedRequest) -> bool:
    """Whether the work on one clip begins with estimating its energy from its video."""
    if isinstance(request, SoundRequest):
        return request.energy.given is None and request.regenerate is None and not request.settings.loop
    return isinstance(request, EnergyRequest) and request.energy.given is None and not request.from_audio


def prompt_of(request: CheckedRequest) -> str:
    """The prompt that the energy of a clip is estimated for; "" for none."""
    if isinstance(request, SoundRequest):
        return request.settings.prompt
    return request.prompt or "" if isinstance(request, EnergyRequest) else ""


def video_clip(source: ClipSource, path: Path, sha256: str = "") -> VideoClip:
    """The engine's clip for a range of a media file or an image sequence. sha256: of an upload.

    Raises ProblemError for a clip that runs backwards beyond the start of its media.
    """
    with _prefix_settings_errors(f'The clip "{source.name}"'):
        return VideoClip(
            path,
            start=source.start_s,
            duration=source.duration_s,
            name=source.name,
            sha256=sha256,
            speed=source.speed,
            sequence=source.sequence,
        )
