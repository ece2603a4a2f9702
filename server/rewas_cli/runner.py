"""Where a command runs its work: in its own process or on a server. Both give the same outcome."""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rewas_api import enum_names
from rewas_api.client import RewasClient, Work
from rewas_api.errors import ProblemError, ProblemKind, ServerUnavailable
from rewas_api.project_folders import find_project_folders
from rewas_api.transfer import TransferProgress, hash_file
from rewas_api.v1 import rewas_pb2
from rewas_cli.connection import open_client
from rewas_cli.console import note
from rewas_engine import Cancelled, EngineError, Execution, PackInfo, Progress, VideoClip, installed_packs
from rewas_engine.packs.description import DEFAULT_PACK, find_pack, read_pack
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback
from rewas_server.batch.local_maker import LocalMaker
from rewas_server.batch.record import BatchRecord
from rewas_server.batch.run import SoundMaker
from rewas_server.batch.server_maker import ServerMaker
from rewas_server.config_file import resolve_config
from rewas_server.delivery.stem_folder import StemFolder
from rewas_server.files.media import local_path
from rewas_server.otio.clips import ClipSource
from rewas_server.work.context import Result, WorkContext
from rewas_server.work.dispatch import run_work
from rewas_server.work.requests import ClipRequest, locate_clip_media, parse_request
from rewas_server.work.translation import pack_message

if TYPE_CHECKING:
    from rewas_engine import ReWaS

SUBMIT_PATIENCE_S = 120.0
"""How long to retry a submission while the server does not answer, for example because it has just started."""
_WORK_FIELDS = {
    rewas_pb2.EnergyWork: "energy",
    rewas_pb2.ConflictWork: "conflict",
    rewas_pb2.DescriptionWork: "description",
    rewas_pb2.SoundWork: "sound",
    rewas_pb2.AudibleVideoWork: "audible_video",
}


@dataclass(frozen=True)
class Outcome:
    """The result of work. stem_paths: Artifact.name -> the stem on this machine."""

    result: Result
    stem_paths: Mapping[str, Path]


class Runner(Protocol):
    """Runs work."""

    def packs(self) -> list[rewas_pb2.Pack]:
        """Return the installed packs, the default one first."""

    def share(
        self,
        media: Path,
        cancel: CancelSignal,
        sha256: str | None = None,
        on_progress: TransferProgress | None = None,
    ) -> str | None:
        """Make media readable where the work is done. Return its SHA-256 if it was uploaded.

        sha256, on_progress: see MediaSharing.
        """

    def pack_content_sha256(self, pack: str) -> str:
        """Return the hash of a pack's files; "" is the default pack. Raises ProblemError, EngineError."""

    def is_library(self, pack: str) -> bool:
        """Whether a pack is a library of recordings; "" is the default pack. Raises ProblemError, EngineError."""

    def sound_maker(self, record: BatchRecord, is_detached: bool) -> SoundMaker:
        """Return what generates the sounds of a batch. is_detached: leave as soon as a server has its job."""

    def run(self, work: Work, output_dir: Path, on_progress: ProgressCallback, cancel: CancelSignal) -> Outcome:
        """Run the work and write stems into the folder. Raises ProblemError or Cancelled, and leaves no stems then."""


@contextlib.contextmanager
def open_runner(
    server: str | None,
    execution: Execution | None = None,
    conflict_model: Path | None = None,
    device: str = "auto",
    avh_model: Path | None = None,
    video_model: Path | None = None,
) -> Iterator[Runner]:
    """Open the runner for a server, or for this process.

    Args:
        server: The server's address; None for this process.
        execution: How packs are run in this process.
        conflict_model: A folder with a CLIP model, for work in this process.
        device: Where the model runs in this process: "cpu", "cuda:0" or "auto".
        avh_model: A folder with ImageBind, for work in this process.
        video_model: A folder with a model for audible video, for work in this process.

    Raises:
        ProblemError: One of the models does not exist, or is given together with a server.
    """
    if server is None:
        if conflict_model is not None:
            check_conflict_model(conflict_model)
        if avh_model is not None:
            check_avh_model(avh_model)
        yield LocalRunner(execution, conflict_model, device, avh_model, video_model)
        return
    if avh_model is not None:
        raise ProblemError(
            "--avh-model has no effect on work on a server.",
            "Start the server with --avh-model, or omit one of the two options.",
            ProblemKind.SETTINGS,
        )
    if conflict_model is not None:
        raise ProblemError(
            "--conflict-model has no effect on work on a server.",
            "Start the server with --conflict-model, or omit one of the two options.",
            ProblemKind.SETTINGS,
        )
    with open_client(server) as client:
        yield ServerRunner(client)


def connect(server: str | None) -> RewasClient:
    """Return a client of a server. server: its address; None for the one that is configured on this machine."""
    if server is not None:
        return open_client(server)
    config = resolve_config({}).config
    token_file = config.token_path if config.certificate else None
    return open_client(f"{config.local_host}:{config.port}", config.certificate, token_file)


def uploaded_media(runner: Runner, media: Path, cancel: CancelSignal) -> dict[str, str]:
    """Return `uploaded_media` of a request for one file; empty if the file can be read where it is."""
    sha256 = runner.share(media, cancel)
    return {str(media): sha256} if sha256 is not None else {}


class LocalRunner:
    """Runs the job code in this process.

    Args:
        execution: How packs are run.
        conflict_model: A folder with a CLIP model for the conflict check.
        device: Where the model runs.
        avh_model: A folder with ImageBind for AVHScore.
        video_model: A folder with a model for audible video.
    """

    def __init__(
        self,
        execution: Execution | None = None,
        conflict_model: Path | None = None,
        device: str = "auto",
        avh_model: Path | None = None,
        video_model: Path | None = None,
    ) -> None:
        self._video_model = video_model
        self._execution = execution or Execution()
        self._device = device
        self._conflict_model = None if conflict_model is None else conflict_model.absolute()
        self._avh_model = None if avh_model is None else avh_model.absolute()

    def packs(self) -> list[rewas_pb2.Pack]:
        has_matcher = self._conflict_model is not None
        return [pack_message(pack, has_matcher=has_matcher) for pack in installed_packs()]

    def share(
        self,
        media: Path,
        cancel: CancelSignal,
        sha256: str | None = None,
        on_progress: TransferProgress | None = None,
    ) -> str | None:
        return None

    def pack_content_sha256(self, pack: str) -> str:
        # A missing or damaged pack is reported before torch is loaded.
        return _pack_info(pack or DEFAULT_PACK).content_sha256

    def is_library(self, pack: str) -> bool:
        return _pack_info(pack or DEFAULT_PACK).is_library

    def sound_maker(self, record: BatchRecord, is_detached: bool) -> SoundMaker:
        return LocalMaker(record, self._generate)

    def _generate(
        self, work: rewas_pb2.SoundWork, folder: Path, on_progress: ProgressCallback, cancel: CancelSignal
    ) -> rewas_pb2.SoundResult:
        result = self._work(work, folder, on_progress, cancel)
        assert isinstance(result, rewas_pb2.SoundResult)
        return result

    def run(self, work: Work, output_dir: Path, on_progress: ProgressCallback, cancel: CancelSignal) -> Outcome:
        request = parse_request(_request(work))
        for use in request.pack_uses:
            # A missing or damaged pack is reported before torch is loaded.
            try:
                read_pack(find_pack(use.pack or DEFAULT_PACK))
            except EngineError as error:
                raise use.name_in_problem(error) from error
        result = self._work(work, output_dir, on_progress, cancel)
        return Outcome(result, {artifact.name: Path(artifact.path) for artifact in list_artifacts(result)})

    def _work(self, work: Work, output_dir: Path, on_progress: ProgressCallback, cancel: CancelSignal) -> Result:
        engine = functools.partial(
            _engine,
            device=self._device,
            execution=self._execution,
            conflict_model=self._conflict_model,
            avh_model=self._avh_model,
        )
        context = WorkContext(engine, DEFAULT_PACK, output_dir, _locate_local_media, video_model=self._video_model)
        return run_work(parse_request(_request(work)), context, on_progress=on_progress, cancel=cancel)


class ServerRunner:
    """Submits work to a server and fetches its stems."""

    def __init__(self, client: RewasClient) -> None:
        self._client = client
        self._shared_files: dict[Path, None] = {}
        self._packs: list[rewas_pb2.Pack] | None = None

    def packs(self) -> list[rewas_pb2.Pack]:
        self._client.get_server_info()
        return self._client.list_packs()

    def pack_content_sha256(self, pack: str) -> str:
        return self._find_pack(pack).content_sha256

    def is_library(self, pack: str) -> bool:
        return self._find_pack(pack).is_library

    def _find_pack(self, pack: str) -> rewas_pb2.Pack:
        if self._packs is None:
            self._packs = self.packs()
        for number, installed in enumerate(self._packs):
            if installed.name == pack or (number == 0 and not pack):
                if installed.HasField("problem"):
                    raise ProblemError.from_proto(installed.problem)
                return installed
        known = ", ".join(installed.name for installed in self._packs) or "none"
        raise ProblemError(
            f'No pack on the server is named "{pack[:80]}".', f"Choose an installed pack: {known}.", ProblemKind.PACK
        )

    def sound_maker(self, record: BatchRecord, is_detached: bool) -> SoundMaker:
        return ServerMaker(record, self._client, self, note, is_detached)

    def project_folders(self) -> list[str]:
        """Return the folders in which the server may read the shared files that were not uploaded."""
        return find_project_folders(self._shared_files)

    def share(
        self,
        media: Path,
        cancel: CancelSignal,
        sha256: str | None = None,
        on_progress: TransferProgress | None = None,
    ) -> str | None:
        info, real_path = self._client.get_server_info(), media.resolve()
        if any(real_path.is_relative_to(root) for root in info.allowed_roots):
            return None
        if info.reads_project_folders:
            folders = find_project_folders([*self._shared_files, real_path])
            if str(real_path.parent) in folders:
                self._shared_files[real_path] = None
                return None
        if not real_path.is_file():
            raise ProblemError(
                f"The image sequence {media} cannot be uploaded to the server.",
                "Render it to a movie file, or put it into a folder that the server may read "
                "(`rewas serve --allow-root FOLDER`).",
                ProblemKind.MEDIA,
            )
        try:
            known = sha256 or hash_file(media, _stopping(cancel))
            return self._client.upload_media(media, sha256=known, on_progress=_stopping(cancel, on_progress))
        except ProblemError:
            # An exception in the callback of an upload appears as a failed call.
            if cancel.is_set():
                raise Cancelled from None
            raise

    def run(self, work: Work, output_dir: Path, on_progress: ProgressCallback, cancel: CancelSignal) -> Outcome:
        try:
            submitted = self._client.submit(
                work,
                project_folders=self.project_folders(),
                priority=rewas_pb2.PRIORITY_NORMAL,
                cancel=cancel,
                on_lost=lambda problem: note(f"{problem.what} Retrying; press Ctrl-C to stop."),
                reconnect_timeout_s=SUBMIT_PATIENCE_S,
            )
            job = self._client.wait(
                submitted.id,
                on_snapshot=lambda job: on_progress(_job_progress(job)),
                cancel=cancel,
                on_lost=lambda problem: note(
                    f"{problem.what} Jobs continue when the server is back. Press Ctrl-C to stop waiting."
                ),
            )
        except ServerUnavailable as problem:
            raise (Cancelled() if cancel.is_set() else problem) from None
        result: Result = getattr(job, str(job.WhichOneof("result")))
        paths: dict[str, Path] = {}
        with StemFolder(output_dir) as folder:
            for artifact in list_artifacts(result):
                name = Path(artifact.name)
                path = folder.claim(name.stem, name.suffix)
                paths[artifact.name] = self._client.fetch_artifact(
                    job.id, artifact, path, on_progress=_stopping(cancel)
                )
        return Outcome(result, paths)


def check_conflict_model(folder: Path) -> None:
    """Check before anything is loaded that the folder exists. Raises ProblemError (PACK)."""
    if not folder.is_dir():
        raise ProblemError(
            f"The CLIP model folder {folder} does not exist.",
            "Check the path of --conflict-model.",
            ProblemKind.PACK,
        )


def check_avh_model(folder: Path) -> None:
    """Check before anything is loaded that the folder exists. Raises ProblemError (PACK)."""
    if not folder.is_dir():
        raise ProblemError(
            f"The ImageBind folder {folder} does not exist.", "Check the path of --avh-model.", ProblemKind.PACK
        )


def check_model_folder(folder: Path, option: str) -> None:
    """Check before anything is loaded that the folder of an option exists. Raises ProblemError (PACK)."""
    if not folder.is_dir():
        raise ProblemError(
            f"The model folder {folder} does not exist.", f"Check the path of {option}.", ProblemKind.PACK
        )


def list_artifacts(result: Result) -> list[rewas_pb2.Artifact]:
    """Return all files of a result."""
    if isinstance(result, rewas_pb2.SoundResult):
        return [stem.artifact for take in result.takes for stem in take.stems]
    return [result.file] if isinstance(result, rewas_pb2.AudibleVideoResult) else []


def find_media_file(path: Path, name: str | None = None) -> Path:
    """Return the absolute path of a media file. Raises ProblemError (MEDIA) if it does not exist. name: of the clip."""
    owner = f'The media of the clip "{name or path.absolute().name or path}"'
    if path.is_dir():
        raise ProblemError(f"{owner} is a folder: {path.absolute()}.", "Choose a video file.", ProblemKind.MEDIA)
    if not path.is_file():
        raise ProblemError(f"{owner} does not exist: {path}.", "Check the path, or relink the clip.", ProblemKind.MEDIA)
    return path.absolute()


@functools.cache
def _pack_info(pack: str) -> PackInfo:
    return read_pack(find_pack(pack)).info


@functools.cache
def _engine(
    pack: str, *, device: str, execution: Execution, conflict_model: Path | None, avh_model: Path | None
) -> ReWaS:
    from rewas_engine import ReWaS

    return ReWaS.from_pretrained(
        pack, device=device, execution=execution, conflict_model=conflict_model, avh_model=avh_model
    )


def locate_local_media(source: ClipSource) -> Path:
    """Return the file that a clip shows; for an image sequence, its pattern in the folder of its pictures.

    Raises ProblemError, which names the clip.
    """
    return locate_clip_media(source, {}, _locate_local_media)


def find_local_clip(source: ClipSource) -> VideoClip:
    """Return what a clip shows, for the engine. Raises ProblemError, which names the clip."""
    return ClipRequest(source, {}, "").video_clip(_locate_local_media)


def _locate_local_media(target_url: str, uploaded_media: Mapping[str, str]) -> Path:
    return find_media_file(local_path(target_url))


def _request(work: Work) -> rewas_pb2.SubmitJobRequest:
    request = rewas_pb2.SubmitJobRequest(idempotency_key=uuid.uuid4().hex)
    getattr(request, _WORK_FIELDS[type(work)]).CopyFrom(work)
    return request


def _job_progress(job: rewas_pb2.Job) -> Progress:
    return Progress(enum_names.STAGE.to_name(job.stage) or "", job.step, job.total_steps, job.fraction)


def _stopping(cancel: CancelSignal, on_progress: TransferProgress | None = None) -> TransferProgress:
    """Return a progress callback that stops a transfer with Cancelled, and otherwise passes its progress on."""

    def report(done_bytes: int, total_bytes: int) -> None:
        if cancel.is_set():
            raise Cancelled
        if on_progress is not None:
            on_progress(done_bytes, total_bytes)

    return report
