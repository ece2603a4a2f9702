"""Textures and layer energies in requests: round trips, and refusal of invalid values."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import opentimelineio as otio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_engine import TextureCurve, flat_curve, flat_texture
from rewas_server.work.requests import parse_request
from rewas_server.work.translation import curve_message, rational, texture_from_message, texture_message

CLIP = otio.schema.Clip(
    name="shot",
    media_reference=otio.schema.ExternalReference(target_url="shot.mp4"),
    source_range=otio.opentime.TimeRange(otio.opentime.RationalTime(0, 24), otio.opentime.RationalTime(48, 24)),
).to_json_string()


def sound_work(**work: object) -> rewas_pb2.SubmitJobRequest:
    settings = rewas_pb2.SoundSettings(prompt="rain", layers=[rewas_pb2.Layer(name="ambience", prompt="wind")])
    given_work = {"settings": settings, **work}
    return rewas_pb2.SubmitJobRequest(sound=rewas_pb2.SoundWork(clip_otio_json=CLIP, **given_work))


@given(
    arrays.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(4)), elements=st.floats(-5, 5, width=32)),
    st.sampled_from([Fraction(100), Fraction(24_000, 1001)]),
    st.sampled_from(["audio", "user"]),
)
def test_a_texture_survives_the_contract(values: np.ndarray, rate_hz: Fraction, source: str) -> None:
    texture = TextureCurve(values, rate_hz, source)
    received = texture_from_message(rewas_pb2.TextureCurve.FromString(texture_message(texture).SerializeToString()))
    np.testing.assert_allclose(received.values, texture.values, atol=1e-6)
    assert (received.rate_hz, received.source) == (rate_hz, source)


def test_valid_requests_are_accepted() -> None:
    curve = rewas_pb2.EnergyInput(curve=curve_message(flat_curve(duration=2)))
    parse_request(sound_work(texture=texture_message(flat_texture(duration=2)), layer_energies={"ambience": curve}))


@pytest.mark.parametrize(
    ("values", "rate", "expected"),
    [
        ([], Fraction(100), "empty"),
        ([1, 2, 3], Fraction(100), "has 3 values"),
        ([0, 0, 0, float("nan")], Fraction(100), "is nan"),
        ([0, 0, 0, 99], Fraction(100), "further than in any sound"),
        ([0, 0, 0, 0], Fraction(-1), "rate"),
    ],
)
def test_invalid_textures_are_refused(values: list[float], rate: Fraction, expected: str) -> None:
    message = rewas_pb2.TextureCurve(values=values, rate_hz=rational(rate))
    with pytest.raises(ProblemError, match=expected) as refused:
        parse_request(sound_work(texture=message))
    assert refused.value.kind is ProblemKind.SETTINGS
    with pytest.raises(ProblemError, match="denominator"):
        texture_from_message(rewas_pb2.TextureCurve(values=[0, 0, 0, 0]))


def test_invalid_layer_energies_are_refused() -> None:
    curve = rewas_pb2.EnergyInput(curve=curve_message(flat_curve(duration=2)))
    with pytest.raises(ProblemError, match="layer 'crowd', but the clip \"shot\" has no such layer"):
        parse_request(sound_work(layer_energies={"crowd": curve}))
    with pytest.raises(ProblemError, match="rate"):
        parse_request(
            sound_work(layer_energies={"ambience": rewas_pb2.EnergyInput(curve=rewas_pb2.EnergyCurve(values=[-5]))})
        )
    following = rewas_pb2.Layer(name="ambience", prompt="wind", energy=rewas_pb2.LAYER_ENERGY_FOLLOWING)
    settings = rewas_pb2.SoundSettings(prompt="rain", layers=[following])
    with pytest.raises(ProblemError, match="is following, but a curve is given too"):
        parse_request(sound_work(settings=settings, layer_energies={"ambience": curve}))


@pytest.mark.parametrize("source", [rewas_pb2.ENERGY_SOURCE_UNSPECIFIED, rewas_pb2.ENERGY_SOURCE_VIDEO])
def test_texture_cannot_come_from_the_video(source: int) -> None:
    work = rewas_pb2.EnergyWork(clip_otio_json=CLIP, measure_texture=True, source=source)
    with pytest.raises(ProblemError, match="cannot be estimated from its video"):
        parse_request(rewas_pb2.SubmitJobRequest(energy=work))
