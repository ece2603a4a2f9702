"""The texture figures on mels whose bands are off by known amounts, with the control and without it."""

from pathlib import Path

import numpy as np
import pytest
from bench_fixtures import BINS, ScriptedSource, figures_of, make_bench, make_clip, mels_of
from curve_fixtures import STEPS, following
from numpy.typing import NDArray
from pack_fixtures import full_model

from rewas_engine.conditioning.controls import Controls
from rewas_engine.curves.energy import FloatArray
from rewas_engine.evaluation.control_following import texture_section
from rewas_engine.evaluation.sound_store import Request

ENERGY = -4 + STEPS
LOWS_AND_HIGHS = np.repeat(np.array([1, 1, -1, -1], np.float32), BINS // 4)
"""Raises two bands and lowers two: the energy stays the same."""


def off_by(nats: float, energy: FloatArray = ENERGY) -> NDArray[np.float32]:
    """A mel in which each band is this far from where `mels_of` puts it."""
    return np.asarray(mels_of([energy])[0] + nats * LOWS_AND_HIGHS, np.float32)


def test_texture_is_compared_with_and_without_the_control(tmp_path: Path) -> None:
    requests: list[Controls] = []

    def generate(request: Request) -> FloatArray:
        requests.extend(request.controls)
        return np.stack([off_by(0.2), off_by(-0.4, -4 + following(0.6))])

    clips = [make_clip(name, off_by(0)) for name in ["rain"] * 4 + ["bell"] * 4]
    # Every fourth clip counts: the first and the fifth.
    plain = np.stack([off_by(0.5), *[off_by(3)] * 3, off_by(1.5), *[off_by(3)] * 3])
    section = texture_section(make_bench(full_model(tmp_path), clips, plain=plain, source=ScriptedSource(generate)))
    figures = figures_of(section)
    assert [controls.names for controls in requests] == [("energy", "texture")] * 2
    # With a weight of 7 nats above silence, the 0.05 that prevents division by 0 changes less than a hundredth.
    assert figures["texture_error_nats"].value == pytest.approx(0.3, rel=0.02)
    assert figures["texture_error_without_nats"].value == pytest.approx(1, rel=0.02)
    assert figures["texture_energy_correlation"].value == pytest.approx((1 + 0.6) / 2, abs=1e-4)
    assert section.details["error_nats_by_class"] == pytest.approx({"rain": 0.2, "bell": 0.4}, rel=0.02)
    assert section.details["error_without_nats_by_class"] == pytest.approx({"rain": 0.5, "bell": 1.5}, rel=0.02)
