"""Textures and layers' energies in requests: what travels comes back, what cannot be right is refused."""

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


def of_sound(**work: object) -> rewas_pb2.SubmitJobRequest:
    settings = rewas_pb2.SoundSettings(prompt="rain", layers=[rewas_pb2.Layer(name="ambience", prompt="wind")])
    given_work = {"settings": settings, **work}
    return rewas_pb2.SubmitJobRequest(sound=rewas_pb2.SoundWork(clip_otio_json=CLIP, **given_work))


@given(
    arrays.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(4)), elements=st.floats(-5, 5, width=32)),
    st.sampled_from([Fraction(100), Fraction(24_000, 1001)]),
    st.sampled_from(["audio", "user"]),
)
def test_a_texture_that_travelled_is_the_same(values: np.ndarray, rate_hz: Fraction, source: str) -> None:
    texture = TextureCurve(values, rate_hz, source)
    came = texture_from_message(rewas_pb2.TextureCurve.FromString(texture_message(texture).SerializeToString()))
    np.testing.assert_allclose(came.values, texture.values, atol=1e-6)
    assert (came.rate_hz, came.source) == (rate_hz, source)


def test_what_can_be_right_is_let_through() -> None:
    curve = rewas_pb2.EnergyInput(curve=curve_message(flat_curve(duration=2)))
    parse_request(of_sound(texture=texture_message(flat_texture(duration=2)), layer_energies={"ambience": curve}))


@pytest.mark.parametrize(
    ("values", "rate", "said"),
    [
        ([], Fraction(100), "empty"),
        ([1, 2, 3], Fraction(100), "has 3 values"),
        ([0, 0, 0, float("nan")], Fraction(100), "is nan"),
        ([0, 0, 0, 99], Fraction(100), "further than in any sound"),
        ([0, 0, 0, 0], Fraction(-1), "rate"),
    ],
)
def test_textures_that_cannot_be_right(values: list[float], rate: Fraction, said: str) -> None:
    message = rewas_pb2.TextureCurve(values=values, rate_hz=rational(rate))
    with pytest.raises(ProblemError, match=said) as refused:
        parse_request(of_sound(texture=message))
    assert refused.value.kind is ProblemKind.SETTINGS
    with pytest.raises(ProblemError, match="denominator"):
        texture_from_message(rewas_pb2.TextureCurve(values=[0, 0, 0, 0]))


def test_energies_of_layers_that_cannot_be_right() -> None:
    curve = rewas_pb2.EnergyInput(curve=curve_message(flat_curve(duration=2)))
    with pytest.raises(ProblemError, match="layer 'crowd', but the clip \"shot\" has no such layer"):
        parse_request(of_sound(layer_energies={"crowd": curve}))
    with pytest.raises(ProblemError, match="rate"):
        parse_request(
            of_sound(layer_energies={"ambience": rewas_pb2.EnergyInput(curve=rewas_pb2.EnergyCurve(values=[-5]))})
        )
    following = rewas_pb2.Layer(name="ambience", prompt="wind", energy=rewas_pb2.LAYER_ENERGY_FOLLOWING)
    settings = rewas_pb2.SoundSettings(prompt="rain", layers=[following])
    with pytest.raises(ProblemError, match="is following, but a curve is given too"):
        parse_request(of_sound(settings=settings, layer_energies={"ambience": curve}))


@pytest.mark.parametrize("source", [rewas_pb2.ENERGY_SOURCE_UNSPECIFIED, rewas_pb2.ENERGY_SOURCE_VIDEO])
def test_a_picture_has_no_texture(source: int) -> None:
    work = rewas_pb2.EnergyWork(clip_otio_json=CLIP, measure_texture=True, source=source)
    with pytest.raises(ProblemError, match="cannot be estimated from its video"):
        parse_request(rewas_pb2.SubmitJobRequest(energy=work))
