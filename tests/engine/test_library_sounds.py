"""Libraries of recordings through the engine's public interface, with real files and clips."""

import shutil
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numbered_clips import write_numbered_clip

from rewas_engine import (
    Control,
    EnergyCurve,
    Layer,
    MediaError,
    Output,
    PackError,
    PerformanceOptions,
    ReferenceSound,
    Regenerate,
    ReWaS,
    Sampling,
    SettingsError,
    Stem,
    VideoClip,
    flat_curve,
)
from rewas_engine.curves.energy import SILENCE_NATS
from rewas_engine.curves.texture import flat_texture
from rewas_engine.exact_time import sample_count
from rewas_engine.models.text import SentenceEncoder
from rewas_engine.packs.description import DESCRIPTION_FILE, find_pack, read_model_pack, read_pack, verify_files
from rewas_engine.recipes.untrained_starter import write_untrained_pack
from rewas_engine.recordings.library_pack import LibraryTerms, make_library
from rewas_engine.requests.notes import recordings_repeat_note
from rewas_engine.training.starting_point import StartingPoint

RATE_HZ = 48_000
STRIKES_S = (0.5, 1.1, 1.8)
CAPTIONS = """file,description,licence,credit
hammer.wav,hammer on wood,CC-BY-4.0,H. Smith
mallet.wav,mallet on wood,,
rain.wav,heavy rain,,
"""


def strike(rng: np.random.Generator, peak: float) -> np.ndarray:
    """A burst of noise that begins at once and decays, `[samples]`."""
    sound = rng.standard_normal(RATE_HZ // 2) * np.exp(-np.arange(RATE_HZ // 2) / (0.05 * RATE_HZ))
    return peak * sound / np.abs(sound).max()


def noise(rng: np.random.Generator, length_s: float) -> np.ndarray:
    return 0.1 * rng.standard_normal(round(length_s * RATE_HZ))


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with two stereo recordings of strikes and one mono recording of steady noise."""
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for name in ("hammer", "mallet"):
        whole = np.zeros((8 * RATE_HZ, 2))
        for number, peak in enumerate((0.1, 0.2, 0.4, 0.6)):
            whole[(1 + 4 * number) * RATE_HZ // 2 :][: RATE_HZ // 2] += strike(rng, peak)[:, None] * (1.0, 0.8)
        soundfile.write(folder / f"{name}.wav", whole, RATE_HZ, subtype="PCM_24")
    soundfile.write(folder / "rain.wav", noise(rng, 6.0), RATE_HZ, subtype="PCM_24")
    (folder / "captions.csv").write_text(CAPTIONS, "utf-8")
    encoder = SentenceEncoder.default()
    terms = LibraryTerms("CC0-1.0", "the field team")
    made = make_library(
        [folder], tmp_path_factory.mktemp("packs") / "foley", terms, lambda words: encoder(list(words)).numpy()
    )
    return made.pack.path


@pytest.fixture(scope="module")
def library(pack: Path) -> ReWaS:
    return ReWaS.from_pretrained(pack, device="cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> VideoClip:
    """60 frames at 24000/1001."""
    return VideoClip(write_numbered_clip(tmp_path_factory.mktemp("clips") / "clip.mkv", frames=60, rate="24000/1001"))


def strikes() -> EnergyCurve:
    values = np.full(250, SILENCE_NATS, np.float32)
    for time_s in STRIKES_S:
        begin = round(100 * time_s)
        decay = np.maximum(-3.5 - 0.25 * np.arange(30), SILENCE_NATS)
        values[begin : begin + 30] = decay
    return EnergyCurve(values, Fraction(100))


def test_a_library_is_listed_and_verified_like_any_pack(pack: Path, library: ReWaS) -> None:
    description = read_pack(pack)
    verify_files(description)
    info = description.info
    assert (info.is_library, info.sample_rate_hz, info.controls) == (True, 48_000, ("energy", "onsets"))
    assert (info.checks_conflict, info.scores_words) == (True, False)
    assert description.lender is not None
    assert description.component_folder == description.lender.path == find_pack("starter")
    assert library.pack == info


def test_a_reference_sound_chooses_among_recordings_whose_words_fit(
    tmp_path: Path, clip: VideoClip, pack: Path
) -> None:
    rng, folder = np.random.default_rng(1), tmp_path / "sounds"
    folder.mkdir()
    times_s = np.arange(6 * RATE_HZ) / RATE_HZ
    hits = {"dull": np.cumsum(noise(rng, 6.0)) / 10, "sharp": np.diff(noise(rng, 6.0), append=0.0)}
    for name, sound in hits.items():
        shaped = sound * np.exp(-(times_s % 1) / 0.05)
        soundfile.write(folder / f"door slam {name}.wav", 0.5 * shaped / np.abs(shaped).max(), RATE_HZ)
    encoder = SentenceEncoder.default()
    made = make_library(
        [folder], tmp_path / "packs" / "doors", LibraryTerms("CC0-1.0"), lambda words: encoder(list(words)).numpy()
    )
    library = ReWaS.from_pretrained(made.pack.path, device="cpu")
    for name in hits:
        like = ReferenceSound(folder / f"door slam {name}.wav", start=1, duration=4)
        control = Control(energy=strikes(), like=like)
        (take,) = library.generate(clip, prompt="a door slams", control=control).takes
        assert [used.name for used in take.recordings] == [f"door slam {name}.wav"]
        assert take.reference_distance_db is not None
        assert take.reference_distance_db < 6


def test_strikes_are_performed_in_stereo_at_48_khz(library: ReWaS, clip: VideoClip) -> None:
    result = library.generate(clip, prompt="hammer on wood", control=Control(energy=strikes()), seed=5, takes=2)
    assert (result.settings, result.performance, result.notes) == (None, PerformanceOptions(), ())
    assert result.familiarity is not None
    assert result.familiarity.is_known
    for take in result.takes:
        stem = take.stems["primary"]
        assert stem.sample_rate_hz == 48_000
        assert stem.waveform.shape == (2, sample_count(result.clip.duration_s, 48_000))
        assert take.faults == ()
        assert take.score is not None
        assert take.energy_correlation is not None
        assert take.energy_correlation > 0.9
        (used,) = take.recordings
        assert (used.name, used.words) == ("hammer.wav", "hammer on wood")
        assert (used.licence, used.credit) == ("CC-BY-4.0", "H. Smith")
        loud = np.flatnonzero(np.abs(stem.waveform[0]) > 0.1 * np.abs(stem.waveform).max())
        starts = [loud[0], *(after for before, after in pairwise(loud) if after - before > 9600)]
        np.testing.assert_allclose(np.array(starts) / 48_000, STRIKES_S, atol=0.011)
    again = library.generate(clip, prompt="hammer on wood", control=Control(energy=strikes()), seed=5, takes=2)
    for one, other in zip(result.takes, again.takes, strict=True):
        assert np.array_equal(one.stems["primary"].waveform, other.stems["primary"].waveform)
    first, second = result.takes
    assert not np.array_equal(first.stems["primary"].waveform, second.stems["primary"].waveform)


def test_the_next_recording_performs_the_same_energy(library: ReWaS, clip: VideoClip) -> None:
    def generate(place: int):
        options = PerformanceOptions(place=place)
        control = Control(energy=strikes())
        return library.generate(clip, prompt="hammer on wood", control=control, performance=options, seed=1)

    results = [generate(place) for place in range(4)]
    names = [result.takes[0].recordings[0].name for result in results]
    assert names == ["hammer.wav", "mallet.wav", "rain.wav", "hammer.wav"]
    assert [result.performance.place for result in results] == [0, 1, 2, 0]
    notes = [[note.text for note in result.notes if note.kind == "recordings_repeat"] for result in results]
    assert notes == [
        [],
        [],
        [],
        ["The foley library has 3 choices of recordings for “hammer on wood”, so the list starts over from the first."],
    ]


def test_a_recording_without_terms_has_those_of_the_library(library: ReWaS, clip: VideoClip) -> None:
    take = library.generate(clip, prompt="heavy rain", control=Control(energy=flat_curve(duration=2.5025))).takes[0]
    (used,) = take.recordings
    assert (used.name, used.licence, used.credit) == ("rain.wav", "CC0-1.0", "the field team")
    assert take.stems["primary"].waveform.shape[0] == 1
    assert np.ptp(take.produced_energy.values[10:-10]) < 1.5


def test_the_reference_of_a_layer_is_followed_by_its_pack(
    library: ReWaS, clip: VideoClip, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tiny = ReWaS.from_pretrained(write_untrained_pack(tmp_path_factory.mktemp("packs") / "tiny"), device="cpu")
    folder, rng = tmp_path_factory.mktemp("references"), np.random.default_rng(2)
    soundfile.write(folder / "dull.wav", np.cumsum(noise(rng, 2.0)) / 100, RATE_HZ)

    def ambience(like: ReferenceSound | None) -> tuple[np.ndarray, list[str]]:
        result = library.generate(
            clip,
            prompt="hammer on wood",
            control=Control(energy=strikes()),
            layers=[Layer("ambience", "wind", pack="tiny", like=like)],
            layer_packs={"tiny": tiny},
            seed=2,
        )
        (take,) = result.takes
        assert take.reference_distance_db is None
        notes = [note.text for note in result.notes if note.kind == "reference"]
        return take.stems["ambience"].waveform[0], notes

    (plain, no_notes), (dull, notes) = ambience(None), ambience(ReferenceSound(folder / "dull.wav"))
    assert no_notes == []
    assert [note.startswith(f"The {tiny.pack.name} pack does not follow texture") for note in notes] == [True]
    shares = [np.abs(np.fft.rfft(sound))[5000:].sum() / np.abs(np.fft.rfft(sound)).sum() for sound in (plain, dull)]
    assert shares[1] < 0.8 * shares[0]


def test_layers_may_come_from_another_pack(
    library: ReWaS, clip: VideoClip, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tiny = ReWaS.from_pretrained(write_untrained_pack(tmp_path_factory.mktemp("packs") / "tiny"), device="cpu")
    layers = [Layer("ambience", "wind", pack="tiny"), Layer("bed", "heavy rain", gain_db=-6)]
    control = Control(energy=strikes())
    result = library.generate(
        clip, prompt="hammer on wood", control=control, layers=layers, layer_packs={"tiny": tiny}, seed=2
    )
    take = result.takes[0]
    assert {role: stem.waveform.shape[0] for role, stem in take.stems.items()} == {
        "primary": 2, "ambience": 1, "bed": 1,
    }  # fmt: skip
    assert {stem.sample_rate_hz for stem in take.stems.values()} == {48_000}
    assert take.layers["ambience"].pack == tiny.pack
    assert take.layers["ambience"].recordings == ()
    assert take.layers["bed"].pack == library.pack
    assert [used.name for used in take.layers["bed"].recordings] == ["rain.wav"]
    mix = take.mix().waveform
    assert mix.shape[0] == 2
    np.testing.assert_array_equal(mix[1], sum(stem.waveform[-1] for stem in take.stems.values()))
    # The other way round, with the same layer of the library.
    other = tiny.generate(
        clip,
        prompt="wind",
        sampling=Sampling(num_inference_steps=1),
        layers=[Layer("bed", "heavy rain", pack="foley")],
        layer_packs={"foley": library},
    )
    assert [used.name for used in other.takes[0].layers["bed"].recordings] == ["rain.wav"]
    with pytest.raises(SettingsError, match="The layer ambience names the pack tiny, which is not loaded"):
        library.generate(clip, prompt="rain", layers=layers)


def test_a_loop_of_recordings_joins(library: ReWaS, clip: VideoClip) -> None:
    result = library.generate(clip, prompt="heavy rain", output=Output(loop=True), seed=3)
    waveform = result.takes[0].stems["primary"].waveform[0]
    assert waveform.size == sample_count(result.clip.duration_s, 48_000)
    twice = np.concatenate([waveform, waveform])
    level = np.sqrt(np.convolve(np.square(twice.astype(float)), np.full(960, 1 / 960), "valid"))
    join = level[waveform.size - 1920 : waveform.size + 960]
    inside = level[4800 : waveform.size - 4800]
    assert inside.min() * 0.9 < join.min()
    assert join.max() < inside.max() * 1.1
    steps = np.abs(np.diff(twice))
    assert steps[waveform.size - 1] <= steps.max()
    assert not np.allclose(waveform[:100], waveform[-100:])


def test_each_shot_is_performed_anew(library: ReWaS, clip: VideoClip) -> None:
    energy = flat_curve(duration=2.5025)
    cut = library.generate(clip, prompt="heavy rain", control=Control(energy=energy), output=Output(cuts=(1,)), seed=3)
    whole = library.generate(clip, prompt="heavy rain", control=Control(energy=energy), seed=3)
    one, other = (result.takes[0].stems["primary"].waveform for result in (cut, whole))
    assert one.shape == other.shape
    assert not np.allclose(one[:, 60_000:], other[:, 60_000:])
    assert np.abs(one[:, 48_000:96_000]).max() > 0.01


def test_a_range_is_performed_again_and_the_rest_stays(library: ReWaS, clip: VideoClip) -> None:
    control = Control(energy=strikes())
    take = library.generate(clip, prompt="hammer on wood", control=control, seed=1).takes[0]
    first = take.stems["primary"]
    changed = library.generate(
        clip,
        prompt="hammer on wood",
        control=control,
        seed=9,
        performance=PerformanceOptions(place=1),
        regenerate=Regenerate(first, Fraction(1), Fraction(3, 2), recordings=take.recordings),
    ).takes[0]
    stem = changed.stems["primary"]
    assert stem.waveform.shape == first.waveform.shape
    assert np.array_equal(stem.waveform[:, :47_000], first.waveform[:, :47_000])
    assert np.array_equal(stem.waveform[:, 73_000:], first.waveform[:, 73_000:])
    assert not np.allclose(stem.waveform[:, 50_000:60_000], first.waveform[:, 50_000:60_000])
    assert [used.name for used in changed.recordings] == ["mallet.wav", "hammer.wav"]
    mono = Stem("primary", first.waveform[:1], 48_000)
    kept = library.generate(
        clip, prompt="mallet on wood", control=control, regenerate=Regenerate(mono, Fraction(1), Fraction(2))
    )
    assert kept.takes[0].stems["primary"].waveform.shape == mono.waveform.shape


def test_onsets_leave_the_decay_as_recorded(library: ReWaS, clip: VideoClip) -> None:
    short = strikes()
    control = Control(kind="onsets", energy=short)
    take = library.generate(clip, prompt="hammer on wood", control=control, seed=1).takes[0]
    assert [used.name for used in take.recordings] == ["hammer.wav"]
    assert take.faults == ()


def test_what_a_library_cannot_do_is_said(library: ReWaS, clip: VideoClip) -> None:
    energy = flat_curve(duration=2.5025)
    strange = library.generate(clip, prompt="xylophone of whales", control=Control(energy=energy))
    (note,) = strange.notes
    assert note.kind == "unknown_prompt"
    assert note.text.startswith("The foley library has no recording like “xylophone of whales” and performs another")
    assert "heavy rain" in note.text
    assert strange.takes[0].score is None
    unused = library.generate(
        clip,
        prompt="heavy rain",
        control=Control(energy=energy, strength=0.5),
        sampling=Sampling(num_inference_steps=20),
        conflict="soften",
    )
    text = next(note.text for note in unused.notes if note.kind == "unused_setting")
    assert text == (
        "The pack foley performs recordings, so it does not use sampling settings, the strength and range of the "
        "control and the conflict policy “soften”."
    )
    textured = Control(energy=energy, texture=flat_texture(duration=2.5025))
    with pytest.raises(SettingsError, match="The pack foley does not support the control texture"):
        library.generate(clip, prompt="heavy rain", control=textured)


def test_a_model_does_not_use_performance_settings(clip: VideoClip, tmp_path: Path) -> None:
    tiny = ReWaS.from_pretrained(write_untrained_pack(tmp_path / "tiny"), device="cpu")
    result = tiny.generate(
        clip, prompt="rain", sampling=Sampling(num_inference_steps=1), performance=PerformanceOptions(place=1)
    )
    assert result.performance is None
    assert [note.text for note in result.notes if note.kind == "unused_setting"] == [
        "The pack tiny has no recordings, so it does not use performance settings."
    ]


def test_a_library_has_no_model_to_train(pack: Path, library: ReWaS) -> None:
    with pytest.raises(PackError, match="The pack foley is a library of recordings and has no model"):
        read_model_pack(pack)
    with pytest.raises(PackError, match="has no model"):
        StartingPoint(str(pack))
    with pytest.raises(PackError, match="has no model"):
        _ = library.sound_generator


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("gone", "The library copy uses the pack gone to read video and prompts. The pack 'gone' is not installed."),
        ("copy", "The library copy uses the pack copy to read video and prompts. The pack copy is a library"),
    ],
)
def test_a_library_needs_a_model_pack_to_read_video(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, message: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(pack, copy)
    monkeypatch.setenv("REWAS_PACKS", str(tmp_path))
    description = copy / DESCRIPTION_FILE
    description.write_text(description.read_text("utf-8").replace('model = "starter"', f'model = "{model}"'), "utf-8")
    with pytest.raises(PackError) as caught:
        read_pack(copy)
    assert caught.value.what.startswith(message)


def test_a_recording_that_has_vanished_is_named(pack: Path, clip: VideoClip, tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    folder.mkdir()
    soundfile.write(folder / "rain.wav", noise(np.random.default_rng(1), 3.0), RATE_HZ)
    made = make_library([folder], tmp_path / "wet", LibraryTerms(), lambda words: np.ones((len(words), 384)))
    (folder / "rain.wav").unlink()
    model = ReWaS.from_pretrained(made.pack.path, device="cpu")
    with pytest.raises(MediaError, match=r"rain\.wav"):
        model.generate(clip, prompt="rain", control=Control(energy=flat_curve(duration=2.5025)))


def test_a_steady_sound_follows_its_energy_where_only_onsets_are_asked_for(library: ReWaS, clip: VideoClip) -> None:
    take = library.generate(
        clip, prompt="heavy rain", control=Control(kind="onsets", energy=strikes()), output=Output(level="raw"), seed=1
    ).takes[0]
    assert [used.name for used in take.recordings] == ["rain.wav"]
    assert take.energy_correlation is not None
    assert take.energy_correlation > 0.9


def test_a_library_with_one_choice_says_that_there_is_no_other() -> None:
    assert recordings_repeat_note("foley", "rain", 1).text == (
        "The foley library has no other recordings for “rain”, so the same ones are used."
    )
