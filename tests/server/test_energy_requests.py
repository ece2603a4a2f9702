"""Energy requests: every source, edits in order as in the engine, and events."""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import opentimelineio as otio
import pytest
import soundfile
from server_process import ServerProcess
from sliding_square import FRAME_RATE, FRAMES, write_video

from rewas_api.client import RewasClient
from rewas_api.errors import JobFailed, ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2, rewas_pb2_grpc
from rewas_cli.runner import LocalRunner
from rewas_engine import (
    EnergyCurve,
    ReWaS,
    VideoClip,
    apply_edits,
    curve_from_points,
    find_events,
    flat_curve,
    parse_edit,
)
from rewas_server.work.translation import curve_from_message, curve_message, rational

CLIP_S = FRAMES / FRAME_RATE
POINTS = [(0.0, -11.5), (0.4, -11.5), (0.5, -4.0), (0.9, -9.0), (1.2, -3.0), (1.9, -11.5)]
EDITS = ["boost event 2 by 1.5", "mute event 1", "smooth 0.05", "fade out 0.5"]
NO_EVENT = "There is no event 9: the curve has 2 events at that point."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from rewas_engine.recipes.untrained_starter import write_untrained_pack

    folder = tmp_path_factory.mktemp("energies")
    (folder / "media").mkdir()
    write_untrained_pack(folder / "packs" / "tiny", seed=0)
    write_untrained_pack(folder / "packs" / "worded", seed=0, reads_words=True)
    write_video(folder / "media" / "shot.mp4")
    times_s = np.arange(32_000) / 16_000
    hands = np.random.default_rng(1).uniform(-1, 1, times_s.size) * np.exp(-20 * (times_s % 1))
    soundfile.write(folder / "media" / "hands.wav", 0.3 * hands, 16_000)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    started = ServerProcess(
        folder / "state", [folder / "media"], packs_dir=folder / "packs", default_pack="tiny", cancel_grace_s=60.0
    )
    with started as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[RewasClient]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def model(folder: Path) -> ReWaS:
    return ReWaS.from_pretrained(folder / "packs" / "tiny", device="cpu")


def otio_json(folder: Path, name: str = "shot.mp4", rate: Fraction = FRAME_RATE, frames: int = FRAMES) -> str:
    time = otio.opentime.RationalTime
    shown = otio.opentime.TimeRange(time(0, float(rate)), time(frames, float(rate)))
    reference = otio.schema.ExternalReference(str(folder / "media" / name))
    return str(otio.schema.Clip("shot 7", reference, shown).to_json_string())


def points_message(points: list[tuple[float, float]]) -> rewas_pb2.EnergyPoints:
    points_of_message = [
        rewas_pb2.EnergyPoint(time_s=rational(Fraction(time_s).limit_denominator(1000)), level_nats=nats)
        for time_s, nats in points
    ]
    return rewas_pb2.EnergyPoints(points=points_of_message)


def drawn_curve() -> EnergyCurve:
    return curve_from_points(POINTS, duration=CLIP_S)


def apply_in_engine(curve: EnergyCurve, edits: list[str]) -> EnergyCurve:
    return apply_edits(curve, [parse_edit(text) for text in edits])


def assert_same_curve(message: rewas_pb2.EnergyCurve, curve: EnergyCurve) -> None:
    received = curve_from_message(message)
    np.testing.assert_array_equal(received.values, curve.values)
    assert (received.rate_hz, received.source) == (curve.rate_hz, curve.source)


def energy_work(folder: Path, **fields: Any) -> rewas_pb2.EnergyWork:
    other_fields = {name: fields.pop(name) for name in ("source", "find_cuts", "prompt") if name in fields}
    return rewas_pb2.EnergyWork(
        clip_otio_json=otio_json(folder), energy=rewas_pb2.EnergyInput(**fields), **other_fields
    )


def sound_work(
    folder: Path, layer: str | None = "ambience", level: rewas_pb2.Level = rewas_pb2.LEVEL_UNSPECIFIED, **fields: Any
) -> rewas_pb2.SoundWork:
    layers = [rewas_pb2.Layer(name=layer, prompt="wind")] if layer else []
    settings = rewas_pb2.SoundSettings(prompt="rain", seed=7, num_inference_steps=1, layers=layers, level=level)
    return rewas_pb2.SoundWork(clip_otio_json=otio_json(folder), settings=settings, **fields)


# Given energies, which need no model


@pytest.mark.parametrize(
    ("given", "curve"),
    [
        ({"points": points_message(POINTS)}, drawn_curve()),
        ({"curve": curve_message(drawn_curve()), "source": rewas_pb2.ENERGY_SOURCE_USER}, drawn_curve()),
        ({"flat_nats": -4.0}, flat_curve(duration=CLIP_S, nats=-4)),
    ],
)
def test_given_energies_are_edited_as_in_the_engine(
    client: RewasClient, folder: Path, given: dict[str, Any], curve: EnergyCurve
) -> None:
    edits = ["scale 0.8", "fade in 0.3", "compress -6 2"]
    energy = client.wait(client.submit(energy_work(folder, edits=edits, **given)).id).energy
    assert_same_curve(energy.energy, apply_in_engine(curve, edits))
    assert_same_curve(energy.unedited_energy, curve)
    assert not energy.HasField("pack")
    assert not energy.cuts_s
    assert energy.clip.duration_s == rational(CLIP_S)


def test_edits_apply_in_order_and_events_are_of_the_edited_curve(client: RewasClient, folder: Path) -> None:
    given = points_message(POINTS)
    for edits in (EDITS, ["mute event 1", "boost event 1 by 1.5"], []):
        energy = client.wait(client.submit(energy_work(folder, points=given, edits=edits)).id).energy
        expected = apply_in_engine(drawn_curve(), edits)
        assert_same_curve(energy.energy, expected)
        assert energy.HasField("unedited_energy") == bool(edits)
        events = find_events(expected)
        assert [event.number for event in energy.events] == [event.number for event in events]
        assert len(events) == (1 if edits else 2)
        for received, event in zip(energy.events, events, strict=True):
            assert received.time_s.numerator / received.time_s.denominator == pytest.approx(event.time_s, abs=1e-6)
            assert received.duration_s.numerator / received.duration_s.denominator == pytest.approx(
                event.length_s, abs=1e-6
            )
            assert (received.peak_nats, received.strength_nats) == (event.peak_nats, event.strength_nats)


def test_cuts_can_be_found_for_a_given_energy(client: RewasClient, folder: Path) -> None:
    submitted = client.submit(energy_work(folder, flat_nats=-4.0, find_cuts=True))
    assert list(client.wait(submitted.id).energy.energy.values) == [-4.0] * math.ceil(CLIP_S * 100)


def test_a_missing_event_fails_the_job_with_the_message_of_the_engine(client: RewasClient, folder: Path) -> None:
    points = points_message(POINTS)
    for work in (
        energy_work(folder, points=points, edits=["mute event 9"]),
        sound_work(folder, None, energy=rewas_pb2.EnergyInput(points=points, edits=["mute event 9"])),
        sound_work(folder, layer_energies={"ambience": rewas_pb2.EnergyInput(points=points, edits=["mute event 9"])}),
    ):
        with pytest.raises(JobFailed) as failed:
            client.wait(client.submit(work).id)
        assert (failed.value.what, failed.value.remedy) == (NO_EVENT, "List the events.")
        assert failed.value.kind is ProblemKind.SETTINGS


# Energies taken from the clip


@pytest.mark.slow
def test_energies_of_video_and_audio_are_edited(client: RewasClient, folder: Path, model: ReWaS) -> None:
    edits = ["scale 1.1", "smooth 0.2", "shift 0.1"]
    video, hands = otio_json(folder), otio_json(folder, "hands.wav", Fraction(16_000), 32_000)
    media = folder / "media"
    for clip_json, source, curve in (
        (video, None, model.estimate_energy(VideoClip(media / "shot.mp4"))),
        (hands, rewas_pb2.ENERGY_SOURCE_AUDIO, model.measure_energy(VideoClip(media / "hands.wav"))),
    ):
        work = rewas_pb2.EnergyWork(clip_otio_json=clip_json, source=source, energy={"edits": edits})
        energy = client.wait(client.submit(work).id).energy
        # Another process may round differently. Edits of the received curve give identical values.
        np.testing.assert_allclose(energy.unedited_energy.values, curve.values, atol=1e-3)
        assert_same_curve(energy.energy, apply_in_engine(curve_from_message(energy.unedited_energy), edits))
        assert energy.energy.source == energy.unedited_energy.source
        assert energy.pack.name == "tiny"


@pytest.mark.slow
def test_a_sound_and_its_layer_follow_edited_energies(client: RewasClient, folder: Path, tmp_path: Path) -> None:
    level = rewas_pb2.EnergyInput(flat_nats=-5.0, edits=["fade in 1", "fade out 0.5"])
    # At the standard level, edits lower and raise the stems, while a given curve has no level of reference.
    raw = rewas_pb2.LEVEL_RAW
    from_edits = sound_work(
        folder,
        level=raw,
        energy={"points": points_message(POINTS), "edits": EDITS},
        layer_energies={"ambience": level},
    )
    ambience = apply_in_engine(flat_curve(duration=CLIP_S, nats=-5), list(level.edits))
    from_curves = sound_work(
        folder,
        level=raw,
        energy={"curve": curve_message(apply_in_engine(drawn_curve(), EDITS))},
        layer_energies={"ambience": rewas_pb2.EnergyInput(curve=curve_message(ambience))},
    )
    jobs = [client.submit(work).id for work in (from_edits, from_curves)]
    sounds = [client.wait(job).sound for job in jobs]
    assert sounds[0].requested_energy == sounds[1].requested_energy
    assert max(sounds[0].requested_energy.values) > -2
    (one,), (other,) = (sound.takes for sound in sounds)
    assert one.layers[0].requested_energy == other.layers[0].requested_energy
    assert one.layers[0].requested_energy.values[5] < -10
    assert one.output_energy == other.output_energy
    # The files contain their creation time, so only their samples are equal.
    samples = [
        [
            soundfile.read(client.fetch_artifact(job, stem.artifact, tmp_path / f"{job}-{stem.artifact.name}"))[0]
            for stem in stems
        ]
        for job, stems in zip(jobs, (one.stems, other.stems), strict=True)
    ]
    assert len(samples[0]) == 2
    for edited_samples, curve_samples in zip(*samples, strict=True):
        np.testing.assert_array_equal(edited_samples, curve_samples)


@pytest.mark.slow
def test_a_sound_follows_edited_video_energy_and_a_constant_level(client: RewasClient, folder: Path) -> None:
    edits = ["offset 1", "fade in 1"]
    energy = client.wait(client.submit(energy_work(folder, edits=edits, prompt="rain")).id).energy
    energies = ({"edits": edits}, {"curve": energy.energy}, {"flat_nats": -4.0})
    edited_here, sent_back, level = (
        client.wait(client.submit(sound_work(folder, None, energy=each)).id).sound for each in energies
    )
    assert edited_here.requested_energy == sent_back.requested_energy
    assert edited_here.requested_energy.source == rewas_pb2.ENERGY_SOURCE_VIDEO
    assert edited_here.timings["energy"].ToNanoseconds() > 0
    assert set(level.requested_energy.values) == {-4.0}


# Invalid requests


LEVEL = rewas_pb2.EnergyInput(flat_nats=-4.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"edits": ["gate -8", "wobble 3"]}, "The edit “wobble 3” is not understood"),
        ({"edits": [""]}, "The edit “” is not understood"),
        ({"edits": ["scale nan"]}, "factor of scale is nan"),
        ({"edits": ["mute event 0"]}, "no event 0"),
        ({"edits": ["gate -8"] * 1001}, "There are 1001 edits"),
        ({"source": rewas_pb2.ENERGY_SOURCE_USER}, 'energy of "shot 7" has the source USER, but no curve is given'),
        ({"source": rewas_pb2.ENERGY_SOURCE_AUDIO, "flat_nats": -4.0}, "is both given and taken from the clip"),
        ({"flat_nats": 9.0}, "louder than any sound"),
        ({"flat_nats": math.nan}, "nan nats"),
        ({"points": rewas_pb2.EnergyPoints()}, "The energy curve has no points"),
        ({"points": points_message([(0, -5), (1, math.nan), (2, -5)])}, "Point 2 of the energy curve"),
        ({"points": points_message([(0, -5), (1, -5), (1, -4), (2, -5)])}, "not after the previous one"),
        ({"points": points_message([(0, -5), (1, -5)])}, "too short"),
        ({"points": points_message([(0, -5), (9, -5)])}, "beyond the clip's end"),
        (
            {"points": rewas_pb2.EnergyPoints(points=[{"level_nats": -5}, {"level_nats": -5}])},
            "time of point 1 has the denom",
        ),
        ({"curve": rewas_pb2.EnergyCurve(values=[-5])}, "rate"),
    ],
)
def test_invalid_energy_requests_are_refused(
    client: RewasClient, folder: Path, fields: dict[str, Any], message: str
) -> None:
    assert_refused(client, energy_work(folder, **fields), message)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"energy": {"edits": ["wobble 3"]}}, "The edit “wobble 3” is not understood"),
        ({"energy": {"flat_nats": 9.0}}, "louder than any sound"),
        ({"energy": {"points": points_message([(0, -5), (1, -5)])}}, "too short"),
        ({"layer_energies": {"crowd": LEVEL}}, "set for the layer 'crowd', but the clip \"shot 7\" has no such layer"),
        (
            {"layer_energies": {"ambience": rewas_pb2.EnergyInput(edits=["scale 1"])}},
            "The energy of the layer 'ambience' of the clip \"shot 7\" has no curve",
        ),
        (
            {"layer_energies": {"ambience": rewas_pb2.EnergyInput(flat_nats=-4.0, edits=["wobble 3"])}},
            "The edit “wobble 3” is not understood",
        ),
        ({"layer_energies": {"ambience": rewas_pb2.EnergyInput(flat_nats=9.0)}}, "louder than any sound"),
    ],
)
def test_invalid_sound_requests_are_refused(
    client: RewasClient, folder: Path, fields: dict[str, Any], message: str
) -> None:
    assert_refused(client, sound_work(folder, **fields), message)


def test_points_of_a_clip_without_a_range_are_checked_against_its_media(client: RewasClient, folder: Path) -> None:
    reference = otio.schema.ExternalReference(str(folder / "media" / "shot.mp4"))
    whole = otio.schema.Clip("shot 7", reference).to_json_string()
    matching = rewas_pb2.EnergyWork(clip_otio_json=whole, energy={"points": points_message(POINTS)})
    assert_same_curve(client.wait(client.submit(matching).id).energy.energy, drawn_curve())
    short = rewas_pb2.EnergyWork(clip_otio_json=whole, energy={"points": points_message(POINTS[:3])})
    with pytest.raises(JobFailed, match="too short"):
        client.wait(client.submit(short).id)


def test_an_unknown_edit_is_an_invalid_argument(server: ServerProcess, folder: Path) -> None:
    work = energy_work(folder, edits=["mute event 1", "smooth a bit"])
    request = rewas_pb2.SubmitJobRequest(idempotency_key="words", energy=work)
    with server.channel() as channel:
        stub = rewas_pb2_grpc.RewasServiceStub(channel)
        with pytest.raises(grpc.RpcError) as raised:
            stub.SubmitJob(request)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details() == "The edit “smooth a bit” is not understood. Write it as smooth SECONDS."


def assert_refused(client: RewasClient, work: Any, message: str) -> None:
    with pytest.raises(ProblemError) as raised:
        client.submit(work)
    assert message in raised.value.what
    assert raised.value.remedy.endswith(".")
    assert raised.value.kind is ProblemKind.SETTINGS


# Abilities of packs


def test_packs_state_what_they_can_score(client: RewasClient) -> None:
    abilities = {pack.name: (pack.checks_conflict, pack.scores_text) for pack in client.list_packs()}
    assert abilities["tiny"] == (False, False)
    assert abilities["starter"] == (True, True)


@pytest.mark.slow
def test_a_clip_model_enables_conflict_checks_for_any_pack(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "packs" / "damaged").mkdir(exist_ok=True)
    (folder / "packs" / "damaged" / "pack.toml").write_text("format = 1\n")
    monkeypatch.setenv("REWAS_PACKS", str(folder / "packs"))
    packs = {pack.name: pack for pack in LocalRunner(conflict_model=tmp_path).packs()}
    assert (packs["tiny"].checks_conflict, packs["tiny"].scores_text) == (True, False)
    assert not packs["damaged"].checks_conflict


def test_an_estimate_gets_the_level_of_a_prompt(folder: Path, client: RewasClient, model: ReWaS) -> None:
    estimate = model.estimate_energy(VideoClip(folder / "media" / "shot.mp4", duration=CLIP_S))
    found = client.wait(client.submit(energy_work(folder, prompt="a hammer")).id).energy.energy
    assert_same_curve(found, model.apply_typical_level(estimate, "a hammer"))
    # A given curve is left as it is.
    given = client.wait(client.submit(energy_work(folder, prompt="a hammer", flat_nats=-6.0)).id).energy.energy
    assert curve_from_message(given).values == pytest.approx(-6)


def test_an_empty_prompt_is_refused(folder: Path, client: RewasClient) -> None:
    with pytest.raises(ProblemError, match="empty prompt"):
        client.submit(energy_work(folder, prompt=" "))


def test_notes_and_edits_of_an_estimate_travel_with_the_sound(folder: Path, client: RewasClient, model: ReWaS) -> None:
    work = sound_work(folder, layer=None, energy={"edits": ["offset -1"]})
    result = client.wait(client.submit(work).id).sound
    clip = VideoClip(folder / "media" / "shot.mp4", duration=CLIP_S)
    level = model.apply_typical_level(model.estimate_energy(clip), result.settings.prompt)
    wanted = apply_in_engine(level, ["offset -1"]).resample(100, len(result.requested_energy.values))
    np.testing.assert_allclose(result.requested_energy.values, np.maximum(wanted, np.log(1e-5)), atol=1e-4)
    notes = model.generate(clip, prompt=result.settings.prompt, seed=1).notes
    assert [note.text for note in result.notes] == [note.text for note in notes]


# Packs that read words


def test_a_pack_that_reads_words_estimates_for_the_prompt(folder: Path, server: ServerProcess) -> None:
    clip = VideoClip(folder / "media" / "shot.mp4", duration=CLIP_S)
    worded = ReWaS.from_pretrained(folder / "packs" / "worded", device="cpu")
    expected = {prompt: worded.estimate_energy(clip, prompt=prompt) for prompt in ("wind", "a hammer")}
    assert np.abs(expected["wind"].values - expected["a hammer"].values).max() > 0.1

    def estimate(prompt: str | None, **fields: Any) -> EnergyCurve:
        work = rewas_pb2.EnergyWork(clip_otio_json=otio_json(folder), pack="worded", prompt=prompt, **fields)
        result = client.wait(client.submit(work).id).energy
        assert (result.pack.name, result.pack.reads_words) == ("worded", True)
        return curve_from_message(result.energy)

    with server.client() as client:
        for prompt, curve in expected.items():
            raw = estimate(prompt, level=rewas_pb2.LEVEL_RAW)
            # Another process may round differently.
            np.testing.assert_allclose(raw.values, curve.values, atol=1e-3)
            level = worded.apply_typical_level(curve, prompt)
            np.testing.assert_allclose(estimate(prompt).values, level.values, atol=1e-3)
        np.testing.assert_allclose(estimate(None).values, worded.estimate_energy(clip).values, atol=1e-3)
        # A generated sound follows what was estimated for its prompt.
        settings = rewas_pb2.SoundSettings(prompt="a hammer", seed=7, num_inference_steps=1, pack="worded")
        work = rewas_pb2.SoundWork(clip_otio_json=otio_json(folder), settings=settings)
        followed = curve_from_message(client.wait(client.submit(work).id).sound.requested_energy)
        wanted = estimate("a hammer").resample(followed.rate_hz, len(followed.values))
        np.testing.assert_allclose(followed.values, np.maximum(wanted, np.log(1e-5)), atol=1e-3)


def test_packs_state_whether_they_read_words(client: RewasClient) -> None:
    packs = {pack.name: pack.reads_words for pack in client.list_packs()}
    assert (packs["tiny"], packs["worded"]) == (False, True)


def test_a_level_without_a_prompt_is_refused(folder: Path, client: RewasClient) -> None:
    work = rewas_pb2.EnergyWork(clip_otio_json=otio_json(folder), level=rewas_pb2.LEVEL_RAW)
    assert_refused(client, work, "has a level but no prompt")


def test_a_layer_follows_the_video_for_its_own_prompt(folder: Path, client: RewasClient) -> None:
    layer = rewas_pb2.Layer(name="hits", prompt="a hammer", energy=rewas_pb2.LAYER_ENERGY_VIDEO)
    settings = rewas_pb2.SoundSettings(prompt="wind", seed=7, num_inference_steps=1, pack="worded", layers=[layer])
    sound = client.wait(
        client.submit(rewas_pb2.SoundWork(clip_otio_json=otio_json(folder), settings=settings)).id
    ).sound
    followed = curve_from_message(sound.takes[0].layers[0].requested_energy)
    work = rewas_pb2.EnergyWork(clip_otio_json=otio_json(folder), pack="worded", prompt="a hammer")
    estimate = curve_from_message(client.wait(client.submit(work).id).energy.energy)
    wanted = estimate.resample(followed.rate_hz, len(followed.values))
    np.testing.assert_allclose(followed.values, np.maximum(wanted, np.log(1e-5)), atol=1e-3)
