"""The files that `generate` and `batch` deliver, locally and from a server, as independent readers see them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import opentimelineio as otio
import pytest
import soundfile
from ffmpeg_meter import read_meter
from pymediainfo import MediaInfo
from rewas_command import FILM_RATE, Rewas
from wavinfo import WavInfoReader

from rewas_server.delivery.provenance import DIGITAL_SOURCE_TYPES

pytestmark = pytest.mark.slow

PROMPTS = {"primary": "a ball bounces", "room": "quiet room", "mix": "a ball bounces; quiet room"}
START_FRAME = 86_400
"""An hour of timecode."""


def check_file(path: Path, prompt: str, seed: int, time_reference_samples: int) -> None:
    info = WavInfoReader(str(path))
    bext, ixml = info.bext, info.ixml.raw_xml
    assert (bext.version, bext.time_reference) == (2, time_reference_samples)
    assert bext.description == f"pack=starter 0.0.1; licence=Apache-2.0; seed={seed}; prompt={prompt}"
    assert bext.originator_ref == ixml.findtext("FILE_UID")
    assert len(bext.originator_ref) == 32
    assert ixml.findtext("SPEED/TIMECODE_RATE") == "24000/1001"
    assert ixml.findtext("SPEED/TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO") == str(time_reference_samples)
    assert ixml.findtext("REWAS/SEED") == str(seed)
    assert ixml.findtext("REWAS/PERMITTED_USE")
    assert DIGITAL_SOURCE_TYPES["model"].encode() in path.read_bytes()
    assert info.info.subject == prompt
    general, audio = MediaInfo.parse(path).tracks[:2]
    assert (general.producer, audio.bit_depth, audio.sampling_rate) == ("ReWaS NLE", 24, 48_000)
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    meter = read_meter(samples.T, rate_hz)
    assert meter.true_peak <= 10 ** (-1 / 20)
    assert bext.max_true_peak == pytest.approx(float(audio.maxtruepeaklevel), abs=0.005)
    assert bext.loudness_value == pytest.approx(meter.integrated_lufs, abs=0.1)
    with av.open(str(path)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) == len(samples)


@pytest.mark.parametrize("on_server", [False, True])
def test_generate(rewas: Rewas, media: Path, tmp_path: Path, server: str, on_server: bool) -> None:
    where = ("--server", server) if on_server else ()
    result = rewas(
        "generate", media / "ball.mp4", "--prompt", "a ball bounces", "--layer", "room=quiet room", "--mix",
        "--gain", "primary=24", "--level", "raw", "--steps", 1, "--seed", 7, "--duration", 1,
        "-o", tmp_path, *where, "--json",
    )  # fmt: skip
    assert result.code == 0, result.errors
    (take,) = result.json()["takes"]
    assert set(take["stems"]) == set(PROMPTS)
    for role, stem in take["stems"].items():
        seed = take["layers"][role]["seed"] if role in take.get("layers", {}) else 7
        check_file(Path(stem["path"]), PROMPTS[role], seed, 0)
    # All stems get the same gain, so the mix is their sum.
    sounds = {role: soundfile.read(stem["path"], dtype="int32")[0] for role, stem in take["stems"].items()}
    assert (sounds["mix"] == sounds["primary"] + sounds["room"]).all()


@pytest.mark.parametrize("on_server", [False, True])
def test_batch(rewas: Rewas, media: Path, tmp_path: Path, server: str, on_server: bool) -> None:
    where = ("--server", server) if on_server else ()
    rate = float(FILM_RATE)
    timeline = otio.schema.Timeline("reel", None, otio.opentime.RationalTime(START_FRAME, rate))
    track = otio.schema.Track(kind=otio.schema.TrackKind.Video)
    track.append(otio.schema.Gap(duration=otio.opentime.RationalTime(5, rate)))
    clip = otio.schema.Clip(
        "ball",
        otio.schema.ExternalReference(str(media / "ball.mp4")),
        otio.opentime.TimeRange(otio.opentime.RationalTime(0, rate), otio.opentime.RationalTime(30, rate)),
        {"rewas": {"prompt": "a ball bounces", "seed": 5, "gain_db": 24.0, "level": "raw"}},
    )
    track.append(clip)
    timeline.tracks.append(track)
    otio.adapters.write_to_file(timeline, str(tmp_path / "reel.otio"))
    stems = tmp_path / "stems"
    result = rewas("batch", tmp_path / "reel.otio", "-o", tmp_path / "out.otio", "--stems", stems, "--steps", 1, *where)
    assert result.code == 0, result.errors
    (path,) = stems.glob("*.wav")
    check_file(path, "a ball bounces", 5, int((START_FRAME + 5) * Fraction(48_000) / FILM_RATE))
