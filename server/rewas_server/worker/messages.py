"""The protocol between the server and its worker process: one JSON object per line over pipes.

    server -> worker   start, work, stop, prepare, load
    worker -> server   loading, loaded, ready, heartbeat, begun, measured, progress, done, failed, stopped, prepared,
                       load-ended

A relay, which passes jobs on to a cluster, uses the same protocol:

    server -> relay    connect, after start
    relay -> server    waiting
    replica -> relay   the messages about a job, and postponed, logged

A worker loads its default pack before it is ready for jobs. It sends a heartbeat every second, whatever it is doing, so
that a process that hangs is noticed. Protobuf messages are embedded as base64.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, get_args

from rewas_api.errors import ProblemError
from rewas_api.v1 import rewas_pb2
from rewas_engine import Execution, Progress
from rewas_engine.media.limits import DecodingLimits
from rewas_server.work.context import Result

MAX_LINE_BYTES = 256 * 1024 * 1024
"""The longest messages are a request and a result with long curves."""

_RESULTS: dict[str, type[Any]] = {
    "EnergyResult": rewas_pb2.EnergyResult,
    "ConflictResult": rewas_pb2.ConflictResult,
    "DescriptionResult": rewas_pb2.DescriptionResult,
    "SoundResult": rewas_pb2.SoundResult,
    "TimelineResult": rewas_pb2.TimelineResult,
    "AudibleVideoResult": rewas_pb2.AudibleVideoResult,
}


@dataclass(frozen=True)
class Start:
    """The first message to a worker: its folders and how it runs packs."""

    kind: ClassVar[str] = "start"
    allowed_roots: tuple[Path, ...]
    uploads_dir: Path
    artifacts_dir: Path
    default_pack: str
    device: str
    execution: Execution = field(default_factory=Execution)
    decoding: DecodingLimits = field(default_factory=DecodingLimits)
    conflict_model: Path | None = None
    avh_model: Path | None = None
    picture_model: Path | None = None
    sound_model: Path | None = None
    language_model: Path | None = None
    video_model: Path | None = None
    log_level: str = "info"
    log_prompts: bool = False


@dataclass(frozen=True)
class Connect:
    """The second message to a relay: how it reaches the cluster."""

    kind: ClassVar[str] = "connect"
    url: str
    token: str
    content_store: str
    stop_grace_s: float


@dataclass(frozen=True)
class Work:
    """Run this job. is_alone: no other job may run in the same process at the same time."""

    kind: ClassVar[str] = "work"
    job_id: str
    request: rewas_pb2.SubmitJobRequest
    is_alone: bool = False


@dataclass(frozen=True)
class Prepare:
    """Read the video of this job, which is probably the next one, while another job runs. It has not begun."""

    kind: ClassVar[str] = "prepare"
    job_id: str
    request: rewas_pb2.SubmitJobRequest


@dataclass(frozen=True)
class LoadPack:
    """Load this pack. Sent while no job runs."""

    kind: ClassVar[str] = "load"
    pack: str


@dataclass(frozen=True)
class Stop:
    """Stop this job, running or waiting, because it was cancelled or paused."""

    kind: ClassVar[str] = "stop"
    job_id: str


@dataclass(frozen=True)
class Loading:
    """The worker is loading its default pack. The first message of a worker."""

    kind: ClassVar[str] = "loading"
    pack: str


@dataclass(frozen=True)
class Ready:
    """The worker is ready for work.

    devices: the devices of this machine, the best first, if the worker was to choose one ("auto"); empty otherwise.
    loads_packs: whether it accepts `Prepare` and `LoadPack`.
    """

    kind: ClassVar[str] = "ready"
    devices: tuple[str, ...] = ()
    loads_packs: bool = False


@dataclass(frozen=True)
class Waiting:
    """A relay cannot take jobs yet. reason: why, in one or two sentences."""

    kind: ClassVar[str] = "waiting"
    reason: str


@dataclass(frozen=True)
class Heartbeat:
    """The worker process is alive."""

    kind: ClassVar[str] = "heartbeat"


@dataclass(frozen=True)
class Loaded:
    """A pack was loaded on this device. packs: all packs that are in memory now."""

    kind: ClassVar[str] = "loaded"
    pack: str
    device: str
    packs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Begun:
    """The worker has begun the job. From here on, the end of the worker is an interruption of the job."""

    kind: ClassVar[str] = "begun"
    job_id: str


@dataclass(frozen=True)
class Measured:
    """The amount of work of the job, which grows with the duration of its clip (see `rewas_server.work.amount`)."""

    kind: ClassVar[str] = "measured"
    job_id: str
    amount_s: float


@dataclass(frozen=True)
class JobProgress:
    """Progress of a job."""

    kind: ClassVar[str] = "progress"
    job_id: str
    progress: Progress


@dataclass(frozen=True)
class Done:
    """The job has a result."""

    kind: ClassVar[str] = "done"
    job_id: str
    result: Result


@dataclass(frozen=True)
class Failed:
    """The job failed."""

    kind: ClassVar[str] = "failed"
    job_id: str
    problem: ProblemError


@dataclass(frozen=True)
class Stopped:
    """The job was stopped as requested."""

    kind: ClassVar[str] = "stopped"
    job_id: str


@dataclass(frozen=True)
class Postponed:
    """A replica cannot begin the job yet, because its media cannot be read. reason: why."""

    kind: ClassVar[str] = "postponed"
    job_id: str
    reason: str


@dataclass(frozen=True)
class Logged:
    """A record of a replica's log, as a line."""

    kind: ClassVar[str] = "logged"
    line: str


@dataclass(frozen=True)
class Prepared:
    """The worker is done with a `Prepare`, whether it succeeded or not."""

    kind: ClassVar[str] = "prepared"
    job_id: str


@dataclass(frozen=True)
class LoadEnded:
    """The worker is done with a `LoadPack`. problem: why the pack is not loaded; None if it is."""

    kind: ClassVar[str] = "load-ended"
    pack: str
    problem: ProblemError | None = None


Message = (
    Start
    | Connect
    | Work
    | Stop
    | Loading
    | Loaded
    | Ready
    | Waiting
    | Heartbeat
    | Begun
    | Measured
    | JobProgress
    | Done
    | Failed
    | Stopped
    | Postponed
    | Logged
    | Prepare
    | Prepared
    | LoadPack
    | LoadEnded
)
_MODELS = ("conflict_model", "avh_model", "picture_model", "sound_model", "language_model", "video_model")
"""Folders of models in a Start."""
_MESSAGES: dict[str, type[Any]] = {message.kind: message for message in get_args(Message)}


def to_line(message: Message) -> bytes:
    """Encode a message as a line."""
    body: dict[str, Any] = {"kind": message.kind}
    if isinstance(message, Work | Prepare):
        body |= vars(message) | {"request": _text(message.request.SerializeToString())}
    elif isinstance(message, Done):
        result = message.result
        body |= {"job_id": message.job_id, "result_type": type(result).__name__}
        body["result"] = _text(result.SerializeToString())
    elif isinstance(message, Failed):
        body |= {"job_id": message.job_id, "problem": _problem_text(message.problem)}
    elif isinstance(message, LoadEnded):
        body |= {"pack": message.pack, "problem": message.problem and _problem_text(message.problem)}
    elif isinstance(message, Start):
        body |= asdict(message) | {"allowed_roots": [str(root) for root in message.allowed_roots]}
        body |= {"uploads_dir": str(message.uploads_dir), "artifacts_dir": str(message.artifacts_dir)}
        for name in _MODELS:
            body[name] = None if body[name] is None else str(body[name])
    else:
        body |= asdict(message)
    return json.dumps(body).encode() + b"\n"


def from_line(line: bytes) -> Message:
    """Decode a line. Raises ValueError if it is not a message."""
    try:
        body = json.loads(line)
        kind = body.pop("kind")
        if kind in (Work.kind, Prepare.kind):
            body["request"] = rewas_pb2.SubmitJobRequest.FromString(base64.b64decode(body["request"]))
        elif kind == Done.kind:
            result_type = _RESULTS[body.pop("result_type")]
            body["result"] = result_type.FromString(base64.b64decode(body["result"]))
        elif kind in (Failed.kind, LoadEnded.kind):
            body["problem"] = None if body["problem"] is None else _problem(body["problem"])
        elif kind == Loaded.kind:
            body["packs"] = tuple(body["packs"])
        elif kind == Ready.kind:
            body["devices"] = tuple(body["devices"])
        elif kind == JobProgress.kind:
            body["progress"] = Progress(**body["progress"])
        elif kind == Start.kind:
            body["allowed_roots"] = tuple(map(Path, body["allowed_roots"]))
            body |= {"uploads_dir": Path(body["uploads_dir"]), "artifacts_dir": Path(body["artifacts_dir"])}
            body["execution"] = Execution(**body["execution"])
            body["decoding"] = DecodingLimits(**body["decoding"])
            body |= {name: None if body[name] is None else Path(body[name]) for name in _MODELS}
        message: Message = _MESSAGES[kind](**body)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"not a message of the worker's protocol: {line[:200]!r}") from error
    return message


def _problem_text(problem: ProblemError) -> str:
    return _text(problem.to_proto().SerializeToString())


def _problem(text: str) -> ProblemError:
    return ProblemError.from_proto(rewas_pb2.Problem.FromString(base64.b64decode(text)))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
