"""The joint stage: matching pairs, augmentation, and the effect of training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_engine import SettingsError
from rewas_engine.models.joint import JointSpace
from rewas_engine.training.joint_stage import (
    NO_CLASS,
    JointClips,
    JointCorpus,
    JointRecipe,
    StoredVideos,
    augment_log_mels,
    augment_videos,
    calibrate,
    embed_clips,
    joint_loss,
    logistic_fit,
    matched_softmax,
    relations,
)
from rewas_engine.training.loop import LoopConfig, train

CLIPS = 48
RECIPE = JointRecipe(seen=8, seen_and_heard=4, heard=8, more_words=8, picture_share=(0.5, 1.0))


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _clips(folder: Path | None, seed: int) -> JointClips:
    """Write clips of three classes: horizontal, vertical or blinking bars, each with its sound and prompt direction."""
    generator = _generator(seed)
    classes = torch.arange(CLIPS) % 3
    meanings = torch.randn(3, 384, generator=_generator(99))
    prompts = meanings[classes] + 0.2 * torch.randn(CLIPS, 384, generator=generator)
    log_mels = torch.randn(CLIPS, 96, 64, generator=generator) - 9
    log_mels[classes == 0, :, :20] += 7
    log_mels[classes == 1, :, 44:] += 7
    log_mels[classes == 2] += 5
    pictures = None
    if folder is not None:
        frames = np.random.default_rng(seed).integers(0, 40, (CLIPS, 32, 16, 16), dtype=np.uint8)
        frames[0::3, :, ::4] = 255
        frames[1::3, :, :, ::4] = 255
        frames[2::3, ::8] = 255
        paths = [folder / f"{part}.npy" for part in range(2)]
        for part, path in enumerate(paths):
            np.save(path, frames[part * 20 : CLIPS if part else 20])
        pictures = StoredVideos(paths)
    none = torch.full((CLIPS,), NO_CLASS)
    return JointClips(log_mels.half(), prompts, classes, none, torch.arange(CLIPS), pictures)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> JointCorpus:
    return JointCorpus(_clips(tmp_path_factory.mktemp("pictures"), 1), _clips(None, 2))


def _space() -> JointSpace:
    torch.manual_seed(3)
    return JointSpace(width=16, picture_widths=(8, 8, 8, 16), sound_widths=(8, 8, 8, 16), features=16)


@pytest.fixture(scope="module")
def trained(corpus: JointCorpus, tmp_path_factory: pytest.TempPathFactory) -> JointSpace:
    space = _space()
    config = LoopConfig(steps=80, learning_rate=5e-3, warmup_steps=5, ema_decay=0.9)
    train("joint", space, joint_loss(corpus, space, RECIPE), config, folder=tmp_path_factory.mktemp("run"), seed=1)
    calibrate(space, corpus, ("lying bars", "standing bars", "blinking"))
    return space


@pytest.mark.slow
def test_training_aligns_matching_pairs(corpus: JointCorpus, trained: JointSpace) -> None:
    before, after = (joint_loss(corpus, space, RECIPE)(0, _generator(7)) for space in (_space(), trained))
    assert after < 0.7 * before
    texts, sounds, videos = embed_clips(trained, corpus.seen, corpus.seen.development)
    same = relations(corpus.seen.classes, corpus.seen.background_classes)[-len(texts) :, -len(texts) :] > 0
    for one, other in ((texts, sounds), (texts, videos), (videos, sounds)):
        cosines = one @ other.T
        assert cosines[same].mean() > cosines[~same].mean() + 0.3


def test_probabilities_are_fitted_to_held_out_clips(trained: JointSpace) -> None:
    assert set(trained.config.calibration) == {"text_sound", "text_picture", "picture_sound"}
    assert all(slope > 0 for slope, _ in trained.config.calibration.values())
    assert trained.config.known_words == ("lying bars", "standing bars", "blinking")


def test_the_loss_depends_only_on_the_step(corpus: JointCorpus) -> None:
    space = _space()
    loss_of = joint_loss(corpus, space, RECIPE)
    first = loss_of(0, _generator(1))
    torch.manual_seed(12345)
    assert torch.equal(first, loss_of(0, _generator(1)))
    assert not torch.equal(first, loss_of(0, _generator(2)))


def test_held_out_clips_are_never_drawn(corpus: JointCorpus) -> None:
    seen = corpus.seen
    assert sorted([*seen.training.tolist(), *seen.development.tolist()]) == list(range(CLIPS))
    spoiled = seen.prompts.clone()
    spoiled[seen.development] = torch.nan
    space = _space()
    loss_of = joint_loss(JointCorpus(replace(seen, prompts=spoiled), corpus.heard), space, RECIPE)
    assert all(torch.isfinite(loss_of(step, _generator(step))) for step in range(10))


def test_clips_of_one_class_are_not_negatives() -> None:
    classes, backgrounds = torch.tensor([0, 0, 1, 2, 3]), torch.tensor([NO_CLASS, 2, NO_CLASS, NO_CLASS, 2])
    relation = relations(classes, backgrounds)
    assert relation.tolist() == [
        [1, 1, -1, -1, -1],
        [1, 1, -1, 0, 0],
        [-1, -1, 1, -1, -1],
        [-1, 0, -1, 1, 0],
        [-1, 0, -1, 0, 1],
    ]


def test_the_loss_is_minimal_if_all_partners_are_equally_similar() -> None:
    relation = relations(torch.tensor([0, 0, 1]), torch.full((3,), NO_CLASS))
    ideal = matched_softmax(100.0 * (relation > 0), relation)
    assert ideal == pytest.approx(2 / 3 * np.log(2), abs=1e-4)  # two partners share the whole probability
    assert matched_softmax(torch.eye(3) * 100, relation) > 10


def test_ignored_pairs_change_nothing() -> None:
    relation = torch.tensor([[1, 0, -1], [0, 1, -1], [-1, -1, 1]])
    similarities = torch.randn(3, 3, generator=_generator())
    changed = similarities.clone()
    changed[0, 1], changed[1, 0] = 50.0, -50.0
    assert matched_softmax(similarities, relation) == matched_softmax(changed, relation)


def test_a_batch_without_partners_has_no_loss() -> None:
    similarities = torch.randn(2, 3, requires_grad=True)
    loss = matched_softmax(similarities, torch.full((2, 3), -1))
    loss.backward()
    assert loss == 0
    assert similarities.grad is not None
    assert torch.isfinite(similarities.grad).all()


@settings(deadline=None)
@given(st.integers(4, 40), st.integers(0, 2**32))
def test_augmented_clips_are_crops_and_finite(total: int, seed: int) -> None:
    frames = torch.randint(0, 256, (3, total, 16, 16), dtype=torch.uint8, generator=_generator(seed))
    one, again = (augment_videos(frames, (0.4, 0.8), _generator(seed)) for _ in range(2))
    assert torch.equal(one, again)
    assert min(4, 0.4 * total - 2) <= one.shape[1] <= max(4, 0.8 * total + 2)
    assert one.shape[2:] == (16, 16)
    assert torch.isfinite(one).all()
    sounds = augment_log_mels(torch.randn(3, 16 * total, 64) - 8, (0.3, 1.0), _generator(seed))
    assert 0.3 * 16 * total - 8 <= sounds.shape[1] <= 16 * total
    assert sounds.min() >= -11.513
    assert torch.isfinite(sounds).all()


def test_each_clip_is_augmented_separately() -> None:
    frames = torch.randint(0, 256, (1, 8, 16, 16), dtype=torch.uint8, generator=_generator()).expand(6, -1, -1, -1)
    varied = augment_videos(frames, (1.0, 1.0), _generator(4))
    assert all(not torch.allclose(varied[0], other) for other in varied[1:])


def test_videos_are_read_across_files(corpus: JointCorpus) -> None:
    assert corpus.seen.pictures is not None
    rows = torch.tensor([21, 0, 19, 20, 47])
    found = corpus.seen.pictures.rows(rows, 2)
    assert found.shape == (5, 16, 16, 16)
    alone = torch.cat([corpus.seen.pictures.rows(row[None], 2) for row in rows])
    assert torch.equal(found, alone)
    assert found[0, 0, 0].min() == 255  # of the class with horizontal bars
    assert found[3, 0].min() == 255  # of the class that blinks


@pytest.mark.parametrize(("slope", "offset"), [(8.0, -2.0), (20.0, 3.0), (1.0, 0.0)])
def test_a_logistic_curve_is_recovered(slope: float, offset: float) -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(-1, 1, 200_000)
    # The fit weights right and wrong equally, so both are drawn with equal probability.
    truths = rng.random(scores.size) < 1 / (1 + np.exp(-slope * scores - offset))
    shift = np.log(truths.mean() / (1 - truths.mean()))
    found = logistic_fit(scores, truths)
    assert found == (pytest.approx(slope, rel=0.05), pytest.approx(offset - shift, abs=0.1 * max(1, slope)))


def test_scores_without_overlap_still_give_finite_numbers() -> None:
    slope, offset = logistic_fit(np.array([-0.5, -0.4, 0.4, 0.6]), np.array([False, False, True, True]))
    assert 1 < slope < 1000
    assert abs(offset) < slope
    turned = logistic_fit(np.array([-0.5, -0.4, 0.4, 0.6]), np.array([True, True, False, False]))
    assert turned[0] == pytest.approx(-slope)


def test_too_few_clips_are_refused(corpus: JointCorpus) -> None:
    with pytest.raises(SettingsError, match="right or only wrong"):
        logistic_fit(np.array([0.1, 0.2]), np.array([True, True]))
    few = replace(corpus.heard, usable=torch.tensor([3]))
    for seen, heard in ((corpus.seen, few), (corpus.heard, corpus.heard)):
        with pytest.raises(SettingsError, match="too few clips"):
            JointCorpus(seen, heard)
