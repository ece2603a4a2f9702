"""The protocol between the server and a process that checks requests: frames of a kind and byte strings over pipes.

    server -> process   settings, check, assemble          process -> server   ready, done, problem, out of memory

A frame is a header (kind, number of parts), the length of each part, and the parts. Parts are messages of the contract
or JSON. Requests are large, so they are neither encoded as text nor copied.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2

SETTINGS, CHECK, ASSEMBLE, READY, DONE, PROBLEM, OUT_OF_MEMORY = b"S", b"C", b"A", b"R", b"D", b"P", b"M"
MAX_PARTS = 100_000
MAX_FRAME_BYTES = 512 * 1024**2

_HEADER = struct.Struct(">cI")
_LENGTH = struct.Struct(">Q")


class FrameError(Exception):
    """The other end has closed the pipe, or has sent something else than a frame."""


@dataclass(frozen=True)
class Frame:
    """One message."""

    kind: bytes
    parts: Sequence[bytes] = ()


@dataclass(frozen=True)
class CheckingSettings:
    """What a process needs to check requests.

    Attributes:
        allowed_roots: Folders from which media may be read by path.
        uploads_dir: Folder of uploads.
        default_pack: Pack for requests that name none.
        time_limit_s: Longest time for one request.
        memory_limit_bytes: Most memory for one request, beyond what the process has at its start.
        has_video_model: Whether the workers have a model for audible video.
    """

    allowed_roots: tuple[Path, ...]
    uploads_dir: Path
    default_pack: str
    time_limit_s: float
    memory_limit_bytes: int
    has_video_model: bool = False

    def to_frame(self) -> Frame:
        """Encode the settings."""
        paths = {"allowed_roots": [str(root) for root in self.allowed_roots], "uploads_dir": str(self.uploads_dir)}
        return Frame(SETTINGS, [json.dumps(vars(self) | paths).encode()])

    @classmethod
    def from_frame(cls, frame: Frame) -> CheckingSettings:
        """Decode the settings."""
        body = json.loads(frame.parts[0])
        body["allowed_roots"] = tuple(map(Path, body["allowed_roots"]))
        body["uploads_dir"] = Path(body["uploads_dir"])
        return cls(**body)


@dataclass(frozen=True)
class ChildWork:
    """The request for one clip of a timeline. It has no idempotency key yet.

    problem: Why the clip cannot get a sound, if its media is missing.
    """

    name: str
    request: rewas_pb2.SubmitJobRequest
    problem: ProblemError | None = None


@dataclass(frozen=True)
class CheckedWork:
    """A request that can be fulfilled.

    Attributes:
        kind: "energy", "conflict", "description", "sound", "timeline" or "audible_video".
        name: Of the clip or timeline, or the prompt of a video, short enough for lists.
        packs: Names of the packs that it uses; "" for the default one.
        children: The clips of a timeline, in its order.
    """

    kind: str
    name: str
    packs: frozenset[str]
    children: tuple[ChildWork, ...] = ()

    def to_frame(self) -> Frame:
        """Encode the answer."""
        children = [
            (child.name, child.problem and (child.problem.what, child.problem.remedy, child.problem.kind.value))
            for child in self.children
        ]
        body = {"kind": self.kind, "name": self.name, "packs": sorted(self.packs), "children": children}
        return Frame(DONE, [json.dumps(body).encode(), *(child.request.SerializeToString() for child in self.children)])

    @classmethod
    def from_frame(cls, frame: Frame) -> CheckedWork:
        """Decode the answer."""
        body = json.loads(frame.parts[0])
        requests = map(rewas_pb2.SubmitJobRequest.FromString, frame.parts[1:])
        children = tuple(
            ChildWork(name, request, problem and ProblemError(problem[0], problem[1], ProblemKind(problem[2])))
            for (name, problem), request in zip(body["children"], requests, strict=True)
        )
        return cls(body["kind"], body["name"], frozenset(body["packs"]), children)


def problem_frame(problem: ProblemError, trace: str = "") -> Frame:
    """Encode a problem. trace: where a bug of ReWaS raised it, for the log."""
    return Frame(PROBLEM, [problem.to_proto().SerializeToString(), trace.encode()])


def problem_from_frame(frame: Frame) -> tuple[ProblemError, str]:
    """Decode a problem and its trace."""
    return ProblemError.from_proto(rewas_pb2.Problem.FromString(frame.parts[0])), frame.parts[1].decode()


def write_frame(pipe: BinaryIO, frame: Frame) -> None:
    """Write a frame to a pipe without a buffer. Raises OSError."""
    lengths = b"".join(_LENGTH.pack(len(part)) for part in frame.parts)
    _write_all(pipe, _HEADER.pack(frame.kind, len(frame.parts)) + lengths)
    for part in frame.parts:
        _write_all(pipe, part)


def read_frame(pipe: BinaryIO) -> Frame:
    """Read a frame. Raises FrameError, OSError."""
    kind, count = _HEADER.unpack(_read_exactly(pipe, _HEADER.size))
    if count > MAX_PARTS:
        raise FrameError(f"a frame with {count} parts")
    packed = _read_exactly(pipe, count * _LENGTH.size)
    lengths = [_LENGTH.unpack_from(packed, number * _LENGTH.size)[0] for number in range(count)]
    if sum(lengths) > MAX_FRAME_BYTES:
        raise FrameError(f"a frame with {sum(lengths)} bytes")
    return Frame(kind, [_read_exactly(pipe, length) for length in lengths])


def _write_all(pipe: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[pipe.write(view) :]


def _read_exactly(pipe: BinaryIO, count: int) -> bytes:
    data = bytearray(count)
    view, filled = memoryview(data), 0
    while filled < count:
        received = pipe.readinto(view[filled:])  # type: ignore[attr-defined]
        if not received:
            raise FrameError("the pipe was closed")
        filled += received
    return bytes(data)
