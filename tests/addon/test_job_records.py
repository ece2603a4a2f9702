"""Records of jobs survive being written and read; the journal is private, atomic and ordered."""

import dataclasses
import json
import os
import stat
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_nle.core.folders import data_folder
from rewas_nle.core.journal import KEPT_S, Journal, RecordBook
from rewas_nle.core.messages import (
    GenerationInfo,
    Problem,
    ReceivedTake,
    StemFile,
    StemsReceived,
)
from rewas_nle.core.records import JobRecord, RecordsFound, merge_records, new_key
from rewas_nle.core.sound_settings import EnergyChoice, LayerChoice, Regeneration, SoundSettings
from rewas_nle.timeline.strips import SelectedClip
from rewas_nle.timeline.takes import EnergyCurve

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FRACTIONS = st.fractions(min_value=0, max_value=10**6, max_denominator=10**6)
PATHS = TEXTS.map(lambda text: Path("/stems") / (text.replace("\0", "").replace("/", "") or "x"))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
CLIPS = st.builds(
    SelectedClip,
    name=TEXTS,
    path=TEXTS,
    prompt=TEXTS,
    start_frame=st.integers(),
    frames=st.integers(),
    content_start_frame=st.integers(),
    rate=FRACTIONS,
    source_start_s=FRACTIONS,
    source_duration_s=FRACTIONS,
    media_frames=st.integers(),
    media_rate=FRACTIONS,
)
CURVES = st.builds(EnergyCurve, FRACTIONS, st.lists(FLOATS, max_size=3).map(tuple))
STEMS = st.builds(StemFile, TEXTS, PATHS, st.integers(), st.integers(), st.integers())
TAKES = st.builds(
    ReceivedTake,
    number=st.integers(),
    seed=st.integers(),
    stems=st.lists(STEMS, max_size=2).map(tuple),
    energy_mae_nats=FLOATS,
    energy_correlation=st.none() | FLOATS,
    score=st.none() | FLOATS,
    faults=st.lists(TEXTS, max_size=2).map(tuple),
    output_energy=st.none() | CURVES,
)
RECEIVED = st.builds(
    StemsReceived,
    key=TEXTS,
    job_id=TEXTS,
    generation_info=st.builds(GenerationInfo, TEXTS, TEXTS, TEXTS, st.integers(), FLOATS, FLOATS),
    duration_s=FRACTIONS,
    takes=st.lists(TAKES, max_size=2).map(tuple),
    notes=st.lists(TEXTS, max_size=2).map(tuple),
)
KEYS = st.lists(st.tuples(FLOATS, FLOATS), max_size=2).map(tuple)
RECORDS = st.builds(
    JobRecord,
    key=st.uuids().map(lambda value: value.hex),
    clip=CLIPS,
    settings=st.builds(
        SoundSettings,
        pack=st.none() | TEXTS,
        seed=st.none() | st.integers(0, 2**63 - 1),
        layers=st.lists(st.builds(LayerChoice, TEXTS, TEXTS, FLOATS, TEXTS, FLOATS, KEYS), max_size=2).map(tuple),
        energy=st.builds(EnergyChoice, keys=KEYS, edits=st.lists(TEXTS, max_size=2).map(tuple)),
        cuts_s=st.lists(FRACTIONS, max_size=2).map(tuple),
        regenerate=st.none() | st.builds(Regeneration, PATHS, FRACTIONS, FRACTIONS, FLOATS),
    ),
    scene_name=TEXTS,
    stems_folder=PATHS,
    received=st.none() | RECEIVED,
    problem=st.none() | st.builds(Problem, TEXTS, TEXTS),
    is_cancelled=st.booleans(),
)
CLIP = SelectedClip(
    "ball.mp4", "/film/ball.mp4", "a ball", 1, 48, 1, Fraction(24), Fraction(0), Fraction(2), 48, Fraction(24)
)


def make_record(key: str = "", **changes: Any) -> JobRecord:
    record = JobRecord(key or new_key(), CLIP, SoundSettings(), "Scene", Path("/film/rewas-stems"), created_at_s=10)
    return dataclasses.replace(record, **changes)


@settings(max_examples=25)
@given(RECORDS)
def test_a_record_survives_json(record: JobRecord) -> None:
    assert JobRecord.from_json(record.to_json()) == record
    assert "\n" not in record.to_json()


@settings(max_examples=50)
@given(RECORDS, st.data())
def test_a_damaged_record_is_refused_and_never_crashes(record: JobRecord, data: st.DataObject) -> None:
    plain = json.loads(record.to_json())
    holder, name = plain, data.draw(st.sampled_from(sorted(plain)))
    if isinstance(plain[name], dict):
        holder, name = plain[name], data.draw(st.sampled_from(sorted(plain[name])))
    holder[name] = data.draw(st.sampled_from([None, [], {}, "x", 3, 1.5, "1/0", True]))
    try:
        read = JobRecord.from_json(json.dumps(plain))
    except ValueError:
        return
    assert JobRecord.from_json(read.to_json()) == read


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '{"version": 1}', '{"version": 2}', "[" * 100_000])
def test_texts_that_are_not_records_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        JobRecord.from_json(text)


@pytest.mark.parametrize("key", ["../../evil", "a" * 31, "A" * 32, "g" * 32, ""])
def test_a_key_that_could_leave_the_journal_is_refused(key: str) -> None:
    plain = json.loads(make_record().to_json()) | {"key": key}
    with pytest.raises(ValueError):
        JobRecord.from_json(json.dumps(plain))


def test_fields_of_a_later_version_are_ignored() -> None:
    record = make_record()
    plain = json.loads(record.to_json())
    plain["clip"]["colour"] = "red"
    assert JobRecord.from_json(json.dumps(plain)) == record


def test_the_record_of_the_journal_replaces_that_of_the_file() -> None:
    first, second, third = (make_record(created_at_s=number) for number in (1, 2, 3))
    newer = dataclasses.replace(second, job_id="j")
    assert merge_records([third, second], [newer, first]) == [first, newer, third]


def test_a_journal_is_private_and_leaves_no_unfinished_files(tmp_path: Path) -> None:
    journal, record = Journal(tmp_path / "a" / "jobs"), make_record()
    journal.write(record)
    journal.write(dataclasses.replace(record, job_id="j"))
    assert [path.name for path in journal.folder.iterdir()] == [f"{record.key}.json"]
    if os.name == "posix":
        assert stat.S_IMODE((journal.folder / f"{record.key}.json").stat().st_mode) == 0o600
        assert stat.S_IMODE(journal.folder.stat().st_mode) == 0o700
    assert journal.records() == [dataclasses.replace(record, job_id="j")]
    journal.remove(record.key)
    journal.remove(record.key)
    assert journal.records() == []


def test_a_journal_that_cannot_be_written_keeps_the_last_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, record = Journal(tmp_path), make_record()
    journal.write(record)

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        journal.write(dataclasses.replace(record, job_id="j"))
    assert journal.records() == [record]
    assert len(list(tmp_path.iterdir())) == 1


def test_damaged_files_in_the_journal_are_skipped(tmp_path: Path) -> None:
    journal, record = Journal(tmp_path), make_record()
    journal.write(record)
    (tmp_path / f"{new_key()}.json").write_text("{")
    (tmp_path / f"{new_key()}.json").write_bytes(b"\xff\xfe")
    (tmp_path / "notes.json").write_text("{}")
    assert journal.records() == [record]


def test_old_records_are_deleted(tmp_path: Path) -> None:
    journal, old, young = Journal(tmp_path), make_record(created_at_s=0), make_record(created_at_s=KEPT_S)
    journal.write(old)
    journal.write(young)
    journal.prune(KEPT_S + 1.0)
    assert journal.records() == [young]


def found_by(book: RecordBook, blend_file: str, stems_folder: Path = Path("/x"), in_file: tuple[str, ...] = ()) -> Any:
    answered = threading.Event()
    answers: list[RecordsFound] = []

    def post(message: Any) -> None:
        answers.append(message)
        answered.set()

    book.find_for_file(blend_file, stems_folder, in_file, token=answered, post=post)
    assert answered.wait(30)
    assert answers[0].token is answered
    return list(answers[0].records)


def test_a_book_finds_the_records_of_a_file_also_after_a_restart(tmp_path: Path) -> None:
    now_s = int(time.time())
    mine = make_record(blend_file="/film/d.blend", created_at_s=now_s)
    moved = make_record(blend_file="/old/d.blend", created_at_s=now_s + 1)
    others = make_record(blend_file="/film/e.blend", created_at_s=now_s)
    unsaved = make_record(created_at_s=now_s)
    book = RecordBook(Journal(tmp_path))
    book.put([mine, moved, others, unsaved])
    book.change(moved.key, job_id="j")
    assert book.close(30)
    book = RecordBook(Journal(tmp_path))
    in_file = (moved.to_json(), "damaged")
    assert found_by(book, "/film/d.blend", in_file=in_file) == [mine, dataclasses.replace(moved, job_id="j")]
    assert found_by(book, "") == []
    assert found_by(book, "", in_file=(unsaved.to_json(),)) == [unsaved]
    assert book.close(30)


def test_stems_that_moved_with_their_file_are_found(tmp_path: Path) -> None:
    now_s = int(time.time())
    stem = StemFile("primary", Path("/gone/a.wav"), 48000, 1, 10)
    take = ReceivedTake(1, 7, (stem,), 0.5, None)
    received = StemsReceived("k", "j", GenerationInfo("p", "1", "x", 1, 1.0, 1.0), Fraction(1), (take,))
    record = make_record(received=received, blend_file="/film/d.blend", created_at_s=now_s)
    book = RecordBook(Journal(tmp_path / "jobs"))
    book.put([record])
    assert found_by(book, "/film/d.blend", tmp_path)[0].received is None
    (tmp_path / "a.wav").write_bytes(b"")
    (found,) = found_by(book, "/film/d.blend", tmp_path)
    assert found.received.takes[0].stems[0].path == tmp_path / "a.wav"
    assert book.close(30)


def test_concurrent_changes_of_a_record_are_written_in_order(tmp_path: Path) -> None:
    book, record = RecordBook(Journal(tmp_path)), make_record()
    book.put([record])

    def change(first: int) -> None:
        for number in range(first, first + 20):
            book.change_durably(record.key, created_at_s=number)
            book.change(record.key, submission=number)

    threads = [threading.Thread(target=change, args=(first,)) for first in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert book.close(30)
    assert Journal(tmp_path).records() == [book.get(record.key)]


def test_discarded_records_leave_the_journal(tmp_path: Path) -> None:
    book, record = RecordBook(Journal(tmp_path)), make_record()
    book.put([record])
    book.discard([record.key])
    assert book.change(record.key, job_id="j") is None
    assert book.close(30)
    assert list(tmp_path.iterdir()) == []


def test_the_data_folder_is_outside_blenders_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert data_folder() == Path("/data/rewas-nle")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert data_folder() == Path.home() / ".local/share/rewas-nle"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert data_folder() == Path.home() / "Library/Application Support/rewas-nle"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert data_folder() == Path("/local/rewas-nle")
