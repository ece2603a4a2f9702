"""Files that machines share, in a folder and in a real S3-compatible server on loopback."""

import contextlib
import hashlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rewas_api.errors import ProblemError, ProblemKind
from rewas_server.files import content_store
from rewas_server.files.content_store import ContentStore

CONTENT = bytes(range(256)) * 80_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URL of a bucket in an S3-compatible server."""
    moto_server = pytest.importorskip("moto.server")
    import boto3

    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "editor")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "correct-horse")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("NO_PROXY", "127.0.0.1")
        boto3.client("s3").create_bucket(Bucket="studio")
        yield "s3://studio"
    server.stop()


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "shared")
    return f"{request.getfixturevalue('s3')}/{tmp_path.name}"


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mov"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    # The smallest part of S3: the film has several.
    monkeypatch.setattr(content_store, "BLOCK_BYTES", 5 * 1024**2)


def names(store: ContentStore) -> list[str]:
    return sorted(each.sha256 for each in store.list_content())


def test_one_machine_reads_what_another_has_stored(url: str, film: Path, tmp_path: Path) -> None:
    here, there = ContentStore(url, tmp_path / "here"), ContentStore(url, tmp_path / "there")
    assert names(there) == []
    assert here.put(film) == here.put(film) == SHA256
    (listed,) = there.list_content()
    assert (listed.sha256, listed.size_bytes) == (SHA256, len(CONTENT))
    assert listed.stored_at_s is not None
    assert abs(listed.stored_at_s - film.stat().st_mtime) < 300
    copy = there.get(SHA256)
    assert copy.read_bytes() == CONTENT
    assert copy.stat().st_mode & 0o077 == 0
    assert [path.name for path in (tmp_path / "there").iterdir()] == [SHA256]
    there.delete(SHA256)
    there.delete(SHA256)
    assert names(here) == []
    with pytest.raises(ProblemError, match="does not have") as raised:
        there.get(SHA256)
    assert raised.value.kind is ProblemKind.NOT_FOUND


def test_a_file_that_is_stored_again_is_kept(
    url: str, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ContentStore(url, tmp_path / "cache")
    assert store.put(film) == store.put(film, SHA256) == SHA256
    (first,) = store.list_content()
    if store._is_local:
        os.utime(f"{store._root}/{SHA256}", (0, 0))
    else:
        monkeypatch.setattr(content_store, "REFRESH_S", -1.0)
        # S3 counts in seconds.
        threading.Event().wait(1.1)
    assert store.put(film, SHA256) == SHA256
    (second,) = store.list_content()
    assert first.stored_at_s is not None
    assert second.stored_at_s is not None
    assert second.stored_at_s > (0 if store._is_local else first.stored_at_s)
    with pytest.raises(ProblemError, match="changed"):
        store.put(film, "0" * 64)


def test_the_local_copies_are_limited(tmp_path: Path) -> None:
    store = ContentStore(str(tmp_path / "shared"), tmp_path / "cache")
    names = []
    for number in range(4):
        path = tmp_path / f"film {number}"
        path.write_bytes(bytes([number]) * 1000)
        names.append(store.put(path))
        os.utime(store.get(names[-1]), (number, number))
    store.get(names[0])
    store.trim_cache(2500, keep=[names[1]])
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {names[0], names[1]}
    store.trim_cache(0, keep=[])
    assert list((tmp_path / "cache").iterdir()) == []
    assert store.get(names[2]).read_bytes() == bytes([2]) * 1000


def test_an_empty_file_is_a_file(url: str, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    store = ContentStore(url, tmp_path / "cache")
    assert store.get(store.put(tmp_path / "empty")).read_bytes() == b""


def test_a_damaged_file_is_refused_and_not_kept(url: str, film: Path, tmp_path: Path) -> None:
    store = ContentStore(url, tmp_path / "cache")
    store.put(film)
    damaged = CONTENT[:-1] + b"!"
    with store._files.open(f"{store._root}/{SHA256}", "wb") as file:
        file.write(damaged)
    with pytest.raises(ProblemError, match="damaged") as raised:
        store.get(SHA256)
    assert raised.value.kind is ProblemKind.MEDIA
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_file_that_cannot_be_read_to_its_end_does_not_appear(
    url: str, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ContentStore(url, tmp_path / "cache")
    original = content_store._copy

    def fail(source, target):  # type: ignore[no-untyped-def]
        target.write(source.read(12 * 1024**2))
        raise OSError("the disk is gone")

    monkeypatch.setattr(content_store, "_copy", fail)
    with pytest.raises(ProblemError, match="cannot be used") as raised:
        store.put(film)
    assert raised.value.kind is ProblemKind.RESOURCES
    assert names(store) == []
    assert store._list() == []
    monkeypatch.setattr(content_store, "_copy", original)
    store.put(film)
    assert names(store) == [SHA256]


def test_many_threads_store_and_read_the_same_file(url: str, film: Path, tmp_path: Path) -> None:
    stores = [ContentStore(url, tmp_path / "cache") for _ in range(4)]
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda store=store: found.append(store.get(store.put(film)).read_bytes()))  # type: ignore[misc]
        for store in stores
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 4
    assert names(stores[0]) == [SHA256]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the process is forked")
def test_a_machine_that_dies_leaves_no_half_file(film: Path, tmp_path: Path) -> None:
    store = ContentStore(str(tmp_path / "shared"), tmp_path / "cache")
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            original = content_store._copy

            def die(source, target):  # type: ignore[no-untyped-def]
                target.write(source.read(1000))
                target.flush()
                os.kill(os.getpid(), signal.SIGKILL)
                return original(source, target)

            content_store._copy = die
            store.put(film)
        os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)
    assert names(store) == []
    (left,) = (tmp_path / "shared").iterdir()
    store.delete_unfinished(left.stat().st_mtime - 1)
    assert left.exists()
    store.delete_unfinished(left.stat().st_mtime + 1)
    assert not left.exists()


@pytest.mark.parametrize("name", ["../film.mov", "", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_names_cannot_lead_out_of_the_store(tmp_path: Path, name: str) -> None:
    store = ContentStore(str(tmp_path / "shared"), tmp_path / "cache")
    for call in (store.get, store.delete):
        with pytest.raises(ValueError, match="SHA-256"):
            call(name)


@pytest.mark.slow
def test_a_store_that_cannot_be_reached_is_named(s3: str, film: Path, tmp_path: Path) -> None:
    store = ContentStore("s3://absent-bucket/media", tmp_path / "cache")
    with pytest.raises(ProblemError, match="s3://absent-bucket/media") as raised:
        store.put(film)
    assert raised.value.kind is ProblemKind.RESOURCES
    with pytest.raises(ProblemError) as raised:
        ContentStore("nonsense://studio", tmp_path / "cache")
    assert raised.value.kind is ProblemKind.SETTINGS
