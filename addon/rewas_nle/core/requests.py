# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the message that a job is submitted with, and reads the result. Called in threads: it imports gRPC."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..timeline.takes import PRIMARY_ROLE, EnergyCurve, StemPack, UsedRecording
from .completing import fit_existing_sound
from .contract import UserProblemError
from .messages import GenerationInfo, JobProgress, Problem, ReceivedTake, StemFile, StemsReceived
from .records import JobRecord
from .sound_work import (
    MeasuredSound,
    build_measuring_work,
    build_sound_work,
    extend_with_silence,
    measured_path,
    media_paths,
)

if TYPE_CHECKING:
    from rewas_api.client import RewasClient
    from rewas_api.v1 import rewas_pb2

UploadProgress = Callable[[int, int], object]


class MeasuringError(Exception):
    """The server still measures the sound whose energy the request needs. Try again later."""


def build_request(
    client: RewasClient, record: JobRecord, on_upload: UploadProgress, *, retry: bool = False
) -> rewas_pb2.SubmitJobRequest:
    """Return the message for a record. Media that the server cannot read by path is uploaded.

    Args:
        client: A client of the server.
        record: The record.
        on_upload: Called with the sent and the total bytes of an upload.
        retry: Whether to measure a sound again if measuring it has failed.

    Raises:
        MeasuringError: The energy of a sound must be measured first, and its job has not ended.
    """
    from rewas_api.v1 import rewas_pb2

    measured = None
    if record.settings.energy.is_measured:
        measured = _measure(client, record, on_upload, retry=retry)
    fit_existing_sound(record)
    paths = media_paths(record.clip, record.settings)
    project_folders, uploaded = share_media(client, record.blend_file, paths, on_upload)
    return rewas_pb2.SubmitJobRequest(
        idempotency_key=record.idempotency_key,
        sound=build_sound_work(record.clip, record.settings, uploaded, measured),
        project_folders=project_folders,
        # A person is waiting for it.
        priority=rewas_pb2.PRIORITY_INTERACTIVE,
    )


def _measure(client: RewasClient, record: JobRecord, on_upload: UploadProgress, *, retry: bool) -> MeasuredSound:
    """Return the energy of the sound that controls the record's sound. Raises MeasuringError while its job runs."""
    from rewas_api.errors import JobFailed
    from rewas_api.v1 import rewas_pb2

    path = measured_path(record.clip, record.settings)
    project_folders, uploaded = share_media(client, record.blend_file, (path,), on_upload)
    job = client.submit(
        build_measuring_work(record.clip, record.settings, uploaded),
        idempotency_key=f"{record.idempotency_key}-energy",
        project_folders=project_folders,
        priority=rewas_pb2.PRIORITY_INTERACTIVE,
    )
    if retry and job.state == rewas_pb2.JOB_STATE_FAILED:
        job = client.retry(job.id)
    if job.state == rewas_pb2.JOB_STATE_FAILED:
        raise JobFailed(job)
    if job.state == rewas_pb2.JOB_STATE_CANCELLED:
        what = f'The measurement of the sound for "{record.clip.name}" was cancelled.'
        raise UserProblemError(Problem(what, "Generate the sound again."))
    if job.state != rewas_pb2.JOB_STATE_SUCCEEDED:
        raise MeasuringError
    result = client.get_job(job.id).energy
    texture = result.texture if result.HasField("texture") else None
    return extend_with_silence(MeasuredSound(result.energy, texture), record.clip.source_duration_s)


def share_media(
    client: RewasClient, blend_file: str, paths: Sequence[str], on_upload: UploadProgress
) -> tuple[list[str], dict[str, str]]:
    """Return the project folders for a request, and the SHA-256 of each file that was uploaded, by its path."""
    from rewas_api.project_folders import find_project_folders

    info = client.get_server_info()
    files = [Path(blend_file)] if blend_file else []
    files += map(Path, paths)
    project_folders = find_project_folders(files) if info.reads_project_folders else []
    shared = [Path(folder) for folder in (*info.allowed_roots, *project_folders)]
    uploaded = {}
    for path in paths:
        media = Path(path).resolve()
        if not any(media.is_relative_to(folder) for folder in shared):
            uploaded[path] = client.upload_media(media, on_progress=on_upload)
    return project_folders, uploaded


def encode_request(request: rewas_pb2.SubmitJobRequest) -> str:
    """Return a message as text, for a record."""
    return base64.b64encode(request.SerializeToString(deterministic=True)).decode("ascii")


def decode_request(record: JobRecord) -> rewas_pb2.SubmitJobRequest:
    """Return the message of a record, under its current key. Raises UserProblemError if it is damaged."""
    from google.protobuf.message import DecodeError

    from rewas_api.v1 import rewas_pb2

    try:
        request = rewas_pb2.SubmitJobRequest.FromString(base64.b64decode(record.request, validate=True))
    except (ValueError, DecodeError):
        raise UserProblemError(
            Problem(f'The stored job for "{record.clip.name}" is damaged.', "Generate the sound again.")
        ) from None
    request.idempotency_key = record.idempotency_key
    return request


def submit(client: RewasClient, request: rewas_pb2.SubmitJobRequest, on_upload: UploadProgress) -> rewas_pb2.Job:
    """Submit a message and return its job: an existing one if the server knows the key."""
    for path, sha256 in request.sound.uploaded_media.items():
        # The server may have deleted the upload since.
        if not client.has_media(sha256):
            client.upload_media(path, on_progress=on_upload)
    return client.submit(
        request.sound,
        idempotency_key=request.idempotency_key,
        project_folders=request.project_folders,
        priority=request.priority,
    )


def read_progress(key: str, job: rewas_pb2.Job) -> JobProgress:
    """Return a snapshot of a job as a message."""
    from rewas_api import enum_names

    state = enum_names.JOB_STATE.to_name(job.state) or ""
    # The stems of a job that has ended must still be fetched: for the user it is still running.
    shown = {"queued": "queued", "cancelling": "cancelling", "pausing": "paused", "paused": "paused"}
    return JobProgress(
        key=key,
        revision=job.revision,
        state=shown.get(state, "running"),
        stage=enum_names.STAGE.to_name(job.stage) or "",
        step=job.step,
        total_steps=job.total_steps,
        fraction=job.fraction,
        time_left_s=job.time_left.ToNanoseconds() / 1e9 if job.HasField("time_left") else None,
    )


def read_result(key: str, job: rewas_pb2.Job, stems: dict[str, Path]) -> StemsReceived:
    """Return the result of a job as a message. stems: path of each fetched artifact, by its name."""
    from google.protobuf.json_format import MessageToJson

    sound = job.sound
    duration = sound.clip.duration_s
    return StemsReceived(
        key=key,
        job_id=job.id,
        generation_info=GenerationInfo(
            pack=sound.pack.name,
            pack_version=sound.pack.version,
            licence=sound.pack.licence,
            num_inference_steps=sound.settings.num_inference_steps,
            guidance_scale=sound.settings.guidance_scale,
            control_strength=sound.settings.control_strength,
            settings_json=MessageToJson(sound.settings, indent=None, preserving_proto_field_name=True),
        ),
        duration_s=Fraction(duration.numerator, max(duration.denominator, 1)),
        takes=tuple(
            _read_take(number, take, stems, sound.pack.name) for number, take in enumerate(sound.takes, start=1)
        ),
        notes=(*(note.text for note in sound.notes), *_conflict_notes(sound)),
        requested_energy=_read_curve(sound, "requested_energy"),
    )


def _conflict_notes(sound: Any) -> Iterator[str]:
    """Yield notes about a conflict between prompt and picture."""
    from rewas_api.v1 import rewas_pb2

    if sound.HasField("conflict") and sound.conflict.verdict == rewas_pb2.VERDICT_CONFLICT:
        yield sound.conflict.explanation
        better = ", ".join(f'"{suggestion.prompt}"' for suggestion in sound.conflict.suggestions[:3])
        if better:
            yield f"Prompts that match the picture better: {better}."
        if sound.HasField("prompt_weight") and sound.prompt_weight < 1:
            yield f"The prompt was given a weight of {sound.prompt_weight:.0%}."


def _read_take(number: int, take: Any, stems: dict[str, Path], pack_name: str) -> ReceivedTake:
    from rewas_api import enum_names

    def optional(field: str) -> float | None:
        return getattr(take, field) if take.HasField(field) else None

    return ReceivedTake(
        number=number,
        seed=take.seed,
        stems=tuple(
            StemFile(stem.role, stems[stem.artifact.name], stem.sample_rate_hz, stem.channels, stem.samples)
            for stem in take.stems
        ),
        energy_mae_nats=take.energy_mae_nats,
        energy_correlation=optional("energy_correlation"),
        text_score=optional("text_score"),
        score=optional("score"),
        avh_score=optional("avh_score"),
        faults=tuple(enum_names.TAKE_FAULT.to_name(fault) or "" for fault in take.faults),
        output_energy=_read_curve(take, "output_energy"),
        recordings=(
            *_read_recordings(PRIMARY_ROLE, take.recordings),
            *(used for layer in take.layers for used in _read_recordings(layer.name, layer.recordings)),
        ),
        layer_packs=tuple(
            StemPack(layer.name, layer.pack.name, layer.pack.version, layer.pack.licence)
            for layer in take.layers
            if layer.pack.name not in ("", pack_name)
        ),
    )


def _read_recordings(role: str, recordings: Any) -> Iterator[UsedRecording]:
    for used in recordings:
        yield UsedRecording(role, used.name, used.words, used.licence, used.credit, used.content_sha256)


def _read_curve(message: Any, field: str) -> EnergyCurve | None:
    if not message.HasField(field):
        return None
    curve = getattr(message, field)
    rate_hz = Fraction(curve.rate_hz.numerator, max(curve.rate_hz.denominator, 1))
    return EnergyCurve(rate_hz, tuple(round(value, 4) for value in curve.values))
