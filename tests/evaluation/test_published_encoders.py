"""VGGish, PANNs, PaSST, I3D and ImageBind: the published names and shapes, spectrograms, and clips of any length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from published_tensors import (
    i3d_shapes,
    imagebind_shapes,
    panns_shapes,
    passt_shapes,
    random_tensors,
    vggish_shapes,
    write_folder,
)

from rewas_engine import PackError, ReWaS, Stem, VideoClip
from rewas_engine.conditioning.kaldi_mel import kaldi_log_mel
from rewas_engine.evaluation.distances import frechet_distance
from rewas_engine.evaluation.encoders.i3d import I3dEncoder, _pad
from rewas_engine.evaluation.encoders.panns import Cnn14Network, PannsEncoder
from rewas_engine.evaluation.encoders.passt import PasstEncoder, log_mel
from rewas_engine.evaluation.encoders.selection import load_encoder
from rewas_engine.evaluation.encoders.vggish import VggishEncoder, log_mel_parts
from rewas_engine.matching.avh import avh_score
from rewas_engine.matching.imagebind_encoder import ImageBindEncoder

FloatArray = NDArray[np.float32]

TOWER = {"heads": 2, "blocks": 1}
SMALL: dict[str, tuple[Callable[[], dict[str, tuple[int, ...]]], dict[str, object]]] = {
    "vggish": (
        lambda: vggish_shapes((4, 6, 8, 8, 10, 10), (12, 12, 7)),
        {"model_type": "vggish", "channels": [4, 6, 8, 8, 10, 10], "widths": [12, 12, 7]},
    ),
    "panns": (
        lambda: panns_shapes((4, 4, 6, 6, 8, 8), window=512, classes=9),
        {
            "model_type": "panns",
            "sample_rate_hz": 16_000,
            "window_samples": 512,
            "hop_samples": 160,
            "classes": 9,
            "widths": [4, 4, 6, 6, 8, 8],
        },
    ),
    "passt": (
        lambda: passt_shapes(16, 2, 29, 9),
        {"model_type": "passt", "width": 16, "blocks": 2, "heads": 2, "time_places": 29, "classes": 9},
    ),
    "i3d": (lambda: i3d_shapes(9, 16), {"model_type": "i3d", "classes": 9, "narrowing": 16, "side": 32}),
    "imagebind": (
        lambda: imagebind_shapes((16, 1, 4), (16, 1, 228), 8),
        {
            "model_type": "imagebind",
            "joint_width": 8,
            "vision": {**TOWER, "width": 16, "patch": 14, "stride": 14, "size": [28, 28]},
            "audio": {**TOWER, "width": 16, "patch": 16, "stride": 10, "size": [128, 204]},
        },
    ),
}
PUBLISHED: dict[str, tuple[Callable[[], dict[str, tuple[int, ...]]], dict[str, object]]] = {
    "vggish": (vggish_shapes, {"model_type": "vggish"}),
    "panns": (panns_shapes, {"model_type": "panns"}),
    "passt": (passt_shapes, {"model_type": "passt"}),
    "i3d": (i3d_shapes, {"model_type": "i3d"}),
}


def noise(seconds: float, rate_hz: int, seed: int = 0) -> FloatArray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate_hz))).astype(np.float32)


def write_small(folder: Path, kind: str) -> Path:
    shapes, config = SMALL[kind]
    return write_folder(folder / kind, random_tensors(shapes()), config)


def sees_and_hears(encoder: Any) -> list[FloatArray]:
    """Everything that an encoder says about a sound and a video."""
    found: list[FloatArray] = []
    frame_format = getattr(encoder, "video_format", None) or getattr(encoder, "frame_format", None)
    if frame_format is not None:
        shape = (3, frame_format.height, frame_format.width, 3)
        frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        found.append(
            encoder.describe_video(frames) if hasattr(encoder, "describe_video") else encoder.embed_frames(frames)
        )
    if hasattr(encoder, "embed_sounds"):
        found.append(encoder.embed_sounds([noise(1, 16_000)], 16_000))
    if hasattr(encoder, "describe_sounds"):
        (described,) = encoder.describe_sounds([noise(1, 16_000)], 16_000)
        found += [described.embeddings, *([] if described.logits is None else [described.logits])]
    return found


@pytest.mark.parametrize("kind", SMALL)
class TestLoading:
    def test_loads_the_published_names(self, tmp_path: Path, kind: str) -> None:
        encoder = load_encoder(write_small(tmp_path, kind))
        found = sees_and_hears(encoder)
        assert found
        assert all(np.isfinite(values).all() for values in found)
        assert not encoder.is_stand_in
        assert encoder.name.endswith(f"({kind})")

    def test_every_tensor_matters(self, tmp_path: Path, kind: str) -> None:
        shapes, config = SMALL[kind]
        tensors = random_tensors(shapes())
        unused = ("pproc.", "head_dist.", "modality_postprocessors.", "modality_preprocessors.text.")
        unused = (*unused, "modality_trunks.imu.", "modality_heads.depth.")
        for number, name in enumerate(name for name in tensors if not name.startswith(unused)):
            if name.endswith("num_batches_tracked"):
                continue
            kept = {key: value for key, value in tensors.items() if key != name}
            if number % 7 == 0:  # loading takes a moment
                with pytest.raises(PackError, match="1 tensors are missing"):
                    load_encoder(write_folder(tmp_path / "lacking", kept, config))
        with pytest.raises(PackError, match="1 unknown, first surplus"):
            load_encoder(write_folder(tmp_path / "more", {**tensors, "surplus": torch.zeros(1)}, config))

    def test_of_another_size_is_refused(self, tmp_path: Path, kind: str) -> None:
        shapes, config = SMALL[kind]
        tensors = random_tensors(shapes())
        name = next(name for name in reversed(tensors) if tensors[name].ndim > 1 and "head_dist" not in name)
        name = name if not name.startswith("pproc") else "embeddings.4.weight"
        with pytest.raises(PackError, match="has shape"):
            load_encoder(write_folder(tmp_path / "larger", {**tensors, name: torch.zeros(99, 99)}, config))

    def test_the_same_folder_has_the_same_hash_and_others_have_others(self, tmp_path: Path, kind: str) -> None:
        folder = write_small(tmp_path, kind)
        encoder, again = load_encoder(folder), load_encoder(folder)
        assert encoder.content_sha256 == again.content_sha256
        (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
        assert load_encoder(folder).content_sha256 != encoder.content_sha256


@pytest.mark.parametrize("kind", ["vggish", "panns", "passt"])
class TestSoundsOfAnyLength:
    def test_a_sound_does_not_depend_on_the_others(self, tmp_path: Path, kind: str) -> None:
        encoder = load_encoder(write_small(tmp_path, kind))
        sounds = [noise(1.3, 22_050, 1), noise(0.02, 22_050, 2), noise(1.3, 22_050, 3), np.zeros(9_000, np.float32)]
        together = encoder.describe_sounds(sounds, 22_050)
        alone = [encoder.describe_sounds([sound], 22_050)[0] for sound in sounds]
        for one, other in zip(together, alone, strict=True):
            assert one.embeddings == pytest.approx(other.embeddings, abs=1e-4, rel=1e-4)
            assert np.isfinite(one.embeddings).all()
            if one.logits is not None and other.logits is not None:
                assert one.logits == pytest.approx(other.logits, abs=1e-4, rel=1e-4)

    def test_distances_of_sounds_are_smaller_within_a_kind(self, tmp_path: Path, kind: str) -> None:
        encoder = load_encoder(write_small(tmp_path, kind))
        times = np.arange(32_000) / 32_000

        def embed(sounds: list[FloatArray]) -> FloatArray:
            return np.concatenate([one.embeddings for one in encoder.describe_sounds(sounds, 32_000)])

        noises = [embed([noise(1, 32_000, seed) for seed in seeds]) for seeds in (range(8), range(8, 16))]
        tones = embed([np.sin(2 * np.pi * (200 + 50 * n) * times).astype(np.float32) / 4 for n in range(8)])
        assert frechet_distance(*noises) < frechet_distance(noises[0], tones)


def test_vggish_has_one_embedding_per_part_and_passt_one_per_sound(tmp_path: Path) -> None:
    vggish = VggishEncoder(write_small(tmp_path, "vggish"), "cpu")
    parts = [one.embeddings.shape for one in vggish.describe_sounds([noise(s, 16_000) for s in (0.1, 2.9, 10)], 16_000)]
    assert parts == [(1, 7), (3, 7), (10, 7)]
    passt = PasstEncoder(write_small(tmp_path, "passt"), "cpu")
    assert passt.describe_sounds([noise(9, 32_000)], 32_000)[0].embeddings.shape == (1, 16)


def _mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1127 * np.log(1 + hertz / 700)


def _triangles(bins: int, low_hz: float, high_hz: float, fft: int, rate_hz: int) -> NDArray[np.float64]:
    """Filters [fft / 2 + 1, bins], linear in mel, written down from their definition."""
    edges = np.linspace(_mel(np.array(low_hz)), _mel(np.array(high_hz)), bins + 2)
    mels = _mel(np.arange(fft // 2 + 1) * rate_hz / fft)[:, None]
    rising = (mels - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mels) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


def test_the_spectrogram_of_vggish_is_that_of_its_definition() -> None:
    sound = noise(2.1, 16_000)
    parts = log_mel_parts(sound)
    assert parts.shape == (2, 96, 64)
    frame = sound[160 * 100 : 160 * 100 + 400] * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400))
    expected = np.log(np.abs(np.fft.rfft(frame, 512)) @ _triangles(64, 125, 7500, 512, 16_000) + 0.01)
    assert parts[1, 4] == pytest.approx(expected, abs=1e-5)


def test_the_spectrogram_of_passt_is_that_of_its_definition() -> None:
    sound = noise(1, 32_000)
    found = log_mel(torch.from_numpy(sound)[None])[0].numpy()
    emphasised = sound[1:] - 0.97 * sound[:-1]
    window = np.zeros(1024)
    window[112:912] = np.hanning(800)
    centred = emphasised[50 * 320 - 512 : 50 * 320 + 512] * window
    power = np.abs(np.fft.rfft(centred)) ** 2
    expected = (np.log(power @ _triangles(128, 0, 15_000, 1024, 32_000) + 1e-5) + 4.5) / 5
    assert found[:, 50] == pytest.approx(expected, abs=1e-4)


def test_the_spectrogram_of_imagebind_is_that_of_kaldi() -> None:
    sound = noise(2, 16_000)
    found = kaldi_log_mel(sound, 16_000, 128)
    assert found.shape == (198, 128)
    frame = sound[160 * 30 : 160 * 30 + 400].astype(np.float64)
    frame = frame - frame.mean()
    frame = np.append(frame[0] * (1 - 0.97), frame[1:] - 0.97 * frame[:-1])
    power = np.abs(np.fft.rfft(frame * np.hanning(400), 512)) ** 2
    expected = np.log(np.maximum(power @ _triangles(128, 20, 8000, 512, 16_000), 1.1920929e-07))
    assert found[30] == pytest.approx(expected, abs=1e-3)


def test_panns_uses_the_filters_of_its_file() -> None:
    network = Cnn14Network(window_samples=64, hop_samples=16, mel_bins=5, classes=3, widths=(2,) * 6).eval()
    window, times = np.hanning(65)[:64], np.arange(64)
    turns = np.exp(-2j * np.pi * np.outer(np.arange(33), times) / 64) * window
    stft: Any = network.spectrogram_extractor.stft
    stft.conv_real.weight[:, 0] = torch.from_numpy(turns.real)
    stft.conv_imag.weight[:, 0] = torch.from_numpy(turns.imag)
    filters = np.random.default_rng(0).random((33, 5))
    network.logmel_extractor.melW[:] = torch.from_numpy(filters)
    sound = noise(0.1, 16_000)
    found = network._log_mel(torch.from_numpy(sound)[None])[0].numpy()
    power = np.abs(np.fft.rfft(sound[20 * 16 - 32 : 20 * 16 + 32] * window)) ** 2
    assert found[20] == pytest.approx(10 * np.log10(power @ filters), abs=1e-3)


def test_vggish_flattens_in_the_order_of_tensorflow(tmp_path: Path) -> None:
    shapes, config = SMALL["vggish"]
    tensors = random_tensors(shapes())
    # One row that reads the channel 3 at time 2 and frequency 1, passed on unchanged.
    for place in (0, 2, 4):
        tensors[f"embeddings.{place}.weight"].zero_()
        tensors[f"embeddings.{place}.bias"].zero_()
        tensors[f"embeddings.{place}.weight"][0, (2 * 4 + 1) * 10 + 3 if place == 0 else 0] = 1
    encoder = VggishEncoder(write_folder(tmp_path / "one", tensors, config), "cpu")
    sound = noise(1, 16_000)
    maps = encoder._network.features(torch.from_numpy(log_mel_parts(sound))[:, None])
    (described,) = encoder.describe_sounds([sound], 16_000)
    assert described.embeddings[0, 0] == pytest.approx(maps[0, 3, 2, 1].item(), rel=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 3))
def test_videos_are_padded_as_tensorflow_pads(length: int, size: int, stride: int) -> None:
    padded = _pad(torch.ones(1, 1, 1, 1, length), (1, 1, size), (1, 1, stride))[0, 0, 0, 0]
    outputs = (len(padded) - size) // stride + 1 if len(padded) >= size else 0
    before = int((padded.cumsum(0) == 0).sum())
    after = len(padded) - length - before
    assert outputs == -(-length // stride)
    assert after - before in (0, 1)


class TestI3d:
    def test_reads_short_and_long_videos(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        encoder = I3dEncoder(write_small(tmp_path, "i3d"), "cpu")
        frames = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), np.uint8)
        assert encoder.describe_video(frames[:1]) == pytest.approx(
            encoder.describe_video(np.repeat(frames[:1], 9, axis=0)), abs=1e-5
        )
        whole = encoder.describe_video(frames)
        assert np.abs(whole - encoder.describe_video(frames[::-1].copy())).max() > 1e-4
        halves = [encoder.describe_video(half) for half in (frames[:12], frames[12:])]
        monkeypatch.setattr("rewas_engine.evaluation.encoders.i3d.WINDOW_FRAMES", 12)
        assert encoder.describe_video(frames) == pytest.approx(np.mean(halves, axis=0), abs=1e-4)


class TestImageBind:
    def test_long_sounds_are_read_in_three_windows(self, tmp_path: Path) -> None:
        encoder = ImageBindEncoder(write_small(tmp_path, "imagebind"), "cpu")
        sound = noise(10, 16_000)
        seconds = [sound[start * 16_000 : (start + 2) * 16_000] for start in (0, 4, 8)]
        mean = encoder.embed_sounds(seconds, 16_000).mean(axis=0)
        assert encoder.embed_sounds([sound], 16_000)[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)

    def test_short_and_silent_sounds_have_vectors(self, tmp_path: Path) -> None:
        encoder = ImageBindEncoder(write_small(tmp_path, "imagebind"), "cpu")
        vectors = encoder.embed_sounds([noise(0.01, 16_000), np.zeros(16_000, np.float32)], 16_000)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)

    def test_a_frame_does_not_depend_on_the_others(self, tmp_path: Path) -> None:
        encoder = ImageBindEncoder(write_small(tmp_path, "imagebind"), "cpu")
        frames = np.random.default_rng(0).integers(0, 256, (20, 28, 28, 3), np.uint8)
        assert encoder.embed_frames(frames)[17] == pytest.approx(encoder.embed_frames(frames[17:18])[0], abs=1e-5)

    def test_a_config_that_is_no_size_is_refused(self, tmp_path: Path) -> None:
        folder = write_small(tmp_path, "imagebind")
        (folder / "config.json").write_text('{"model_type": "imagebind", "vision": {"width": 3}}')
        with pytest.raises(PackError, match="is not valid"):
            load_encoder(folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PUBLISHED)
def test_loads_weights_of_the_published_size(tmp_path: Path, kind: str) -> None:
    shapes, config = PUBLISHED[kind]
    encoder = load_encoder(write_folder(tmp_path / kind, random_tensors(shapes()), config))
    assert all(np.isfinite(values).all() for values in sees_and_hears(encoder))


def test_the_published_imagebind_has_the_tensors_that_are_read() -> None:
    from rewas_engine.models.imagebind import LEFTOVERS, ImageBind, ImageBindConfig

    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in ImageBind(ImageBindConfig()).state_dict().items()}
    published = {name: shape for name, shape in imagebind_shapes().items() if not name.startswith(LEFTOVERS)}
    assert published == expected


def test_panns_reads_sounds_at_the_rate_of_its_weights(tmp_path: Path) -> None:
    encoder = PannsEncoder(write_small(tmp_path, "panns"), "cpu")
    (described,) = encoder.describe_sounds([noise(1, 48_000)], 48_000)
    assert (described.embeddings.shape, described.logits is not None and described.logits.shape) == ((1, 8), (9,))


def test_a_pack_measures_avh_scores_with_imagebind(tmp_path: Path) -> None:
    folder = write_small(tmp_path, "imagebind")
    model = ReWaS.from_pretrained("starter", device="cpu", avh_model=folder)
    path = write_video(tmp_path / "film.mkv", np.random.default_rng(0).integers(0, 256, (25, 40, 60, 3), np.uint8))
    sound = Stem("primary", noise(1, 16_000)[None], 16_000)
    encoder = ImageBindEncoder(folder, "cpu")
    frames = encoder.embed_frames(encoder.frame_format.read(VideoClip(path)))
    expected = avh_score(frames, encoder.embed_sounds([sound.waveform[0]], 16_000)[0])
    assert len(frames) == 4
    assert model.measure_avh_score(VideoClip(path), sound) == pytest.approx(expected, abs=1e-6)
    assert model.avh_encoder_name == "ImageBind (imagebind)"
    with pytest.raises(PackError, match="no readable config"):
        ReWaS.from_pretrained("starter", device="cpu", avh_model=tmp_path)


def write_video(path: Path, frames: NDArray[np.uint8]) -> Path:
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode(None))
    return path
