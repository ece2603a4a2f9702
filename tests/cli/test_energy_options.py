"""Energy on the command line: its sources, edits, events and files, and invalid values."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from rewas_command import FILM_RATE, CommandResult, Rewas

from rewas_engine import SILENCE_NATS

BALL_S = float(48 / FILM_RATE)
QUICK = ("--steps", "1", "--seed", "7")


def write_taps(path: Path, *times_s: float, duration_s: float = 1.0) -> Path:
    """Write a WAV of hands tapping on a table."""
    rate_hz = 44_100
    sample_times_s = np.arange(int(duration_s * rate_hz)) / rate_hz
    noise = np.random.default_rng(1).uniform(-1, 1, sample_times_s.size)
    envelope = sum(np.where(sample_times_s >= time_s, np.exp(-60 * (sample_times_s - time_s)), 0) for time_s in times_s)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate_hz, 0, "NONE", ""))
        file.writeframes((0.4 * 32767 * noise * envelope).astype("<i2").tobytes())
    return path


def write_curve(path: Path, *points: tuple[float, float]) -> Path:
    path.write_text("\n".join(["time_s,energy", *(f"{time_s},{nats}" for time_s, nats in points)]))
    return path


# Without a model


def test_a_flat_curve_is_edited_and_written(bare_rewas: Rewas, media: Path, tmp_path: Path) -> None:
    written = tmp_path / "curve.csv"
    result = bare_rewas(
        "energy", media / "ball.mp4", "--from", "flat:-4", "--edit", "Fade in 0.5", "--edit", "offset 1", "-o", written,
        "--json",
    )  # fmt: skip
    assert result.code == 0, result.errors
    report = result.json()
    assert report["edits"] == ["fade in 0.5", "offset 1"]
    assert (report["source"], report["pack"]) == ("user", None)
    assert set(report["unedited"]) == {-4}
    assert report["values"][-1] == -3
    assert report["values"][0] < -9
    assert len(report["values"]) / report["rate_hz"] == pytest.approx(BALL_S, abs=0.01)
    again = bare_rewas("energy", media / "ball.mp4", "--from", written, "--json").json()
    np.testing.assert_allclose(again["values"], report["values"], atol=1e-4)
    assert again["edits"] == []
    assert "unedited" not in again


def test_points_are_interpolated_from_the_start_of_the_clip(bare_rewas: Rewas, media: Path, tmp_path: Path) -> None:
    drawn = write_curve(tmp_path / "drawn.CSV", (0, -11.5), (0.5, -11.5), (0.75, -3), (1, -11.5))
    result = bare_rewas(
        "energy", media / "ball.mp4", "--start", 1, "--duration", 1, "--from", drawn, "--events", "--json"
    )
    report = result.json()
    assert len(report["values"]) == 100
    assert report["values"][10] == pytest.approx(SILENCE_NATS, abs=1e-4)
    assert max(report["values"]) == pytest.approx(-3, abs=0.2)
    (event,) = report["events"]
    assert event["number"] == 1
    assert 0.5 < event["time_s"] < 0.75
    assert event["peak"] == pytest.approx(-3, abs=0.2)
    shown = bare_rewas("energy", media / "ball.mp4", "--from", "flat", "--events").output
    assert "no events" in shown
    assert "given by you" in shown


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("wobble 3", "“wobble 3” is not understood"),
        ("", "“” is not understood"),
        ("fade in -1", "length of fade in is -1.0 s"),
        ("scale nan", "factor of scale is nan"),
        ("offset 12", "“offset 12” would make the energy 7.0 nats"),
        ("mute event 9", "no event 9: the curve has no events"),
        ("move event 1 to 3", "no event 1"),
    ],
)
def test_invalid_edits_are_refused(bare_rewas: Rewas, media: Path, tmp_path: Path, edit: str, message: str) -> None:
    for command in (["energy", "--from"], ["generate", "--prompt", "rain", "-o", tmp_path / "out", "--energy"]):
        result = bare_rewas(command[0], media / "ball.mp4", *command[1:], "flat", "--edit", edit, "--json")
        assert_refused(result, message)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "curve.csv is empty"),
        ("0,-5\n2,-5\n", "curve.csv begins with"),
        ("time_s,energy\n0,-5\n", "curve.csv has one point only"),
        ("time_s,energy\n0,-5\n1,nan\n2,-5\n", "Point 2 of curve.csv"),
        ("time_s,energy\n0,-5\n1,inf\n2,-5\n", "Point 2 of curve.csv"),
        ("time_s,energy\n2,-5\n0,-5\n", "Point 2 of curve.csv"),
        ("time_s,energy\n0,-5\n1,-5\n", "curve.csv is too short"),
        ("time_s,energy\n0,-5\n100,-5\n", "curve.csv extends to 100 s"),
        ("time_s,energy\n-1,-5\n2,-5\n", "before the clip"),
        ("time_s,energy\n0,-5\n1;2\n", "line “1;2” of curve.csv"),
    ],
)
def test_invalid_curve_files_are_refused(
    bare_rewas: Rewas, media: Path, tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "curve.csv"
    path.write_text(content)
    for command in (["energy", "--from"], ["generate", "--prompt", "rain", "-o", tmp_path / "out", "--energy"]):
        assert_refused(bare_rewas(command[0], media / "ball.mp4", *command[1:], path, "--json"), message)
    assert [file.name for file in tmp_path.iterdir()] == ["curve.csv"]


def test_invalid_sources_and_files_are_refused(bare_rewas: Rewas, media: Path, tmp_path: Path) -> None:
    clip, note = media / "ball.mp4", tmp_path / "note.txt"
    note.write_text("no sound")
    for source, message in (
        ("smell", "“smell”"),
        ("", "“”"),
        (tmp_path, "no such file"),
        (tmp_path / "gone.csv", "gone.csv"),
        ("flat:loud", "“flat:loud” is not a number"),
        ("flat:", "is not a number"),
        ("flat:6", "louder than any sound"),
        ("flat:nan", "nan nats"),
        (note, "note.txt cannot be read"),
    ):
        assert_refused(bare_rewas("energy", clip, "--from", source, "--json"), message)
    for arguments, message in (
        (["--duration", "0"], "duration"),
        (["--start", "-1"], "'-1' is not a time"),
        (["--start", "9"], "9"),
        (["--duration", "9"], "ball.mp4 ends at"),
        (["-o", tmp_path / "curve.txt"], "not a CSV"),
        (["-o", tmp_path / "no" / "curve.csv"], "does not exist"),
    ):
        assert_refused(bare_rewas("energy", clip, "--from", "flat", *arguments, "--json"), message)
    assert [file.name for file in tmp_path.iterdir()] == ["note.txt"]


def test_an_empty_prompt_is_refused_before_the_energy_is_read(bare_rewas: Rewas, media: Path, tmp_path: Path) -> None:
    result = bare_rewas(
        "generate", media / "ball.mp4", "--prompt", " ", "--energy", "audio", "-o", tmp_path / "out", "--json"
    )
    assert_refused(result, "empty prompt")


def assert_refused(result: CommandResult, message: str) -> None:
    assert result.code == 2, result.errors
    error = result.json()["error"]
    assert message in error["what"], error
    assert error["remedy"]
    assert "Traceback" not in result.errors


# With the tiny model


@pytest.mark.slow
def test_energy_from_a_recorded_performance(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    hands = write_taps(tmp_path / "hands.wav", 0.2, 0.7)
    result = rewas(
        "energy", media / "ball.mp4", "--from", hands, "--edit", "move event 2 to 1.5", "--events", "--json",
        "--plot", tmp_path / "events.png",
    )  # fmt: skip
    assert result.code == 0, result.errors
    report = result.json()
    assert report["clip"]["name"] == "ball.mp4"
    assert report["source"] == "audio"
    assert len(report["values"]) == 201
    np.testing.assert_allclose([event["time_s"] for event in report["events"]], [0.2, 1.5], atol=0.035)
    assert report["values"][180:] == pytest.approx([SILENCE_NATS] * 21, abs=0.1)
    assert (tmp_path / "events.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("on_server", [False, True])
def test_the_requested_energy_comes_from_its_source(
    rewas: Rewas, media: Path, tmp_path: Path, server: str, on_server: bool
) -> None:
    where = ("--server", server) if on_server else ()
    drawn = write_curve(tmp_path / "drawn.csv", (0, -11.5), (1, -3), (2, -11.5))
    requested = {}
    for name, source in {"drawn": drawn, "hands": write_taps(tmp_path / "hands.wav", 0.5), "own": "audio"}.items():
        result = rewas(
            "generate", media / "ball.mp4", "--prompt", "rain", *QUICK, "--energy", source, "--edit", "offset 0.5",
            *where, "-o", tmp_path / "out", "--json",
        )  # fmt: skip
        assert result.code == 0, result.errors
        energy = result.json()["energy"]
        assert energy["edits"] == ["offset 0.5"]
        assert energy["source"] == ("user" if name == "drawn" else "audio")
        assert len(energy["requested"]) == len(energy["produced"]) == 201
        requested[name] = np.array(energy["requested"])
    assert requested["drawn"][100] == pytest.approx(-2.5, abs=0.1)
    assert requested["hands"][50:60].max() > -6
    assert requested["hands"][120:].max() < -11
    report = rewas("energy", media / "ball.mp4", "--from", "audio", "--edit", "offset 0.5", *where, "--json").json()
    np.testing.assert_allclose(requested["own"], report["values"], atol=1e-4)


@pytest.mark.slow
def test_energy_from_the_video_is_edited(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    result = rewas(
        "generate", media / "ball.mp4", "--prompt", "rain", *QUICK, "--edit", "gate 5", "-o", tmp_path, "--json"
    )
    assert result.code == 0, result.errors
    energy = result.json()["energy"]
    assert energy["source"] == "picture"
    np.testing.assert_allclose(energy["requested"], SILENCE_NATS, atol=1e-4)


@pytest.mark.slow
def test_a_sound_file_is_refused_as_a_clip(rewas: Rewas, tmp_path: Path) -> None:
    hands = write_taps(tmp_path / "hands.wav", 0.2)
    alone = rewas("energy", hands, "--from", "audio", "--json").json()
    assert alone["clip"]["frame_rate"] is None
    assert alone["clip"]["duration_s"] == 1
    for command in (["energy", hands], ["generate", hands, "--prompt", "rain", "--energy", "flat"]):
        assert_refused(rewas(*command, "-o", tmp_path / "out.csv", "--json"), "has no video")
