"""Library packs are made from real files, updated, stopped and copied, and are never incomplete."""

import errno
import json
import os
import shutil
import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from rewas_engine.errors import Cancelled, PackError, SettingsError
from rewas_engine.packs.description import installed_packs, read_pack
from rewas_engine.recordings import building, copies, known_files, library_pack, words
from rewas_engine.recordings.analysis import analyse
from rewas_engine.recordings.file_state import content_of
from rewas_engine.recordings.index import Recording
from rewas_engine.recordings.library_pack import LibraryTerms, MadeLibrary, make_library, read_library_pack
from rewas_engine.recordings.metadata import SoundMetadata
from rewas_engine.recordings.sound_blocks import open_blocks
from rewas_engine.runtime.progress import Progress

RATE_HZ = 16_000
FORMATS = {
    "a.wav": "PCM_24", "b.flac": "PCM_16", "c.aiff": "PCM_16", "d.mp3": "MPEG_LAYER_III", "e.ogg": "VORBIS",
    "音 f.wav": "FLOAT",
}  # fmt: skip


def strikes(seed: int, duration_s: int = 2, rate_hz: int = RATE_HZ, channels: int = 1) -> NDArray[np.float64]:
    """Noise bursts every half second, `[samples, channels]`."""
    rng = np.random.default_rng(seed)
    sound = np.zeros((duration_s * rate_hz, channels))
    length = rate_hz // 5
    for start in range(rate_hz // 4, len(sound) - length, rate_hz // 2):
        burst = rng.normal(0, 0.2, (length, channels)) * np.exp(-np.arange(length) / (rate_hz / 40))[:, None]
        sound[start : start + length] += burst
    return sound


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    folder = tmp_path / "sounds"
    folder.mkdir()
    for seed, (name, subtype) in enumerate(FORMATS.items()):
        soundfile.write(folder / name, strikes(seed), RATE_HZ, subtype=subtype)
    return folder


def embed(words: Sequence[str]) -> NDArray[np.float64]:
    return np.array([[len(each), 1.0, 0.0] for each in words])


def make(sounds: Path, output: Path, **changed: Any) -> MadeLibrary:
    options = {"workers": 2, **changed}
    return make_library([sounds], output, options.pop("terms", LibraryTerms()), embed, **options)


def names(made: MadeLibrary) -> list[str]:
    return [recording.path.name for recording in made.pack.index.recordings]


def test_every_format_is_read_at_any_rate_and_channel_count(sounds: Path, tmp_path: Path) -> None:
    soundfile.write(sounds / "high.wav", strikes(7, 2, 192_000, 2), 192_000, subtype="PCM_24")
    soundfile.write(sounds / "phone.wav", strikes(8, 2, 8000), 8000)
    soundfile.write(sounds / "many.wav", strikes(9, 2, RATE_HZ, 64), RATE_HZ)
    soundfile.write(sounds / "long.rf64", strikes(10), RATE_HZ, format="RF64")
    (sounds / "long.rf64").rename(sounds / "rf64.wav")
    made = make(sounds, tmp_path / "library")
    assert made.left_out == ()
    assert made.notes == ("phone.wav has a sample rate of 8000 Hz and no sound above 4000 Hz.",)
    index = made.pack.index
    assert sorted(names(made)) == sorted([*FORMATS, "high.wav", "phone.wav", "many.wav", "rf64.wav"])
    for number, recording in enumerate(index.recordings):
        onsets_s = [event.onset_sample / recording.sample_rate_hz for event in index.events_of(number)]
        # MP3 adds a delay.
        np.testing.assert_allclose(
            onsets_s, [0.25, 0.75, 1.25, 1.75], atol=0.07 if recording.path.suffix == ".mp3" else 0.005
        )
        assert recording.size_bytes == recording.path.stat().st_size
        assert recording.channels == {"high.wav": 2, "many.wav": 64}.get(recording.path.name, 1)
    np.testing.assert_allclose(np.linalg.norm(index.embeddings.astype(float), axis=1), 1, atol=1e-3)


def test_unusable_files_are_listed_and_left_out(sounds: Path, tmp_path: Path) -> None:
    (sounds / "empty.wav").touch()
    (sounds / "text.wav").write_text("not a sound, but long enough to be looked at", "utf-8")
    (sounds / "cut.wav").write_bytes((sounds / "a.wav").read_bytes()[:-3000])
    (sounds / "cut.flac").write_bytes((sounds / "b.flac").read_bytes()[:-3000])
    soundfile.write(sounds / "none.wav", np.zeros((0, 1)), RATE_HZ)
    soundfile.write(sounds / "silent.wav", np.zeros(RATE_HZ), RATE_HZ)
    infinite = strikes(3)
    infinite[100] = np.nan
    soundfile.write(sounds / "nan.wav", infinite, RATE_HZ, subtype="FLOAT")
    soundfile.write(sounds / "clipped.wav", np.clip(20 * strikes(4), -1, 1), RATE_HZ)
    soundfile.write(sounds / "offset.wav", strikes(5) * 0.3 + 0.2, RATE_HZ)
    shutil.copy(sounds / "a.wav", sounds / "z same.wav")
    (sounds / "gone.wav").symlink_to(sounds / "missing.wav")
    made = make(sounds, tmp_path / "library")
    reasons = {each.what: each.why for each in made.left_out}
    assert reasons.pop("text.wav").startswith("it cannot be read as media")
    assert reasons == {
        "empty.wav": "it is empty",
        "cut.wav": "it is cut short",
        "cut.flac": "it is damaged and cannot be decoded",
        "none.wav": "it has no samples",
        "silent.wav": "it is silent",
        "nan.wav": "it contains samples that are not numbers",
        "z same.wav": "it has the same content as a.wav",
        "gone.wav": "it cannot be read (No such file or directory)",
    }
    assert [note.split(" for ")[0] for note in made.notes] == [
        "clipped.wav is clipped", "offset.wav has a DC offset of 20.0 % of full scale.",
    ]  # fmt: skip
    assert sorted(names(made)) == sorted([*FORMATS, "clipped.wav", "offset.wav"])


def test_an_mp3_file_that_does_not_state_its_length_is_used(tmp_path: Path) -> None:
    (tmp_path / "sounds").mkdir()
    samples = strikes(0, rate_hz=44_100)[:, 0].astype(np.float32)
    with av.open(tmp_path / "sounds" / "a.mp3", "w", options={"write_xing": "0"}) as container:
        container.metadata["title"] = "Steps"
        stream = container.add_stream("libmp3lame", rate=44_100, layout="mono")
        for start in range(0, len(samples), 1152):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1152].copy(), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44_100, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with soundfile.SoundFile(tmp_path / "sounds" / "a.mp3") as file:
        assert len(file.read()) < file.frames
    assert names(make(tmp_path / "sounds", tmp_path / "library")) == ["a.mp3"]


def test_only_new_and_changed_files_are_read_again(sounds: Path, tmp_path: Path) -> None:
    output = tmp_path / "library"
    first = make(sounds, output)
    assert first.measured == len(FORMATS)
    again = make(sounds, output)
    assert again.measured == 0
    assert again.pack.index.events == first.pack.index.events
    soundfile.write(sounds / "a.wav", strikes(99, 3), RATE_HZ)
    soundfile.write(sounds / "new.wav", strikes(98), RATE_HZ)
    (sounds / "b.flac").unlink()
    os.utime(sounds / "e.ogg", ns=(1, 1))
    changed = make(sounds, output)
    assert changed.measured == 3
    assert sorted(names(changed)) == sorted([*(name for name in FORMATS if name != "b.flac"), "new.wav"])
    by_name = {recording.path.name: recording for recording in changed.pack.index.recordings}
    assert by_name["a.wav"].samples == 3 * RATE_HZ
    assert by_name["e.ogg"].modified_ns == 1
    assert len(list(output.glob("index-*"))) == 1


def add_odd_files(sounds: Path) -> None:
    """Add files of every kind that is left out or noted."""
    (sounds / "empty.wav").touch()
    (sounds / "text.wav").write_text("not a sound, but long enough to be looked at", "utf-8")
    (sounds / "cut.wav").write_bytes((sounds / "a.wav").read_bytes()[:-3000])
    (sounds / "cut.flac").write_bytes((sounds / "b.flac").read_bytes()[:-3000])
    soundfile.write(sounds / "silent.wav", np.zeros(RATE_HZ), RATE_HZ)
    soundfile.write(sounds / "phone.wav", strikes(8, 2, 8000), 8000)
    shutil.copy(sounds / "a.wav", sounds / "z same.wav")


@pytest.mark.parametrize("copies", [False, True])
def test_nothing_is_read_again_and_the_same_problems_are_listed(
    sounds: Path, tmp_path: Path, copies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_odd_files(sounds)
    first = make(sounds, tmp_path / "library", copies=copies)
    assert len(first.left_out) == 6
    assert len(first.notes) == 1
    opened = []
    monkeypatch.setattr(building, "content_of", lambda path, cancel: opened.append(path))
    monkeypatch.setattr(building, "open_blocks", lambda path, cancel: opened.append(path))
    monkeypatch.setattr(words, "read_metadata", opened.append)
    again = make(sounds, tmp_path / "library", copies=copies)
    assert opened == []
    assert again.measured == 0
    assert (again.left_out, again.notes) == (first.left_out, first.notes)
    assert again.pack.index.recordings == first.pack.index.recordings


def test_a_run_that_continues_does_not_read_unusable_files_again(sounds: Path, tmp_path: Path) -> None:
    add_odd_files(sounds)
    cancel = threading.Event()

    def stop_at_the_end(progress: Progress) -> None:
        if progress.stage == building.STAGE and progress.step == progress.total_steps - 1:
            cancel.set()

    with pytest.raises(Cancelled):
        make(sounds, tmp_path / "library", workers=1, on_progress=stop_at_the_end, cancel=cancel)
    made = make(sounds, tmp_path / "library")
    assert made.measured == 1
    assert len(made.left_out) == 6


def test_renamed_files_and_copies_of_known_ones_are_only_compared(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(sounds / "phone.wav", strikes(8, 2, 8000), 8000)
    shutil.copy(sounds / "a.wav", sounds / "z same.wav")
    first = make(sounds, tmp_path / "library")
    (sounds / "a.wav").unlink()  # its duplicate takes its place
    sounds.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "phone.wav").rename(tmp_path / "elsewhere" / "old phone.wav")
    monkeypatch.setattr(building, "open_blocks", None)
    again = make(tmp_path / "elsewhere", tmp_path / "library")
    assert sorted(names(again)) == sorted([*FORMATS, "old phone.wav", "z same.wav"])[1:]
    assert again.notes == ("old phone.wav has a sample rate of 8000 Hz and no sound above 4000 Hz.",)
    assert len(again.pack.index.events) == len(first.pack.index.events)


def test_of_equal_files_the_one_that_looks_like_the_original_is_used(tmp_path: Path) -> None:
    (tmp_path / "sounds" / "old").mkdir(parents=True)
    for name in ("hit copy.wav", "hit.wav", "hit (2).wav"):
        soundfile.write(tmp_path / "sounds" / name, np.clip(10 * strikes(1), -1, 1), RATE_HZ)
    made = make(tmp_path / "sounds", tmp_path / "library")
    assert names(made) == ["hit.wav"]
    assert [each.what for each in made.left_out] == ["hit (2).wav", "hit copy.wav"]
    assert [note.split(" for ")[0] for note in made.notes] == ["hit.wav is clipped"]
    again = make(tmp_path / "sounds", tmp_path / "library")
    assert (again.measured, again.left_out, again.notes) == (0, made.left_out, made.notes)


def test_a_restored_file_is_read_even_if_it_has_the_time_and_size_of_the_damaged_one(
    sounds: Path, tmp_path: Path
) -> None:
    whole, state = (sounds / "b.flac").read_bytes(), (sounds / "b.flac").stat()
    (sounds / "b.flac").write_bytes(b"\0" * len(whole))
    os.utime(sounds / "b.flac", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert [each.what for each in make(sounds, tmp_path / "library").left_out] == ["b.flac"]
    (sounds / "b.flac").write_bytes(whole)
    os.utime(sounds / "b.flac", ns=(state.st_atime_ns, state.st_mtime_ns))
    made = make(sounds, tmp_path / "library")
    assert (made.measured, made.left_out) == (1, ())


def test_files_that_another_version_could_not_read_are_read_again(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sounds / "empty.wav").touch()
    make(sounds, tmp_path / "library")
    monkeypatch.setattr(known_files, "READERS", "newer")
    assert make(sounds, tmp_path / "library").measured == 1
    assert make(sounds, tmp_path / "library").measured == 0
    monkeypatch.setattr(known_files, "ANALYSIS_VERSION", known_files.ANALYSIS_VERSION + 1)
    assert make(sounds, tmp_path / "library").measured == len(FORMATS) + 1


def test_metadata_is_read_again_by_a_version_that_reads_more(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def read_more(path: Path) -> SoundMetadata:
        read.append(path)
        return SoundMetadata("more")

    make(sounds, tmp_path / "library")
    monkeypatch.setattr(words, "read_metadata", read_more)
    make(sounds, tmp_path / "library")
    assert read == []
    monkeypatch.setattr(known_files, "METADATA_VERSION", known_files.METADATA_VERSION + 1)
    made = make(sounds, tmp_path / "library")
    assert (len(read), made.measured) == (len(FORMATS), 0)
    assert all("more" in each.words for each in made.pack.index.recordings)


def test_words_are_embedded_once_by_each_encoder(sounds: Path, tmp_path: Path) -> None:
    embedded: list[str] = []

    def count(some: Sequence[str]) -> NDArray[np.float64]:
        embedded.extend(some)
        return embed(some)

    def make_with(encoder: str) -> MadeLibrary:
        embedded.clear()
        return make_library([sounds], tmp_path / "library", LibraryTerms(), count, encoder=encoder)

    first = make_with("mini 1")
    assert embedded
    assert make_with("mini 1").pack.index.embeddings.tolist() == first.pack.index.embeddings.tolist()
    assert embedded == []
    (sounds / "a.txt").write_text("a gate", "utf-8")
    make_with("mini 1")
    assert embedded == ["a gate"]
    for other in ("mini 2", "", ""):
        make_with(other)
        assert "a gate" in embedded


@pytest.mark.parametrize("pair", [("Tür.wav", "Tu\u0308r.wav"), ("door.wav", "Door.WAV")])
def test_copies_whose_names_some_disks_do_not_distinguish_are_named_apart(
    tmp_path: Path, pair: tuple[str, str]
) -> None:
    (tmp_path / "sounds").mkdir()
    for seed, name in enumerate(pair):
        soundfile.write(tmp_path / "sounds" / name, strikes(seed), RATE_HZ, format="WAV")
    made = make(tmp_path / "sounds", tmp_path / "library", copies=True)
    copied = [unicodedata.normalize("NFC", each.path.name).casefold() for each in made.pack.index.recordings]
    assert len(set(copied)) == 2
    assert make(tmp_path / "sounds", tmp_path / "library", copies=True).measured == 0


@pytest.mark.parametrize("copies", [False, True])
def test_unchanged_files_are_not_read_again_if_paths_go_up(sounds: Path, tmp_path: Path, copies: bool) -> None:
    (tmp_path / "here").mkdir()
    above = tmp_path / "here" / ".."
    assert make(above / "sounds", above / "library", copies=copies).measured == len(FORMATS)
    assert make(above / "sounds", above / "library", copies=copies).measured == 0


def test_the_index_stays_in_place_if_nothing_has_changed(sounds: Path, tmp_path: Path) -> None:
    make(sounds, tmp_path / "library")
    (index,) = (tmp_path / "library").glob("index-*/index.json")
    before = index.stat()
    make(sounds, tmp_path / "library")
    assert (index.stat().st_ino, index.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("is_missing", [False, True])
def test_a_damaged_index_is_made_again(sounds: Path, tmp_path: Path, is_missing: bool) -> None:
    make(sounds, tmp_path / "library")
    (index,) = (tmp_path / "library").glob("index-*")
    if is_missing:
        shutil.rmtree(index)
    else:
        (index / "index.json").write_text("{", "utf-8")
    assert make(sounds, tmp_path / "library").measured == len(FORMATS)
    assert len(read_library_pack(tmp_path / "library").index.recordings) == len(FORMATS)


def test_new_words_are_used_without_reading_the_sound(sounds: Path, tmp_path: Path) -> None:
    make(sounds, tmp_path / "library")
    (sounds / "a.txt").write_text("a very long description", "utf-8")
    made = make(sounds, tmp_path / "library", terms=LibraryTerms("CC0-1.0", "Someone"))
    assert made.measured == 0
    assert {recording.words for recording in made.pack.index.recordings} >= {"a very long description"}
    assert made.pack.terms == LibraryTerms("CC0-1.0", "Someone")


def test_a_stopped_run_continues(sounds: Path, tmp_path: Path) -> None:
    cancel = threading.Event()
    steps: list[Progress] = []

    def stop_after_two(progress: Progress) -> None:
        if progress.stage == building.STAGE:
            steps.append(progress)
        if len(steps) == 2:
            cancel.set()

    output = tmp_path / "library"
    with pytest.raises(Cancelled):
        make(sounds, output, workers=1, on_progress=stop_after_two, cancel=cancel)
    assert not output.exists()
    made = make(sounds, output)
    assert 0 < made.measured <= len(FORMATS) - 2
    assert sorted(names(made)) == sorted(FORMATS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["library", "sounds"]
    assert [progress.total_steps for progress in steps][:2] == [len(FORMATS)] * 2


def test_a_journal_of_a_killed_run_is_used_up_to_its_incomplete_line(sounds: Path, tmp_path: Path) -> None:
    work = tmp_path / ".library.partial"
    work.mkdir()
    journal = known_files.Journal(work / library_pack.JOURNAL_FILE)
    for name in ("a.wav", "c.aiff"):
        journal.add(building.measure(sounds / name))
    content = journal.path.read_bytes()
    journal.path.write_bytes(content[:-40])
    made = make(sounds, tmp_path / "library")
    assert made.measured == len(FORMATS) - 1


def test_a_continued_run_lists_the_problems_that_the_stopped_one_found(tmp_path: Path) -> None:
    (tmp_path / "sounds").mkdir()
    soundfile.write(tmp_path / "sounds" / "phone.wav", strikes(0, rate_hz=8000), 8000)
    work = tmp_path / ".library.partial"
    work.mkdir()
    known_files.Journal(work / library_pack.JOURNAL_FILE).add(building.measure(tmp_path / "sounds" / "phone.wav"))
    made = make(tmp_path / "sounds", tmp_path / "library")
    assert made.measured == 0
    assert [note.split(" has ")[0] for note in made.notes] == ["phone.wav"]


def test_copies_are_equal_and_move_with_the_pack(sounds: Path, tmp_path: Path) -> None:
    made = make(sounds, tmp_path / "library", copies=True)
    again = make(sounds, tmp_path / "library", copies=True)
    assert again.measured == 0
    assert again.pack.index.recordings == made.pack.index.recordings
    contents = {path.name: path.read_bytes() for path in sounds.iterdir()}
    shutil.rmtree(sounds)
    (tmp_path / "library").rename(tmp_path / "moved")
    moved = read_library_pack(tmp_path / "moved")
    assert {each.path.name: each.path.read_bytes() for each in moved.index.recordings} == contents
    assert all(each.path.is_relative_to(tmp_path / "moved" / "recordings") for each in moved.index.recordings)


def test_copies_of_files_that_are_gone_are_removed(sounds: Path, tmp_path: Path) -> None:
    make(sounds, tmp_path / "library", copies=True)
    (sounds / "a.wav").unlink()
    made = make(sounds, tmp_path / "library", copies=True)
    copied = {path.name for path in (tmp_path / "library" / "recordings").rglob("*") if path.is_file()}
    assert copied == set(names(made)) == set(FORMATS) - {"a.wav"}
    referring = make(sounds, tmp_path / "library")
    assert referring.measured == 0
    assert all(each.path.parent == sounds for each in referring.pack.index.recordings)


@pytest.mark.parametrize("copied", [False, True])
def test_recordings_that_are_gone_are_mentioned_once(sounds: Path, tmp_path: Path, copied: bool) -> None:
    made = make(sounds, tmp_path / "library", copies=copied)
    path_of = {each.path.name: each.path for each in made.pack.index.recordings}
    (sounds / "a.wav").unlink()
    (sounds / "c.aiff").rename(sounds / "other.aiff")
    soundfile.write(sounds / "e.ogg", strikes(50), RATE_HZ)
    made = make(sounds, tmp_path / "library", copies=copied)
    assert made.notes == (f"{path_of['a.wav']} no longer exists and was removed from the library.",)
    for name in ("b.flac", "d.mp3"):
        (sounds / name).unlink()
    made = make(sounds, tmp_path / "library", copies=copied)
    assert made.notes == (
        f"2 recordings no longer exist and were removed from the library, such as {path_of['b.flac']}.",
    )
    assert make(sounds, tmp_path / "library", copies=copied).notes == ()


def test_folders_of_one_name_are_copied_apart(tmp_path: Path) -> None:
    for number in (1, 2):
        folder = tmp_path / str(number) / "steps"
        folder.mkdir(parents=True)
        soundfile.write(folder / "x.wav", strikes(number), RATE_HZ)
    folders = [tmp_path / "1" / "steps", tmp_path / "2" / "steps"]
    made = make_library(folders, tmp_path / "library", LibraryTerms(), embed, copies=True)
    places = [each.path.relative_to(tmp_path / "library").as_posix() for each in made.pack.index.recordings]
    assert places == ["recordings/steps/x.wav", "recordings/steps-2/x.wav"]


def test_copies_of_a_stopped_run_do_not_replace_those_of_restored_files(sounds: Path, tmp_path: Path) -> None:
    output, cancel = tmp_path / "library", threading.Event()
    make(sounds, output, copies=True)
    kept = {name: ((sounds / name).read_bytes(), (sounds / name).stat().st_mtime_ns) for name in ("a.wav", "b.flac")}
    for name in kept:
        soundfile.write(sounds / name, strikes(60), RATE_HZ)

    def stop(progress: Progress) -> None:
        if progress.stage == copies.STAGE:
            cancel.set()

    with pytest.raises(Cancelled):
        make(sounds, output, copies=True, on_progress=stop, cancel=cancel)
    for name, (content, modified_ns) in kept.items():
        (sounds / name).write_bytes(content)
        os.utime(sounds / name, ns=(modified_ns, modified_ns))
    for recording in make(sounds, output, copies=True).pack.index.recordings:
        assert content_of(recording.path) == recording.content


def test_a_full_disk_keeps_the_old_copies_of_changed_files(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "library"
    old = make(sounds, output, copies=True).pack.index.recordings
    contents = [each.path.read_bytes() for each in old]
    for name in FORMATS:
        (sounds / name).write_bytes((sounds / "a.wav").read_bytes() + name.encode())

    def fail(source: Recording, place: Path, cancel: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(place))

    monkeypatch.setattr(copies, "_copy", fail)
    with pytest.raises(PackError, match="The disk is full"):
        make(sounds, output, copies=True)
    assert read_library_pack(output).index.recordings == old
    assert [each.path.read_bytes() for each in old] == contents


@pytest.mark.parametrize("is_update", [False, True])
def test_a_full_disk_leaves_nothing_half_built(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_update: bool
) -> None:
    output = tmp_path / "library"
    if is_update:
        make(sounds, output)
    before = sorted(path for path in output.rglob("*")) if is_update else []
    copy, copied = copies._copy, []

    def fill_up(source: Recording, place: Path, cancel: object) -> None:
        if len(copied) == 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(place))
        copied.append(place)
        copy(source, place, None)

    monkeypatch.setattr(copies, "_copy", fill_up)
    with pytest.raises(PackError, match="The disk is full"):
        make(sounds, output, copies=True)
    assert copied
    assert not any(path.exists() for path in copied)
    assert [path for path in sorted(output.rglob("*")) if path.is_file()] == [path for path in before if path.is_file()]
    if is_update:
        assert len(read_library_pack(output).index.recordings) == len(FORMATS)
    monkeypatch.undo()
    assert make(sounds, output, copies=True).measured == 0


def test_too_little_space_is_reported_before_copying(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 10))
    with pytest.raises(PackError, match=r"The copies need .* MB"):
        make(sounds, tmp_path / "library", copies=True)


def test_a_library_is_installed_with_its_terms(sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make(sounds, tmp_path / "packs" / "foley", terms=LibraryTerms("CC-BY-4.0", "A. Recordist", True))
    monkeypatch.setenv("REWAS_PACKS", str(tmp_path / "packs"))
    (installed,) = (pack for pack in installed_packs() if pack.name == "foley")
    assert installed.info == read_pack(made.pack.path).info
    assert installed.problem is None
    assert made.pack.terms.permits == "Non-commercial use only. Credit: A. Recordist."
    assert made.pack.summary == f"A library of {len(FORMATS)} recordings, 12 s of sound."


def test_other_terms_make_another_library(sounds: Path, tmp_path: Path) -> None:
    every = [("", "", False), ("CC0-1.0", "", False), ("CC0-1.0", "J. Doe", False), ("CC0-1.0", "", True)]
    made = [make(sounds, tmp_path / str(number), terms=LibraryTerms(*each)) for number, each in enumerate(every)]
    assert len({read_pack(each.pack.path).info.content_sha256 for each in made}) == len(every)


@pytest.mark.parametrize("place", ["sounds/library", ".", "sounds"])
def test_a_library_and_its_sounds_must_not_contain_each_other(sounds: Path, tmp_path: Path, place: str) -> None:
    with pytest.raises(SettingsError, match="overlap: one contains the other"):
        make(sounds, tmp_path / place)


def test_the_copies_of_a_library_are_not_its_sounds(sounds: Path, tmp_path: Path) -> None:
    output = tmp_path / "library"
    copies = [each.path for each in make(sounds, output, copies=True).pack.index.recordings]
    (tmp_path / "link").symlink_to(output)
    for other in (output / ".." / "library", tmp_path / "link"):
        with pytest.raises(SettingsError, match="overlap: one contains the other"):
            make(output / "recordings", other)
    assert all(copy.is_file() for copy in copies)


def test_another_folder_is_not_overwritten(sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(PackError, match="already exists and is not a library"):
        make(sounds, tmp_path / "mine")


def test_folders_without_a_usable_sound(tmp_path: Path) -> None:
    (tmp_path / "sounds").mkdir()
    with pytest.raises(PackError, match="The folders contain no sound files"):
        make(tmp_path / "sounds", tmp_path / "library")
    (tmp_path / "sounds" / "a.wav").touch()
    with pytest.raises(PackError, match=r"The sound file cannot be used. a.wav: it is empty."):
        make(tmp_path / "sounds", tmp_path / "library")
    assert [path.name for path in tmp_path.iterdir()] == ["sounds"]


def test_a_damaged_description_is_reported(sounds: Path, tmp_path: Path) -> None:
    made = make(sounds, tmp_path / "library")
    description = made.pack.path / "pack.toml"
    description.write_text(description.read_text("utf-8").replace("credit", "cred"), "utf-8")
    with pytest.raises(PackError, match="is damaged"):
        read_library_pack(made.pack.path)


def test_channels_that_cancel_each_other_out_are_measured_at_full_level(tmp_path: Path) -> None:
    sound = strikes(1)
    soundfile.write(tmp_path / "mono.wav", sound, RATE_HZ, subtype="FLOAT")
    soundfile.write(tmp_path / "opposite.wav", np.hstack([sound, -sound]), RATE_HZ, subtype="FLOAT")
    mono, opposite = (building.measure(tmp_path / f"{name}.wav").events for name in ("mono", "opposite"))
    for one, other in zip(mono, opposite, strict=True):
        assert other.level_nats == pytest.approx(one.level_nats, abs=0.01)
        assert other.onset_sample == one.onset_sample


@pytest.mark.slow
def test_a_sparse_file_of_many_hours_is_read_in_bounded_memory(tmp_path: Path) -> None:
    """Two hours of RF64 at 8 kHz, almost all of it a hole in the file."""
    import tracemalloc

    path, rate_hz = tmp_path / "day.wav", 8000
    soundfile.write(path, strikes(1, 2, rate_hz), rate_hz, format="RF64")
    header = path.read_bytes()
    data = header.index(b"data") + 8
    hours = 2
    length = hours * 3600 * rate_hz * 2
    with path.open("r+b") as file:
        file.truncate(data + length)
        file.seek(header.index(b"ds64") + 8)
        file.write((data + length - 8).to_bytes(8, "little") + length.to_bytes(8, "little"))
        file.write((length // 2).to_bytes(8, "little"))
    tracemalloc.start()
    measured = building.measure(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert measured.recording.samples == hours * 3600 * rate_hz
    assert len(measured.events) == 4
    # A chunk needs the same memory whatever the length; all samples as float32 are 230 MB.
    assert peak_bytes < 180e6


def test_a_block_is_small_whatever_the_channels(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "many.wav", strikes(1, 2, RATE_HZ, 64), RATE_HZ)
    with open_blocks(tmp_path / "many.wav") as sound:
        sizes = [block.size for block in sound.blocks]
        assert max(sizes) <= 2**18
        assert sum(sizes) == 64 * 2 * RATE_HZ
    assert analyse(iter(()), RATE_HZ).samples == 0


def test_the_journal_keeps_every_number(sounds: Path, tmp_path: Path) -> None:
    measured = building.measure(sounds / "a.wav")
    journal = known_files.Journal(tmp_path / "journal")
    journal.add(measured)
    assert list(journal.read()) == [replace(measured, notes=())]
    assert json.loads(journal.path.read_text("utf-8").strip())["recording"]["path"] == str(sounds / "a.wav")
