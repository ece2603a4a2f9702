"""AVHScore: its definition, the scores of right and wrong sounds, and takes that are ranked by it."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rewas_engine import MediaError, Output, PackError, ReWaS, Sampling, SettingsError, Stem, VideoClip
from rewas_engine.curves.energy import EnergyCurve, FloatArray
from rewas_engine.evaluation.splits import TEST
from rewas_engine.matching.avh import AvhScorer, avh_score
from rewas_engine.media.audio import write_wav
from rewas_engine.media.video_format import VideoFormat
from rewas_engine.requests.results import Take
from rewas_engine.requests.scoring import rank_by_avh
from rewas_engine.world import render_brightness, render_sound

RATE_HZ = 16_000


class Directions:
    """A space in which a sound lies in the direction of its first sample, in degrees."""

    name = "directions"
    frame_format = VideoFormat(Fraction(4), 8, 8)

    def embed_frames(self, frames: NDArray[np.uint8]) -> FloatArray:
        return np.tile(np.array([[1.0, 0.0]], np.float32), (len(frames), 1))

    def embed_sounds(self, sounds: list[FloatArray], sample_rate_hz: int) -> FloatArray:
        angles = np.radians([float(sound[0]) for sound in sounds])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> ReWaS:
    return ReWaS.from_pretrained("starter", device="cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ball that moves up and down for a second, and its sound."""
    path = tmp_path_factory.mktemp("clips") / "ball.mp4"
    with av.open(path, "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=RATE_HZ, layout="mono")
        for number in range(30):
            picture = np.zeros((64, 64, 3), np.uint8)
            height = round(20 + 18 * math.cos(number))
            picture[height : height + 10, 25:35] = 255
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(video.encode(None))
        samples = (0.1 * np.random.default_rng(0).standard_normal((1, 19_200))).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
        frame.sample_rate = RATE_HZ
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


class TestDefinition:
    def test_is_the_mean_of_the_cosines_of_the_frames(self) -> None:
        frames = np.array([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0], [3.0, 4.0]])
        assert avh_score(frames, np.array([5.0, 0.0])) == pytest.approx((1 + 0 - 1 + 0.6) / 4)

    def test_is_not_the_cosine_of_the_mean(self) -> None:
        frames = np.array([[1.0, 0.0], [0.0, 1.0]])
        assert avh_score(frames, np.array([1.0, 1.0])) == pytest.approx(math.sqrt(0.5))

    @settings(max_examples=50, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 9))
    def test_equals_the_definition_for_any_vectors(self, seed: int, count: int, width: int) -> None:
        rng = np.random.default_rng(seed)
        frames, sound = rng.standard_normal((count, width)), rng.standard_normal(width)
        expected = np.mean([frame @ sound / np.linalg.norm(frame) / np.linalg.norm(sound) for frame in frames])
        assert avh_score(frames, sound) == pytest.approx(float(expected), abs=1e-12)
        assert avh_score(7 * frames, 0.1 * sound) == pytest.approx(float(expected), abs=1e-12)


class TestScorer:
    def test_mixes_channels_and_gives_silence_no_score(self) -> None:
        scorer = AvhScorer(Directions(), np.array([[1.0, 0.0]], np.float32))
        assert scorer.score(np.full(10, 60, np.float32), RATE_HZ) == pytest.approx(0.5)
        assert scorer.score(np.stack([np.zeros(10), np.full(10, 120)]).astype(np.float32), RATE_HZ) == pytest.approx(
            0.5
        )
        assert scorer.score(np.zeros((2, 10), np.float32), RATE_HZ) is None


def _take(seed: int, degrees: float, **changes: object) -> Take:
    curve = EnergyCurve(np.zeros(4, np.float32), Fraction(100))
    stem = Stem("primary", np.full((1, 8), degrees, np.float32), RATE_HZ)
    take = Take(seed=seed, stems={"primary": stem}, produced_energy=curve, energy_mae_nats=0, energy_correlation=None)
    return replace(take, **changes)  # type: ignore[arg-type]


class TestRanking:
    def test_the_best_sound_comes_first_and_faulty_and_silent_ones_last(self) -> None:
        takes = [_take(1, 80), _take(2, 0.0), _take(3, 10, faults=("clipped",)), _take(4, 20), _take(5, 20)]
        ranked = rank_by_avh(takes, AvhScorer(Directions(), np.array([[1.0, 0.0]], np.float32)))
        assert [take.seed for take in ranked] == [4, 5, 1, 2, 3]
        assert ranked[0].avh_score == pytest.approx(math.cos(math.radians(20)), abs=1e-6)
        assert ranked[3].avh_score is None

    def test_takes_are_generated_as_before_and_ordered_by_it(self, model: ReWaS, clip: Path) -> None:
        settings = {"prompt": "a ball bouncing", "takes": 3, "sampling": Sampling(num_inference_steps=2)}
        usual = model.generate(VideoClip(clip), **settings)  # type: ignore[arg-type]
        ranked = model.generate(VideoClip(clip), output=Output(rank_by="avh"), **settings)  # type: ignore[arg-type]
        assert {take.avh_score for take in usual.takes} == {None}
        by_seed = {take.seed: take for take in usual.takes}
        for take in ranked.takes:
            assert (take.stems["primary"].waveform == by_seed[take.seed].stems["primary"].waveform).all()
            assert take.avh_score == pytest.approx(model.measure_avh_score(VideoClip(clip), take.mix()), abs=1e-6)
        faultless = [take.avh_score for take in ranked.takes if not take.faults and take.avh_score is not None]
        assert faultless == sorted(faultless, reverse=True)

    def test_an_unknown_order_is_refused(self) -> None:
        with pytest.raises(SettingsError, match="rank_by is 'best'"):
            Output(rank_by="best")  # type: ignore[arg-type]

    def test_a_pack_without_a_space_cannot_rank(self, tiny_pack: Path, clip: Path) -> None:
        model = ReWaS.from_pretrained(tiny_pack, device="cpu")
        with pytest.raises(PackError, match="cannot compare sounds with the video"):
            model.generate(VideoClip(clip), prompt="rain", output=Output(rank_by="avh"))


class TestOwnSound:
    def test_of_a_clip_is_that_of_its_frames_and_its_sound(self, model: ReWaS, clip: Path) -> None:
        score = model.measure_avh_score(VideoClip(clip))
        assert score is not None
        assert -1 <= score <= 1
        assert model.frame_sound_space is not None
        frames = model.frame_sound_space.frame_format.read(VideoClip(clip))
        assert len(frames) == pytest.approx(30, abs=1)

    def test_a_right_sound_scores_higher_than_a_wrong_one(self, model: ReWaS) -> None:
        assert model.joint_space_encoder is not None
        rate, width, height = model.frame_format
        scenes = TEST.visible(12)
        videos = [render_brightness(scene, frame_rate=rate, width=width, height=height)[:64] for scene in scenes]
        sounds = model.joint_space_encoder.embed_sounds([render_sound(scene) for scene in scenes], RATE_HZ)
        vectors = [model.joint_space_encoder.embed_frames(video) for video in videos]
        scores = np.array([[avh_score(frames, sound) for sound in sounds] for frames in vectors])
        assert np.diag(scores).mean() > scores.mean() + 0.2


def test_frames_of_a_long_clip_are_read_at_a_lower_rate(clip: Path) -> None:
    assert len(VideoFormat(Fraction(25), 8, 8).read(VideoClip(clip))) == 30
    assert VideoFormat(Fraction(25), 8, 8, max_frames=5).read(VideoClip(clip)).shape == (5, 8, 8, 3)
    assert VideoFormat(Fraction(25), 8, 8, is_rgb=False, max_frames=500).read(VideoClip(clip)).shape == (30, 8, 8)


def test_a_sound_without_a_video_is_refused(model: ReWaS, tmp_path: Path) -> None:
    write_wav(tmp_path / "only.wav", np.full((1, 16_000), 0.1, np.float32), RATE_HZ)
    with pytest.raises(MediaError):
        model.measure_avh_score(VideoClip(tmp_path / "only.wav"))
