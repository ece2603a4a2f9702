"""The process that checks requests, so that none of them can exhaust or crash the front process of the server.

    python -m rewas_server.checking.run

It speaks the protocol of `rewas_server.checking.messages` over standard input and output, and ends when its input
closes. It never imports torch.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_engine import InstalledPack, installed_packs
from rewas_engine.packs.description import pack_not_installed_error
from rewas_engine.runtime.atomic_files import flush_folder, write_bytes_atomic
from rewas_engine.runtime.parent_death import end_with_parent
from rewas_server.checking.messages import (
    ASSEMBLE,
    DONE,
    OUT_OF_MEMORY,
    READY,
    CheckedWork,
    CheckingSettings,
    ChildWork,
    Frame,
    FrameError,
    problem_frame,
    read_frame,
    write_frame,
)
from rewas_server.files.media import MediaLibrary, check_project_folders
from rewas_server.files.private_files import keep_new_files_private
from rewas_server.files.uploads import use_upload
from rewas_server.logs import LogPrivacy, log_to_server
from rewas_server.work.limits import MAX_TIMELINE_OTIO_BYTES, otio_too_long
from rewas_server.work.requests import (
    AudibleVideoRequest,
    PackUse,
    TimelineRequest,
    no_video_model,
    parse_request,
    parse_timeline_request,
)
from rewas_server.work.timeline import assemble_timeline, plan_timeline
from rewas_server.work.translation import problem_from_error

MAX_CHILDREN_BYTES = 64_000_000
"""Largest size of the requests for all clips of a timeline together."""
MAX_SENT_RESULT_BYTES = 2_000_000
"""Largest size of a timeline's result that is sent in a message. A longer result becomes a file of the job."""
MAX_RESULT_BYTES = 1_000_000_000
"""Largest size of a timeline's result."""
RESULT_FILE_NAME = "timeline-result.binpb"
_ORPHAN_GRACE_S = 5


class RequestReader:
    """Answers requests, one after the other."""

    def __init__(self, settings: CheckingSettings) -> None:
        self._settings = settings
        self._media = MediaLibrary(settings.allowed_roots, settings.uploads_dir)

    def answer(self, frame: Frame) -> Frame:
        """Answer a request. Raises MemoryError."""
        try:
            if frame.kind == ASSEMBLE:
                return self._assemble(*frame.parts)
            return self._check(rewas_pb2.SubmitJobRequest.FromString(frame.parts[0])).to_frame()
        except ProblemError as problem:
            return problem_frame(problem)
        except RecursionError:
            return problem_frame(
                ProblemError(
                    "The clip or timeline is nested too deeply.", "Use fewer nested stacks.", ProblemKind.TIMELINE
                )
            )
        except MemoryError:
            raise
        except Exception as error:
            known = problem_from_error(error)
            if known.kind is not ProblemKind.INTERNAL:
                return problem_frame(known)
            # The message of the exception may quote the request, which does not belong into the log.
            what = f"Unexpected error in ReWaS ({type(error).__name__})."
            trace = "".join(traceback.format_tb(error.__traceback__))
            return problem_frame(ProblemError(what, known.remedy, known.kind), trace)

    def _check(self, message: rewas_pb2.SubmitJobRequest) -> CheckedWork:
        self._read_uploaded_timeline(message)
        request = parse_request(message)
        if isinstance(request, AudibleVideoRequest) and not self._settings.has_video_model:
            raise no_video_model()
        installed = installed_packs()
        for use in request.pack_uses:
            _check_pack(use, installed, self._settings.default_pack)
        packs = frozenset(use.pack for use in request.pack_uses)
        check_project_folders(message.project_folders)
        locate = functools.partial(self._media.locate, project_folders=message.project_folders)
        children: tuple[ChildWork, ...] = ()
        if isinstance(request, TimelineRequest):
            children = self._plan(request, message, request.media_problems(locate))
        else:
            request.check_media(locate)
        return CheckedWork(message.WhichOneof("work") or "", request.name, packs, children)

    def _plan(
        self,
        request: TimelineRequest,
        message: rewas_pb2.SubmitJobRequest,
        media_problems: Sequence[ProblemError | None],
    ) -> tuple[ChildWork, ...]:
        children, size_bytes = [], 0
        for clip, problem in zip(plan_timeline(request, self._settings.default_pack), media_problems, strict=True):
            child = rewas_pb2.SubmitJobRequest(
                sound=clip.work, priority=message.priority, project_folders=message.project_folders
            )
            size_bytes += child.ByteSize()
            if size_bytes > MAX_CHILDREN_BYTES:
                raise _too_large(request.name, "the requests for its clips", MAX_CHILDREN_BYTES)
            children.append(ChildWork(clip.name, child, problem))
        return tuple(children)

    def _assemble(self, request: bytes, clips_path: bytes) -> Frame:
        message = rewas_pb2.SubmitJobRequest.FromString(request)
        self._read_uploaded_timeline(message)
        timeline = parse_timeline_request(message.timeline)
        del message
        path = Path(os.fsdecode(clips_path))
        clips = rewas_pb2.TimelineResult.FromString(path.read_bytes()).clips
        for clip in clips:
            if clip.HasField("sound"):
                _remove_paths(clip.sound)
        result = assemble_timeline(timeline, clips)
        if result.ByteSize() > MAX_RESULT_BYTES:
            raise _too_large(timeline.name, "its result", MAX_RESULT_BYTES)
        content = result.SerializeToString()
        if len(content) <= MAX_SENT_RESULT_BYTES:
            return Frame(DONE, [content])
        file = write_result(path.with_name(RESULT_FILE_NAME), content)
        short = rewas_pb2.TimelineResult(failed_clip_count=result.failed_clip_count, file=file)
        return Frame(DONE, [short.SerializeToString()])

    def _read_uploaded_timeline(self, message: rewas_pb2.SubmitJobRequest) -> None:
        """Put the text of an uploaded timeline into its request."""
        sha256 = message.timeline.timeline_sha256
        if not sha256:
            return
        path = use_upload(self._settings.uploads_dir, sha256)
        if path is None:
            raise ProblemError("The timeline has not been uploaded.", "Upload it and try again.", ProblemKind.MEDIA)
        size_bytes = path.stat().st_size
        if size_bytes > MAX_TIMELINE_OTIO_BYTES:
            raise otio_too_long("timeline", size_bytes, MAX_TIMELINE_OTIO_BYTES)
        try:
            message.timeline.timeline_otio_json = path.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise ProblemError(
                "The uploaded timeline is not text in UTF-8.",
                "Upload a timeline as OpenTimelineIO JSON.",
                ProblemKind.TIMELINE,
            ) from error


def write_result(path: Path, content: bytes) -> rewas_pb2.Artifact:
    """Write the result of a timeline to a file of its job. Raises OSError."""
    write_bytes_atomic(path, content)
    flush_folder(path.parent)
    return rewas_pb2.Artifact(name=path.name, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def _remove_paths(sound: rewas_pb2.SoundResult) -> None:
    """Remove the paths of this machine from a sound, which clients on any machine read."""
    sound.clip.ClearField("path")
    for take in sound.takes:
        for stem in take.stems:
            stem.artifact.ClearField("path")


def _check_pack(use: PackUse, installed: list[InstalledPack], default_pack: str) -> None:
    name = use.pack or default_pack
    found = next((pack for pack in installed if pack.name == name), None)
    if found is None:
        raise use.name_in_problem(pack_not_installed_error(name, [pack.name for pack in installed]))
    if found.problem is not None:
        raise use.name_in_problem(found.problem)


def _too_large(name: str, what: str, limit_bytes: int) -> ProblemError:
    return ProblemError(
        f'The timeline "{name}" is too large: {what} would exceed {limit_bytes // 1_000_000} MB.',
        "Split the timeline.",
        ProblemKind.RESOURCES,
    )


def limit_resources(request_memory_bytes: int) -> None:
    """Limit the memory that requests may take in this process where the system can, and write no core dump."""
    with contextlib.suppress(ImportError):  # Windows
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # What the libraries have reserved depends on the number of processors. macOS has no /proc, and no such limit.
        with contextlib.suppress(OSError, ValueError):
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit_bytes = pages * resource.getpagesize() + request_memory_bytes
            resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))


@contextlib.contextmanager
def _end_with_the_time(limit_s: float) -> Iterator[None]:
    """Within this context, the system ends this process after a time, even if the server that watches the time is gone.

    On Linux, the process ends with the server anyway.
    """
    if sys.platform.startswith("linux") or not hasattr(signal, "setitimer"):
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _open_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Return the pipes from and to the server, and send what libraries print to standard error."""
    source = os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout = sys.stderr
    return source, output


def main() -> None:
    """Answer requests until standard input closes."""
    keep_new_files_private()
    # Ctrl-C reaches the whole process group; the server decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    source, output = _open_pipes()
    log_to_server("checking", LogPrivacy())
    try:
        settings = CheckingSettings.from_frame(read_frame(source))
        reader = RequestReader(settings)
        limit_resources(settings.memory_limit_bytes)
        write_frame(output, Frame(READY))
        while True:
            frame = read_frame(source)
            try:
                with _end_with_the_time(settings.time_limit_s + _ORPHAN_GRACE_S):
                    answer = reader.answer(frame)
                del frame
            except MemoryError:
                # What OpenTimelineIO leaves behind is unknown, so the next request gets a new process.
                write_frame(output, Frame(OUT_OF_MEMORY))
                return
            write_frame(output, answer)
            del answer
    except (FrameError, OSError):
        return  # The server has ended.


if __name__ == "__main__":
    main()
