"""The settings of a strip become messages of the contract, and every field of the contract has a setting."""

import itertools
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_api.clip_settings import read_clip_settings
from rewas_api.errors import ProblemError
from rewas_api.layer_settings import LayerSettings
from rewas_api.v1 import rewas_pb2
from rewas_nle.core.energy_question import EnergyQuestion
from rewas_nle.core.requests import read_result
from rewas_nle.core.sound_settings import EnergyChoice, LayerChoice, PerformanceChoice, Regeneration, SoundSettings
from rewas_nle.core.sound_work import (
    MeasuredSound,
    build_estimate_work,
    build_measuring_work,
    build_sound_work,
    clip_metadata,
    extend_with_silence,
    measured_clip,
    media_paths,
)
from rewas_nle.timeline.cuts import MIN_SHOT_S, cuts_at_frames
from rewas_nle.timeline.energy_keys import SILENCE_NATS
from rewas_nle.timeline.names import layer_role, unused_layer_role
from rewas_nle.timeline.strips import SelectedClip

CLIP = SelectedClip(
    "ball.mp4", "/film/ball.mp4", "a ball", 11, 48, 1, Fraction(24), Fraction(5, 12), Fraction(2), 480, Fraction(24)
)
EVERYTHING = SoundSettings(
    pack="starter",
    seed=2**62,
    takes=3,
    negative_prompt="speech",
    layers=(
        LayerChoice("ambience", "a hall", -3.0),
        LayerChoice(
            "rain",
            "rain",
            energy="following",
            pack="foley",
            performance=PerformanceChoice(2, "natural", 5.0, 0.01, "in"),
            like="/film/tin.wav",
        ),
        LayerChoice("wind", "wind", energy="flat"),
    ),
    energy=EnergyChoice("drawn", keys=((0.0, -30.0), (2.0, -100.0)), edits=("smooth 0.2", "mute event 1")),
    control="onsets",
    control_strength=0.5,
    control_start=0.1,
    control_end=0.9,
    num_inference_steps=12,
    guidance_scale=2.5,
    sampler="dpm++-sde",
    conflict_policy="soften",
    loop=False,
    new_sound_at_cuts=True,
    cuts_s=(Fraction(1, 2), Fraction(1001, 1000)),
    gain_db=-2.0,
    mix=True,
    sample_rate_hz=96000,
    level="raw",
    rank_by="avh",
    like="/film/bounce.wav",
    regenerate=Regeneration(Path("/film/take.wav"), Fraction(1, 3), Fraction(3, 2), 0.5),
    performance=PerformanceChoice(1, "natural", 0.0, 0.1, "out"),
)


def curve(*values: float) -> rewas_pb2.EnergyCurve:
    return rewas_pb2.EnergyCurve(rate_hz={"numerator": 2, "denominator": 1}, values=values)


def test_every_field_of_the_contract_has_a_setting() -> None:
    measured = MeasuredSound(curve(-3), rewas_pb2.TextureCurve(values=[1, 2, 3, 4]))
    chosen = replace(EVERYTHING, energy=EnergyChoice("own_sound", edits=("smooth 0.2",), use_texture=True))
    work = build_sound_work(CLIP, chosen, {"/film/ball.mp4": "ab"}, measured)
    assert {field.name for field, _ in work.ListFields()} == set(work.DESCRIPTOR.fields_by_name)
    settings = work.settings
    for message in (
        settings,
        settings.performance,
        settings.layers[1],
        settings.layers[1].performance,
        work.regenerate,
        work.energy,
    ):
        unset = set(message.DESCRIPTOR.fields_by_name) - {field.name for field, _ in message.ListFields()}
        assert unset <= {"loop", "gain_db", "points", "flat_nats", "curve"}
    assert work.settings.HasField("loop")
    assert (work.settings.sampler, work.settings.control) == (
        rewas_pb2.SAMPLER_DPM_PLUS_PLUS_SDE,
        rewas_pb2.CONTROL_ONSETS,
    )
    assert [(cut.numerator, cut.denominator) for cut in work.cuts_s] == [(1, 2), (1001, 1000)]
    assert work.texture.values == [1, 2, 3, 4]


def test_defaults_leave_everything_to_the_pack() -> None:
    work = build_sound_work(CLIP, SoundSettings(), {})
    assert {field.name for field, _ in work.settings.ListFields()} == {"prompt", "takes"}
    assert not work.HasField("energy")
    assert not work.HasField("regenerate")
    assert media_paths(CLIP, SoundSettings()) == ("/film/ball.mp4",)
    paths = ("/film/ball.mp4", "/film/take.wav", "/film/bounce.wav", "/film/tin.wav")
    assert media_paths(CLIP, EVERYTHING) == paths


def test_each_source_of_energy() -> None:
    def energy(choice: EnergyChoice, measured: MeasuredSound | None = None) -> rewas_pb2.EnergyInput:
        return build_sound_work(CLIP, SoundSettings(energy=choice), {}, measured).energy

    drawn = energy(EVERYTHING.energy)
    assert [(point.time_s.numerator, point.time_s.denominator) for point in drawn.points.points] == [(0, 1), (2, 1)]
    levels_nats = [point.level_nats for point in drawn.points.points]
    assert levels_nats == pytest.approx([-30 / 8.685889638, SILENCE_NATS])
    assert pytest.approx(math.log(1e-5)) == SILENCE_NATS
    assert list(drawn.edits) == ["smooth 0.2", "mute event 1"]
    assert energy(EnergyChoice("flat", flat_nats=-4.5)).flat_nats == -4.5
    edited_picture = energy(EnergyChoice(edits=("smooth 0.2",)))
    assert edited_picture.WhichOneof("source") is None
    assert list(edited_picture.edits) == ["smooth 0.2"]
    assert energy(EnergyChoice("own_sound"), MeasuredSound(curve(-1, -2))).curve.values == [-1, -2]


def test_the_measured_range_is_that_of_the_clip_or_of_the_other_sound() -> None:
    assert measured_clip(CLIP, SoundSettings(energy=EnergyChoice("own_sound"))) == CLIP
    other = EnergyChoice("other_sound", sound="/film/voice.wav", sound_start_s=Fraction(3, 2))
    whole = measured_clip(CLIP, SoundSettings(energy=other))
    assert (whole.path, whole.source_start_s, whole.source_duration_s) == ("/film/voice.wav", Fraction(3, 2), 2)
    short = measured_clip(CLIP, SoundSettings(energy=replace(other, sound_duration_s=Fraction(5, 2))))
    assert short.source_duration_s == 1
    assert short.media_frames == 120000
    work = build_measuring_work(CLIP, SoundSettings(energy=replace(other, use_texture=True)), {})
    assert (work.source, work.measure_texture) == (rewas_pb2.ENERGY_SOURCE_AUDIO, True)
    assert "/film/voice.wav" in work.clip_otio_json


def test_a_layer_can_have_its_own_level_or_curve() -> None:
    layers = (
        LayerChoice("rain", "rain", energy="flat", flat_nats=-4.0),
        LayerChoice("wind", "wind", energy="drawn", keys=((0.0, -20.0), (2.0, -100.0))),
        LayerChoice("birds", "birds", energy="following"),
        LayerChoice("steps", "footsteps", energy="video"),
    )
    work = build_sound_work(CLIP, SoundSettings(layers=layers), {})
    assert [layer.energy for layer in work.settings.layers] == [
        *(0, 0, rewas_pb2.LAYER_ENERGY_FOLLOWING, rewas_pb2.LAYER_ENERGY_VIDEO)
    ]
    assert set(work.layer_energies) == {"rain", "wind"}
    assert work.layer_energies["rain"].flat_nats == -4
    assert [point.time_s.numerator for point in work.layer_energies["wind"].points.points] == [0, 2]
    question = EnergyQuestion(SoundSettings(), CLIP.source_duration_s, "wind", "a storm")
    assert question.build_work(CLIP, {}).prompt == "a storm"


def test_the_estimate_is_that_of_the_source_with_its_edits() -> None:
    picture = build_estimate_work(CLIP, SoundSettings(pack="starter", energy=EnergyChoice(edits=("smooth 0.2",))), {})
    assert (picture.source, picture.prompt, picture.pack) == (rewas_pb2.ENERGY_SOURCE_VIDEO, "a ball", "starter")
    assert list(picture.energy.edits) == ["smooth 0.2"]
    raw = build_estimate_work(replace(CLIP, prompt=""), SoundSettings(level="raw"), {})
    assert not raw.HasField("prompt")
    assert raw.level == picture.level == rewas_pb2.LEVEL_UNSPECIFIED
    for_prompt = build_estimate_work(CLIP, SoundSettings(level="raw"), {})
    assert (for_prompt.prompt, for_prompt.level) == ("a ball", rewas_pb2.LEVEL_RAW)
    voice = EnergyChoice("other_sound", sound="/film/voice.wav", audio_track=2)
    sound = build_estimate_work(CLIP, SoundSettings(energy=voice), {})
    assert (sound.source, sound.audio_track) == (rewas_pb2.ENERGY_SOURCE_AUDIO, 2)
    assert not build_measuring_work(CLIP, SoundSettings(energy=EnergyChoice("own_sound")), {}).HasField("audio_track")
    question = EnergyQuestion(SoundSettings(energy=voice), CLIP.source_duration_s)
    assert question.media_path(CLIP) == "/film/voice.wav"
    assert "/film/voice.wav" in question.build_work(CLIP, {}).clip_otio_json


def test_the_answer_is_keys_with_silence_after_the_end_of_the_sound() -> None:
    notes = [rewas_pb2.Note(text="There is little motion.")]
    job = rewas_pb2.Job(energy=rewas_pb2.EnergyResult(energy=curve(-1, -2), notes=notes))
    answer = EnergyQuestion(SoundSettings(), Fraction(2)).read_answer(job)
    levels_db = [level_db for _, level_db in answer.keys]
    assert [time_s for time_s, _ in answer.keys] == [0.25, 0.75, 1.25, 1.75]
    assert levels_db == pytest.approx([-8.686, -17.372, -100, -100], abs=1e-3)
    assert (answer.notes, answer.is_for_prompt) == (("There is little motion.",), False)
    job.energy.pack.reads_words = True
    assert EnergyQuestion(SoundSettings(), Fraction(2)).read_answer(job).is_for_prompt
    measured = EnergyQuestion(SoundSettings(energy=EnergyChoice("own_sound")), Fraction(2))
    assert not measured.read_answer(job).is_for_prompt


def test_the_energy_of_a_layer_is_estimated_for_its_own_prompt() -> None:
    layer = EnergyQuestion(SoundSettings(), Fraction(2), "rain", "light rain")
    assert layer.build_work(CLIP, {}).prompt == layer.prompt_for(CLIP) == "light rain"
    assert EnergyQuestion(SoundSettings(), Fraction(2)).prompt_for(CLIP) == "a ball"


def test_beyond_the_end_of_the_measured_sound_is_silence() -> None:
    texture = rewas_pb2.TextureCurve(rate_hz={"numerator": 2, "denominator": 1}, values=[1, 2, 3, 4] * 2)
    longer = extend_with_silence(MeasuredSound(curve(-1, -2), texture), Fraction(2))
    assert list(longer.energy.values) == pytest.approx([-1, -2, SILENCE_NATS, SILENCE_NATS])
    assert list(longer.texture.values) == [1, 2, 3, 4] * 2 + [0] * 8
    assert extend_with_silence(longer, Fraction(2)) is longer


def test_values_out_of_bounds_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(ProblemError, match="control"):
        build_sound_work(CLIP, SoundSettings(control_start=0.9, control_end=0.1), {})
    with pytest.raises(ProblemError, match="layer"):
        build_sound_work(CLIP, SoundSettings(layers=(LayerChoice("rain", ""),)), {})


@given(st.lists(st.integers(-50, 100), max_size=12))
def test_cuts_at_markers_suit_the_contract(frames: list[int]) -> None:
    cuts_s = cuts_at_frames(frames, CLIP)
    ends_s = (Fraction(0), *cuts_s, CLIP.source_duration_s)
    if cuts_s:
        assert all(after - before >= MIN_SHOT_S for before, after in itertools.pairwise(ends_s))
    for cut_s in cuts_s:
        assert cut_s * 24 + CLIP.start_frame in frames
    assert cuts_at_frames([23, 24, 40], CLIP) == (Fraction(1, 2), Fraction(29, 24))


@given(st.text(max_size=40))
def test_every_name_becomes_a_role_of_the_contract(name: str) -> None:
    role = layer_role(name)
    assert LayerSettings(role, "rain").name == role
    assert role != "ambience"
    assert layer_role(role) == role
    assert unused_layer_role(["layer-1", "layer-3"]) == "layer-2"


def test_a_conflict_that_the_request_found_becomes_notes_of_the_sound() -> None:
    conflict = rewas_pb2.ConflictResult(
        verdict=rewas_pb2.VERDICT_CONFLICT,
        explanation="The picture shows a dog.",
        suggestions=[rewas_pb2.PromptSuggestion(prompt="dog barking", score=0.9)],
    )
    notes = [rewas_pb2.Note(kind=rewas_pb2.NOTE_KIND_UNKNOWN_PROMPT, text="Unknown words.")]
    job = rewas_pb2.Job(id="job", sound=rewas_pb2.SoundResult(conflict=conflict, prompt_weight=0.5, notes=notes))
    assert read_result("key", job, {}).notes == (
        "Unknown words.",
        "The picture shows a dog.",
        'Prompts that match the picture better: "dog barking".',
        "The prompt was given a weight of 50%.",
    )
    conflict.verdict = rewas_pb2.VERDICT_AGREE
    job.sound.conflict.CopyFrom(conflict)
    assert read_result("key", job, {}).notes == ("Unknown words.",)


def test_the_metadata_of_a_clip_has_the_settings_of_its_request() -> None:
    # Metadata cannot contain a flat or drawn energy of a layer.
    chosen = replace(EVERYTHING, layers=EVERYTHING.layers[:2])

    class OtioClip:
        name = "ball.mp4"
        metadata = {"rewas": clip_metadata(CLIP.prompt, chosen)}  # noqa: RUF012

    settings = read_clip_settings(OtioClip())
    assert settings is not None
    requested = build_sound_work(CLIP, chosen, {})
    assert settings.to_proto() == requested.settings
    assert clip_metadata("rain", None) == {"prompt": "rain"}
