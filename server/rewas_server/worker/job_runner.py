"""Runs jobs on the packs of this process: the same code in the worker of a server and in a replica of a cluster."""

from __future__ import annotations

import functools
import gc
import logging
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cachetools import LRUCache

from rewas_api.errors import ProblemError
from rewas_api.v1 import rewas_pb2
from rewas_engine import Cancelled, EngineError, Execution, InsufficientMemoryError, Progress
from rewas_engine.media.isolation.seam import cancels_decoding
from rewas_engine.runtime.memory_errors import is_out_of_memory
from rewas_engine.runtime.progress import CancelSignal
from rewas_server.logs import LogPrivacy, private_texts
from rewas_server.work.amount import amount_s
from rewas_server.work.context import DescriptionModels, Result, WorkContext
from rewas_server.work.dispatch import run_work
from rewas_server.work.requests import (
    AudibleVideoRequest,
    LocateMedia,
    TimelineRequest,
    follows_video,
    parse_request,
    prompt_of,
)
from rewas_server.work.translation import job_problem, problem_from_error
from rewas_server.worker import messages
from rewas_server.worker.preparation import Preparation

if TYPE_CHECKING:
    from rewas_engine import ReWaS

MAX_LOADED_MODELS = 2
PREPARATION_BYTES = 2 * 1024**3
"""Free memory below which no job is prepared while another one runs. No video encoder needs this much."""
OUT_OF_MEMORY_STATUS = 75
"""Exit status of a process that ends because a job ran out of memory."""
_log = logging.getLogger("rewas.worker")


@dataclass(frozen=True)
class PackSettings:
    """How a process runs packs.

    Attributes:
        default_pack: The pack that is loaded first.
        device: "cpu", "cuda:0" or "auto".
        execution: Precision and memory options.
        conflict_model: Folder of a CLIP model for the conflict check; None uses the packs.
        avh_model: Folder with ImageBind, which measures AVHScores; None uses the packs.
        description_models: Models that describe clips.
        video_model: Folder of a model for audible video; None if there is none.
    """

    default_pack: str
    device: str = "auto"
    execution: Execution = field(default_factory=Execution)
    conflict_model: Path | None = None
    avh_model: Path | None = None
    description_models: DescriptionModels = field(default_factory=DescriptionModels)
    video_model: Path | None = None


@dataclass(frozen=True)
class JobFiles:
    """Where a job finds its media and leaves its stems.

    Attributes:
        artifacts_dir: Folder with one subfolder per job.
        locate_media: Returns the file to read for a target_url and the uploaded media. Raises ProblemError.
        deliver: Called with the result while the job can still fail. Raises ProblemError.
    """

    artifacts_dir: Path
    locate_media: Callable[[str, Mapping[str, str]], Path]
    deliver: Callable[[Result], object] = lambda result: None


class JobRunner:
    """Loads packs and runs jobs. Several threads may run jobs at the same time.

    Args:
        settings: How it runs packs.
        send: Sends a message about a job.
        privacy: Receives the texts of the jobs that stay out of the log.
    """

    def __init__(self, settings: PackSettings, send: Callable[[messages.Message], object], privacy: LogPrivacy) -> None:
        self._settings = settings
        self._send = send
        self._privacy = privacy
        self._models: LRUCache[str, ReWaS] = LRUCache(maxsize=MAX_LOADED_MODELS)
        self._models_lock = threading.Lock()
        self._loading = threading.Lock()
        self._preparation = Preparation()

    def load_default_pack(self) -> None:
        """Load the default pack early, so that the first request is fast."""
        try:
            self._load(self._settings.default_pack)
        except EngineError as error:
            # Requests for this pack will report it; other packs still work.
            _log.warning("The pack %s cannot be loaded: %s", self._settings.default_pack, error)

    def run(self, work: messages.Work, files: JobFiles, stopped: CancelSignal, default_pack: str | None = None) -> bool:
        """Run a job and send its messages, from `Begun` to `Done`, `Failed` or `Stopped`.

        default_pack: Pack for requests that name none, if it is not the one of the settings.

        Returns whether the process can run another job. If it has run out of memory, it must be replaced: fragments of
        the failed work may keep memory that the next job needs.
        """
        job_id = work.job_id
        about = {"job_id": job_id}
        self._privacy.hide(job_id, private_texts(work.request))
        output_dir = files.artifacts_dir / job_id
        try:
            if stopped.is_set():
                raise Cancelled
            self._send(messages.Begun(job_id))
            request = parse_request(work.request)
            self._send(messages.Measured(job_id, amount_s(request)))
            if self._preparation.is_preparing(job_id):
                self._report(job_id, Progress("decode", 0, 0, 0.0))
                self._preparation.wait_for(job_id, stopped)
            # An earlier attempt may have left stems.
            shutil.rmtree(output_dir, ignore_errors=True)
            context = WorkContext(
                engine=lambda pack: self._load_for_job(pack, job_id),
                default_pack=default_pack or self._settings.default_pack,
                output_dir=output_dir,
                locate_media=files.locate_media,
                description_models=self._settings.description_models,
                video_model=self._settings.video_model,
            )
            result = run_work(
                request, context, on_progress=lambda progress: self._report(job_id, progress), cancel=stopped
            )
            files.deliver(result)
            self._send(messages.Done(job_id, result))
        except Cancelled:
            _remove(output_dir)
            self._send(messages.Stopped(job_id))
        except Exception as error:
            if isinstance(error, EngineError | ProblemError):
                _log.debug("The job failed.", exc_info=error, extra=about)
            else:
                _log.exception("The job failed with an unexpected error.", extra=about)
            _remove(output_dir)
            self._send(messages.Failed(job_id, job_problem(error, job_id, files.artifacts_dir.parent)))
            if _ran_out_of_memory(error):
                _log.warning("The worker process is restarted because memory ran out.", extra=about)
                return False
        finally:
            self._privacy.release(job_id)
        return True

    def load_pack(self, request: messages.LoadPack) -> bool:
        """Load a pack before its first job, and send `LoadEnded`. Returns whether the process can run a job."""
        self._send(messages.Loading(request.pack))
        try:
            self._load(request.pack)
        except Exception as error:
            if not isinstance(error, EngineError):
                _log.exception("The pack %s cannot be loaded because of an unexpected error.", request.pack)
            self._send(messages.LoadEnded(request.pack, problem_from_error(error)))
            return not _ran_out_of_memory(error)
        self._send(messages.LoadEnded(request.pack))
        return True

    def prepare(self, prepare: messages.Prepare, locate_media: LocateMedia) -> None:
        """Read the video of a job that has not begun, in the background, and send `Prepared`.

        Nothing is read if the pack of the job is not loaded, or if memory is short.
        """
        self._preparation.begin(
            prepare.job_id,
            lambda cancel: self._read_video(prepare.request, locate_media, cancel),
            lambda job_id: self._send(messages.Prepared(job_id)),
        )

    def _read_video(self, message: rewas_pb2.SubmitJobRequest, locate_media: LocateMedia, cancel: CancelSignal) -> None:
        from rewas_engine.runtime.memory import free_memory_bytes

        request = parse_request(message)
        if isinstance(request, TimelineRequest | AudibleVideoRequest) or not follows_video(request):
            return
        model = self._find(request.pack or self._settings.default_pack)
        # With low_memory, networks are loaded and dropped while a job runs.
        if model is None or not model.execution.caching or model.execution.low_memory:
            return
        if free_memory_bytes(model.device) >= PREPARATION_BYTES:
            with cancels_decoding(cancel):
                model.estimate_energy(request.video_clip(locate_media), prompt=prompt_of(request), cancel=cancel)

    def _load_for_job(self, pack: str, job_id: str) -> ReWaS:
        if self._find(pack) is None:
            self._report(job_id, Progress("load", 0, 1, 0.0))
        return self._load(pack)

    def _find(self, pack: str) -> ReWaS | None:
        with self._models_lock:
            model = self._models.get(pack)
        return None if model is None or _was_updated(model) else model

    def _load(self, pack: str) -> ReWaS:
        known = self._find(pack)
        if known is not None:
            return known
        with self._loading:
            # Another job may have loaded it in the meantime.
            known = self._find(pack)
            return self._load_now(pack) if known is None else known

    def _load_now(self, pack: str) -> ReWaS:
        from rewas_engine import ReWaS

        # It may hold memory of a pack that will be unloaded.
        self._preparation.stop()

        settings = self._settings
        load = functools.partial(
            ReWaS.from_pretrained,
            pack,
            device=settings.device,
            execution=settings.execution,
            conflict_model=settings.conflict_model,
            avh_model=settings.avh_model,
        )
        try:
            model = load()
        except InsufficientMemoryError:
            if not self._models:
                raise
            _log.warning("The pack %s needs the memory of the other loaded packs.", pack)
            with self._models_lock:
                self._models.clear()
            gc.collect()
            model = load()
        with self._models_lock:
            self._models[pack] = model
            packs = tuple(self._models)
        self._send(messages.Loaded(pack, model.device, packs))
        return model

    def _report(self, job_id: str, progress: Progress) -> None:
        self._send(messages.JobProgress(job_id, progress))


def _was_updated(model: ReWaS) -> bool:
    """Whether a library has been updated since it was loaded. Packs with a model do not change."""
    from rewas_engine.packs.description import read_pack

    if not model.pack.is_library:
        return False
    try:
        return read_pack(model.pack.path).info.content_sha256 != model.pack.content_sha256
    except EngineError:
        return False  # The loaded one still works.


def _ran_out_of_memory(error: BaseException) -> bool:
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, InsufficientMemoryError):
            return True
        chain = chain.__cause__
    return is_out_of_memory(error)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
