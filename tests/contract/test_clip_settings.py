"""ReWaS metadata on OTIO clips: it survives a round trip, and invalid values are refused by name."""

from typing import Any

import opentimelineio as otio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_api.clip_settings import (
    CONFLICT_POLICIES,
    CONTROLS,
    SAMPLE_RATES_HZ,
    SAMPLERS,
    ClipSettings,
    read_clip_settings,
    write_clip_settings,
)
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.layer_settings import LAYER_ENERGIES, LayerSettings
from rewas_api.performance_settings import ROOMS, TAILS, PerformanceSettings, validate_performance
from rewas_api.v1 import rewas_pb2

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)
prompts = text.filter(str.strip)
performances = st.builds(
    PerformanceSettings,
    place=st.none() | st.integers(0, 10**6),
    tail=st.none() | st.sampled_from(TAILS),
    pitch_variation_cents=st.none() | st.floats(0, 1200),
    timing_variation_s=st.none() | st.floats(0, 0.1),
    room=st.none() | st.sampled_from(ROOMS),
).map(validate_performance)
layers = st.lists(
    st.builds(
        LayerSettings,
        name=st.from_regex(r"\A[a-z][a-z0-9_-]{0,31}\Z").filter(lambda name: name not in ("primary", "mix")),
        prompt=prompts,
        gain_db=st.none() | st.floats(-60, 24),
        energy=st.none() | st.sampled_from(LAYER_ENERGIES),
        pack=st.none() | text.filter(bool),
        performance=st.none() | performances,
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda layer: layer.name,
).map(tuple)
settings = st.builds(
    ClipSettings,
    prompt=text,
    pack=st.none() | text.filter(bool),
    seed=st.none() | st.integers(0, 2**63 - 1),
    takes=st.none() | st.integers(1, 100),
    num_inference_steps=st.none() | st.integers(1, 1000),
    guidance_scale=st.none() | st.floats(0, 20),
    control_strength=st.none() | st.floats(0, 2),
    sample_rate_hz=st.none() | st.sampled_from(SAMPLE_RATES_HZ),
    negative_prompt=st.none() | text.filter(bool),
    control_start=st.none() | st.floats(0, 0.4),
    control_end=st.none() | st.floats(0.5, 1),
    control=st.none() | st.sampled_from(CONTROLS),
    loop=st.none() | st.booleans(),
    layers=st.none() | layers,
    gain_db=st.none() | st.floats(-60, 24),
    mix=st.none() | st.booleans(),
    sampler=st.none() | st.sampled_from(SAMPLERS),
    new_sound_at_cuts=st.none() | st.just(False),
    conflict_policy=st.none() | st.sampled_from(CONFLICT_POLICIES),
    performance=st.none() | performances,
)


@given(settings)
def test_settings_survive_an_otio_file(written: ClipSettings) -> None:
    clip = otio.schema.Clip("shot 1")
    write_clip_settings(clip, written)
    again = otio.adapters.read_from_string(clip.to_json_string(), "otio_json")
    read = read_clip_settings(again)
    assert read is not None
    for name, value in vars(written).items():
        if name == "layers" and value is not None:
            assert [(layer.prompt, layer.pack) for layer in read.layers or ()] == [
                (layer.prompt, layer.pack) for layer in value
            ]
            continue
        if name == "performance" and value is not None:
            assert read.performance is not None
            numbers, expected_numbers = read.performance.to_metadata(), value.to_metadata()
            for choice in ("tail", "room"):
                assert numbers.pop(choice, None) == expected_numbers.pop(choice, None)
            assert numbers == pytest.approx(expected_numbers, rel=1e-12)
            continue
        # OTIO's JSON may lose the last bit of a float.
        expected = pytest.approx(value, rel=1e-12) if isinstance(value, float) else value
        assert getattr(read, name) == expected, name


@given(settings)
def test_settings_survive_the_contract(written: ClipSettings) -> None:
    message = type(written.to_proto()).FromString(written.to_proto().SerializeToString())
    assert ClipSettings.from_proto(message) == written


@given(settings, settings)
def test_settings_of_the_clip_override_defaults(own: ClipSettings, defaults: ClipSettings) -> None:
    merged = own.over(defaults)
    assert merged.prompt == own.prompt
    assert merged.seed == (defaults.seed if own.seed is None else own.seed)
    assert merged.over(defaults) == merged


def test_a_performance_takes_what_it_leaves_open_from_the_defaults() -> None:
    own = ClipSettings(prompt="steps", performance=PerformanceSettings(place=2))
    defaults = ClipSettings(performance=PerformanceSettings(place=1, tail="natural"))
    assert own.over(defaults).performance == PerformanceSettings(place=2, tail="natural")
    assert ClipSettings(prompt="steps").over(defaults).performance == defaults.performance
    assert own.over(ClipSettings()).performance == own.performance


def test_a_performance_that_sets_nothing_is_none() -> None:
    assert ClipSettings(prompt="steps", performance=PerformanceSettings()) == ClipSettings(prompt="steps")
    message = rewas_pb2.SoundSettings(prompt="steps", performance=rewas_pb2.Performance())
    assert ClipSettings.from_proto(message) == ClipSettings(prompt="steps")
    assert LayerSettings("wind", "wind", pack="", performance=PerformanceSettings()) == LayerSettings("wind", "wind")


def test_a_value_of_the_performance_of_a_layer_is_refused_by_layer_and_field() -> None:
    message = rewas_pb2.SoundSettings(prompt="rain", layers=[rewas_pb2.Layer(name="wind", prompt="wind")])
    message.layers[0].performance.place = 1_000_001
    with pytest.raises(
        ProblemError, match=r"performance\.place of the layer wind of the clip is 1000001\. Set a whole number from 0"
    ):
        ClipSettings.from_proto(message)


def test_unknown_names_are_kept() -> None:
    clip = otio.schema.Clip("shot 1", metadata={"rewas": {"prompt": "rain", "from_the_future": 3}, "other": {"a": 1}})
    write_clip_settings(clip, ClipSettings(prompt="wind"))
    assert dict(clip.metadata["rewas"].items()) == {"prompt": "wind", "from_the_future": 3}
    assert clip.metadata["other"]["a"] == 1


@pytest.mark.parametrize("field", ["control", "sampler", "conflict_policy"])
def test_enum_values_of_a_newer_contract_are_refused_by_field(field: str) -> None:
    message = rewas_pb2.SoundSettings.FromString(rewas_pb2.SoundSettings(prompt="rain").SerializeToString())
    setattr(message, field, 99)
    with pytest.raises(ProblemError, match=rf"{field} of the clip is 'unknown \(99\)'") as raised:
        ClipSettings.from_proto(message)
    assert raised.value.kind is ProblemKind.SETTINGS


def test_a_layer_energy_of_a_newer_contract_is_refused_by_layer() -> None:
    message = rewas_pb2.SoundSettings(prompt="rain", layers=[rewas_pb2.Layer(name="wind", prompt="wind")])
    message.layers[0].energy = 99  # type: ignore[assignment]
    with pytest.raises(ProblemError, match=r"energy of the layer wind .* 'unknown \(99\)'"):
        ClipSettings.from_proto(message)


def test_a_clip_without_rewas_metadata_has_no_settings() -> None:
    assert read_clip_settings(otio.schema.Clip("shot 1", metadata={"other": 1})) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", 3),
        ("prompt", "x" * 2001),
        ("prompt", {"words": "rain"}),
        ("pack", ["starter"]),
        ("seed", -1),
        ("seed", "7"),
        ("takes", 0),
        ("takes", 101),
        ("negative_prompt", 7),
        ("negative_prompt", "a" * 2001),
        ("control_start", -0.1),
        ("control_end", float("nan")),
        ("control", "smell"),
        ("control", "unspecified"),
        ("sampler", "dpm"),
        ("conflict_policy", "ignore"),
        ("loop", "yes"),
        ("mix", 1),
        ("new_sound_at_cuts", "new-sound"),
        ("gain_db", float("inf")),
        ("layers", "wind"),
        ("layers", [3]),
        ("layers", [{"name": "wind"}]),
        ("layers", [{"name": "mix", "prompt": "wind"}]),
        ("layers", [{"name": "wind", "prompt": "wind", "gain_db": "loud"}]),
        ("layers", [{"name": "wind", "prompt": "wind", "energy": "loud"}]),
        ("layers", [{"name": "wind", "prompt": "wind"}, {"name": "wind", "prompt": "rain"}]),
        ("layers", [{"name": f"wind{number}", "prompt": "wind"} for number in range(9)]),
        ("layers", [{"name": "wind", "prompt": "wind", "pack": 3}]),
        ("layers", [{"name": "wind", "prompt": "wind", "performance": {"place": -1}}]),
        ("performance", "natural"),
        ("performance", {"place": -1}),
        ("performance", {"place": 1.5}),
        ("performance", {"place": True}),
        ("performance", {"tail": "long"}),
        ("performance", {"pitch_variation_cents": 1201}),
        ("performance", {"timing_variation_s": float("nan")}),
        ("takes", 2.5),
        ("takes", True),
        ("num_inference_steps", 1001),
        ("guidance_scale", 20.5),
        ("guidance_scale", float("nan")),
        ("control_strength", float("inf")),
        ("sample_rate_hz", 44000),
    ],
)
def test_invalid_values_are_refused_by_clip_and_field(name: str, value: Any) -> None:
    clip = otio.schema.Clip("shot 1", metadata={"rewas": {name: value}})
    with pytest.raises(ProblemError) as raised:
        read_clip_settings(clip)
    assert raised.value.kind is ProblemKind.TIMELINE
    assert "shot 1" in raised.value.what
    # The message may name one layer of several.
    assert name.replace("_", " ").removesuffix("s") in raised.value.what.replace("_", " ")
    assert raised.value.remedy


@pytest.mark.parametrize("value", ["rain", 3, ["rain"]])
def test_metadata_of_a_wrong_type_is_refused(value: Any) -> None:
    clip = otio.schema.Clip("shot 1", metadata={"rewas": value})
    with pytest.raises(ProblemError, match="shot 1"):
        read_clip_settings(clip)
