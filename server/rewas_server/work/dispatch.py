"""Runs a checked request: the same code in the server's worker and in the command's own process."""

from __future__ import annotations

from rewas_engine import Cancelled, EngineError
from rewas_engine.media.isolation.seam import cancels_decoding
from rewas_engine.runtime.memory_errors import is_out_of_memory
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback
from rewas_server.files.delivery import StemFolder
from rewas_server.work.context import MonotonicProgress, Result, WorkContext
from rewas_server.work.requests import CheckedRequest, ConflictRequest, EnergyRequest, SoundRequest
from rewas_server.work.translation import problem_from_error


def run_work(
    request: CheckedRequest,
    context: WorkContext,
    *,
    on_progress: ProgressCallback,
    cancel: CancelSignal,
) -> Result:
    """Run a request.

    Raises:
        ProblemError: The work failed.
        rewas_engine.Cancelled: The caller cancelled it. In both cases no stem is left behind.
    """
    progress = MonotonicProgress(on_progress)
    try:
        with cancels_decoding(cancel):
            return _run(request, context, progress, cancel)
    except Cancelled:
        raise
    except Exception as error:
        if isinstance(error, EngineError | OSError) or is_out_of_memory(error):
            raise problem_from_error(error) from error
        raise


def _run(request: CheckedRequest, context: WorkContext, progress: MonotonicProgress, cancel: CancelSignal) -> Result:
    # Only what the work needs is imported: the networks take seconds to import.
    if isinstance(request, EnergyRequest):
        from rewas_server.work.energy import compute_energy

        return compute_energy(request, context, progress, cancel)
    if isinstance(request, ConflictRequest):
        from rewas_server.work.conflict import check_conflict

        return check_conflict(request, context, progress, cancel)
    if isinstance(request, SoundRequest):
        from rewas_server.work.sound import generate_sound

        with StemFolder(context.output_dir) as folder:
            return generate_sound(request, context, progress, cancel, folder)
    from rewas_server.work.timeline import generate_timeline

    return generate_timeline(request, context, progress, cancel)
