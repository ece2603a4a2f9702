"""Frame labels of scenes besides the energy, and batches of the picture stage."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rewas_engine.models.motion import MotionEncoder
from rewas_engine.models.phi import Phi
from rewas_engine.training.picture_labels import (
    NEXT_TO_STRIKE,
    NOTHING_SOUNDS,
    LabelReader,
    PictureLabels,
    label_scenes,
)
from rewas_engine.training.picture_stage import PictureBatches, PictureCorpus, picture_loss
from rewas_engine.world import CLASS_NAMES, sample_scene


def test_a_strike_is_in_the_frame_of_its_contact() -> None:
    scene = sample_scene(11, "drum_hit", pattern="few")
    labels = label_scenes([scene], 128, 25.0)
    assert labels.classes.tolist() == [CLASS_NAMES.index("drum_hit")]
    for time_s, strength in zip(scene.event_times_s, scene.event_strengths, strict=True):
        frame = int(time_s * 25)
        assert labels.strikes[0, frame] == pytest.approx(strength)
        assert labels.strikes[0, frame - 1] >= NEXT_TO_STRIKE * strength - 1e-6
    assert int((labels.strikes[0] > 0).sum()) <= 3 * scene.event_times_s.size
    np.testing.assert_allclose(labels.courses[0], scene.intensity_at((np.arange(128) + 0.5) / 25), atol=1e-6)


def test_a_strike_in_the_last_frame_stays_inside_the_clip() -> None:
    scene = sample_scene(11, "drum_hit", pattern="few")
    frames = int(scene.event_times_s[-1] * 25) + 1
    strikes = label_scenes([scene], frames, 25.0).strikes
    assert strikes.shape == (1, frames)
    assert strikes[0, -1] == pytest.approx(scene.event_strengths[-1])


def test_silent_motion_has_its_own_class() -> None:
    scene = next(scene for scene in map(sample_scene, range(400)) if scene.silent_motion)
    labels = label_scenes([scene], 64, 25.0)
    assert labels.classes.tolist() == [NOTHING_SOUNDS]
    assert not labels.strikes.any()
    assert not labels.courses.any()


def test_labels_are_cropped_like_their_clip() -> None:
    labels = label_scenes([sample_scene(seed, "hammer", pattern="regular") for seed in (1, 2)], 128, 25.0)
    crop = labels.select(torch.tensor([[1], [0]]), torch.tensor([[10], [64]]) + torch.arange(32))
    assert torch.equal(crop.strikes, torch.stack([labels.strikes[1, 10:42], labels.strikes[0, 64:96]]))
    assert torch.equal(crop.courses, torch.stack([labels.courses[1, 10:42], labels.courses[0, 64:96]]))


def test_the_label_head_learns_labels_from_tokens() -> None:
    torch.manual_seed(0)
    labels = label_scenes([sample_scene(seed, pattern="regular") for seed in range(6)], 64, 25.0)
    of_class = torch.nn.functional.one_hot(labels.classes, NOTHING_SOUNDS + 1).float()
    tokens = torch.cat(
        [of_class[:, None].expand(-1, 64, -1), labels.strikes[..., None], labels.courses[..., None]], dim=-1
    )
    reader = LabelReader(tokens.shape[-1])
    before = reader.loss(tokens, labels).item()
    optimiser = torch.optim.Adam(reader.parameters(), lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        reader.loss(tokens, labels).backward()
        optimiser.step()
    assert reader.loss(tokens, labels).item() < 0.6 * before


def test_short_crops_use_more_clips_with_the_same_number_of_frames() -> None:
    batches = PictureBatches(clips=16, crop_frames=64, whole_from_step=70)
    assert batches.lengths(0, 128) == (32, 64)
    assert batches.lengths(69, 128) == (32, 64)
    assert batches.lengths(70, 128) == (16, 128)
    assert batches.lengths(0, 50) == (16, 50)


def test_labels_add_to_the_loss_except_for_filmed_clips() -> None:
    torch.manual_seed(0)
    encoder = MotionEncoder(
        widths=(8, 8, 8), features=16, dilations=(1,), place_dilations=(1,), fine_place_dilations=(1,)
    )
    phi, reader = Phi(features=16, width=16, blocks=1, heads=2, head=(8,)), LabelReader(16)
    frames, energies = torch.randint(0, 255, (3, 32, 32, 32), dtype=torch.uint8), torch.randn(3, 32) - 6
    labels = PictureLabels(torch.tensor([0, 1, NOTHING_SOUNDS]), torch.rand(3, 32), torch.rand(3, 32))
    batches = PictureBatches(clips=2, crop_frames=16, whole_from_step=5)

    def loss(of_labels: PictureLabels | None, step: int) -> torch.Tensor:
        corpus = PictureCorpus(frames, energies, 25.0, of_labels)
        return picture_loss(corpus, encoder, phi, reader, batches)(step, torch.Generator().manual_seed(3))

    for step in (0, 5):
        assert loss(labels, step).item() > loss(None, step).item()
    loss(None, 0).backward()
    assert reader.classes.weight.grad is None
    loss(labels, 0).backward()
    assert reader.classes.weight.grad is not None
    assert encoder.stem.weight.grad is not None


def test_clips_of_unknown_level_are_learnt_by_shape_only() -> None:
    torch.manual_seed(0)
    encoder = MotionEncoder(widths=(8, 8), features=16, dilations=(1,))
    phi, reader = Phi(features=16, width=16, blocks=1, heads=2, head=(8,)), LabelReader(16)
    frames, energies = torch.randint(0, 255, (3, 16, 32, 32), dtype=torch.uint8), 2 * torch.randn(3, 16) - 6
    batches = PictureBatches(clips=4, crop_frames=16, whole_from_step=5)

    def loss(wanted: torch.Tensor, known: torch.Tensor | None) -> float:
        corpus = PictureCorpus(frames, wanted, of_known_level=known)
        return picture_loss(corpus, encoder, phi, reader, batches)(0, torch.Generator().manual_seed(3)).item()

    none, all_of_them = torch.zeros(3, dtype=torch.bool), torch.ones(3, dtype=torch.bool)
    assert loss(energies - 3, none) == pytest.approx(loss(energies, none), abs=1e-4)
    assert loss(energies.flip(1), none) != pytest.approx(loss(energies, none), abs=1e-2)
    assert abs(loss(energies - 3, all_of_them) - loss(energies, all_of_them)) > 1
    assert loss(energies, all_of_them) == loss(energies, None)
