"""Sounds have exactly the length of their clips at any rate, with the real resampling and delivery."""

import io
from fractions import Fraction

import numpy as np
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rewas_engine.exact_time import sample_count
from rewas_engine.media.audio import resample, resample_loop
from rewas_server.delivery.broadcast_wav import write_broadcast_wav
from rewas_server.delivery.metadata import BroadcastMetadata
from rewas_server.delivery.provenance import Provenance

PROVENANCE = Provenance("rain", 1, "starter", "0.1.0", "Apache-2.0")
DELIVERED_HZ = (16_000, 22_050, 44_100, 48_000)
PACK_HZ = (16_000, 44_100)
FRAME_RATES = [
    Fraction(rate)
    for rate in ("24000/1001", "24", "25", "30000/1001", "30", "48", "50", "60000/1001", "60", "120", "15", "12.5")
]
rates = st.sampled_from(FRAME_RATES) | st.builds(Fraction, st.integers(1, 120_000), st.integers(1, 1001))


def exact_samples(duration_s: Fraction, rate_hz: int) -> int:
    """Samples of a duration, rounded half up, with integer arithmetic only."""
    quotient, rest = divmod(duration_s.numerator * rate_hz, duration_s.denominator)
    return quotient + (2 * rest >= duration_s.denominator)


@st.composite
def durations(draw) -> Fraction:
    """Whole frames of a rational rate, from 0.2 s to 3 s: longer ones only take more time."""
    rate = draw(rates)
    lowest, highest = max(1, round(rate / 5)), max(1, round(3 * rate))
    return min(draw(st.integers(lowest, highest)) / rate, Fraction(4))


@settings(max_examples=120, deadline=None)
@given(durations(), st.sampled_from(DELIVERED_HZ), st.sampled_from(PACK_HZ), st.booleans())
@example(Fraction(1001, 24_000) * 5, 44_100, 16_000, False)
@example(Fraction(1, 5), 22_050, 16_000, True)
def test_every_stem_has_the_length_of_its_clip(duration_s: Fraction, rate_hz: int, pack_hz: int, loops: bool) -> None:
    own = np.ones((1, sample_count(duration_s, pack_hz)), np.float32) * 0.5
    samples = sample_count(duration_s, rate_hz)
    assert samples == exact_samples(duration_s, rate_hz)
    stem = resample_loop(own, samples) if loops else resample(own, pack_hz, rate_hz, samples)
    assert stem.shape == (1, samples)
    # Only rounding is padded at the end.
    missing = np.flatnonzero(stem[0] == 0)
    assert missing.size <= 1 + -(-rate_hz // pack_hz)
    file = io.BytesIO()
    write_broadcast_wav(file, stem, rate_hz, BroadcastMetadata(PROVENANCE))
    file.seek(0)
    assert soundfile.info(file).frames == exact_samples(duration_s, rate_hz)


@given(
    st.integers(1, 1800 * 24_000),
    st.sampled_from(FRAME_RATES),
    st.sampled_from(DELIVERED_HZ),
)
def test_sample_counts_of_long_clips_are_exact(frames: int, rate: Fraction, rate_hz: int) -> None:
    duration_s = frames / rate
    samples = sample_count(duration_s, rate_hz)
    assert samples == exact_samples(duration_s, rate_hz)
    assert abs(samples - duration_s * rate_hz) <= Fraction(1, 2)


def test_consecutive_clips_leave_no_gap() -> None:
    """20 000 frames cut into clips of seven: the samples of the parts add up to those of the whole."""
    rate = Fraction(24000, 1001)
    parts = sum(sample_count(7 / rate, 48_000) for _ in range(2858))
    assert parts == sample_count(7 * 2858 / rate, 48_000)
