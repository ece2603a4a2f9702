"""The joint space of a pack: its vectors, scores and spans, and its loading."""

import shutil
import tomllib
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from rewas_engine import PackError, ReWaS, SettingsError
from rewas_engine.matching.embedding import SPAN_FRAMES, VIDEO_WINDOW_FRAMES, JointScorer
from rewas_engine.models.joint import MIN_FRAMES, PAIRS, JointSpace
from rewas_engine.models.phi import Phi
from rewas_engine.packs.components import load_component, save_component
from rewas_engine.packs.description import read_pack, write_description

KNOWN = ("a dog barking", "rain falling", "a church bell")
CALIBRATION = {"text_sound": (8.0, -1.0), "text_picture": (12.0, -3.0), "picture_sound": (5.0, 0.5)}


def tiny_space(**changes) -> JointSpace:
    torch.manual_seed(5)
    settings = {
        "width": 16,
        "picture_widths": (8, 8, 8, 16),
        "sound_widths": (8, 8, 8, 16),
        "features": 16,
        "calibration": CALIBRATION,
        "known_words": KNOWN,
    }
    return JointSpace(**{**settings, **changes}).eval().requires_grad_(False)


def add_joint_space(pack: Path, folder: Path, module: torch.nn.Module) -> Path:
    """Copy a pack and add a joint space."""
    copied = Path(shutil.copytree(pack, folder))
    save_component(module, copied, "joint")
    document = tomllib.loads((copied / "pack.toml").read_text("utf-8"))
    document["components"]["joint"] = type(module).__name__
    write_description(copied, {key: value for key, value in document.items() if key not in ("format", "files")})
    return copied


@pytest.fixture(scope="module")
def space() -> JointSpace:
    return tiny_space()


@pytest.fixture(scope="module")
def joint_pack(tiny_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_joint_space(tiny_pack, tmp_path_factory.mktemp("packs") / "joined", tiny_space())


@pytest.fixture(scope="module")
def joint_model(joint_pack: Path) -> ReWaS:
    return ReWaS.from_pretrained(joint_pack, device="cpu")


@pytest.fixture(scope="module")
def scorer(joint_model: ReWaS) -> JointScorer:
    assert joint_model.joint_scorer is not None
    return joint_model.joint_scorer


def _frames(count: int, seed: int = 0, size: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size), dtype=np.uint8)


def _log_mel(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 64, generator=torch.Generator().manual_seed(seed)) * 2 - 6


@given(st.integers(1, 70), st.integers(1, 300), st.integers(1, 3))
def test_inputs_of_any_length_become_unit_vectors(frames: int, mels: int, batch: int) -> None:
    space = tiny_space()
    videos = space.encode_video(torch.rand(batch, frames, 32, 32))
    sounds = space.encode_sound(torch.randn(batch, mels, 64) - 6)
    texts = space.encode_text(torch.randn(batch, 384))
    for vectors in (videos, sounds, texts):
        assert vectors.shape == (batch, 16)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(batch))


def test_text_vectors_do_not_depend_on_the_length_of_the_embedding(space: JointSpace) -> None:
    prompts = torch.randn(3, 384, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(space.encode_text(prompts), space.encode_text(19.6 * prompts))


def test_short_inputs_are_padded_with_the_last_frame_or_silence(space: JointSpace) -> None:
    frames = torch.rand(1, 5, 32, 32)
    used = frames[:, ::2]
    repeated = torch.cat([used, used[:, -1:].expand(-1, MIN_FRAMES - 3, -1, -1)], dim=1)
    torch.testing.assert_close(space.encode_video(frames), space.picture_encoder(repeated))
    log_mel = _log_mel(5)[None]
    padded = torch.cat([log_mel, torch.full((1, MIN_FRAMES - 5, 64), -11.512925)], dim=1)
    torch.testing.assert_close(space.encode_sound(log_mel), space.encode_sound(padded))


def test_embeddings_do_not_depend_on_the_batch(space: JointSpace) -> None:
    frames, log_mels = torch.rand(4, 40, 32, 32), torch.randn(4, 200, 64) - 6
    torch.testing.assert_close(space.encode_video(frames)[2], space.encode_video(frames[2:3])[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        space.encode_sound(log_mels)[2], space.encode_sound(log_mels[2:3])[0], atol=1e-5, rtol=1e-5
    )
    assert torch.equal(space.encode_video(frames), space.encode_video(frames))


@pytest.mark.parametrize(
    "changes",
    [
        {"picture_widths": (8, 8)},
        {"sound_widths": (8, 8, 8, 8, 8)},
        {"bins": 60},
        {"frame_stride": 0},
        {"calibration": {"text_smell": (1.0, 0.0)}},
        {"calibration": {"text_sound": (1.0,)}},
        {"calibration": {"text_sound": (float("nan"), 0.0)}},
    ],
)
def test_an_invalid_geometry_is_refused(changes) -> None:
    with pytest.raises(ValueError, match=r"widths|calibration"):
        tiny_space(**changes)


def test_settings_registered_later_are_saved_and_loaded(tmp_path: Path) -> None:
    space = tiny_space(calibration=None, known_words=())
    space.register_to_config(calibration=CALIBRATION, known_words=KNOWN)
    save_component(space, tmp_path / "mine", "joint", torch.float32)
    loaded = load_component(tmp_path / "mine", "joint", "JointSpace")
    assert tuple(loaded.config.known_words) == KNOWN
    assert {pair: tuple(numbers) for pair, numbers in loaded.config.calibration.items()} == CALIBRATION
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in space.state_dict().items())
    # The saved config does not depend on the hash order of a process.
    assert "_use_default_values" not in (tmp_path / "mine" / "joint" / "config.json").read_text("utf-8")


def test_the_saved_space_is_small(tmp_path: Path) -> None:
    save_component(JointSpace(), tmp_path, "joint")
    assert (tmp_path / "joint" / "model.safetensors").stat().st_size <= 3e6


def test_scores_are_cosines_and_calibrated_probabilities(scorer: JointScorer) -> None:
    frames, log_mel = _frames(60), _log_mel(300)
    words, picture, sound = scorer.embed_text([KNOWN[0]])[0], scorer.embed_video(frames), scorer.embed_sound(log_mel)
    for score, cosine, pair in (
        (scorer.score_text_sound(KNOWN[0], log_mel), words @ sound, "text_sound"),
        (scorer.score_text_video(KNOWN[0], frames), words @ picture, "text_picture"),
        (scorer.score_video_sound(frames, log_mel), picture @ sound, "picture_sound"),
    ):
        slope, offset = CALIBRATION[pair]
        assert score.cosine == pytest.approx(float(cosine), abs=1e-5)
        assert score.probability == pytest.approx(1 / (1 + np.exp(-slope * score.cosine - offset)), abs=1e-5)


def test_without_calibration_a_cosine_of_0_is_undecided(scorer: JointScorer) -> None:
    bare = JointScorer(tiny_space(calibration=None), scorer._text_encoder, "cpu")
    for pair in PAIRS:
        low, middle, high = bare.probabilities(pair, np.array([-1.0, 0.0, 1.0]))
        assert low < 0.01 < middle == 0.5 < 0.99 < high


def test_a_long_video_is_embedded_as_the_mean_of_its_windows(scorer: JointScorer) -> None:
    frames = _frames(2 * VIDEO_WINDOW_FRAMES)
    half = VIDEO_WINDOW_FRAMES // 2
    parts = torch.stack([scorer.embed_video(frames[start : start + 2 * half]) for start in (0, half, 2 * half)])
    middle = torch.nn.functional.normalize(parts.mean(dim=0), dim=0)
    torch.testing.assert_close(scorer.embed_video(frames), middle, atol=1e-5, rtol=1e-5)
    assert scorer.embed_sound(_log_mel(1700)).norm() == pytest.approx(1, abs=1e-5)


@given(st.integers(1, 400))
def test_spans_cover_the_video_in_order(scorer: JointScorer, count: int) -> None:
    spans_s, vectors = scorer.embed_spans(np.zeros((count, 16, 16), np.uint8), Fraction(25))
    assert len(vectors) == len(spans_s)
    assert spans_s[0][0] == 0
    assert spans_s[-1][1] == Fraction(count, 25)
    assert all(end_s - begin_s == Fraction(min(count, SPAN_FRAMES), 25) for begin_s, end_s in spans_s)
    for (begin_s, end_s), (later_s, _) in pairwise(spans_s):
        assert begin_s < later_s < end_s


def test_a_span_depends_only_on_its_own_frames(scorer: JointScorer) -> None:
    frames = np.concatenate([_frames(SPAN_FRAMES, 1), np.full((2 * SPAN_FRAMES, 64, 64), 90, np.uint8)])
    _, vectors = scorer.embed_spans(frames, Fraction(25))
    alone = scorer.embed_video(frames[:SPAN_FRAMES])
    torch.testing.assert_close(vectors[0], alone, atol=1e-5, rtol=1e-5)
    assert float(vectors[-1] @ alone) < 0.999


def test_known_words_match_themselves(scorer: JointScorer) -> None:
    for words in KNOWN:
        assert scorer.familiarity(words) == (words, pytest.approx(1, abs=1e-5))


def test_a_prompt_is_familiar_through_any_training_phrase(scorer: JointScorer) -> None:
    phrases = (("a dog barking", "a hound bays"), ("rain falling",), ("a church bell",))
    scorer_with_phrases = JointScorer(tiny_space(known_phrases=phrases), scorer._text_encoder, "cpu")
    (meant, near), (_, apart) = scorer_with_phrases.familiarities(["a hound bays", "a violin"])
    assert meant == "a dog barking"
    assert near > apart
    # Equal sentence embeddings do not help if the joint space maps them to something else.
    in_space = float(
        scorer_with_phrases.embed_text(["a hound bays"])[0] @ scorer_with_phrases.embed_text(["a dog barking"])[0]
    )
    assert near == pytest.approx(in_space, abs=1e-5)


@pytest.mark.parametrize("phrases", [(("a dog",),), (("a dog",), ("rain",), ())])
def test_phrases_that_do_not_match_the_known_words_are_refused(phrases) -> None:
    with pytest.raises(ValueError, match="known phrases"):
        tiny_space(known_phrases=phrases)


def test_takes_are_ranked_by_the_prompt(scorer: JointScorer) -> None:
    takes = [_log_mel(200, seed) for seed in range(4)]
    takes.append(takes[1])
    order = scorer.rank("rain", takes)
    cosines = [scorer.score_text_sound("rain", takes[position]).cosine for position in order]
    assert sorted(order) == list(range(5))
    assert cosines == sorted(cosines, reverse=True)
    assert order.index(1) < order.index(4)  # equal ones keep their order


def test_the_engine_scores_a_waveform_of_any_loudness(joint_model: ReWaS) -> None:
    waveform = np.random.default_rng(0).normal(0, 0.1, 30_000).astype(np.float32)
    score = joint_model.score_text_sound("rain", waveform)
    assert 0 < score < 1
    assert joint_model.score_text_sound("rain", 0.01 * waveform) == pytest.approx(score, abs=1e-3)
    assert 0 < joint_model.score_text_sound("rain", waveform[:1]) < 1
    assert 0 < joint_model.score_text_sound("rain", np.zeros(16_000, np.float32)) < 1
    for prompt, sound in ((" ", waveform), ("rain", waveform[:0])):
        with pytest.raises(SettingsError):
            joint_model.score_text_sound(prompt, sound)


def test_a_pack_without_a_joint_space_cannot_score(model: ReWaS) -> None:
    assert model.joint_scorer is None
    with pytest.raises(PackError, match="tiny cannot compare prompts with sounds"):
        model.score_text_sound("rain", np.zeros(16_000, np.float32))


def test_the_joint_space_is_named_in_a_valid_pack(joint_pack: Path, tiny_pack: Path) -> None:
    assert read_pack(joint_pack).components["joint"] == "JointSpace"
    assert "joint" not in read_pack(tiny_pack).components


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (lambda: tiny_space(known_words=()), "has no known phrases"),
        (lambda: tiny_space(bins=80), "expects 80 mel bins and the pack has 64"),
        (lambda: tiny_space(prompt_width=512), "width 512 and the pack has 384"),
        (lambda: Phi(features=8, width=16, blocks=1, heads=2, head=(8,)), "it is a Phi"),
    ],
)
def test_a_joint_space_that_does_not_match_the_pack_is_refused(module, message: str, tiny_pack: Path, tmp_path) -> None:
    pack = add_joint_space(tiny_pack, tmp_path / "odd", module())
    with pytest.raises(PackError, match=f"tiny is damaged: its joint space does not fit, .*{message}"):
        ReWaS.from_pretrained(pack, device="cpu")


def test_wrong_weights_are_refused_by_name(tmp_path: Path) -> None:
    save_component(tiny_space(), tmp_path / "odd", "joint")
    path = tmp_path / "odd" / "joint" / "model.safetensors"
    tensors = load_file(path)
    tensors["log_scales"] = tensors.pop("log_scale")
    save_file(tensors, path)
    with pytest.raises(PackError, match=r"component joint of the pack odd .*log_scale"):
        load_component(tmp_path / "odd", "joint", "JointSpace")
