"""Files that a request may name, and uploads."""

import contextlib
import hashlib
import os
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_api.errors import ProblemError, ProblemKind
from rewas_server.files.media import MediaLibrary, local_path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "media"
    root.mkdir()
    return root


@pytest.fixture
def library(root: Path, tmp_path: Path) -> MediaLibrary:
    return MediaLibrary([root], tmp_path / "uploads")


def get_refusal(library: MediaLibrary, url: str, **uploaded: str) -> ProblemError:
    with pytest.raises(ProblemError) as raised:
        library.locate(url, uploaded)
    assert raised.value.what
    assert raised.value.remedy
    return raised.value


@pytest.mark.parametrize("name", ["clip.mp4", "a shot.mov", "100%.mov", "naïve – Aufnahme #3?.mov", "%20.mov"])
def test_paths_and_urls_name_the_same_file(library: MediaLibrary, root: Path, name: str) -> None:
    file = root / name
    file.write_bytes(b"picture")
    encoded = quote(str(file))
    for url in (str(file), f"file://{encoded}", f"file://localhost{encoded}", f"file:{encoded}", f"FILE://{encoded}"):
        assert library.locate(url, {}) == file.resolve(), url


def test_an_unencoded_url_names_its_file(library: MediaLibrary, root: Path) -> None:
    file = root / "shot #3 ?.mov"
    file.write_bytes(b"picture")
    assert library.locate(f"file://{file}", {}) == file.resolve()


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1))
def test_an_encoded_path_is_decoded(name: str) -> None:
    path = Path("/media") / name
    assert local_path("file://" + quote(str(path))) == path


def test_files_outside_the_roots_are_refused_even_through_links(library: MediaLibrary, root: Path) -> None:
    secret = root.parent / "secret.mov"
    secret.write_bytes(b"secret")
    (root / "link.mov").symlink_to(secret)
    (root / "folder").symlink_to(root.parent)
    beside = root.parent / "media-of-others"
    beside.mkdir()
    (beside / "clip.mov").write_bytes(b"picture")
    for path in (
        secret,
        root / ".." / "secret.mov",
        root / "link.mov",
        root / "folder" / "secret.mov",
        beside / "clip.mov",
    ):
        assert get_refusal(library, str(path)).kind is ProblemKind.PERMISSION
        assert get_refusal(library, f"file://{quote(str(path))}").kind is ProblemKind.PERMISSION
    # The error must not reveal whether a file outside exists.
    absent = get_refusal(library, str(root.parent / "absent.mov"))
    assert absent.kind is ProblemKind.PERMISSION


def test_missing_media_are_named(library: MediaLibrary, root: Path) -> None:
    problem = get_refusal(library, str(root / "gone.mov"))
    assert problem.kind is ProblemKind.MEDIA
    assert "gone.mov" in problem.what
    assert get_refusal(library, str(root)).kind is ProblemKind.MEDIA


def test_a_symlink_loop_is_a_missing_file(library: MediaLibrary, root: Path) -> None:
    (root / "a").symlink_to(root / "b")
    (root / "b").symlink_to(root / "a")
    assert get_refusal(library, str(root / "a")).kind is ProblemKind.MEDIA


@pytest.mark.skipif(os.geteuid() == 0, reason="the root user may read every file")
def test_unreadable_media_are_named(library: MediaLibrary, root: Path) -> None:
    (root / "closed.mov").touch(0)
    assert get_refusal(library, str(root / "closed.mov")).kind is ProblemKind.MEDIA


@pytest.mark.parametrize(
    "url",
    [
        "",
        "clip.mov",
        "./clip.mov",
        "../clip.mov",
        "file:clip.mov",
        "http://example.org/clip.mov",
        "https://example.org/clip.mov",
        "s3://bucket/clip.mov",
        "file://server/share/clip.mov",
        "file://[/clip.mov",
        "C:\\shots\\clip.mov",
        "C:/shots/clip.mov",
        "file:///C:/shots/clip.mov",
        "file:///C%3A/shots/clip.mov",
        "\\\\server\\share\\clip.mov",
        "/media/clip\0.mov",
    ],
)
def test_urls_of_other_machines_are_refused(library: MediaLibrary, url: str) -> None:
    assert get_refusal(library, url).kind is ProblemKind.TIMELINE


@given(st.text(max_size=200))
def test_any_text_is_a_path_or_refused(url: str) -> None:
    with contextlib.suppress(ProblemError):
        assert local_path(url).is_absolute()


def test_an_upload_is_found_by_its_hash_whatever_its_name_was(library: MediaLibrary, tmp_path: Path) -> None:
    sha256 = hashlib.sha256(b"picture").hexdigest()
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / sha256).write_bytes(b"picture")
    (tmp_path / "uploads" / f"{'0' * 64}.part").write_bytes(b"pict")
    for url in ("file:///elsewhere/clip.mov", "/elsewhere/clip.mp4", "C:\\clip.avi"):
        assert library.locate(url, {url: sha256}).read_bytes() == b"picture"
    assert get_refusal(library, "/a.mov", **{"/a.mov": "0" * 64}).kind is ProblemKind.MEDIA


def test_unknown_uploads_are_named(library: MediaLibrary) -> None:
    with pytest.raises(ProblemError) as raised:
        library.locate("/clip.mov", {"/clip.mov": "0" * 64})
    assert raised.value.kind is ProblemKind.MEDIA
    with pytest.raises(ProblemError) as raised:
        library.locate("/clip.mov", {"/clip.mov": "../../etc/passwd"})
    assert raised.value.kind is ProblemKind.SETTINGS
