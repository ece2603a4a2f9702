"""generate, energy, conflict and batch: locally and on a server, with the same result."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import opentimelineio as otio
import pytest
import soundfile
from rewas_command import FILM_RATE, Rewas

pytestmark = pytest.mark.slow

BALL_S = 48 / FILM_RATE
BALL_SAMPLES = 96096
QUICK = ("--steps", "2", "--seed", "7")


def test_generate_writes_the_exact_length_of_the_clip(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    plot = tmp_path / "energy.png"
    result = rewas(
        "generate", media / "ball.mp4", "--prompt", "ball bounce", *QUICK, "--takes", 2, "-o", tmp_path / "out",
        "--plot", plot, "--json",
    )  # fmt: skip
    assert result.code == 0, result.errors
    report = result.json()
    assert report["clip"]["path"] == str(media / "ball.mp4")
    assert report["clip"]["start_s"] == 0
    assert report["clip"]["duration_s"] == float(BALL_S)
    assert report["clip"]["frame_rate"] == "24000/1001"
    assert {"name", "version", "licence"} <= set(report["pack"])
    assert sorted(take["seed"] for take in report["takes"]) == [7, 8]
    scores = [take["score"] for take in report["takes"]]
    assert scores == sorted(scores, reverse=True)
    for take in report["takes"]:
        stem = take["stems"]["primary"]
        info = soundfile.info(stem["path"])
        assert (stem["sample_rate"], stem["samples"]) == (48000, BALL_SAMPLES)
        assert (info.samplerate, info.frames, info.subtype) == (48000, BALL_SAMPLES, "PCM_24")
        assert take["energy_mae"] >= 0
        assert take["energy_correlation"] is None or -1 <= take["energy_correlation"] <= 1
    energy = report["energy"]
    assert len(energy["requested"]) == len(energy["produced"]) > 0
    assert energy["rate_hz"] > 0
    assert {"decode", "energy", "sample", "vocode", "deliver"} <= set(report["timings_s"])
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert result.errors == ""


def test_only_the_same_seed_gives_the_same_sound(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    sounds = []
    for seed in (7, 7, 8):
        result = rewas(
            "generate", media / "ball.mp4", "--prompt", "rain", "--steps", 2, "--seed", seed, "--duration", "0.5",
            "-o", tmp_path, "--json",
        )  # fmt: skip
        path = result.json()["takes"][0]["stems"]["primary"]["path"]
        sounds.append(soundfile.read(path, dtype="int32")[0])
    assert (sounds[0] == sounds[1]).all()
    assert (sounds[0] != sounds[2]).any()
    assert len(list(tmp_path.iterdir())) == 3


def test_a_random_seed_is_reported(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    result = rewas(
        "generate", media / "ball.mp4", "--prompt", "rain", "--steps", 1, "--start", "0.5", "--sample-rate", 44100,
        "-o", tmp_path, "--json",
    )  # fmt: skip
    report = result.json()
    assert report["takes"][0]["seed"] == report["settings"]["seed"]
    assert report["takes"][0]["stems"]["primary"]["samples"] == round((BALL_S - Fraction(1, 2)) * 44100)


def test_generate_prints_text(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    result = rewas("generate", media / "ball.mp4", "--prompt", "rain", *QUICK, "-o", tmp_path)
    assert result.code == 0, result.errors
    (stem,) = tmp_path.iterdir()
    assert str(stem) in result.output
    assert "seed 7" in result.output


def test_energy_from_video_and_audio(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    plot = tmp_path / "energy.png"
    result = rewas("energy", media / "ball.mp4", "--compare", "audio", "--plot", plot, "--json")
    assert result.code == 0, result.errors
    report = result.json()
    assert report["source"] == "picture"
    assert len(report["values"]) / report["rate_hz"] == pytest.approx(float(BALL_S), abs=1 / report["rate_hz"] + 0.05)
    assert report["mae"] >= 0
    assert report["correlation"] is None or -1 <= report["correlation"] <= 1
    assert plot.read_bytes().startswith(b"\x89PNG")
    from_audio = rewas("energy", media / "ball.mp4", "--from", "audio", "--json").json()
    assert from_audio["source"] == "audio"
    assert from_audio["values"] == report["against"]["values"]
    assert max(from_audio["values"]) - min(from_audio["values"]) > 1


def test_conflict_prints_a_report(rewas: Rewas, media: Path) -> None:
    report = rewas("conflict", media / "ball.mp4", "--prompt", "rain", "--json").json()
    assert report["verdict"] in ("agree", "unsure", "conflict", "unsupported")
    assert report["explanation"]


def test_packs_are_listed(rewas: Rewas) -> None:
    pack = rewas("packs", "list", "--json").json()["packs"][0]
    assert pack["name"] == "starter"
    assert pack["problem"] is None
    assert "starter" in rewas("packs", "list").output


def write_reel(path: Path, media_url: str) -> Path:
    """Write a timeline: a gap of ten frames, a ball, a silent shot, and the second half of a ball."""

    def span(start: int, frames: int) -> otio.opentime.TimeRange:
        rate = float(FILM_RATE)
        return otio.opentime.TimeRange(
            otio.opentime.RationalTime(start, rate), otio.opentime.RationalTime(frames, rate)
        )

    def shot(name: str, start: int, frames: int, **ours: object) -> otio.schema.Clip:
        reference = otio.schema.ExternalReference(target_url=media_url, available_range=span(0, 48))
        clip = otio.schema.Clip(name=name, media_reference=reference, source_range=span(start, frames))
        if ours:
            clip.metadata["rewas"] = ours
        return clip

    timeline = otio.schema.Timeline(name="reel")
    shots = [
        otio.schema.Gap(source_range=span(0, 10)),
        shot("first", 0, 20, prompt="ball bounce"),
        shot("silent", 0, 7),
        shot("second", 24, 19, prompt="wood knock", seed=3),
    ]
    timeline.tracks.append(otio.schema.Track(name="V1", kind=otio.schema.TrackKind.Video, children=shots))
    timeline.tracks.append(otio.schema.Track(name="A1", kind=otio.schema.TrackKind.Audio))
    otio.adapters.write_to_file(timeline, str(path))
    return path


@pytest.mark.parametrize("on_server", [False, True])
def test_batch_places_stems_under_their_clips(
    rewas: Rewas, media: Path, tmp_path: Path, server: str, on_server: bool
) -> None:
    timeline = write_reel(tmp_path / "reel.otio", os.path.relpath(media / "ball.mp4", tmp_path))
    where = ("--server", server) if on_server else ()
    out = tmp_path / "out.otio"
    result = rewas("batch", timeline, "-o", out, "--stems", tmp_path / "stems", *QUICK, *where, "--json")
    assert result.code == 0, result.errors
    report = result.json()
    assert [clip["prompt"] for clip in report["clips"]] == ["ball bounce", "wood knock"]
    assert [clip["takes"][0]["seed"] for clip in report["clips"]] == [7, 3]
    before, after = (otio.adapters.read_from_file(str(path)) for path in (timeline, out))
    for number, track in enumerate(before.tracks):
        assert after.tracks[number].is_equivalent_to(track)
    (added,) = after.tracks[2:]
    stems = list(added.find_clips())
    assert [clip.range_in_parent().start_time.to_seconds() for clip in stems] == pytest.approx(
        [float(10 / FILM_RATE), float(37 / FILM_RATE)], abs=1e-7
    )
    for clip, frames in zip(stems, (20, 19), strict=True):
        path = tmp_path / clip.media_reference.target_url
        assert path.parent == tmp_path / "stems"
        assert soundfile.info(path).frames == frames * 2002
    assert {path.name for path in tmp_path.iterdir()} >= {"out.otio", "reel.otio", "stems"}
    assert len(list((tmp_path / "stems").glob("*.wav"))) == 2


@pytest.mark.parametrize(("on_server", "is_missing"), [(False, False), (True, False), (True, True)])
def test_a_clip_that_fails_does_not_stop_the_others(
    rewas: Rewas, media: Path, tmp_path: Path, server: str, on_server: bool, is_missing: bool
) -> None:
    where = ("--server", server) if on_server else ()
    timeline = otio.adapters.read_from_file(str(write_reel(tmp_path / "reel.otio", str(media / "ball.mp4"))))
    if not is_missing:
        (tmp_path / "torn.mp4").write_text("no picture")
    first = next(iter(timeline.find_clips()))
    first.media_reference.target_url = str(tmp_path / "torn.mp4")
    otio.adapters.write_to_file(timeline, str(tmp_path / "reel.otio"))
    arguments = (
        "batch",
        tmp_path / "reel.otio",
        "-o",
        tmp_path / "out.otio",
        "--stems",
        tmp_path / "stems",
        *QUICK,
        *where,
    )
    result = rewas(*arguments, "--json")
    assert result.code == 1, result.errors
    failed, generated = result.json()["clips"]
    assert failed["clip"] == {"name": "first"}
    # An upload is named by its clip.
    assert ("first" if on_server and not is_missing else "torn.mp4") in failed["problem"]["what"]
    assert failed["problem"]["remedy"]
    assert failed["problem"]["kind"] == "MEDIA"
    assert (generated["clip"]["name"], generated["problem"]) == ("second", None)
    stem = Path(generated["takes"][0]["stems"]["primary"]["path"])
    assert list((tmp_path / "stems").glob("*.wav")) == [stem]
    assert stem.name.startswith("002 second primary")
    (track,) = otio.adapters.read_from_file(str(tmp_path / "out.otio")).audio_tracks()[1:]
    (placed,) = track.find_clips()
    assert tmp_path / placed.media_reference.target_url == stem
    assert placed.range_in_parent().start_time.to_seconds() == pytest.approx(float(37 / FILM_RATE), abs=1e-7)
    as_text = rewas(*arguments)
    assert as_text.code == 1
    *_, count, last = as_text.output.splitlines()
    assert count == "1 of 2 clips failed:"
    assert last.startswith("  first: ")


def test_a_timeline_whose_clips_all_fail_is_an_error(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    (tmp_path / "torn.mp4").write_text("no picture")
    write_reel(tmp_path / "reel.otio", "torn.mp4")
    result = rewas(
        "batch", tmp_path / "reel.otio", "-o", tmp_path / "out.otio", "--stems", tmp_path / "stems", "--json"
    )
    assert result.code == 2
    error = result.json()["error"]
    assert error["what"].startswith('No clip of the timeline "reel" has a sound: ')
    assert error["kind"] == "MEDIA"
    assert {path.name for path in tmp_path.iterdir()} == {"reel.otio", "torn.mp4"}


def test_a_server_generates_the_same_sound(rewas: Rewas, media: Path, server: str, tmp_path: Path) -> None:
    # Outside the allowed roots of the server, so it is uploaded.
    elsewhere = tmp_path / "elsewhere.mp4"
    elsewhere.write_bytes((media / "ball.mp4").read_bytes())
    sounds = []
    for clip, where in (
        (media / "ball.mp4", ()),
        (media / "ball.mp4", ("--server", server)),
        (elsewhere, ("--server", server)),
    ):
        result = rewas("generate", clip, "--prompt", "rain", *QUICK, "-o", tmp_path / "out", *where, "--json")
        assert result.code == 0, result.errors
        report = result.json()
        assert report["clip"]["path"] == str(clip)
        path = Path(report["takes"][0]["stems"]["primary"]["path"])
        assert path.parent == tmp_path / "out"
        sounds.append(soundfile.read(path, dtype="int32")[0])
    assert (sounds[0] == sounds[1]).all()
    assert (sounds[0] == sounds[2]).all()
    assert rewas("energy", elsewhere, "--server", server, "--json").json()["source"] == "picture"
    assert rewas("packs", "list", "--server", server, "--json").json()["packs"][0]["name"] == "starter"


def test_a_server_refuses_with_the_same_message(rewas: Rewas, media: Path, server: str, tmp_path: Path) -> None:
    for arguments in (["--duration", "100"], ["--prompt", "  "], ["--pack", "nobody"]):
        prompt = [] if "--prompt" in arguments else ["--prompt", "rain"]
        errors = [
            rewas("generate", media / "ball.mp4", *prompt, *arguments, *where, "-o", tmp_path / "out", "--json")
            for where in ([], ["--server", server])
        ]
        assert [result.code for result in errors] == [2, 2]
        assert errors[0].json()["error"]["kind"] == errors[1].json()["error"]["kind"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("on_server", [False, True])
def test_ctrl_c_stops_generate_and_leaves_no_files(
    rewas: Rewas, media: Path, server: str, tmp_path: Path, on_server: bool
) -> None:
    where = ("--server", server) if on_server else ()
    result = rewas(
        "generate", media / "ball.mp4", "--prompt", "rain", "--steps", 1000, "--takes", 16, "-o", tmp_path / "out",
        *where, "--json", press_ctrl_c=True,
    )  # fmt: skip
    assert result.code == 130, result.errors
    assert '"CANCELLED"' in result.output
    assert "Traceback" not in result.errors
    assert not (tmp_path / "out").exists()
