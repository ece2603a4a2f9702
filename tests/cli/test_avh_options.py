"""`rewas conflict --avh` and `rewas generate --rank-by avh`."""

from __future__ import annotations

import math
from pathlib import Path

import av
import numpy as np
import pytest
from rewas_command import Rewas

RATE_HZ = 16_000


def write_clip(path: Path, *, is_silent: bool = False) -> Path:
    """A ball that moves up and down for a second, with noise or silence."""
    with av.open(path, "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono")
        for number in range(25):
            picture = np.zeros((64, 64, 3), np.uint8)
            top = round(20 + 18 * math.cos(number))
            picture[top : top + 10, 25:35] = 255
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(video.encode(None))
        samples = np.zeros((1, RATE_HZ), np.int16)
        if not is_silent:
            samples[:] = np.random.default_rng(0).integers(-3000, 3000, RATE_HZ, np.int16)
        frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
        frame.sample_rate, frame.pts = RATE_HZ, 0
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


@pytest.fixture(scope="module")
def ball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "ball.mkv")


def test_conflict_shows_the_avh_score_of_the_clip(bare_rewas: Rewas, ball: Path) -> None:
    report = bare_rewas("conflict", ball, "--prompt", "rain", "--avh", "--json").json()
    assert -1 <= report["avh_score"] <= 1
    assert report["avh_encoder"] == "the joint space of the pack starter"
    printed = bare_rewas("conflict", ball, "--prompt", "rain", "--avh").output
    assert f"AVHScore of the clip's own sound: {report['avh_score']:.3f}, by the joint space" in printed
    assert "avh_score" not in bare_rewas("conflict", ball, "--prompt", "rain", "--json").json()


def test_a_silent_clip_has_no_avh_score(bare_rewas: Rewas, tmp_path: Path) -> None:
    result = bare_rewas("conflict", write_clip(tmp_path / "still.mkv", is_silent=True), "--prompt", "rain", "--avh")
    assert "AVHScore of the clip's own sound: the sound is silent" in result.output


def test_takes_are_ranked_by_avh_score(bare_rewas: Rewas, ball: Path, tmp_path: Path) -> None:
    options = ("--prompt", "rain", "--takes", 3, "--steps", 1, "--seed", 3, "-o", tmp_path, "--rank-by", "avh")
    report = bare_rewas("generate", ball, *options, "--json").json()
    assert report["settings"]["rank_by"] == "avh"
    scores = [take["avh_score"] for take in report["takes"] if not take["faults"]]
    assert scores == sorted(scores, reverse=True)
    assert all(take["avh_score"] is not None for take in report["takes"])


def test_impossible_options_are_refused(bare_rewas: Rewas, ball: Path, packs: Path, tmp_path: Path) -> None:
    generate = ("generate", ball, "--prompt", "rain", "-o", tmp_path, "--steps", 1, "--json")
    conflict = ("conflict", ball, "--prompt", "rain", "--avh", "--json")
    (tmp_path / "empty").mkdir()
    for arguments, kind, message in (
        ((*generate, "--rank-by", "best"), "SETTINGS", "'best'"),
        ((*generate, "--rank-by", "avh", "--pack", packs / "starter"), "PACK", "cannot compare sounds with the video"),
        ((*conflict, "--pack", packs / "starter"), "PACK", "cannot compare sounds with the video"),
        ((*conflict, "--avh-model", tmp_path / "gone"), "PACK", "The ImageBind folder"),
        ((*conflict, "--avh-model", tmp_path / "empty"), "PACK", "no readable config.json"),
        ((*conflict, "--avh-model", tmp_path, "--server", "127.0.0.1:1"), "SETTINGS", "no effect on work on a server"),
    ):
        result = bare_rewas(*arguments)
        assert result.code == 2, result.errors
        error = result.json()["error"]
        assert error["kind"] == kind
        assert message in f"{error['what']} {error['remedy']}"
    assert not list(tmp_path.rglob("*.wav"))
