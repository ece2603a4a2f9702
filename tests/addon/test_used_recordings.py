"""The recordings of libraries in takes, and the settings that packs use."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from rewas_api.v1 import rewas_pb2
from rewas_nle.core.completing import complete_takes, next_step, plan_completion
from rewas_nle.core.messages import PackChoice, StemFile
from rewas_nle.core.received_takes import build_takes
from rewas_nle.core.records import JobRecord
from rewas_nle.core.requests import read_result
from rewas_nle.core.sound_settings import EnergyChoice, LayerChoice, PerformanceChoice, SoundSettings
from rewas_nle.timeline.strips import Refusal, SelectedClip
from rewas_nle.timeline.takes import Stem, StemPack, Take, UsedRecording

CLIP = SelectedClip(
    "ball.mp4", "/film/ball.mp4", "a ball", 0, 48, 0, Fraction(24), Fraction(0), Fraction(2), 480, Fraction(24)
)
BALL = UsedRecording("primary", "sports/ball_01.wav", "ball on wood", "CC-BY-4.0", "Jane Doe", "ab")
RAIN = UsedRecording("rain", "weather/rain.flac", "", "CC0-1.0")
WIND = UsedRecording("ambience", "weather/wind.flac", "wind in trees")


def message(used: UsedRecording) -> rewas_pb2.UsedRecording:
    return rewas_pb2.UsedRecording(
        name=used.name,
        words=used.words,
        licence=used.licence,
        credit=used.credit,
        content_sha256=used.content_sha256,
    )


def result(*stems: str, place: int = 0) -> rewas_pb2.Job:
    """A result whose primary sound and rain are from libraries, and whose ambience is from a model."""
    foley = rewas_pb2.Pack(name="foley", version="2", licence="CC-BY-4.0")
    return rewas_pb2.Job(
        id="job",
        sound=rewas_pb2.SoundResult(
            pack=foley,
            settings=rewas_pb2.SoundSettings(prompt="a ball", performance=rewas_pb2.Performance(place=place)),
            takes=[
                rewas_pb2.Take(
                    seed=3,
                    stems=[rewas_pb2.Stem(role=role, artifact=rewas_pb2.Artifact(name=role)) for role in stems],
                    recordings=[message(BALL)],
                    layers=[
                        rewas_pb2.LayerResult(name="rain", recordings=[message(RAIN)], pack=foley),
                        rewas_pb2.LayerResult(
                            name="ambience",
                            pack=rewas_pb2.Pack(name="starter", version="1", licence="Apache-2.0"),
                        ),
                    ],
                )
            ],
        ),
    )


def test_a_take_names_the_recordings_and_the_pack_of_each_stem() -> None:
    roles = ("primary", "rain", "ambience")
    received = read_result("key", result(*roles, place=2), {role: Path(f"/film/{role}.wav") for role in roles})
    (take,) = build_takes(CLIP, received)
    assert take.place == 2
    assert take.recordings == (BALL, RAIN)
    assert take.recordings_of("rain") == (RAIN,)
    assert take.recordings_of("ambience") == ()
    assert take.recordings_of("mix") == (BALL, RAIN)
    assert take.pack_of("rain") == StemPack("rain", "foley", "2", "CC-BY-4.0")
    assert take.pack_of("ambience") == StemPack("ambience", "starter", "1", "Apache-2.0")
    assert Take.from_json(take.to_json()) == take


def test_the_credit_is_one_line_of_title_licence_and_credit() -> None:
    assert BALL.credit_line == "ball on wood, CC-BY-4.0, Jane Doe"
    assert RAIN.credit_line == "rain.flac, CC0-1.0"
    assert replace(WIND, credit="A\nB \t C").credit_line == "wind in trees, A B C"


def test_a_take_of_an_older_file_has_no_recordings() -> None:
    take = Take("a" * 32, Fraction(24), 0, 48, ())
    text = take.to_json().replace(',"recordings":[],"layer_packs":[]', "")
    assert "recordings" not in text
    assert Take.from_json(text) == take


def test_only_the_settings_that_a_pack_uses_are_sent() -> None:
    settings = SoundSettings(
        negative_prompt="music",
        energy=EnergyChoice("own_sound", use_texture=True),
        control="onsets",
        control_strength=0.5,
        control_start=0.1,
        control_end=0.9,
        num_inference_steps=12,
        guidance_scale=2.0,
        sampler="ddim",
        gain_db=-3.0,
        performance=PerformanceChoice(place=1, tail="natural"),
    )
    assert settings.used_by(is_library=True) == SoundSettings(
        energy=EnergyChoice("own_sound"), control="onsets", gain_db=-3.0, performance=settings.performance
    )
    assert settings.used_by(is_library=False) == replace(settings, performance=PerformanceChoice())


def test_a_library_says_so_in_the_list_of_packs() -> None:
    library = PackChoice("foley", "", "CC0-1.0", "Free for any use.", "", is_library=True, sample_rate_hz=48000)
    assert library.properties == "plays recordings, 48 kHz, CC0-1.0"
    assert replace(library, is_library=False, sample_rate_hz=22050).properties == "22.05 kHz, CC0-1.0"


def test_the_layer_of_another_pack_is_completed_with_that_pack(tmp_path: Path) -> None:
    take = Take(
        id="a" * 32,
        scene_rate=Fraction(24),
        lead_in_frames=0,
        frames=24,
        stems=tuple(Stem(role, tmp_path / f"{role}.wav", 48000, 1, 48000) for role in ("primary", "rain", "ambience")),
        media="/film/ball.mp4",
        prompt="a ball",
        settings={"performance": {"place": 3}},
        pack="foley",
        pack_version="2",
        licence="CC-BY-4.0",
        recordings=(BALL, RAIN),
        layer_packs=(StemPack("ambience", "starter", "1", "Apache-2.0"),),
    )
    settings = SoundSettings(
        pack="foley",
        layers=(
            LayerChoice("ambience", "wind", pack="starter"),
            LayerChoice("rain", "rain", performance=PerformanceChoice(place=5)),
        ),
    )
    planned = plan_completion(take, CLIP, settings)
    assert not isinstance(planned, Refusal)
    record: JobRecord | None = JobRecord("0" * 32, *planned, "Scene", tmp_path)
    steps, takes = [], ()
    while record is not None:
        record = JobRecord.from_json(record.to_json())
        steps.append((record.settings.pack, record.settings.performance.place))
        name = f"new-{len(steps)}.wav"
        received = read_result(record.key, result("primary"), {"primary": tmp_path / name})
        if record.settings.pack == "starter":
            info = replace(received.generation_info, pack="starter", pack_version="1", licence="Apache-2.0")
            received = replace(received, generation_info=info)
        (made,) = received.takes
        stem = StemFile("primary", tmp_path / name, 48000, 1, 96000)
        made = replace(made, stems=(stem,), recordings=() if len(steps) == 3 else (replace(BALL, name=name),))
        record = replace(record, received=replace(received, takes=(made,)))
        takes = complete_takes(record, build_takes(record.clip, record.received, record.settings))
        record = next_step(record)
    assert steps == [("foley", 3), ("foley", 5), ("starter", None)]
    (completed,) = takes
    assert completed.pack_of("primary") == StemPack("primary", "foley", "2", "CC-BY-4.0")
    assert completed.recordings == (
        BALL,
        RAIN,
        replace(BALL, name="new-1.wav"),
        replace(BALL, role="rain", name="new-2.wav"),
    )
    assert completed.layer_packs == take.layer_packs
    assert completed.roles == take.roles
