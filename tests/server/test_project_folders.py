"""The folders of a client's project: read by path for one job, never more than a project."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_api.addresses import is_loopback
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.project_folders import MAX_PROJECT_FOLDERS, find_project_folders
from rewas_server.config import default_allowed_roots
from rewas_server.files.media import MediaLibrary, check_project_folders
from rewas_server.grpc.security import peer_host


@pytest.fixture
def library(tmp_path: Path) -> MediaLibrary:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "shot.mov").write_bytes(b"picture")
    return MediaLibrary([], tmp_path / "uploads")


def refusal_of(*folders: str) -> ProblemError:
    with pytest.raises(ProblemError) as raised:
        check_project_folders(folders)
    return raised.value


def test_media_of_the_project_is_read_for_its_job_only(library: MediaLibrary, tmp_path: Path) -> None:
    media = tmp_path / "project" / "shot.mov"
    assert library.locate(str(media), {}, [str(media.parent)]) == media.resolve()
    with pytest.raises(ProblemError) as raised:
        library.locate(str(media), {})
    assert raised.value.kind is ProblemKind.PERMISSION


def test_a_link_out_of_the_project_is_refused_without_naming_its_target(library: MediaLibrary, tmp_path: Path) -> None:
    (tmp_path / "secret-folder").mkdir()
    (tmp_path / "secret-folder" / "secret-name.mov").write_bytes(b"picture")
    link = tmp_path / "project" / "link.mov"
    link.symlink_to(tmp_path / "secret-folder" / "secret-name.mov")
    with pytest.raises(ProblemError) as raised:
        library.locate(str(link), {}, [str(link.parent)])
    assert raised.value.kind is ProblemKind.PERMISSION
    assert str(link) in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_folder_that_holds_more_than_a_project_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "users" / "ann"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    (home / "film").mkdir()
    (home / "film" / "everything").symlink_to("/")
    check_project_folders([str(home / "film")])
    for folder in ("/", str(home), str(home.parent), f"{home}/film/..", str(home / "film" / "everything")):
        assert refusal_of(folder).kind is ProblemKind.PERMISSION, folder
    # A client does not even ask for them.
    files = [home / "clip.mov", home / "film" / "clip.mov", Path("/clip.mov"), home / "film" / "other.mov"]
    assert find_project_folders(files) == [str(home / "film")]


def test_folders_are_absolute_and_few() -> None:
    for folder in ("", "film", "./film", "film\0", "/film\0"):
        assert refusal_of(folder).kind is ProblemKind.SETTINGS
    assert refusal_of(*(f"/film{number}" for number in range(MAX_PROJECT_FOLDERS + 1))).kind is ProblemKind.SETTINGS
    files = [Path(f"/films/{number}/clip.mov") for number in range(MAX_PROJECT_FOLDERS + 1)]
    assert len(find_project_folders(files)) == MAX_PROJECT_FOLDERS


@given(st.text())
def test_any_folder_is_accepted_or_refused(folder: str) -> None:
    with contextlib.suppress(ProblemError):
        check_project_folders([folder])
        assert Path(folder).is_absolute()


def test_the_home_folder_is_not_an_allowed_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("XDG_VIDEOS_DIR", raising=False)
    assert default_allowed_roots() == ()
    (tmp_path / "Videos").mkdir()
    assert default_allowed_roots() == (tmp_path / "Videos",)
    monkeypatch.setenv("XDG_VIDEOS_DIR", str(tmp_path))
    assert default_allowed_roots() == ()


@pytest.mark.parametrize(
    ("peer", "host", "local"),
    [
        ("ipv4:127.0.0.1:50071", "127.0.0.1", True),
        ("ipv6:%5B::1%5D:50071", "::1", True),
        ("ipv6:%5B::ffff:127.0.0.1%5D:50071", "::ffff:127.0.0.1", True),
        ("ipv4:192.0.2.7:50071", "192.0.2.7", False),
        ("ipv6:%5B2001:db8::1%5D:50071", "2001:db8::1", False),
        ("", "", False),
        ("nonsense", "", False),
    ],
)
def test_the_host_of_a_peer_decides_whether_it_is_local(peer: str, host: str, local: bool) -> None:
    assert peer_host(peer) == host
    assert is_loopback(peer_host(peer)) is local
