"""Uploads: one copy of each content, resumed transfers, reservations, quotas, senders that stop."""

import asyncio
import gc
import hashlib
import os
import stat
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1.rewas_pb2 import UploadHeader, UploadMediaRequest
from rewas_server.files import uploads
from rewas_server.files.uploads import Shortage, UploadLimits, UploadStore, list_uploads

MIB = 1024**2
LIMITS = UploadLimits(upload_bytes=10 * MIB, total_bytes=20 * MIB, client_bytes=12 * MIB)
DATA = os.urandom(100_000)


@pytest.fixture
def store(tmp_path: Path) -> UploadStore:
    return UploadStore(tmp_path / "uploads", LIMITS)


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def header(data: bytes, extension: str = ".mov", offset_bytes: int = 0) -> UploadHeader:
    return UploadHeader(sha256=sha256_of(data), size_bytes=len(data), extension=extension, offset_bytes=offset_bytes)


async def messages(header: UploadHeader, *parts: bytes) -> AsyncIterator[UploadMediaRequest]:
    yield UploadMediaRequest(header=header)
    for part in parts:
        yield UploadMediaRequest(data=part)


async def broken(header: UploadHeader, *parts: bytes) -> AsyncIterator[UploadMediaRequest]:
    """A connection that breaks after these parts."""
    async for message in messages(header, *parts):
        yield message
    raise ConnectionError("the connection broke")


async def open_ended(header: UploadHeader, *parts: bytes, sent: asyncio.Event) -> AsyncIterator[UploadMediaRequest]:
    """A sender that stops after these parts without ending the upload."""
    async for message in messages(header, *parts):
        yield message
    sent.set()
    await asyncio.Event().wait()


def send(store: UploadStore, data: bytes, *, client: str = "a", extension: str = ".mov") -> None:
    parts = [data[start : start + MIB] for start in range(0, len(data), MIB)]
    asyncio.run(store.receive(messages(header(data, extension), *parts), client))


def interrupt(store: UploadStore, data: bytes, sent_bytes: int, client: str = "a") -> None:
    with pytest.raises(ConnectionError):
        asyncio.run(store.receive(broken(header(data), data[:sent_bytes]), client))


def get_refusal(call: Coroutine[Any, Any, object]) -> ProblemError:
    with pytest.raises(ProblemError) as raised:
        asyncio.run(call)
    assert raised.value.what
    assert raised.value.remedy
    return raised.value


def files(store: UploadStore) -> dict[str, int]:
    return {
        upload.sha256 + ("" if upload.complete else " partial"): upload.size_bytes
        for upload in list_uploads(store.folder)
    }


def test_the_same_content_is_stored_once_whatever_its_extension(store: UploadStore) -> None:
    for extension in (".mov", ".MOV", ".mp4", "", ".avi", ".wav"):
        send(store, DATA, extension=extension)
    assert files(store) == {sha256_of(DATA): len(DATA)}
    assert (store.folder / sha256_of(DATA)).read_bytes() == DATA
    assert asyncio.run(store.find(sha256_of(DATA))).present


def test_only_the_user_may_read_uploads(store: UploadStore) -> None:
    mask = os.umask(0)
    try:
        send(store, DATA)
        interrupt(store, b"other" + DATA, 50_000)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in store.folder.iterdir()} == {0o600}


@settings(max_examples=15)
@given(cuts=st.lists(st.integers(1, 999), max_size=4, unique=True).map(sorted))
def test_an_interrupted_upload_continues_in_a_new_server(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("uploads")
    data = DATA[:1000]
    start = 0
    for end in cuts:
        store = UploadStore(folder, LIMITS)
        assert asyncio.run(store.find(sha256_of(data))).received_bytes == start
        with pytest.raises(ConnectionError):
            asyncio.run(store.receive(broken(header(data, offset_bytes=start), data[start:end]), "a"))
        start = end
    store = UploadStore(folder, LIMITS)
    asyncio.run(store.receive(messages(header(data, offset_bytes=start), data[start:]), "a"))
    assert (folder / sha256_of(data)).read_bytes() == data
    assert files(store) == {sha256_of(data): 1000}


def test_an_interrupted_upload_may_start_again(store: UploadStore) -> None:
    interrupt(store, DATA, 60_000)
    send(store, DATA)
    assert files(store) == {sha256_of(DATA): len(DATA)}


@pytest.mark.parametrize("offset_bytes", [1, 59_999, 60_001, 100_000, 2**63])
def test_a_wrong_offset_is_refused_with_the_right_one(store: UploadStore, offset_bytes: int) -> None:
    interrupt(store, DATA, 60_000)
    problem = get_refusal(store.receive(messages(header(DATA, offset_bytes=offset_bytes), b"more"), "a"))
    assert problem.kind is ProblemKind.SETTINGS
    assert "60000" in problem.remedy
    assert files(store) == {f"{sha256_of(DATA)} partial": 60_000}


def test_a_damaged_beginning_is_dropped(store: UploadStore) -> None:
    interrupt(store, DATA, 60_000)
    partial = next(store.folder.glob("*.part"))
    partial.write_bytes(b"x" + partial.read_bytes()[1:])
    problem = get_refusal(store.receive(messages(header(DATA, offset_bytes=60_000), DATA[60_000:]), "a"))
    assert problem.kind is ProblemKind.SETTINGS
    assert asyncio.run(store.find(sha256_of(DATA))).received_bytes == 0
    assert list(store.folder.iterdir()) == []


@pytest.mark.parametrize("sent", [b"picturf", b"picture and more"])
def test_wrong_content_leaves_no_file(store: UploadStore, sent: bytes) -> None:
    problem = get_refusal(store.receive(messages(header(b"picture"), sent), "a"))
    assert problem.kind is ProblemKind.SETTINGS
    assert list(store.folder.iterdir()) == []


@pytest.mark.parametrize("sent", [b"", b"pictur"])
def test_missing_bytes_are_reported_and_may_follow(store: UploadStore, sent: bytes) -> None:
    problem = get_refusal(store.receive(messages(header(b"picture"), *([sent] if sent else [])), "a"))
    assert problem.kind is ProblemKind.SETTINGS
    assert not asyncio.run(store.find(sha256_of(b"picture"))).present
    offset_bytes = asyncio.run(store.find(sha256_of(b"picture"))).received_bytes
    assert offset_bytes == len(sent)
    asyncio.run(store.receive(messages(header(b"picture", offset_bytes=offset_bytes), b"picture"[offset_bytes:]), "a"))
    assert asyncio.run(store.find(sha256_of(b"picture"))).present


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"sha256": "../../etc/passwd"}, ProblemKind.SETTINGS),
        ({"sha256": "A" * 64}, ProblemKind.SETTINGS),
        ({"sha256": "a" * 64 + "\n"}, ProblemKind.SETTINGS),
        ({"extension": "/../x"}, ProblemKind.SETTINGS),
        ({"extension": ".toolongforit"}, ProblemKind.SETTINGS),
        ({"size_bytes": 0}, ProblemKind.MEDIA),
        ({"size_bytes": LIMITS.upload_bytes + 1}, ProblemKind.RESOURCES),
        ({"offset_bytes": 8}, ProblemKind.SETTINGS),
    ],
)
def test_invalid_headers_are_refused(store: UploadStore, wrong: dict[str, Any], kind: ProblemKind) -> None:
    announced = header(b"picture")
    for name, value in wrong.items():
        setattr(announced, name, value)
    assert get_refusal(store.receive(messages(announced, b"picture"), "a")).kind is kind
    assert files(store) == {}


def test_an_upload_larger_than_the_free_space_is_refused(tmp_path: Path) -> None:
    store = UploadStore(tmp_path, UploadLimits(2**62, 2**62, 2**62))
    announced = UploadHeader(sha256="0" * 64, size_bytes=2**60, extension=".mov")
    problem = get_refusal(store.receive(messages(announced), "a"))
    assert problem.kind is ProblemKind.RESOURCES
    assert "space" in problem.what


def run_while_sending(
    store: UploadStore, data: bytes, then: Callable[[], Awaitable[None]], client: str = "a", sent_bytes: int = 10
) -> None:
    """Run something while a sender has sent some bytes and does not go on."""

    async def both() -> None:
        sent = asyncio.Event()
        sender = asyncio.create_task(store.receive(open_ended(header(data), data[:sent_bytes], sent=sent), client))
        await sent.wait()
        try:
            await then()
        finally:
            sender.cancel()
            await asyncio.wait([sender])

    asyncio.run(both())


@pytest.mark.parametrize("client", ["a", "b"])
def test_announced_sizes_are_reserved(store: UploadStore, client: str) -> None:
    """Two uploads of 11 of 20 MiB do not fit, although the first has sent ten bytes only."""
    store.limits = UploadLimits(16 * MIB, 20 * MIB, 30 * MIB)

    async def then() -> None:
        with pytest.raises(ProblemError, match="limit") as raised:
            await store.receive(messages(header(b"b" * 11 * MIB)), client)
        assert raised.value.kind is ProblemKind.RESOURCES

    run_while_sending(store, b"a" * 11 * MIB, then)
    # The reservation ends with the upload; only the bytes on disk count.
    asyncio.run(store.receive(messages(header(b"b" * 4 * MIB), b"b" * 4 * MIB), client))


def test_reservations_count_against_the_free_space(store: UploadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "free_disk_bytes", lambda _: uploads.FREE_SPACE_MARGIN_BYTES + 10 * MIB)

    async def then() -> None:
        with pytest.raises(ProblemError, match="space"):
            await store.receive(messages(header(b"b" * 6 * MIB)), "b")

    run_while_sending(store, b"a" * 5 * MIB, then)
    send(store, b"b" * 4 * MIB)


def test_each_client_has_a_quota(store: UploadStore) -> None:
    send(store, b"a" * 4 * MIB, client="a")
    interrupt(store, b"b" * 6 * MIB, 4 * MIB, client="a")
    refused = header(b"c" * 5 * MIB)
    problem = get_refusal(store.receive(messages(refused), "a"))
    assert problem.kind is ProblemKind.RESOURCES
    assert str(LIMITS.client_bytes) in problem.what
    asyncio.run(store.receive(messages(refused, b"c" * MIB, b"c" * 4 * MIB), "b"))


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is one of POSIX")
def test_an_upload_that_the_disk_refuses_leaves_nothing(store: UploadStore) -> None:
    """The rest of the server needs the space more than an upload that cannot be stored."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(ProblemError, match="stored") as raised:
            send(store, DATA)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.kind is ProblemKind.RESOURCES
    assert list(store.folder.iterdir()) == []
    send(store, DATA)


def test_room_is_made_before_an_upload_is_refused(store: UploadStore) -> None:
    old, new = b"a" * 8 * MIB, b"b" * 8 * MIB
    send(store, old)
    asked: list[Shortage] = []

    async def make_room(shortage: Shortage) -> None:
        asked.append(shortage)
        (store.folder / sha256_of(old)).unlink()

    store.make_room = make_room
    asyncio.run(store.receive(messages(header(new), *[b"b" * MIB] * 8), "a"))
    assert asked == [Shortage(client_bytes=4 * MIB, client="a")]


def test_a_second_sender_of_the_same_content_gets_the_answer_of_the_first(store: UploadStore) -> None:
    async def both() -> None:
        gate, sent = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[UploadMediaRequest]:
            yield UploadMediaRequest(header=header(DATA))
            yield UploadMediaRequest(data=DATA[:5000])
            sent.set()
            await gate.wait()
            yield UploadMediaRequest(data=DATA[5000:])

        first = asyncio.create_task(store.receive(slow(), "a"))
        await sent.wait()
        second = asyncio.create_task(store.receive(messages(header(DATA), DATA), "b"))
        while not store.is_awaited(sha256_of(DATA)):
            await asyncio.sleep(0)
        gate.set()
        assert (await first).sha256 == (await second).sha256 == sha256_of(DATA)

    asyncio.run(both())
    assert files(store) == {sha256_of(DATA): len(DATA)}


def test_a_second_sender_goes_on_where_a_broken_one_stopped(tmp_path: Path) -> None:
    """The first one is silent, so the second takes over; its offset is wrong by then and it must ask again."""
    store = UploadStore(tmp_path, LIMITS, takeover_s=0.05)

    async def both() -> None:
        sent = asyncio.Event()
        first = asyncio.create_task(store.receive(open_ended(header(DATA), DATA[:5000], sent=sent), "a"))
        await sent.wait()
        offset_bytes = (await store.find(sha256_of(DATA))).received_bytes
        await store.receive(messages(header(DATA, offset_bytes=offset_bytes), DATA[offset_bytes:]), "a")
        with pytest.raises(ProblemError, match="stalled") as raised:
            await first
        # Clients look again where to go on after such a refusal.
        assert raised.value.kind is ProblemKind.SETTINGS

    asyncio.run(both())
    assert (tmp_path / sha256_of(DATA)).read_bytes() == DATA
    assert store.active_uploads() == frozenset()


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["whole", "broken", "wrong", "short"]), st.integers(0, 300)),
        max_size=8,
    )
)
def test_any_mix_of_senders_leaves_complete_files_only(
    tmp_path_factory: pytest.TempPathFactory, senders: list[tuple[int, str, int]]
) -> None:
    store = UploadStore(tmp_path_factory.mktemp("uploads"), UploadLimits(10**6, 10**6, 10**6))
    contents = [bytes([number]) * 300 for number in range(3)]

    async def send_one(number: int, kind: str, cut: int) -> None:
        data = contents[number]
        offset_bytes = (await store.find(sha256_of(data))).received_bytes
        announced = header(data, offset_bytes=offset_bytes)
        parts = {
            "whole": (data[offset_bytes:],),
            "broken": (data[offset_bytes : offset_bytes + cut] or b"x",),
            "wrong": (data[offset_bytes:-1] + b"?",),
            "short": (data[offset_bytes:cut],) if cut > offset_bytes else (),
        }[kind]
        await store.receive((broken if kind == "broken" else messages)(announced, *parts), "a")

    async def all_at_once() -> list[object]:
        return await asyncio.gather(*(send_one(*sender) for sender in senders), return_exceptions=True)

    outcomes = asyncio.run(all_at_once())
    assert all(isinstance(outcome, ProblemError | ConnectionError | None) for outcome in outcomes), outcomes
    for upload in list_uploads(store.folder):
        path = store.folder / upload.sha256
        if upload.complete:
            assert sha256_of(path.read_bytes()) == upload.sha256
        else:
            assert not path.exists()
    assert store.active_uploads() == frozenset()
    # Whatever happened before, each content can be sent in the end.
    for data in contents:
        send(store, data)
    assert {upload.sha256 for upload in list_uploads(store.folder) if upload.complete} >= set(map(sha256_of, contents))


def test_the_error_of_a_cancelled_step_is_no_surprise() -> None:
    """asyncio logs, with a traceback, what nobody looks at."""

    async def cancel_a_step_that_fails() -> list[dict[str, Any]]:
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
        begun, release = threading.Event(), threading.Event()

        def step() -> None:
            begun.set()
            release.wait()
            raise ProblemError("The upload does not match its header.", "Upload it again.", ProblemKind.SETTINGS)

        call = asyncio.create_task(uploads._complete_in_thread(step))
        await asyncio.to_thread(begun.wait)
        call.cancel()
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await call
        del call
        gc.collect()
        return reported

    assert asyncio.run(cancel_a_step_that_fails()) == []
