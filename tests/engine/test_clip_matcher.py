"""Conflict checks with a CLIP model from a folder: strict loading, and correct verdicts after training."""

import json
import shutil
import tomllib
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from rewas_engine import PackError, ReWaS, Sampling, VideoClip
from rewas_engine.matching.clip_loading import load_clip_encoder
from rewas_engine.matching.label_bank import vggsound_names
from rewas_engine.matching.openai_clip_matcher import (
    MAX_FRAMES,
    frame_rate_for,
    frame_spans,
    label_bank_probabilities,
    span_times_s,
)
from rewas_engine.models.clip import ClipEncoder
from rewas_engine.packs.description import write_description

SIDE = 32
COLOURS = {"fire crackling": (220, 40, 30), "sea waves": (30, 60, 220)}


def write_clip_folder(folder: Path) -> Path:
    """Write a tiny untrained CLIP model in the layout in which transformers saves the released ones."""
    folder.mkdir(parents=True)
    letters = sorted(
        {letter for name in vggsound_names() for letter in name if letter != " "} | set("abcdefghijklmnopqrstuvwxyz")
    )
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer.from_pretrained(folder, local_files_only=True).save_pretrained(folder)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    start, end = len(tokens) - 2, len(tokens) - 1
    text = {**size, "vocab_size": len(tokens), "max_position_embeddings": 48}
    text |= {"bos_token_id": start, "eos_token_id": end, "pad_token_id": end}
    vision = {**size, "image_size": SIDE, "patch_size": 8}
    torch.manual_seed(1)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=32))
    model.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}).save_pretrained(
        folder
    )
    return folder


def train_on_colours(folder: Path) -> None:
    """Train the model with the image half of CLIP's loss to match two labels with two colours."""
    encoder = load_clip_encoder(folder, "cpu").requires_grad_(True)
    names = list(vggsound_names())
    tokens = encoder.tokenizer(names, padding=True, return_tensors="pt")
    frames = np.stack([np.full((SIDE, SIDE, 3), colour, np.uint8) for colour in COLOURS.values()])
    pixels = torch.from_numpy(np.stack(encoder.processor(images=list(frames))["pixel_values"]))
    targets = torch.tensor([names.index(name) for name in COLOURS])
    optimiser = torch.optim.Adam(encoder.parameters(), lr=3e-3)
    for _ in range(25):
        output = encoder.model(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], pixel_values=pixels
        )
        loss = torch.nn.functional.cross_entropy(output.logits_per_image, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss) < 0.3
    encoder.model.save_pretrained(folder)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip_folder(tmp_path_factory.mktemp("models") / "tiny-clip")


@pytest.fixture(scope="module")
def trained(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(untrained, tmp_path_factory.mktemp("models") / "colour-clip"))
    train_on_colours(folder)
    return folder


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wide video: three seconds of the colour of fire, then three of the colour of the sea."""
    path = tmp_path_factory.mktemp("films") / "fire then sea.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "bgr0"
        for number in range(60):
            colour = list(COLOURS.values())[number >= 30]
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), colour, np.uint8), "rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def model_with_clip(tiny_pack: Path, trained: Path) -> ReWaS:
    return ReWaS.from_pretrained(tiny_pack, device="cpu", conflict_model=trained)


def test_verdicts_are_correct_after_training(model_with_clip: ReWaS, video: Path) -> None:
    fire = VideoClip(video, duration=3)
    right, wrong = (
        model_with_clip.check_conflict(fire, "fire crackling"),
        model_with_clip.check_conflict(fire, "sea waves"),
    )
    assert (right.verdict, wrong.verdict) == ("agree", "conflict")
    assert right.score > 0.9
    assert wrong.score < 0.1
    assert wrong.suggestions[0].text == "fire crackling"
    assert wrong.suggestions[0].source == "vggsound"
    assert wrong.encoder == "the CLIP model colour-clip"
    assert not right.suggestions
    assert model_with_clip.check_conflict(fire, "sea waves") == wrong


def test_the_mismatched_half_is_found(model_with_clip: ReWaS, video: Path) -> None:
    (span,) = model_with_clip.check_conflict(VideoClip(video), "fire crackling").spans
    assert span.looks_like == "sea waves"
    assert span.start_s == pytest.approx(3, abs=1)
    assert span.end_s == 6


def test_the_frames_of_the_pack_are_streamed_when_clip_reads_its_own(
    model_with_clip: ReWaS, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> np.ndarray:
        raise AssertionError("all frames were read at once")

    monkeypatch.setattr(model_with_clip._estimator, "read_frames", refuse)
    result = model_with_clip.generate(
        VideoClip(video), prompt="fire crackling", conflict="warn", sampling=Sampling(num_inference_steps=1)
    )
    assert result.conflict is not None
    assert result.requested_energy.source == "picture"


def test_a_pack_may_contain_a_clip_model(tiny_pack: Path, trained: Path, video: Path, tmp_path: Path) -> None:
    pack = Path(shutil.copytree(tiny_pack, tmp_path / "seeing"))
    shutil.copytree(trained, pack / "conflict")
    document = tomllib.loads((pack / "pack.toml").read_text("utf-8"))
    document["components"]["conflict"] = "ClipEncoder"
    description = {key: value for key, value in document.items() if key not in ("format", "files")}
    write_description(pack, description)
    report = ReWaS.from_pretrained(pack, device="cpu").check_conflict(VideoClip(video, duration=1), "fire crackling")
    assert (report.verdict, report.encoder) == ("agree", "the CLIP model of the pack tiny")
    document["components"]["conflict"] = "Phi"
    write_description(pack, description)
    with pytest.raises(PackError, match="names Phi for its conflict check"):
        ReWaS.from_pretrained(pack, device="cpu")


def test_embeddings_match_transformers(untrained: Path) -> None:
    encoder, model = load_clip_encoder(untrained, "cpu"), CLIPModel.from_pretrained(untrained, local_files_only=True)
    frames = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    prompts = ["dog barking", "sea waves, far away"]
    tokens = CLIPTokenizer.from_pretrained(untrained, local_files_only=True)(prompts, padding=True, return_tensors="pt")
    processor = CLIPImageProcessorPil.from_pretrained(untrained, local_files_only=True)
    pixels = torch.from_numpy(np.stack(processor(images=list(frames))["pixel_values"]))
    with torch.inference_mode():
        expected = model.eval()(**tokens, pixel_values=pixels)
    logits = encoder.scale * encoder.encode_frames(frames) @ encoder.encode_text(prompts).T
    torch.testing.assert_close(logits, expected.logits_per_image, atol=1e-4, rtol=1e-4)
    assert encoder.encode_text(["x" * 5000]).shape == (1, 32)


def test_saved_position_ids_are_accepted_if_consecutive(untrained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(untrained, tmp_path / "older"))
    tensors = load_file(folder / "model.safetensors")
    name = "text_model.embeddings.position_ids"
    save_file({**tensors, name: torch.arange(48)[None]}, folder / "model.safetensors")
    assert isinstance(load_clip_encoder(folder, "cpu"), ClipEncoder)
    save_file({**tensors, name: torch.zeros(1, 48, dtype=torch.long)}, folder / "model.safetensors")
    with pytest.raises(PackError, match="position_ids"):
        load_clip_encoder(folder, "cpu")


def remove_file(name: str):
    return lambda folder: (folder / name).unlink()


def use_pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def change_model_type(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "siglip"}))


def change_crop_size(folder: Path) -> None:
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "crop_size": {"height": 64, "width": 64}}))


def remove_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["logit_scale"]
    save_file(tensors, folder / "model.safetensors")


def remove_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "vocab.json"):
        (folder / name).unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_file("config.json"), "no readable config.json"),
        (change_model_type, "of the type 'siglip', not a CLIP model"),
        (remove_file("model.safetensors"), "no model.safetensors."),
        (use_pickled_weights, "only pickled weights, which are never opened"),
        (remove_a_tensor, "1 tensors are missing .* logit_scale"),
        (remove_tokenizer, "lacks its tokenizer"),
        (remove_file("preprocessor_config.json"), "lacks preprocessor_config.json"),
        (change_crop_size, "give 64 x 64 .* but the model expects 32 x 32"),
        (shutil.rmtree, "The CLIP model folder .*altered-clip does not exist"),
    ],
)
def test_unusable_folders_are_refused_by_name(untrained: Path, damage, message: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(untrained, tmp_path / "altered-clip"))
    damage(folder)
    with pytest.raises(PackError, match=message) as raised:
        load_clip_encoder(folder, "cpu")
    assert "altered-clip" in raised.value.what
    assert raised.value.remedy


@given(st.lists(st.floats(-60, 60), min_size=1, max_size=8), st.floats(-60, 60), st.floats(-500, 500))
def test_probabilities_are_relative_to_the_label_bank(labels: list[float], prompt: float, shift: float) -> None:
    logits = np.array([[prompt, *labels]])
    (found,) = label_bank_probabilities(logits)
    assert ((found >= 0) & (found <= 1)).all()
    # An offset of all logits of a frame has no effect.
    assert label_bank_probabilities(logits + shift)[0] == pytest.approx(found, abs=1e-6)
    ratio = np.exp(prompt - max(labels)) / np.exp(np.array(labels) - max(labels)).mean()
    assert found[0] == pytest.approx(ratio / (1 + ratio), abs=1e-6)
    # As probable as every label: undecided.
    assert label_bank_probabilities(np.array([[1.0, 1.0, 1.0]]))[0] == pytest.approx(0.5)


@given(st.fractions(min_value=Fraction(1, 10), max_value=7200))
def test_spans_cover_a_clip_of_any_length(duration_s: Fraction) -> None:
    rate = frame_rate_for(duration_s)
    count = -(-duration_s * rate // 1)
    assert 1 <= count <= MAX_FRAMES
    starts, length = frame_spans(int(count))
    spans_s = span_times_s(starts, length, duration_s)
    assert spans_s[0][0] == 0
    assert spans_s[-1][1] == duration_s
    for (begin_s, end_s), (later_s, _) in pairwise(spans_s):
        assert begin_s < later_s <= end_s
