"""Reference sounds: the spectrum and texture that a generated sound takes from another sound, and refusals."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered_clips import noise, write_numbered_clip, write_sound

from rewas_engine import (
    Control,
    EnergyCurve,
    Layer,
    MediaError,
    Output,
    ReferenceSound,
    Regenerate,
    ReWaS,
    Sampling,
    SettingsError,
    Stem,
    VideoClip,
    flat_curve,
    flat_texture,
)
from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.conditioning.timbre import (
    MAX_MATCH_DB,
    Timbre,
    apply_gains_db,
    matching_gains_db,
    measure_spectrum,
    spectrum_distance_db,
)
from rewas_engine.generation.reference import match_spectrum
from rewas_engine.media.audio import write_wav

RATE_HZ = 16_000
FRAMES = st.lists(st.floats(-11.5, 3.0), min_size=64, max_size=64)
FAST = {
    "prompt": "wind",
    "seed": 3,
    "sampling": Sampling(num_inference_steps=1),
}


@pytest.fixture(scope="module")
def front_end() -> AudioFrontEnd:
    return AudioFrontEnd(MelConfig())


def dark(samples: int, seed: int = 0) -> np.ndarray:
    """Brown noise, within ±0.5."""
    walk = np.cumsum(noise(samples, seed) - noise(samples, seed).mean())
    walk -= np.convolve(np.pad(walk, 400, mode="edge"), np.ones(801) / 801, "valid")
    return (walk / np.abs(walk).max() / 2).astype(np.float32)


def spectrum(front_end: AudioFrontEnd, waveform: np.ndarray) -> np.ndarray:
    found = measure_spectrum(front_end.encode(waveform.astype(np.float32)), front_end.config.silence_nats)
    assert found is not None
    return found


@settings(max_examples=50, deadline=None)
@given(FRAMES, FRAMES)
def test_matching_gains_are_bounded_and_keep_the_energy(first: list[float], second: list[float]) -> None:
    gains_db = matching_gains_db(np.array(first), np.array(second))
    assert np.abs(gains_db).max() <= MAX_MATCH_DB
    assert abs(gains_db.mean()) < 1e-6


def test_a_filter_has_the_requested_gains_and_no_pre_ringing(front_end: AudioFrontEnd) -> None:
    sound, gains_db = noise(4 * RATE_HZ), 12 * np.sin(np.linspace(0, 2 * np.pi, 64))
    filtered = apply_gains_db(sound, gains_db, front_end, is_loop=False)
    changed_db = (spectrum(front_end, filtered) - spectrum(front_end, sound)) * 20 / np.log(10)
    # Below 200 Hz, the bins are narrower than the lobes of the window.
    assert np.abs(changed_db - gains_db)[6:].max() < 1.0
    click = np.zeros(RATE_HZ, np.float32)
    click[8000] = 0.5
    answer = np.abs(apply_gains_db(click, gains_db, front_end, is_loop=False))
    assert answer[:8000].max() < 1e-4 * answer.max()
    assert answer[8000:8016].max() == answer.max()


def test_filtering_a_loop_gives_a_loop(front_end: AudioFrontEnd) -> None:
    loop, gains_db = noise(5000), np.linspace(-12, 12, 64)
    once = apply_gains_db(loop, gains_db, front_end, is_loop=True)
    thrice = apply_gains_db(np.tile(loop, 3), gains_db, front_end, is_loop=False)
    np.testing.assert_allclose(once, thrice[5000:10_000], atol=1e-4)


def test_the_spectrum_comes_close_and_the_energy_stays(front_end: AudioFrontEnd) -> None:
    swell = (noise(3 * RATE_HZ) * (0.3 + 0.2 * np.sin(np.arange(3 * RATE_HZ) / 4000))).astype(np.float32)
    wanted = Timbre.measure(front_end.encode(dark(2 * RATE_HZ)), front_end.config.silence_nats)
    assert wanted is not None
    matched = match_spectrum(swell, wanted, front_end, lambda _: None)
    before, after = spectrum(front_end, swell), spectrum(front_end, matched)
    assert spectrum_distance_db(after, wanted.spectrum) < 0.5 * spectrum_distance_db(before, wanted.spectrum)
    energies = [front_end.measure_energy(sound).values for sound in (swell, matched)]
    assert np.corrcoef(*energies)[0, 1] > 0.95
    assert abs(energies[1].mean() - energies[0].mean()) < 0.2


def test_the_filter_is_weakened_until_the_sound_matches_its_prompt(front_end: AudioFrontEnd) -> None:
    sound = noise(RATE_HZ)
    wanted = Timbre.measure(front_end.encode(dark(RATE_HZ)), front_end.config.silence_nats)
    assert wanted is not None
    original = spectrum(front_end, sound)

    def strictly(limit_db: float):
        return lambda waveform: float(spectrum_distance_db(spectrum(front_end, waveform), original) < limit_db)

    free, limited, kept = (
        match_spectrum(sound, wanted, front_end, strictly(limit_db)) for limit_db in (100.0, 5.0, 0.01)
    )
    distances = [spectrum_distance_db(spectrum(front_end, each), original) for each in (free, limited, kept)]
    assert distances[0] > 5 > distances[1] > 0
    assert np.array_equal(kept, sound)


def test_the_texture_of_each_level_is_that_of_the_reference(front_end: AudioFrontEnd) -> None:
    loud, soft = noise(2 * RATE_HZ), dark(2 * RATE_HZ) * 0.3
    log_mel = front_end.encode(np.concatenate([loud, soft.astype(np.float32)]))
    timbre = Timbre.measure(log_mel, front_end.config.silence_nats)
    assert timbre is not None
    energy = log_mel.mean(dim=1).numpy()
    levels = np.repeat([energy[:180].mean(), energy[220:].mean(), 2.0, -11.0], 100).astype(np.float32)
    tilts = timbre.texture_for(EnergyCurve(levels, Fraction(100))).tilt_nats.reshape(4, 100)
    assert np.ptp(tilts, axis=1).max() == 0
    assert tilts[0, 0] > tilts[1, 0] + 2
    # Levels beyond those of the reference get the texture of the nearest one.
    np.testing.assert_allclose(tilts[2:, 0], tilts[:2, 0], atol=0.3)


def test_silence_has_no_timbre(front_end: AudioFrontEnd) -> None:
    silence_nats = front_end.config.silence_nats
    assert Timbre.measure(torch.full((50, 64), silence_nats), silence_nats) is None
    assert (
        match_spectrum(
            np.zeros(8000, np.float32),
            Timbre(np.zeros(64), np.array([-3.0, -2.0]), np.zeros((2, 4))),
            front_end,
            lambda _: None,
        ).any()
        == np.False_
    )


def waveform(result, role: str = "primary") -> np.ndarray:
    return result.takes[0].stems[role].waveform


@pytest.fixture
def rumble(tmp_path: Path) -> ReferenceSound:
    return ReferenceSound(write_sound(tmp_path / "rumble.wav", dark(2 * RATE_HZ), RATE_HZ))


def test_a_reference_steers_spectrum_and_texture(
    reading_all_controls: ReWaS, long_clip: Path, rumble: ReferenceSound
) -> None:
    clip, energy = VideoClip(long_clip, duration=2), flat_curve(duration=2)
    plain = reading_all_controls.generate(clip, control=Control(energy=energy), **FAST)
    like, repeated = (
        reading_all_controls.generate(clip, control=Control(energy=energy, like=rumble), **FAST) for _ in range(2)
    )
    assert np.array_equal(waveform(like), waveform(repeated))
    assert not np.array_equal(waveform(like), waveform(plain))
    assert like.requested_texture is not None
    assert like.requested_texture.tilt_nats.mean() < -1
    assert plain.takes[0].reference_distance_db is None
    distance_db = like.takes[0].reference_distance_db
    assert distance_db is not None
    assert 0 < distance_db < 30
    assert not [note for note in like.notes if note.kind == "reference"]


def test_a_pack_without_texture_takes_the_spectrum_and_says_so(
    model: ReWaS, long_clip: Path, rumble: ReferenceSound
) -> None:
    clip, energy = VideoClip(long_clip, duration=2), flat_curve(duration=2)
    like = model.generate(clip, control=Control(energy=energy, like=rumble), **FAST)
    assert like.requested_texture is None
    assert [note.text for note in like.notes if note.kind == "reference"] == [
        f"The {model.pack.name} pack does not follow texture, so its sound has only the spectrum of the reference "
        "sound."
    ]
    plain = model.generate(clip, control=Control(energy=energy), **FAST)
    front_end = model.front_end
    wanted = spectrum(front_end, rumble.read(RATE_HZ))
    before, after = (spectrum_distance_db(spectrum(front_end, waveform(result)[0]), wanted) for result in (plain, like))
    assert after < before - 1


def test_a_sound_that_no_longer_matches_its_prompt_is_generated_without_the_texture(
    reading_all_controls: ReWaS, long_clip: Path, rumble: ReferenceSound, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, energy = VideoClip(long_clip, duration=2), flat_curve(duration=2)
    plain = reading_all_controls.generate(clip, control=Control(energy=energy), **FAST)
    textured = reading_all_controls.generate(clip, control=Control(energy=energy, like=rumble), **FAST)

    def prefer(wanted: np.ndarray) -> None:
        """Score sounds by how similar they are to a wanted one."""

        def score(_: object, __: str, sound: np.ndarray) -> float:
            return float(abs(np.corrcoef(sound, wanted[0][: sound.size])[0, 1]) > 0.9999)

        monkeypatch.setattr("rewas_engine.requests.scoring.WordScorer.__call__", score)

    prefer(waveform(plain))
    result = reading_all_controls.generate(clip, control=Control(energy=energy, like=rumble), **FAST)
    assert result.requested_texture is not None
    assert result.takes[0].texture_error_nats is None
    assert result.takes[0].text_score == 1
    prefer(waveform(textured))
    result = reading_all_controls.generate(clip, control=Control(energy=energy, like=rumble), **FAST)
    assert result.takes[0].texture_error_nats is not None


def test_layers_have_their_own_reference(reading_all_controls: ReWaS, long_clip: Path, rumble: ReferenceSound) -> None:
    clip, control = VideoClip(long_clip, duration=1), Control(energy=flat_curve(duration=1))
    results = [
        reading_all_controls.generate(
            clip, control=control, layers=[Layer("crowd", "people clapping", like=like)], **FAST
        )
        for like in (None, rumble)
    ]
    assert results[1].takes[0].reference_distance_db is None
    normed = [[waveform(result, role) / np.abs(waveform(result, role)).max() for result in results]
              for role in ("primary", "crowd")]  # fmt: skip
    np.testing.assert_allclose(*normed[0], atol=1e-5)
    assert np.abs(normed[1][0] - normed[1][1]).max() > 0.05


@pytest.mark.parametrize("output", [Output(loop=True), Output(cuts=(Fraction(1, 2),))])
def test_loops_and_cuts_keep_their_length(
    reading_all_controls: ReWaS, long_clip: Path, rumble: ReferenceSound, output: Output
) -> None:
    clip = VideoClip(long_clip, duration="1.01")
    control = Control(energy=flat_curve(duration="1.01"), like=rumble)
    result = reading_all_controls.generate(clip, control=control, output=output, **FAST)
    assert waveform(result).shape[1] == 16_160


def test_a_regenerated_range_keeps_the_samples_outside_it(
    reading_all_controls: ReWaS, long_clip: Path, rumble: ReferenceSound
) -> None:
    existing = Stem("primary", noise(2 * RATE_HZ)[None], RATE_HZ)
    result = reading_all_controls.generate(
        VideoClip(long_clip, duration=2),
        control=Control(like=rumble),
        regenerate=Regenerate(existing, 1, 1.5),
        **FAST,
    )
    assert np.array_equal(waveform(result)[:, :15_000], existing.waveform[:, :15_000])


def test_a_texture_and_a_reference_exclude_each_other(model: ReWaS, long_clip: Path, rumble: ReferenceSound) -> None:
    control = Control(texture=flat_texture(duration=1), like=rumble)
    with pytest.raises(SettingsError, match="texture and a reference sound both decide"):
        model.generate(VideoClip(long_clip, duration=1), control=control, **FAST)


def refused_reference(path: Path) -> MediaError:
    with pytest.raises(MediaError) as refused:
        ReferenceSound(path).read(RATE_HZ)
    assert path.name in refused.value.what
    assert refused.value.remedy
    return refused.value


def test_sounds_that_cannot_be_references_are_refused_in_a_sentence(tmp_path: Path) -> None:
    silent = write_sound(tmp_path / "silent.wav", np.zeros(RATE_HZ, np.float32), RATE_HZ)
    assert "is silent" in refused_reference(silent).what
    broken = tmp_path / "nan.wav"
    write_float_sound(broken, np.full(RATE_HZ, np.nan, np.float32))
    assert "not numbers" in refused_reference(broken).what
    short = write_sound(tmp_path / "short.wav", noise(800), RATE_HZ)
    assert "lasts 0.05 s, which is too short" in refused_reference(short).what
    picture = write_numbered_clip(tmp_path / "picture.mkv", frames=10)
    assert "has no sound" in refused_reference(picture).what
    assert refused_reference(tmp_path / "missing.wav").what
    text = tmp_path / "notes.wav"
    text.write_text("hello")
    assert refused_reference(text).what


def test_two_hours_are_refused_without_decoding_them(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    samples = 2 * 3600 * 8000
    header = b"RIFF" + (36 + samples).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    header += (1).to_bytes(2, "little") * 2 + (8000).to_bytes(4, "little") * 2 + (1).to_bytes(2, "little")
    header += (8).to_bytes(2, "little") + b"data" + samples.to_bytes(4, "little")
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + samples)
    refused = refused_reference(path)
    assert refused.what == "The reference sound long.wav lasts 120 minutes; the limit is 10 minutes."
    assert ReferenceSound(path, start=3600, duration=2).duration_s == 2


def test_a_range_of_a_sound_can_be_the_reference(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "both.wav", np.concatenate([np.zeros(RATE_HZ, np.float32), noise(RATE_HZ)]), RATE_HZ)
    part = ReferenceSound(path, start=1, duration="0.5").read(RATE_HZ)
    assert part.shape == (8000,)
    assert np.abs(part).max() > 0.3
    with pytest.raises(MediaError, match="is silent"):
        ReferenceSound(path, duration="0.9").read(RATE_HZ)
    with pytest.raises(MediaError, match="lasts 0 s, which is too short"):
        ReferenceSound(path, start=3).read(RATE_HZ)
    for wrong in ({"start": -1}, {"duration": 0.01}, {"duration": 601}):
        with pytest.raises(SettingsError):
            ReferenceSound(path, **wrong)


def test_a_name_replaces_that_of_the_file_in_errors(tmp_path: Path) -> None:
    upload = write_sound(tmp_path / ("0" * 64 + ".wav"), np.zeros(RATE_HZ, np.float32), RATE_HZ)
    with pytest.raises(MediaError, match=r"reference sound rain\.wav is silent"):
        ReferenceSound(upload, name="rain.wav").read(RATE_HZ)
    with pytest.raises(MediaError) as refused:
        ReferenceSound(tmp_path / ("1" * 64 + ".wav"), name="rain.wav").read(RATE_HZ)
    assert "rain.wav" in refused.value.what
    assert "1" * 64 not in refused.value.what


def write_float_sound(path: Path, sound: np.ndarray) -> None:
    import soundfile

    soundfile.write(path, sound, RATE_HZ, subtype="FLOAT")


def test_stereo_at_another_rate_is_mixed_and_resampled(tmp_path: Path) -> None:
    stereo = np.stack([noise(48_000), noise(48_000, seed=1)])
    sound = ReferenceSound(write_wav(tmp_path / "stereo.wav", stereo, 48_000)).read(RATE_HZ)
    assert sound.shape == (16_000,)
