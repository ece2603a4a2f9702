"""Runs a checked request: the same code in the server's worker and in the command's own process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from rewas_api.errors import ProblemError
from rewas_engine import Cancelled, EngineError
from rewas_engine.media.isolation.seam import cancels_decoding
from rewas_engine.runtime.memory_errors import is_out_of_memory
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback
from rewas_server.delivery.stem_folder import StemFolder
from rewas_server.files.media import local_path
from rewas_server.work.context import MonotonicProgress, Result, WorkContext
from rewas_server.work.requests import (
    AudibleVideoRequest,
    CheckedRequest,
    ConflictRequest,
    DescriptionRequest,
    EnergyRequest,
    SoundRequest,
)
from rewas_server.work.translation import problem_from_error


def run_work(
    request: CheckedRequest,
    context: WorkContext,
    *,
    on_progress: ProgressCallback,
    cancel: CancelSignal,
) -> Result:
    """Run a request. The clips of a timeline are separate requests.

    Raises:
        ProblemError: The work failed.
        rewas_engine.Cancelled: The caller cancelled it. In both cases no stem is left behind.
    """
    progress = MonotonicProgress(on_progress)
    links = _LinkNames(context.locate_media)
    try:
        with cancels_decoding(cancel):
            return _run(request, replace(context, locate_media=links.locate), progress, cancel)
    except Cancelled:
        raise
    except Exception as error:
        if isinstance(error, EngineError | OSError) or is_out_of_memory(error):
            raise links.hide_targets(problem_from_error(error)) from error
        raise


class _LinkNames:
    """Keeps the names of the targets of links out of errors: the request has not named them."""

    def __init__(self, locate_media: Callable[[str, Mapping[str, str]], Path]) -> None:
        self._locate_media = locate_media
        self._sent_names: dict[str, str] = {}

    def locate(self, target_url: str, uploaded_media: Mapping[str, str]) -> Path:
        """See WorkContext.locate_media."""
        path = self._locate_media(target_url, uploaded_media)
        if target_url not in uploaded_media:
            self._sent_names[path.name] = local_path(target_url).name
        return path

    def hide_targets(self, problem: ProblemError) -> ProblemError:
        """Return the problem with the names of the request."""
        what, remedy = problem.what, problem.remedy
        for name, sent_name in self._sent_names.items():
            if name != sent_name:
                what, remedy = what.replace(name, sent_name), remedy.replace(name, sent_name)
        return ProblemError(what, remedy, problem.kind)


def _run(request: CheckedRequest, context: WorkContext, progress: MonotonicProgress, cancel: CancelSignal) -> Result:
    # Only what the work needs is imported: the networks take seconds to import.
    if isinstance(request, EnergyRequest):
        from rewas_server.work.energy import compute_energy

        return compute_energy(request, context, progress, cancel)
    if isinstance(request, ConflictRequest):
        from rewas_server.work.conflict import check_conflict

        return check_conflict(request, context, progress, cancel)
    if isinstance(request, DescriptionRequest):
        from rewas_server.work.description import describe_clip

        return describe_clip(request, context, progress, cancel)
    if isinstance(request, AudibleVideoRequest):
        from rewas_server.work.audible_video import generate_audible_video

        with StemFolder(context.output_dir) as folder:
            return generate_audible_video(request, context, progress, cancel, folder)
    assert isinstance(request, SoundRequest), "the clips of a timeline are separate jobs"
    from rewas_server.work.sound import generate_sound

    with StemFolder(context.output_dir) as folder:
        return generate_sound(request, context, progress, cancel, folder)
