"""The audio tracks of a clip on the command line: --audio-track, and the note on the track that was read."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from rewas_command import Rewas

SECONDS = 2


@pytest.fixture(scope="module")
def two_tracks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Video with a silent track, and a track with clicks."""
    path = tmp_path_factory.mktemp("tracks") / "two.mov"
    times_s = np.arange(SECONDS * 48_000) / 48_000
    clicks = np.exp(-30 * (times_s % 0.5)) * np.sin(2 * np.pi * 440 * times_s) * 20_000
    with av.open(str(path), "w") as container:
        tracks = [container.add_stream("pcm_s16le", rate=48_000, layout="mono") for _ in range(2)]
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
        for track, samples in zip(tracks, (clicks * 0, clicks), strict=True):
            sound = av.AudioFrame.from_ndarray(samples.astype(np.int16)[None], "s16", "mono")
            sound.sample_rate, sound.pts, sound.time_base = 48_000, 0, Fraction(1, 48_000)
            container.mux(track.encode(sound))
            container.mux(track.encode(None))
        for number in range(SECONDS * 25):
            frame = av.VideoFrame.from_ndarray(np.full((96, 128), 5 * (number % 25), np.uint8), "gray")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


NOTE = (
    "two.mov has 2 audio tracks, and track 2 was read, since track 1 is silent in this range. To read another, choose "
    "its number."
)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["energy", "--audio-track", 1], "--audio-track has no effect"),
        (["energy", "--from", "flat", "--audio-track", 1], "--audio-track has no effect"),
        (["texture", "--from", "flat", "--audio-track", 1], "--audio-track has no effect"),
        (["generate", "--prompt", "rain", "--audio-track", 1], "--audio-track has no effect"),
        (["energy", "--from", "audio", "--audio-track", 0], "--audio-track"),
    ],
)
def test_a_track_without_effect_is_refused(bare_rewas: Rewas, two_tracks: Path, arguments, message: str) -> None:
    result = bare_rewas(arguments[0], two_tracks, *arguments[1:], "--json")
    assert result.code == 2, result.errors
    assert message in result.json()["error"]["what"]


@pytest.mark.slow
def test_the_track_that_was_read_is_reported(rewas: Rewas, two_tracks: Path) -> None:
    found = rewas("energy", two_tracks, "--from", "audio", "--json").json()
    assert found["notes"] == [{"kind": "audio-track", "text": NOTE}]
    assert max(found["values"]) > -5
    assert f"note: {NOTE}" in rewas("energy", two_tracks, "--from", "flat", "--compare", "audio").output


@pytest.mark.slow
def test_a_chosen_track_is_read(rewas: Rewas, two_tracks: Path) -> None:
    silent = rewas("energy", two_tracks, "--from", "audio", "--audio-track", 1, "--json").json()
    assert max(silent["values"]) < -11
    assert "track 1 was read. To read another" in silent["notes"][0]["text"]
    missing = rewas("energy", two_tracks, "--from", "audio", "--audio-track", 3, "--json")
    assert missing.code != 0
    assert "two.mov has no audio track 3: it has 2 audio tracks" in missing.json()["error"]["what"]


@pytest.mark.slow
def test_a_texture_is_that_of_its_track(rewas: Rewas, two_tracks: Path) -> None:
    texture = rewas("texture", two_tracks, "--json")
    assert texture.code == 0, texture.errors
    assert texture.json()["notes"] == [{"kind": "audio-track", "text": NOTE}]
    refused = rewas("texture", two_tracks, "--audio-track", 1, "--json")
    assert "is silent, so it has no texture" in refused.json()["error"]["what"]


@pytest.mark.slow
def test_a_sound_and_its_layer_follow_the_track_with_sound(rewas: Rewas, two_tracks: Path, tmp_path: Path) -> None:
    generated = rewas(
        "generate", two_tracks, "--prompt", "rain", "--energy", "audio", "--ambience", "wind",
        "--layer-energy", "ambience=audio", "--steps", 1, "--seed", 7, "-o", tmp_path, "--json",
    )  # fmt: skip
    assert generated.code == 0, generated.errors
    report = generated.json()
    assert [note["text"] for note in report["notes"] if note["kind"] == "audio-track"] == [NOTE]
    assert max(report["energy"]["requested"]) > -5
