"""Credits of recordings: in the table beside the stems, and in the metadata of each stem."""

from __future__ import annotations

import csv
import io
import threading
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_api.clip_settings import ClipSettings
from rewas_api.layer_settings import LayerSettings
from rewas_api.v1 import rewas_pb2
from rewas_engine.recordings.credits import UsedRecording
from rewas_server.delivery.broadcast_wav import write_broadcast_wav
from rewas_server.delivery.credits import COLUMNS, CREDITS_FILE, update_credits
from rewas_server.delivery.csv_tables import csv_text, read_csv
from rewas_server.delivery.ixml import recordings_in_file
from rewas_server.delivery.metadata import BroadcastMetadata
from rewas_server.delivery.provenance import DIGITAL_SOURCE_TYPES, Provenance, mixed, with_recordings
from rewas_server.work.stem_provenance import SoundProvenance, recordings_by_role

HAMMER = UsedRecording("wood/hammer.wav", "hammer on wood", "CC-BY-4.0", "H. Smith", "a" * 64)
RAIN = UsedRecording("=rain.wav", "+heavy rain", "CC-BY-NC-4.0", "@weather", "b" * 64)
PERFORMED = Provenance("hammer", 7, "foley", "1", "CC0-1.0", "Use as permitted by CC0-1.0.")
GENERATED = Provenance("wind", 8, "starter", "2", "Apache-2.0", "Free for any use.")


def rows_of(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline="")))


def stems(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"sound")


def test_the_recordings_of_stems_are_listed(tmp_path: Path) -> None:
    stems(tmp_path, "a.wav", "b.wav", "c.wav")
    path = update_credits(tmp_path, {"a.wav": (HAMMER, RAIN), "b.wav": (), "c.wav": (HAMMER,)})
    assert path == tmp_path / CREDITS_FILE
    header, *rows = rows_of(path)
    assert tuple(header) == COLUMNS
    assert rows == [
        ["a.wav", "'=rain.wav", "CC-BY-NC-4.0", "'@weather", "'+heavy rain", "b" * 64],
        ["a.wav", "wood/hammer.wav", "CC-BY-4.0", "H. Smith", "hammer on wood", "a" * 64],
        ["c.wav", "wood/hammer.wav", "CC-BY-4.0", "H. Smith", "hammer on wood", "a" * 64],
    ]
    assert [each.name for each in tmp_path.iterdir() if each.suffix != ".wav"] == [CREDITS_FILE]


def test_stems_of_other_runs_keep_their_rows_while_they_exist(tmp_path: Path) -> None:
    stems(tmp_path, "a.wav", "=b.wav")
    update_credits(tmp_path, {"a.wav": (HAMMER,), "=b.wav": (RAIN,)})
    (tmp_path / "a.wav").unlink()
    stems(tmp_path, "c.wav")
    path = update_credits(tmp_path, {"c.wav": (HAMMER,)})
    assert path is not None
    assert sorted(row[0] for row in rows_of(path)[1:]) == ["'=b.wav", "c.wav"]
    written_ns = path.stat().st_mtime_ns
    assert update_credits(tmp_path, {"c.wav": (HAMMER,)}) == path
    assert path.stat().st_mtime_ns == written_ns
    assert update_credits(tmp_path, {"c.wav": (), "=b.wav": ()}) is None
    assert not path.exists()


def test_a_folder_without_recordings_gets_no_table(tmp_path: Path) -> None:
    assert update_credits(tmp_path, {"a.wav": ()}) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"film,people\r\nmine,all\r\n", b"\xff\xfe\x00", b'"open', b""])
def test_a_file_of_somebody_else_is_kept(tmp_path: Path, content: bytes) -> None:
    stems(tmp_path, "a.wav")
    (tmp_path / CREDITS_FILE).write_bytes(content)
    for _ in range(2):
        assert update_credits(tmp_path, {"a.wav": (HAMMER,)}) == tmp_path / "credits 2.csv"
    assert (tmp_path / CREDITS_FILE).read_bytes() == content


def test_runs_at_the_same_time_lose_no_rows(tmp_path: Path) -> None:
    names = [f"{number}.wav" for number in range(8)]
    stems(tmp_path, *names)
    writers = [threading.Thread(target=update_credits, args=(tmp_path, {name: (HAMMER,)})) for name in names]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(row[0] for row in rows_of(tmp_path / CREDITS_FILE)[1:]) == names


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


@given(st.lists(st.lists(texts | texts.map("={}".format), min_size=2, max_size=2), max_size=4))
def test_no_cell_is_a_formula_and_tables_are_read_back(rows: list[list[str]]) -> None:
    text = csv_text(("a", "b"), rows)
    for row in csv.reader(io.StringIO(text, newline="")):
        for cell in row:
            assert not cell.startswith(("=", "@", "+", "-")) or cell[1:].replace(".", "", 1).isdecimal()
    quoted = [[cell for cell in row if cell.startswith("'")] for row in rows]
    if not any(quoted):
        assert read_csv(text)[1:] == rows


def test_the_provenance_of_a_performed_stem_names_licences_and_credits() -> None:
    made = with_recordings(PERFORMED, (HAMMER, RAIN, HAMMER))
    assert made.recordings == (HAMMER, RAIN)
    assert (made.licence, made.credits) == ("CC-BY-4.0 AND CC-BY-NC-4.0", "H. Smith; @weather")
    assert made.permitted_use == (
        "Non-commercial use only, because of =rain.wav. Use as permitted by CC0-1.0."
    )  # fmt: skip
    assert made.digital_source_type == DIGITAL_SOURCE_TYPES["recordings"]
    assert "credit=H. Smith; @weather; prompt=hammer" in made.sentence()
    silent = with_recordings(PERFORMED, ())
    assert (silent.licence, silent.permitted_use) == ("CC0-1.0", "Use as permitted by CC0-1.0.")


def test_a_part_without_a_stated_licence_is_not_covered_by_the_others() -> None:
    performed = with_recordings(PERFORMED, [HAMMER, UsedRecording("b.wav", "", "", "", "0" * 64)])
    assert performed.licence == f"{HAMMER.licence} AND LicenseRef-not-stated"
    unstated = with_recordings(replace(PERFORMED, licence=""), [UsedRecording("b.wav", "", "", "", "0" * 64)])
    assert unstated.licence == ""
    assert mixed([unstated, performed], "both", 1).licence.startswith("LicenseRef-not-stated AND ")


def test_a_mix_has_the_terms_of_all_its_parts() -> None:
    mix = mixed([with_recordings(PERFORMED, (HAMMER,)), GENERATED, GENERATED], "hammer; wind", 7)
    assert (mix.pack_name, mix.pack_version) == ("foley + starter", "1 + 2")
    assert mix.licence == "CC-BY-4.0 AND Apache-2.0"
    assert mix.permitted_use == "Use as permitted by CC0-1.0. Free for any use."
    assert (mix.origin, mix.recordings) == ("both", (HAMMER,))
    assert mixed([GENERATED], "wind", 8).origin == "model"


def test_stems_of_a_result_have_their_own_packs() -> None:
    foley = rewas_pb2.Pack(name="foley", version="1", licence="CC0-1.0", permitted_use="Use.", is_library=True)
    starter = rewas_pb2.Pack(name="starter", version="2", licence="Apache-2.0", permitted_use="Free.")
    recording = rewas_pb2.UsedRecording(**vars(HAMMER))
    stems = [rewas_pb2.Stem(role=role) for role in ("primary", "ambience", "mix")]
    take = rewas_pb2.Take(
        seed=7, stems=stems, recordings=[recording],
        layers=[rewas_pb2.LayerResult(name="ambience", seed=9, pack=starter)],
    )  # fmt: skip
    made = SoundProvenance(ClipSettings(prompt="hammer", layers=(LayerSettings("ambience", "wind"),)), foley)
    primary, ambience, mix = (made.of_stem(take, stem.role) for stem in take.stems)
    assert (primary.origin, primary.recordings, primary.licence) == ("recordings", (HAMMER,), "CC-BY-4.0")
    assert (ambience.origin, ambience.pack_name, ambience.seed, ambience.prompt) == ("model", "starter", 9, "wind")
    assert (mix.origin, mix.pack_name, mix.prompt) == ("both", "foley + starter", "hammer; wind")
    assert made.pack_of(take, "ambience") == starter
    assert recordings_by_role(take) == {"primary": (HAMMER,), "mix": (HAMMER,)}


def test_a_file_without_ixml_names_no_recordings(tmp_path: Path) -> None:
    for name, content in (("empty.wav", b""), ("short.wav", b"RIFF\0\0"), ("text.wav", b"iXML" * 100)):
        (tmp_path / name).write_bytes(content)
        assert recordings_in_file(tmp_path / name) == ()


def test_a_model_that_regenerates_a_performed_sound_credits_what_is_kept() -> None:
    starter = rewas_pb2.Pack(name="starter", version="0.8.0", licence="Apache-2.0", permitted_use="Free for any use.")
    kept = rewas_pb2.UsedRecording(name=HAMMER.name, words=HAMMER.words, licence=HAMMER.licence, credit=HAMMER.credit,
                                   content_sha256=HAMMER.content_sha256)  # fmt: skip
    take = rewas_pb2.Take(seed=3, recordings=[kept], stems=[rewas_pb2.Stem(role="primary")])
    made = SoundProvenance(ClipSettings(prompt="hammer"), starter).of_stem(take, "primary")
    assert (made.origin, made.pack_name, made.pack_version) == ("both", "starter", "0.8.0")
    assert made.licence == f"Apache-2.0 AND {HAMMER.licence}"
    assert made.recordings == (HAMMER,)


def test_the_metadata_of_a_stem_carries_licence_and_credit(tmp_path: Path) -> None:
    path = tmp_path / "stem.wav"
    metadata = BroadcastMetadata(with_recordings(PERFORMED, (HAMMER, RAIN)), title="shot")
    with path.open("xb") as file:
        write_broadcast_wav(file, np.zeros((2, 480), np.float32), 48_000, metadata)
    content = path.read_bytes()
    assert b"licence=CC-BY-4.0 AND CC-BY-NC-4.0; seed=7; credit=H. Smith; @weather; prompt=hammer" in content
    assert b"CC-BY-4.0 AND CC-BY-NC-4.0 H. Smith; @weather\0" in content
    assert b"generated by AI" not in content
    begin = content.index(b"<BWFXML>")
    ixml = ET.fromstring(content[begin : content.index(b"</BWFXML>") + len(b"</BWFXML>")])
    listed = ixml.findall("REWAS/RECORDING")
    assert [(each.findtext("NAME"), each.findtext("LICENCE"), each.findtext("CREDIT")) for each in listed] == [
        ("wood/hammer.wav", "CC-BY-4.0", "H. Smith"), ("=rain.wav", "CC-BY-NC-4.0", "@weather")
    ]  # fmt: skip
    assert ixml.findtext("REWAS/DIGITAL_SOURCE_TYPE") == DIGITAL_SOURCE_TYPES["recordings"]
    assert recordings_in_file(path) == (HAMMER, RAIN)
    xmp = content[content.index(b"<x:xmpmeta") :]
    assert b"wood/hammer.wav, CC-BY-4.0, H. Smith" in xmp
    assert b"AISystemUsed" not in xmp
    assert b"compositeCapture" in xmp
