"""Encoders of the measures: loading from folders, sounds of any length, and which encoder computes what."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from encoder_folders import write_ast, write_clap, write_clip
from pack_fixtures import tiny_model
from safetensors.torch import load_file, save_file
from transformers import ASTForAudioClassification, ClapModel

from rewas_engine import PackError, ReWaS, SettingsError
from rewas_engine.errors import MediaError
from rewas_engine.evaluation.distances import cosines
from rewas_engine.evaluation.encoders.selection import EncoderSet, find_encoders, load_encoder
from rewas_engine.evaluation.encoders.stand_ins import JudgeEncoder, joint_space_encoder
from rewas_engine.evaluation.encoders.transformers_encoders import AstEncoder, ClapEncoder, ClipFrameEncoder
from rewas_engine.evaluation.judge import Judge
from rewas_engine.matching.joint_space_encoder import JointSpaceEncoder
from rewas_engine.media.waveforms import at_rate, even_windows, in_batches

FloatArray = np.typing.NDArray[np.float32]
RATE_HZ = 22_050


def noise(seconds: float, seed: int = 0, rate_hz: int = RATE_HZ) -> FloatArray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate_hz))).astype(np.float32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders")
    for name, write in {"a": write_clap, "b": write_ast, "c": write_clip}.items():
        write(folder / name)
    (folder / "notes").mkdir()
    return folder


@pytest.fixture(scope="module")
def model() -> ReWaS:
    return ReWaS.from_pretrained("starter", device="cpu")


class TestClap:
    def test_equals_the_model_of_transformers(self, folders: Path) -> None:
        encoder = ClapEncoder(folders / "a", "cpu")
        sound = noise(1.5, rate_hz=48_000)
        found = encoder.embed_sounds([sound], 48_000)
        model = ClapModel.from_pretrained(folders / "a", local_files_only=True).eval()
        features = encoder._extractor(sound, sampling_rate=48_000, return_tensors="pt")
        with torch.inference_mode():
            expected = model.get_audio_features(**features).pooler_output.numpy()
        assert found == pytest.approx(expected, abs=1e-5)

    def test_texts_and_sounds_share_one_space(self, folders: Path) -> None:
        encoder = load_encoder(folders / "a")
        texts = encoder.embed_texts(["a dog barks", "rain falls on the roof", "a dog barks " * 40])
        sounds = encoder.embed_sounds([noise(1), noise(0.01, 1), np.zeros(RATE_HZ, np.float32)], RATE_HZ)
        assert texts.shape == sounds.shape == (3, 16)
        assert np.linalg.norm(texts, axis=1) == pytest.approx(1, abs=1e-5)
        assert np.isfinite(cosines(texts, sounds)).all()
        assert np.abs(texts[0] - texts[1]).max() > 1e-4

    def test_a_long_sound_is_read_in_windows_and_not_at_random(self, folders: Path) -> None:
        encoder = ClapEncoder(folders / "a", "cpu")
        long = noise(12, rate_hz=48_000)
        once, again = encoder.embed_sounds([long], 48_000), encoder.embed_sounds([noise(1), long], 48_000)[1:]
        windows = encoder.embed_sounds([long[:480_000], long[-480_000:]], 48_000).mean(axis=0)
        assert once == pytest.approx(again, abs=1e-6)
        assert once[0] == pytest.approx(windows / np.linalg.norm(windows), abs=1e-5)


class TestAst:
    def test_equals_the_model_of_transformers(self, folders: Path) -> None:
        encoder = AstEncoder(folders / "b", "cpu")
        sound = noise(0.9, rate_hz=16_000)
        (found,) = encoder.describe_sounds([sound], 16_000)
        model = ASTForAudioClassification.from_pretrained(folders / "b", local_files_only=True).eval()
        values = encoder._extractor(sound, sampling_rate=16_000, return_tensors="pt")["input_values"]
        with torch.inference_mode():
            assert found.logits == pytest.approx(model(values).logits[0].numpy(), abs=1e-5)
        assert found.embeddings.shape == (1, 16)

    def test_reads_long_short_and_silent_sounds(self, folders: Path) -> None:
        described = load_encoder(folders / "b").describe_sounds(
            [noise(3.7), noise(0.003), np.zeros(RATE_HZ, np.float32)], RATE_HZ
        )
        assert all(np.isfinite(one.embeddings).all() and np.isfinite(one.logits).all() for one in described)


class TestClip:
    def test_texts_and_frames_share_one_space(self, folders: Path) -> None:
        encoder = load_encoder(folders / "c")
        assert isinstance(encoder, ClipFrameEncoder)
        frames = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)
        vectors = encoder.embed_frames(frames)
        assert vectors.shape == (40, 12)
        assert encoder.embed_frames(frames[:1]) == pytest.approx(vectors[:1], abs=1e-5)
        assert encoder.embed_texts(["a dog"]).shape == (1, 12)
        assert (encoder.frame_format.width, encoder.frame_format.short_side) == (32, 32)


class TestStandIns:
    def test_the_judge_gives_features_from_which_its_scores_follow(self) -> None:
        encoder, judge = JudgeEncoder(), Judge.load()
        described = encoder.describe_sounds([noise(2), noise(0.001), np.zeros(100, np.float32)], RATE_HZ)
        assert all(np.isfinite(one.logits).all() for one in described)
        features = torch.from_numpy(described[0].embeddings)
        assert judge.network.scores(features)[0].numpy() == pytest.approx(described[0].logits, abs=1e-5)
        assert described[0].logits.shape == (len(judge.classes),)
        assert encoder.is_stand_in
        assert encoder.content_sha256 == JudgeEncoder(judge).content_sha256

    def test_the_joint_space_embeds_texts_frames_and_sounds(self, model: ReWaS) -> None:
        encoder = joint_space_encoder(model)
        rate, width, height = model.frame_format
        frames = np.random.default_rng(0).integers(0, 256, (60, height, width), np.uint8)
        vectors = encoder.embed_frames(frames)
        assert vectors.shape[0] == 60
        # Near the start, frames have the same neighbours.
        assert vectors[0] == pytest.approx(vectors[20], abs=1e-6)
        assert np.abs(vectors[0] - vectors[40]).max() > 1e-5
        assert encoder.embed_frames(frames[:1]).shape == encoder.embed_texts(["a dog"]).shape
        assert encoder.embed_sounds([noise(1), noise(0.001)], RATE_HZ).shape == (2, vectors.shape[1])
        assert encoder.describe_video(frames).shape == vectors.shape[1:]
        assert encoder.frame_format.frame_rate == Fraction(rate)


class TestSelection:
    def test_given_encoders_come_before_stand_ins(self, folders: Path, model: ReWaS) -> None:
        encoders = EncoderSet(model, folders)
        assert isinstance(encoders.for_sounds("mkl"), AstEncoder)
        assert encoders.for_sounds("mkl") is encoders.for_sounds("fad")
        assert isinstance(encoders.text_sound, ClapEncoder)
        assert isinstance(encoders.text_frames, ClipFrameEncoder)
        assert isinstance(encoders.frame_sound, JointSpaceEncoder)
        assert encoders.video.is_stand_in
        assert encoders.synchroniser is None
        assert encoders.kind_for("fvd") is None
        assert [encoders.kind_for(measure) for measure in ("fd", "clap")] == ["audio-spectrogram-transformer", "clap"]

    def test_without_a_folder_all_are_stand_ins(self, model: ReWaS) -> None:
        encoders = EncoderSet(model)
        assert encoders.for_sounds("fd").is_stand_in
        assert encoders.text_sound.is_stand_in

    def test_a_single_encoder_can_be_the_folder(self, folders: Path) -> None:
        assert find_encoders(folders / "a") == {"clap": folders / "a"}

    def test_a_pack_without_a_joint_space_has_no_stand_in_for_it(self, tmp_path: Path) -> None:
        encoders = EncoderSet(tiny_model(tmp_path))
        assert encoders.for_sounds("fd").is_stand_in
        with pytest.raises(PackError, match="has no joint space that could stand in"):
            _ = encoders.text_sound

    def test_refuses_folders_without_encoders(self, tmp_path: Path, folders: Path) -> None:
        with pytest.raises(SettingsError, match="does not exist"):
            find_encoders(tmp_path / "missing")
        with pytest.raises(PackError, match="contains no encoders"):
            find_encoders(folders / "notes")

    def test_refuses_unknown_kinds_and_doubles(self, tmp_path: Path) -> None:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "config.json").write_text('{"model_type": "clip"}')
        with pytest.raises(PackError, match="one and two both contain an encoder of the kind clip"):
            find_encoders(tmp_path)
        (tmp_path / "two" / "config.json").write_text('{"model_type": "bert"}')
        with pytest.raises(PackError, match="kind bert, which is not an encoder"):
            find_encoders(tmp_path)
        (tmp_path / "two" / "config.json").write_text("{}")
        with pytest.raises(PackError, match="names no model_type"):
            find_encoders(tmp_path)


class TestDamagedFolders:
    @pytest.mark.parametrize("write", [write_clap, write_ast])
    def test_weights_must_fit_completely(self, tmp_path: Path, write: object) -> None:
        folder = write(tmp_path / "encoder")  # type: ignore[operator]
        weights = load_file(folder / "model.safetensors")
        name = next(name for name in weights if name.endswith(("layernorm.weight", "norm.weight")))
        for damaged, fault in (
            ({key: value for key, value in weights.items() if key != name}, "lack"),
            ({**weights, "surplus": torch.zeros(2)}, "the unknown tensor surplus"),
            ({**weights, name: torch.full_like(weights[name], torch.nan)}, "not finite"),
            ({**weights, name: torch.zeros(3)}, "cannot be loaded|another shape"),
        ):
            save_file(damaged, folder / "model.safetensors", metadata={"format": "pt"})
            with pytest.raises(PackError, match=fault):
                load_encoder(folder)

    def test_pickled_weights_are_never_opened(self, tmp_path: Path) -> None:
        folder = write_ast(tmp_path / "encoder")
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        with pytest.raises(PackError, match=r"no model\.safetensors, only pickled weights"):
            load_encoder(folder)

    def test_the_tokenizer_and_the_sound_settings_must_be_there(self, tmp_path: Path) -> None:
        folder = write_clap(tmp_path / "encoder")
        (folder / "preprocessor_config.json").rename(folder / "kept")
        with pytest.raises(PackError, match=r"lacks preprocessor_config\.json"):
            load_encoder(folder)
        (folder / "kept").rename(folder / "preprocessor_config.json")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).unlink()
        with pytest.raises(PackError, match=r"lacks tokenizer_config\.json"):
            load_encoder(folder)

    def test_sound_settings_of_another_model_are_refused(self, tmp_path: Path) -> None:
        folder = write_ast(tmp_path / "encoder")
        settings = json.loads((folder / "preprocessor_config.json").read_text())
        (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "max_length": 1024}))
        with pytest.raises(PackError, match="does not fit its model"):
            load_encoder(folder)


class TestWaveforms:
    def test_padding_and_rate(self) -> None:
        assert at_rate(noise(1), RATE_HZ, 16_000).size == 16_000
        padded = at_rate(np.ones(3, np.float32), 16_000, 16_000, min_samples=10)
        assert padded.tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]

    @pytest.mark.parametrize(
        "sound", [np.zeros(0, np.float32), np.zeros((2, 5), np.float32), np.array([0, np.nan], np.float32)]
    )
    def test_refuses_what_is_no_sound(self, sound: FloatArray) -> None:
        with pytest.raises(MediaError):
            at_rate(sound, 16_000, 16_000)

    def test_windows_cover_the_sound(self) -> None:
        sound = np.arange(25, dtype=np.float32)
        windows = even_windows(sound, 10)
        assert [window.size for window in windows] == [10, 10, 10]
        assert (windows[0][0], windows[-1][-1]) == (0, 24)
        assert len(even_windows(sound, 25)) == 1

    def test_batches_keep_the_order(self) -> None:
        sounds = [np.full(size, number, np.float32) for number, size in enumerate((3, 5, 3, 3, 5))]
        shapes: list[tuple[int, ...]] = []

        def first_values(batch: FloatArray) -> list[float]:
            shapes.append(batch.shape)
            return batch[:, 0].tolist()

        assert in_batches(sounds, 2, first_values) == [0, 1, 2, 3, 4]
        assert shapes == [(2, 3), (1, 3), (2, 5)]
