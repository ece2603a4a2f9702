"""Cuts on the command line: listed, and used as starts of new sounds, locally and on a server."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import typer
from rewas_command import FILM_RATE, Rewas

from rewas_cli.commands.cut_options import CutOptions

QUICK = ("--steps", "1", "--seed", "7")


@pytest.fixture(scope="module")
def two_shots(media: Path) -> Path:
    """A video of two shots, 24 and 30 frames long."""
    path = media / "edited.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=FILM_RATE)
        video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
        for number in range(54):
            rng = np.random.default_rng(number >= 24)
            image = rng.integers(0, 255, (6, 8, 3)).astype(np.uint8).repeat(16, axis=0).repeat(16, axis=1)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode())
    return path


CUT_S = float(24 / FILM_RATE)


@pytest.mark.slow
def test_cuts_are_listed(rewas: Rewas, two_shots: Path, media: Path, server: str, tmp_path: Path) -> None:
    plot = tmp_path / "energy.png"
    for options in ((), ("--from", "flat"), ("--server", server, "--plot", plot)):
        result = rewas("energy", two_shots, "--find-cuts", *options, "--json")
        assert result.code == 0, result.errors
        assert result.json()["cuts_s"] == pytest.approx([CUT_S])
    assert plot.stat().st_size > 1000
    assert "cuts at 1.00 s" in rewas("energy", two_shots, "--find-cuts").output
    assert "no cuts" in rewas("energy", media / "ball.mp4", "--find-cuts").output
    assert "cuts_s" not in rewas("energy", two_shots, "--json").json()


@pytest.mark.slow
def test_a_new_sound_begins_at_each_cut(rewas: Rewas, two_shots: Path, server: str, tmp_path: Path) -> None:
    sounds = []
    for number, options in enumerate(
        ((), ("--cuts", "new-sound"), ("--cuts", "new-sound", "--server", server), ("--cuts", f"0.5,{CUT_S:.4f}"))
    ):
        result = rewas(
            "generate", two_shots, "--prompt", "rain", *QUICK, *options, "-o", tmp_path / str(number), "--json"
        )
        assert result.code == 0, result.errors
        report = result.json()
        expected = [] if number == 0 else [0.5, CUT_S] if number == 3 else [CUT_S]
        assert report["cuts_s"] == pytest.approx(expected, abs=1e-4)
        sounds.append(soundfile.read(report["takes"][0]["stems"]["primary"]["path"], dtype="int32")[0])
    assert {sound.size for sound in sounds} == {round(54 / FILM_RATE * 48_000)}
    assert (sounds[1] == sounds[2]).all()
    assert not np.allclose(sounds[0], sounds[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--cuts", "soon"), "'soon' is not a time"),
        (("--cuts", "-1"), "'-1' is not a time"),
        (("--cuts", "1,,2"), "is not a time"),
        (("--cuts", "nan"), "'nan' is not a time"),
        (("--cuts", "1,0.5"), "a shot from 1 s to 0.5 s"),
        (("--cuts", "0.1"), "a shot from 0 s to 0.1 s"),
        (("--cuts", "new-sound", "--loop"), "cannot both loop and start afresh at cuts"),
        (("--cuts", "1", "--loop"), "A loop cannot have a new sound at cuts"),
    ],
)
def test_invalid_cuts_are_refused(
    bare_rewas: Rewas, media: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    result = bare_rewas("generate", media / "ball.mp4", "--prompt", "rain", *options, "-o", tmp_path / "out", "--json")
    assert result.code == 2
    assert message in result.json()["error"]["what"]
    assert not (tmp_path / "out").exists()


def test_a_cut_beyond_the_clip_is_refused(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    result = rewas("generate", media / "ball.mp4", "--prompt", "rain", "--cuts", "9", "-o", tmp_path / "out", "--json")
    assert result.code == 2
    assert "The cut at 9 s is not within the clip" in result.json()["error"]["what"]
    assert not (tmp_path / "out").exists()


def test_cut_options_are_parsed() -> None:
    assert CutOptions.from_text(None) == CutOptions.from_text("ignore") == CutOptions()
    assert CutOptions.from_text("new-sound") == CutOptions(detect=True)
    assert CutOptions.from_text("1.5,1:02").times_s == (Fraction(3, 2), Fraction(62))
    with pytest.raises(typer.BadParameter):
        CutOptions.from_text("")
