"""Odd folders and files: each is used, or left out with a reason. No run hangs or leaves half a library."""

import errno
import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from rewas_engine.errors import Cancelled, PackError, SettingsError
from rewas_engine.recordings import building, copies, words
from rewas_engine.recordings.library_pack import LibraryTerms, MadeLibrary, make_library
from rewas_engine.recordings.names import words_of_name
from rewas_engine.runtime.progress import Progress

RATE_HZ = 16_000


def knock(seed: int = 0, rate_hz: int = RATE_HZ, channels: int = 1) -> NDArray[np.float64]:
    """One second with a noise burst in its middle, `[samples, channels]`."""
    time_s = np.arange(rate_hz) / rate_hz - 0.5
    envelope = np.where(time_s < 0, 0, np.exp(-np.maximum(time_s, 0) / 0.03))
    return np.random.default_rng(seed).normal(0, 0.2, (rate_hz, channels)) * envelope[:, None]


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    folder = tmp_path / "sounds"
    folder.mkdir()
    for seed, name in enumerate(("a.wav", "b.wav", "c.wav")):
        soundfile.write(folder / name, knock(seed), RATE_HZ)
    return folder


def embed(some: Sequence[str]) -> NDArray[np.float64]:
    return np.ones((len(some), 2))


def make(sounds: Path, output: Path, **options: Any) -> MadeLibrary:
    return make_library([sounds], output, LibraryTerms(), embed, **{"workers": 1, **options})


def reasons(made: MadeLibrary) -> dict[str, str]:
    return {each.what: each.why for each in made.left_out}


def names(made: MadeLibrary) -> list[str]:
    return sorted(recording.path.name for recording in made.pack.index.recordings)


def test_links_and_pipes_neither_hang_nor_fail(sounds: Path, tmp_path: Path) -> None:
    (sounds / "self.wav").symlink_to("self.wav")
    (sounds / "one.wav").symlink_to("other.wav")
    (sounds / "other.wav").symlink_to("one.wav")
    (sounds / "link.wav").symlink_to("a.wav")
    (sounds / "here").symlink_to(".")
    os.mkfifo(sounds / "pipe.wav")
    (sounds / "folder.wav").mkdir()
    soundfile.write(sounds / "folder.wav" / "inside.wav", knock(9), RATE_HZ)
    (tmp_path / "more").mkdir()
    soundfile.write(tmp_path / "more" / "d.wav", knock(8), RATE_HZ)
    made = make_library([sounds, tmp_path / "more"], tmp_path / "library", LibraryTerms(), embed)
    loop = "it cannot be read (Too many levels of symbolic links)"
    assert reasons(made) == {
        "self.wav": loop,
        "one.wav": loop,
        "other.wav": loop,
        "link.wav": "it has the same content as a.wav",
        "here": "links to folders are not followed",
        "pipe.wav": "it is not a file",
    }
    assert names(made) == ["a.wav", "b.wav", "c.wav", "d.wav", "inside.wav"]


@pytest.mark.parametrize("copied", [False, True])
def test_names_in_every_script_and_with_odd_characters(sounds: Path, tmp_path: Path, copied: bool) -> None:
    odd = ["Tür.wav", "Tu\u0308r.wav", "戸を閉める.wav", "باب.wav", "דלת.wav", "दरवाज़ा.wav", "ประตู.wav", "🚪.wav",
           "\u202edoor\u202c.wav", "new\nline.wav", "a\x1b[31m.wav", "  space .wav", "quote'\".wav", "-n.wav", "%s.wav",
           "x" * 200 + ".wav"]  # fmt: skip
    for seed, name in enumerate(odd):
        soundfile.write(sounds / name, knock(10 + seed), RATE_HZ)
    made = make(sounds, tmp_path / "library", copies=copied)
    assert len(made.pack.index.recordings) == 3 + len(odd)
    assert all(recording.path.is_file() for recording in made.pack.index.recordings)
    assert make(sounds, tmp_path / "library", copies=copied).measured == 0


@pytest.mark.parametrize("name", ["दरवाज़ा", "ประตู", "戸を閉める", "باب", "tür"])
def test_words_keep_their_vowel_signs(name: str) -> None:
    assert words_of_name(f"{name}-03") == name


def test_names_that_are_not_in_utf_8_are_reported(sounds: Path, tmp_path: Path) -> None:
    shutil.copy(sounds / "a.wav", os.fsencode(sounds) + b"/\xff.wav")
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9"))
    shutil.copytree(sounds, folder)
    made = make(sounds, tmp_path / "library")
    assert reasons(made) == {"'\\udcff.wav'": "its name is not in UTF-8"}
    for source, output in ((folder, tmp_path / "other"), (sounds, folder / "library")):
        with pytest.raises(SettingsError, match="is not in UTF-8"):
            make(source, output)


def test_folders_that_cannot_be_read_are_listed(sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions do not stop root, and the tests may run as root."""
    (sounds / "locked").mkdir()
    soundfile.write(sounds / "locked" / "x.wav", knock(9), RATE_HZ)
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    made = make(sounds, tmp_path / "library")
    assert reasons(made) == {"locked": "it cannot be read (Permission denied)"}


def test_a_link_that_leads_to_itself_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SettingsError, match="does not exist"):
        make(tmp_path / "loop", tmp_path / "library")


def test_a_file_is_not_a_folder(sounds: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"a\.wav is not a folder\."):
        make(sounds / "a.wav", tmp_path / "library")


def test_extreme_numbers(sounds: Path, tmp_path: Path) -> None:
    for rate_hz in (1, 999, 768_001, 2**31 - 1):
        soundfile.write(sounds / f"{rate_hz}.wav", knock(4), rate_hz)
    soundfile.write(sounds / "loud.wav", 10 * knock(5), RATE_HZ, subtype="FLOAT")
    soundfile.write(sounds / "integers.wav", 2**23 * knock(6), RATE_HZ, subtype="FLOAT")
    soundfile.write(sounds / "constant.wav", np.full(RATE_HZ, 0.5), RATE_HZ)
    soundfile.write(sounds / "one.wav", np.array([0.5]), RATE_HZ)
    soundfile.write(sounds / "wide.wav", knock(7, channels=255), RATE_HZ)
    made = make(sounds, tmp_path / "library")
    found = reasons(made)
    above = found.pop("integers.wav")
    assert above.startswith("it contains samples 1")
    assert above.endswith(" dB above full scale")
    assert found == {
        f"{rate_hz}.wav": f"it has a sample rate of {rate_hz} Hz" for rate_hz in (1, 999, 768_001, 2**31 - 1)
    }
    nothing = "has neither a single sound nor a steady part, so it is not used."
    assert made.notes[:3] == (
        f"constant.wav {nothing}", "constant.wav has a DC offset of 50.0 % of full scale.",
        f"loud.wav exceeds full scale by {made.notes[2].split()[-2]} dB.",
    )  # fmt: skip
    assert made.notes[3] == f"one.wav {nothing}"
    assert names(made) == ["a.wav", "b.wav", "c.wav", "constant.wav", "loud.wav", "one.wav", "wide.wav"]


@pytest.mark.parametrize("suffix", ["ogg", "flac", "aiff", "wav", "mp3"])
@pytest.mark.parametrize("kept_bytes", [40, 3000])
def test_beginnings_of_files_do_not_end_the_run(sounds: Path, tmp_path: Path, suffix: str, kept_bytes: int) -> None:
    whole = tmp_path / f"whole.{suffix}"
    soundfile.write(whole, knock(4, 44_100), 44_100)
    (sounds / f"cut.{suffix}").write_bytes(whole.read_bytes()[:kept_bytes])
    made = make(sounds, tmp_path / "library")
    if (suffix, kept_bytes) != ("mp3", 3000):  # each frame of an MP3 file stands on its own
        assert list(reasons(made)) == [f"cut.{suffix}"]
        assert "no samples" not in made.left_out[0].why


@pytest.mark.parametrize("stated", [0, 0xFFFFFFFF])
def test_files_of_recorders_that_lost_power(sounds: Path, tmp_path: Path, stated: int) -> None:
    soundfile.write(sounds / "lost.wav", np.concatenate([knock(4), knock(5), knock(6)]), RATE_HZ)
    content = bytearray((sounds / "lost.wav").read_bytes())
    content[4:8] = content[40:44] = stated.to_bytes(4, "little")
    (sounds / "lost.wav").write_bytes(content)
    made = make(sounds, tmp_path / "library")
    assert reasons(made) == ({} if stated else {"lost.wav": "it was not finished: its header states a length of 0"})


def test_files_that_vanish_during_the_run_are_left_out(sounds: Path, tmp_path: Path) -> None:
    def remove(progress: Progress) -> None:
        if progress.stage == words.STAGE and progress.step == progress.total_steps:
            (sounds / "a.wav").unlink()

    made = make(sounds, tmp_path / "library", on_progress=remove)
    assert reasons(made) == {"a.wav": "it cannot be read (No such file or directory)"}
    assert names(made) == ["b.wav", "c.wav"]


def test_files_that_vanish_or_change_before_they_are_copied_are_left_out(sounds: Path, tmp_path: Path) -> None:
    def change(progress: Progress) -> None:
        if progress.stage == building.STAGE and progress.step == progress.total_steps:
            (sounds / "a.wav").unlink()
            state = (sounds / "b.wav").stat()
            soundfile.write(sounds / "b.wav", knock(99), RATE_HZ)
            os.utime(sounds / "b.wav", ns=(state.st_atime_ns, state.st_mtime_ns))

    made = make(sounds, tmp_path / "library", copies=True, on_progress=change)
    assert reasons(made) == {
        "sounds/a.wav": "it cannot be read (No such file or directory)",
        "sounds/b.wav": "it changed while it was read",
    }
    assert names(made) == ["c.wav"]
    assert [event.recording for event in made.pack.index.events] == [0]
    assert len(made.pack.index.embeddings) == 1
    copied = [path.name for path in (tmp_path / "library" / "recordings").rglob("*") if path.is_file()]
    assert copied == ["c.wav"]


def test_if_no_file_can_be_copied_there_is_no_library(sounds: Path, tmp_path: Path) -> None:
    def remove(progress: Progress) -> None:
        if progress.stage == building.STAGE and progress.step == progress.total_steps:
            shutil.rmtree(sounds)

    with pytest.raises(PackError, match="None of the 3 sound files can be used"):
        make(sounds, tmp_path / "library", copies=True, on_progress=remove)
    assert not (tmp_path / "library").exists()


def test_copying_continues_where_it_was_stopped(sounds: Path, tmp_path: Path) -> None:
    cancel, copied = threading.Event(), []

    def stop_after_the_second(progress: Progress) -> None:
        if progress.stage == copies.STAGE:
            copied.append(progress.step)
            if progress.step == 2:
                cancel.set()

    with pytest.raises(Cancelled):
        make(sounds, tmp_path / "library", copies=True, on_progress=stop_after_the_second, cancel=cancel)
    assert not (tmp_path / "library").exists()
    assert copied == [1, 2]
    copied.clear()
    made = make(sounds, tmp_path / "library", copies=True, on_progress=stop_after_the_second)
    assert made.measured == 0
    assert copied == [1]
    assert all(each.path.read_bytes() == (sounds / each.path.name).read_bytes() for each in made.pack.index.recordings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["library", "sounds"]


def test_an_output_that_cannot_be_written(sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PackError, match="The library library cannot be written"):
        make(sounds, tmp_path / "file" / "library")
