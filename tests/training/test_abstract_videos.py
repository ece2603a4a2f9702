"""Abstract videos: they move, differ, are reproducible, and have the statistics of filmed ones."""

import numpy as np
import torch

from rewas_engine.models.joint import JointSpace
from rewas_engine.training.joint_stage import (
    NO_CLASS,
    JointClips,
    JointCorpus,
    JointRecipe,
    joint_loss,
    out_of_domain_videos,
)
from rewas_engine.world.abstract_videos import dead_leaves, render_abstract_videos


def test_videos_depend_on_seed_and_number() -> None:
    some = render_abstract_videos(3, 8, 24, 5)
    assert (some.shape, some.dtype) == ((3, 8, 24, 24), torch.uint8)
    assert torch.equal(some, render_abstract_videos(3, 8, 24, 5))
    assert torch.equal(some[:2], render_abstract_videos(2, 8, 24, 5))
    assert not torch.equal(some, render_abstract_videos(3, 8, 24, 6))
    assert not torch.equal(some[0], some[1])


def test_videos_move_and_have_contrast() -> None:
    frames = render_abstract_videos(12, 32, 32, 0).float()
    assert (frames.std(dim=(2, 3)).mean(dim=1) > 5).all()
    moves = frames.diff(dim=1).abs().amax(dim=(1, 2, 3))
    assert (moves > 5).sum() >= 10
    assert frames.mean(dim=(1, 2, 3)).std() > 5


def test_dead_leaves_have_the_spectrum_of_photographs() -> None:
    powers = []
    for seed in range(8):
        image = dead_leaves(np.random.default_rng(seed), 64)
        assert 0 <= image.min() < image.max() <= 1
        powers.append(np.abs(np.fft.fft2(image - image.mean())) ** 2)
    distance = np.round(np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None]) * 64).astype(int)
    frequencies = np.arange(2, 24)
    radial = [np.mean(powers, axis=0)[distance == frequency].mean() for frequency in frequencies]
    slope = np.polyfit(np.log(frequencies), np.log(radial), 1)[0]
    assert -3.2 < slope < -1.5


class _Blank:
    def rows(self, rows: torch.Tensor, stride: int) -> torch.Tensor:
        return torch.zeros(len(rows), 32 // stride, 16, 16, dtype=torch.uint8)


def test_training_moves_abstract_videos_away_from_all_prompts() -> None:
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(8) % 2
    clips = JointClips(
        torch.randn(8, 64, 64, generator=generator) - 6,
        torch.randn(8, 384, generator=generator),
        classes,
        torch.full((8,), NO_CLASS),
        torch.arange(8),
        _Blank(),
    )
    torch.manual_seed(0)
    space = JointSpace(width=16, picture_widths=(8, 8, 8, 16), sound_widths=(8, 8, 8, 16), features=16)
    assert out_of_domain_videos(0, clips, space, 1) is None
    abstract = out_of_domain_videos(3, clips, space, 1)
    assert abstract is not None
    assert abstract.shape == (3, 16, 16, 16)
    recipe = JointRecipe(seen=4, seen_and_heard=2, heard=2, strangers=3, more_words=2)
    loss_of = joint_loss(JointCorpus(clips, clips, abstract), space, recipe)
    optimiser = torch.optim.Adam(space.parameters(), 3e-3)

    def nearness() -> float:
        with torch.no_grad():
            return float((space.picture_encoder(abstract.float() / 255) @ space.encode_text(clips.prompts).T).max())

    with torch.no_grad():
        space.picture_encoder.over_time.out.bias += 3 * space.encode_text(clips.prompts).mean(dim=0)
    assert nearness() > 0.3
    for step in range(60):
        optimiser.zero_grad()
        loss_of(step, torch.Generator().manual_seed(step)).backward()
        optimiser.step()
    assert nearness() < 0.25
