"""The files of a job's result, by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2


def artifact_path(artifacts_dir: Path, job: rewas_pb2.Job, name: str) -> tuple[Path, rewas_pb2.Artifact]:
    """Return the path of an artifact of a job by its name.

    Only names in the job's result are accepted, so that a request cannot name an arbitrary path. Raises ProblemError
    (NOT_FOUND).
    """
    if job.files_deleted:
        raise ProblemError(
            f'The files of the job "{job.name}" were deleted to make room.',
            "Generate the sound again, and pin jobs whose files the server must keep.",
            ProblemKind.NOT_FOUND,
        )
    for artifact in list_artifacts(job):
        path = (artifacts_dir / job.id / artifact.name).resolve()
        if artifact.name == name and path.parent == (artifacts_dir / job.id).resolve() and path.is_file():
            return path, artifact
    raise ProblemError(
        f'The job "{job.name}" has no artifact "{name[:100]}".',
        "Use a name from the job's result, or generate the sound again if its files were removed.",
        ProblemKind.NOT_FOUND,
    )


def list_artifacts(job: rewas_pb2.Job) -> Iterator[rewas_pb2.Artifact]:
    """Yield all artifacts of a job. The stems of a timeline belong to the jobs of its clips."""
    if job.timeline.HasField("file"):
        yield job.timeline.file
    if job.audible_video.HasField("file"):
        yield job.audible_video.file
    for take in job.sound.takes:
        for stem in take.stems:
            yield stem.artifact
