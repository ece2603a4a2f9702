"""The cue sheet and the reports of a delivery."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from rewas_server.delivery.cue_sheet import cue_sheet, report_table
from rewas_server.delivery.deliver import DeliveredStem, Delivery
from rewas_server.delivery.delivery_report import report_page
from rewas_server.delivery.documents import write_documents
from rewas_server.delivery.loudness import LoudnessFigures
from rewas_server.delivery.profiles import load_profile
from rewas_server.delivery.provenance import Provenance
from rewas_server.delivery.stems import GeneratedStem, MissingSound, PlacedStem, TimelineFacts

FACTS = TimelineFacts("reel <1>", Fraction(107_892 * 1001, 30_000), Fraction(30_000, 1001), is_drop_frame=True)
EVIL = "=HYPERLINK(\"http://a\"), <script>alert('x')</script> & rain"


def delivered_stem(
    prompt: str = "rain",
    position_frames: int = 0,
    loudness: LoudnessFigures = LoudnessFigures(-23.04, None, -6.5, -20.0, None),  # noqa: B008
    **changes: Any,
) -> DeliveredStem:
    rate = FACTS.frame_rate
    provenance = Provenance(prompt, 2**40, "starter", "0.1.0", "Apache-2.0", "Any use.")
    given: dict[str, Any] = {
        "clip_name": "shot",
        "clip_number": 1,
        "role": "primary",
        "take_number": 1,
        "track": "FX",
        "is_audible": True,
        "position_s": position_frames / rate,
        "duration_s": 60 / rate,
        "frame_rate": rate,
        "target_url": "/stems/a.wav",
        "sample_rate_hz": 48_000,
        "samples": 96_096,
        "time_reference_samples": 5,
        "provenance": provenance,
        "head_handle_s": 12 / rate,
    }
    placed = PlacedStem(**(given | changes))
    generated = GeneratedStem(
        Path("a"), "0", "shot", 1, "primary", 1, placed.position_s, placed.duration_s, provenance, model_rate_hz=16_000
    )
    return DeliveredStem(generated, placed, Path(f"/stems/{placed.track}.wav"), "f" * 64, True, loudness, -0.504, 44, 0)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_cue_sheet_lists_audible_sounds_by_position() -> None:
    stems = [
        delivered_stem("steps", 1800, track="FOLEY"),
        delivered_stem("rain", 0, track="AMB"),
        delivered_stem("rain", 0, track="AMB", is_audible=False),
    ]
    first, second = rows_of(cue_sheet(stems, FACTS))
    assert first == {
        "Timecode in": "01:00:00;00",
        "Timecode out": "01:00:02;00",
        "Duration": "00:00:02:00",
        "Clip": "shot",
        "Role": "primary",
        "Track": "AMB",
        "Prompt": "rain",
        "File": "AMB.wav",
        "Recordings": "",
        "Credits": "",
    }
    # Drop-frame timecode skips two numbers at the full minute.
    assert (second["Timecode in"], second["Timecode out"]) == ("01:01:00;02", "01:01:02;02")


def test_a_report_has_each_figure_of_each_stem() -> None:
    (row,) = rows_of(report_table([delivered_stem(is_audible=False)], FACTS))
    assert row["Audible"] == "no"
    assert (row["Integrated loudness in LUFS"], row["True peak in dBTP"], row["Gain in dB"]) == (
        "-23.04",
        "-6.50",
        "-0.50",
    )
    assert (row["Loudness range in LU"], row["Short-term loudness in LUFS"]) == ("", "")
    assert (row["Handle before in frames"], row["Handle after in frames"]) == ("12", "0")
    assert (row["Duration in s"], row["Samples"], row["Time reference in samples"]) == ("2.002", "96096", "5")
    assert (row["Seed"], row["Pack"], row["Version"], row["Licence"]) == (str(2**40), "starter", "0.1.0", "Apache-2.0")
    assert row["Highest frequency in Hz"] == "8000"
    assert row["Digital source type"].endswith("/trainedAlgorithmicMedia")
    assert row["SHA-256"] == "f" * 64


@pytest.mark.parametrize("table", [cue_sheet, report_table])
@pytest.mark.parametrize("prompt", ["=1+1", "+rain", "-rain", "@rain", "\train"])
def test_no_cell_is_a_formula(table: Callable[[list[DeliveredStem], TimelineFacts], str], prompt: str) -> None:
    (row,) = rows_of(table([delivered_stem(prompt)], FACTS))
    assert row["Prompt"] == f"'{prompt}"


def test_clips_without_a_sound_are_listed_with_the_reason() -> None:
    missing = [
        MissingSound("A001", 2, 60 / FACTS.frame_rate, 30 / FACTS.frame_rate, "The file is missing. Relink it."),
        MissingSound("A002", None, None, Fraction(1), "It has no prompt."),
    ]
    stem, failed, unprompted = rows_of(report_table([delivered_stem()], FACTS, missing))
    assert stem["Reason for missing sound"] == ""
    assert {name: cell for name, cell in failed.items() if cell} == {
        "Clip": "A001",
        "Number": "2",
        "Timecode in": "01:00:02;00",
        "Timecode out": "01:00:03;00",
        "Duration in s": "1.001",
        "Reason for missing sound": "The file is missing. Relink it.",
    }
    assert (unprompted["Number"], unprompted["Timecode in"]) == ("", "")
    text = _Page(report_page(Delivery((), (), ()), load_profile(), FACTS, missing)).text
    first, second = text.split("Clips without a prompt")
    assert "A001" in first.split("Clips without a sound")[1]
    assert "A002" in second


class _Page(HTMLParser):
    """The tags and the text of a page. Raises for a tag that is closed out of order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not {name for name, _ in attrs} & {"src", "href"}
        if tag not in ("meta", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_complete_and_everything_in_it_is_escaped() -> None:
    stems = (delivered_stem(EVIL, clip_name=EVIL), delivered_stem(track="AMB", is_audible=False))
    missing = [MissingSound(EVIL, number, None, Fraction(1), EVIL) for number in (1, None)]
    page = _Page(report_page(Delivery(stems, (EVIL,), ()), load_profile("post"), FACTS, missing))
    assert "script" not in page.tags
    assert page.text.count(EVIL) == 7
    for text in ("reel <1>", "−23.0", "–", "−6.5 dBTP", "Any use.", "seed 1099511627776", "01:00:00;00", "drop-frame"):
        assert text in page.text
    assert "29.970 (30000/1001) frames per second" in page.text
    assert "trainedAlgorithmicMedia" in page.text


def test_a_silent_and_empty_delivery_has_a_page() -> None:
    silent = delivered_stem(loudness=LoudnessFigures())
    page = report_page(Delivery((silent,), (), ()), load_profile(), FACTS)
    assert "– LUFS" in page
    assert ">silent<" in page
    assert rows_of(report_table([silent], FACTS))[0]["Silent"] == "yes"
    assert rows_of(report_table([delivered_stem()], FACTS))[0]["Silent"] == "no"
    assert "0 stems" in report_page(Delivery((), (), ()), load_profile(), FACTS)


def test_documents_are_written_once_and_edited_ones_are_kept(tmp_path: Path) -> None:
    delivery = Delivery((delivered_stem("Büro 雨"),), (), ())
    post = load_profile("post")
    paths = write_documents(delivery, post, FACTS, tmp_path)
    assert [path.name for path in paths] == [
        "reel -1 cue sheet.csv",
        "reel -1 report.csv",
        "reel -1 report.html",
    ]
    assert paths[0].read_bytes().startswith(b"\xef\xbb\xbfTimecode in,")
    assert rows_of(paths[0].read_text("utf-8-sig"))[0]["Prompt"] == "Büro 雨"
    before = [path.stat() for path in paths]
    assert write_documents(delivery, post, FACTS, tmp_path) == paths
    assert [path.stat() for path in paths] == before
    paths[0].write_text("edited")
    changed = Delivery((delivered_stem("rain"),), (), ())
    again = write_documents(changed, post, FACTS, tmp_path)
    assert [path.name for path in again] == ["reel -1 cue sheet 2.csv", *(path.name for path in paths[1:])]
    assert paths[0].read_text() == "edited"
    assert write_documents(changed, post, FACTS, tmp_path) == again
    assert write_documents(changed, load_profile(), FACTS, tmp_path) == []
