"""Limits on the size of a request. They are checked before anything in it is parsed."""

from __future__ import annotations

from collections.abc import Mapping, Sized

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.layer_settings import MAX_LAYERS
from rewas_api.project_folders import MAX_PROJECT_FOLDERS
from rewas_api.v1 import rewas_pb2

MAX_CLIP_OTIO_BYTES = 2_000_000
"""Longest OTIO JSON of a clip, in UTF-8."""
MAX_TIMELINE_OTIO_BYTES = 64_000_000
"""Longest OTIO JSON of a timeline, in UTF-8. Long ones are uploaded: they do not fit into a message."""
MAX_TIMELINE_CLIPS = 20_000
"""Largest number of clips of a timeline that have a prompt. Each becomes a job."""
MAX_URL_CHARACTERS = 4096
"""Longest location of media, and longest path of a project folder."""
MAX_UPLOADED_MEDIA = 10_000
"""Largest number of uploads that a request names."""
MAX_PACK_NAME_CHARACTERS = 200
MAX_EDIT_CHARACTERS = 1000
MAX_CURVE_VALUES = 1_500_000
"""Largest number of values of a curve: four hours at 100 Hz have 1 440 000."""
MAX_POINTS = 100_000
"""Largest number of points of one energy."""
MAX_CUTS = 100_000

ClipWork = rewas_pb2.EnergyWork | rewas_pb2.ConflictWork | rewas_pb2.DescriptionWork | rewas_pb2.SoundWork


def check_limits(message: rewas_pb2.SubmitJobRequest) -> None:
    """Check the size of everything in a request that its client chooses.

    Raises:
        ProblemError: SETTINGS or TIMELINE. The sentence names the limit.
    """
    _check_count("project folders", message.project_folders, MAX_PROJECT_FOLDERS)
    for folder in message.project_folders:
        _check_length("A project folder", folder, MAX_URL_CHARACTERS)
    kind = message.WhichOneof("work")
    if kind == "timeline":
        _check_otio("timeline", message.timeline.timeline_otio_json, MAX_TIMELINE_OTIO_BYTES)
        _check_uploads(message.timeline.uploaded_media)
        _check_settings(message.timeline.defaults)
    elif kind not in (None, "audible_video"):  # The prompt of a video is checked when it is parsed.
        _check_clip_work(getattr(message, kind))


def check_url(owner: str, url: str) -> None:
    """Check the length of a location of media. owner: begins the sentence. Raises ProblemError (SETTINGS)."""
    _check_length(owner, url, MAX_URL_CHARACTERS)


def _check_clip_work(work: ClipWork) -> None:
    _check_otio("clip", work.clip_otio_json, MAX_CLIP_OTIO_BYTES)
    _check_uploads(work.uploaded_media)
    if isinstance(work, rewas_pb2.SoundWork):
        _check_settings(work.settings)
        _check_count("layers with an energy", work.layer_energies, MAX_LAYERS)
        _check_count("cuts", work.cuts_s, MAX_CUTS)
        _check_count("texture values", work.texture.values, MAX_CURVE_VALUES)
        check_url("The location of the sound to regenerate", work.regenerate.sound_url)
        energies = [work.energy, *work.layer_energies.values()]
    else:
        _check_length("The pack name", work.pack, MAX_PACK_NAME_CHARACTERS)
        energies = [work.energy] if isinstance(work, rewas_pb2.EnergyWork) else []
    for energy in energies:
        _check_energy(energy)


def _check_otio(kind: str, text: str, limit_bytes: int) -> None:
    # A character has up to four bytes; counting them takes a copy of the text.
    size_bytes = len(text) if len(text) > limit_bytes or text.isascii() else len(text.encode())
    if size_bytes > limit_bytes:
        raise otio_too_long(kind, size_bytes, limit_bytes)


def otio_too_long(kind: str, size_bytes: int, limit_bytes: int) -> ProblemError:
    """Return the problem of a clip or timeline whose OTIO JSON is too long. kind: "clip" or "timeline"."""
    return ProblemError(
        f"The OpenTimelineIO JSON of the {kind} is {size_bytes / 1e6:.1f} MB; "
        f"the limit is {limit_bytes // 1_000_000} MB.",
        f"Remove metadata that the {kind} does not need"
        + (", or split the timeline." if kind == "timeline" else ", or shorten its name."),
        ProblemKind.TIMELINE,
    )


def _check_settings(settings: rewas_pb2.SoundSettings) -> None:
    _check_count("layers", settings.layers, MAX_LAYERS)
    for pack in (settings.pack, *(layer.pack for layer in settings.layers)):
        _check_length("The pack name", pack, MAX_PACK_NAME_CHARACTERS)
    for like in (settings.like, *(layer.like for layer in settings.layers)):
        check_url("The location of the reference sound", like)


def _check_energy(energy: rewas_pb2.EnergyInput) -> None:
    for edit in energy.edits:
        _check_length("An energy edit", edit, MAX_EDIT_CHARACTERS)
    _check_count("energy values", energy.curve.values, MAX_CURVE_VALUES)
    _check_count("energy points", energy.points.points, MAX_POINTS)


def _check_uploads(uploaded_media: Mapping[str, str]) -> None:
    _check_count("uploaded files", uploaded_media, MAX_UPLOADED_MEDIA)
    for url in uploaded_media:
        check_url("The location of an uploaded file", url)


def _check_count(what: str, given: Sized, limit: int) -> None:
    count = len(given)
    if count > limit:
        raise ProblemError(
            f"The request has {count} {what}; the limit is {limit}.", f"Use at most {limit}.", ProblemKind.SETTINGS
        )


def _check_length(what: str, text: str, limit_characters: int) -> None:
    if len(text) > limit_characters:
        raise ProblemError(
            f"{what} has {len(text)} characters; the limit is {limit_characters}.",
            "Shorten it.",
            ProblemKind.SETTINGS,
        )
