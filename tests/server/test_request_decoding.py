"""Requests that this server cannot read, or does not know in full, and errors that tell nothing about its inside."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st
from server_process import ServerProcess

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.transport_errors import problem_from_call
from rewas_api.v1 import rewas_pb2, rewas_pb2_grpc
from rewas_server.config import ClientLimits
from rewas_server.grpc.access import TokenCheck
from rewas_server.grpc.call_frame import CallFrame
from rewas_server.grpc.calls import CallObserver
from rewas_server.grpc.decoding import decode, find_unknown
from rewas_server.metrics import ServerMetrics

METHODS = list(rewas_pb2.DESCRIPTOR.services_by_name["RewasService"].methods)
STRICT_METHODS = [method for method in METHODS if method.name != "GetServerInfo"]
NEW_FIELD = b"\xa0\x3f\x01"
"""Field 1012, a number, of a newer contract."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("state"), loads_pack=False) as server:
        yield server


@pytest.fixture(scope="module")
def channel(server: ServerProcess) -> Iterator[grpc.Channel]:
    with server.channel() as channel:
        yield channel


def refusal_of(channel: grpc.Channel, method: Any, data: bytes) -> grpc.RpcError:
    kind = "stream" if method.client_streaming else "unary", "stream" if method.server_streaming else "unary"
    call = getattr(channel, "_".join(kind))(f"/rewas.v1.RewasService/{method.name}")
    request = iter([data]) if method.client_streaming else data
    with pytest.raises(grpc.RpcError) as raised:
        finish(call(request, timeout=20) if method.server_streaming else call.with_call(request, timeout=20))
    return raised.value


def finish(response: Any) -> None:
    """Read the responses of a stream to their end."""
    list(response)


def paths_to_messages(kind: Any, seen: tuple[str, ...] = ()) -> Iterator[list[FieldDescriptor]]:
    """The fields that lead to each message in a request, at every depth."""
    yield []
    for field in kind.fields:
        if field.message_type is not None and field.message_type.full_name not in seen:
            for path in paths_to_messages(field.message_type, (*seen, kind.full_name)):
                yield [field, *path]


def add_new_field(message: Message, path: list[FieldDescriptor]) -> None:
    """Set a field that the contract does not have, in the message at the end of the path."""
    if not path:
        message.MergeFromString(NEW_FIELD)
        return
    field, *rest = path
    value = getattr(message, field.name)
    if field.message_type.GetOptions().map_entry:
        if rest:
            value["entry"].SetInParent()
            add_new_field(value["entry"], rest[1:])
        else:
            message.MergeFromString(NEW_FIELD)  # An entry of a map keeps no unknown fields.
        return
    inner = value.add() if hasattr(value, "add") else value
    inner.SetInParent()
    add_new_field(inner, rest)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05ab", b"\x80" * 11, b"\x0b" * 200])
def test_undecodable_bytes_are_an_invalid_argument(
    server: ServerProcess, channel: grpc.Channel, method: Any, data: bytes
) -> None:
    error: Any = refusal_of(channel, method, data)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error.details()
    assert problem_from_call(error, server.address).kind is ProblemKind.SETTINGS
    assert "Traceback" not in server.log()


@pytest.mark.parametrize("method", STRICT_METHODS, ids=lambda method: method.name)
def test_unknown_fields_are_refused_by_message_and_number_at_every_depth(channel: grpc.Channel, method: Any) -> None:
    paths = list(paths_to_messages(method.input_type))
    assert len(paths) > 25 or method.name != "SubmitJob"
    for path in paths:
        request = GetMessageClass(method.input_type)()
        add_new_field(request, path)
        # One call shows that the frame refuses it; the other paths are decoded here, which is faster.
        if path in (paths[0], paths[-1]):
            error: Any = refusal_of(channel, method, request.SerializeToString())
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "field 1012 of rewas.v1." in error.details()
            assert "minor contract version" in error.details()
        with pytest.raises(ProblemError, match="field 1012 of ") as raised:
            decode(type(request).FromString, request.SerializeToString())
        assert raised.value.kind is ProblemKind.SETTINGS


def test_unknown_values_of_enums_are_refused() -> None:
    request = rewas_pb2.SubmitJobRequest(sound=rewas_pb2.SoundWork(settings=rewas_pb2.SoundSettings(sampler=99)))
    with pytest.raises(ProblemError, match=r"the value 99 of rewas\.v1\.SoundSettings\.sampler"):
        decode(rewas_pb2.SubmitJobRequest.FromString, request.SerializeToString())
    listing = rewas_pb2.ListJobsRequest(states=[1, 77])
    assert list(find_unknown(listing)) == ["the value 77 of rewas.v1.ListJobsRequest.states"]


def test_a_newer_client_still_learns_the_version_of_the_server(channel: grpc.Channel) -> None:
    call = channel.unary_unary(
        "/rewas.v1.RewasService/GetServerInfo", response_deserializer=rewas_pb2.GetServerInfoResponse.FromString
    )
    assert call(NEW_FIELD, timeout=10).contract_version > 0


@given(st.binary(max_size=300))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    for method in METHODS:
        deserialize = GetMessageClass(method.input_type).FromString
        try:
            message = decode(deserialize, data)
        except ProblemError as problem:
            kind = problem.kind
        else:
            kind = ProblemKind.SETTINGS
            assert message.DESCRIPTOR is method.input_type
        assert kind is ProblemKind.SETTINGS


def test_a_call_without_a_request_is_refused(channel: grpc.Channel) -> None:
    call = channel.stream_unary("/rewas.v1.RewasService/GetJob")
    with pytest.raises(grpc.RpcError, match="no request") as raised:
        call(iter([]), timeout=20)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


class FaultyService(rewas_pb2_grpc.RewasServiceServicer):
    """Fails with exceptions whose texts nobody outside must read."""

    async def GetJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise RuntimeError("secret /srv/secret/file")

    async def CancelJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise FileNotFoundError(2, "No such file", "/srv/secret/file")

    async def WatchJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        yield rewas_pb2.WatchJobResponse()
        raise KeyError("secret")


@pytest.fixture
def faulty_stub(tmp_path: Path) -> Iterator[Any]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> tuple[Any, int]:
        frame = CallFrame(TokenCheck("token"), ClientLimits(), CallObserver(ServerMetrics()), tmp_path)
        server = grpc.aio.server(interceptors=[frame])
        rewas_pb2_grpc.add_RewasServiceServicer_to_server(FaultyService(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    server, port = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield rewas_pb2_grpc.RewasServiceStub(channel)
    asyncio.run_coroutine_threadsafe(server.stop(None), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("GetJob", grpc.StatusCode.INTERNAL),
        ("CancelJob", grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("WatchJob", grpc.StatusCode.INTERNAL),
    ],
)
def test_the_text_of_a_bug_stays_in_the_log(
    faulty_stub: Any, caplog: pytest.LogCaptureFixture, method: str, code: grpc.StatusCode
) -> None:
    request = getattr(rewas_pb2, f"{method}Request")(id="job")
    call, metadata = getattr(faulty_stub, method), (("authorization", "Bearer token"),)
    with caplog.at_level(logging.WARNING), pytest.raises(grpc.RpcError) as raised:
        finish(call(request, timeout=20, metadata=metadata))
    error: Any = raised.value
    assert error.code() is code
    sent = f"{error.details()} {error.trailing_metadata()}"
    assert "secret" not in sent
    assert "Traceback" not in sent
    if code is grpc.StatusCode.INTERNAL:
        reference = error.details().partition("(number ")[2].partition(")")[0]
        assert len(reference) == 8
        (record,) = (record for record in caplog.records if reference in record.getMessage())
        assert record.exc_info is not None
        assert "secret" in str(record.exc_info[1])
