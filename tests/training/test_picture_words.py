"""The picture stage with words, events and motion without that of the camera."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rewas_engine.errors import SettingsError
from rewas_engine.models.motion import MotionEncoder, camera_shifts, residual_differences
from rewas_engine.models.phi import CHARACTERS, Phi
from rewas_engine.training.config import StarterConfig
from rewas_engine.training.loop import LoopConfig, train
from rewas_engine.training.picture_labels import LabelReader, PictureLabels
from rewas_engine.training.picture_stage import (
    PictureBatches,
    PictureCorpus,
    PictureRecipe,
    PictureWords,
    encode_views,
    move_camera,
    picture_loss,
)
from rewas_engine.training.progress import TrainingStopped
from rewas_engine.training.starting_point import copy_known_weights

TEXT = 24
WORDS = PictureRecipe(words=1, events=1, residual_motion=1, camera=0.5)
STEADY = CHARACTERS.index("steady")


def textured(batch: int, frames: int, seed: int = 0) -> torch.Tensor:
    """A still picture of smooth random texture, [B, T, 32, 32]."""
    drawn = torch.rand((batch, 1, 8, 8), generator=torch.Generator().manual_seed(seed))
    large = torch.nn.functional.interpolate(drawn, (32, 32), mode="bicubic").clamp(0, 1)
    return large.expand(-1, frames, -1, -1).clone()


def new_networks() -> tuple[MotionEncoder, Phi, LabelReader]:
    torch.manual_seed(2)
    encoder = MotionEncoder(widths=(8, 8), features=16, dilations=(1,), residual_motion=True)
    phi = Phi(features=16, width=16, blocks=1, heads=2, head=(8,), text_width=TEXT, has_events=True)
    return encoder, phi, LabelReader(16)


def new_corpus(clips: int = 4, frames: int = 32) -> tuple[PictureCorpus, PictureWords]:
    drawn = torch.Generator().manual_seed(1)
    pictures = (255 * textured(clips, frames)).to(torch.uint8)
    energies = torch.full((clips, frames), -3.0)
    labels = PictureLabels(torch.zeros(clips, dtype=torch.long), torch.zeros(clips, frames), torch.ones(clips, frames))
    texts = torch.randn((clips, TEXT), generator=drawn)
    phrases = torch.randn((6, TEXT), generator=drawn)
    return PictureCorpus(pictures, energies, 25.0, labels), PictureWords(texts, phrases, torch.arange(6) % 3)


def test_the_shift_of_a_camera_is_found_and_removed() -> None:
    still = textured(2, 6)
    path = torch.tensor([[0, 0], [1, 0], [2, -1], [2, -3], [0, -3], [-1, -1]])
    shaken = torch.stack(
        [torch.roll(still[:, t], (int(down), int(right)), dims=(1, 2)) for t, (down, right) in enumerate(path)], dim=1
    )
    assert torch.equal(camera_shifts(shaken), path.diff(dim=0).expand(2, -1, -1))
    inner = (slice(None), slice(None), slice(None), slice(4, -4), slice(4, -4))
    assert residual_differences(shaken)[inner].abs().max() < 1e-6
    shaken[:, 3, 14:18, 14:18] += 0.5  # an object that appears while the camera moves
    residual = residual_differences(shaken)[inner].abs().amax(dim=(0, 2, 3, 4))
    assert residual[3] > 0.5
    assert residual[0] < 1e-6


def test_a_single_frame_has_no_motion() -> None:
    assert not residual_differences(textured(2, 1)).any()
    encoder = MotionEncoder(widths=(8, 8), features=16, dilations=(1,), residual_motion=True).eval()
    assert encoder(torch.rand(1, 1, 32, 32)).shape == (1, 1, 16)


def test_motion_without_the_camera_has_no_effect_at_first() -> None:
    old, new = (MotionEncoder(widths=(8, 8), features=16, dilations=(1,), residual_motion=on) for on in (False, True))
    assert copy_known_weights(old.eval(), new.eval())
    frames = torch.rand(2, 8, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(new(frames), old(frames), atol=1e-5, rtol=0)
    assert not copy_known_weights(new, old)  # nothing is dropped


def test_a_camera_moves_the_whole_picture() -> None:
    still = textured(3, 12)
    moved = move_camera(still, 1.0, torch.Generator().manual_seed(4))
    assert (moved - still).abs().max() > 0.05
    assert torch.equal(move_camera(still, 0.0, torch.Generator().manual_seed(4)), still)
    assert torch.equal(moved, move_camera(still, 1.0, torch.Generator().manual_seed(4)))


def test_every_part_learns_and_a_batch_depends_on_its_generator_alone() -> None:
    encoder, phi, reader = new_networks()
    corpus, words = new_corpus()
    loss_of = picture_loss(corpus, encoder, phi, reader, PictureBatches(4, 16, 5), WORDS, words)
    one, again, other = (loss_of(0, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert one.item() == again.item() != other.item()
    one.backward()
    learning = {
        "events": phi.events.out.weight,
        "characters": phi.words.characters[0].weight,
        "traits": phi.words.traits,
        "tokens": phi.words.tokens.weight,
        "residual": encoder.residual_stem.weight,
    }
    assert all(weight.grad is not None for weight in learning.values())
    still = {name for name, weight in learning.items() if not weight.grad.abs().sum()}
    assert still <= {"residual"}  # nothing but the camera moves in these clips


def test_a_still_picture_with_words_of_a_sustained_sound_becomes_even_at_their_level(tmp_path: Path) -> None:
    encoder, phi, reader = new_networks()
    corpus, words = new_corpus()
    loss_of = picture_loss(corpus, encoder, phi, reader, PictureBatches(4, 32, 0), WORDS, words)
    loop = LoopConfig(steps=60, learning_rate=5e-3, warmup_steps=5, ema_decay=0.5)
    train("picture", torch.nn.ModuleList([encoder, phi, reader]), loss_of, loop, folder=tmp_path, seed=1)
    phi.eval(), encoder.eval()
    with torch.no_grad():
        curves = phi(encoder(textured(4, 32)), words.captions)
    assert curves.std(dim=1).max() < 0.3
    assert (curves.mean(dim=1) + 3).abs().max() < 1


def test_an_interrupted_stage_continues_to_the_same_weights(tmp_path: Path) -> None:
    import threading

    corpus, words = new_corpus(clips=3, frames=16)
    loop = LoopConfig(steps=6, learning_rate=1e-3, warmup_steps=1, checkpoint_every=2)

    def run(folder: Path, stop_at: int | None) -> dict[str, torch.Tensor]:
        encoder, phi, reader = new_networks()
        loss_of = picture_loss(corpus, encoder, phi, reader, PictureBatches(2, 8, 3), WORDS, words)
        cancel = threading.Event()

        def stop(progress) -> None:
            if progress.step == stop_at:
                cancel.set()

        train(
            "picture",
            torch.nn.ModuleList([encoder, phi, reader]),
            loss_of,
            loop,
            folder=folder,
            seed=1,
            report=stop,
            cancel=cancel,
        )
        return {**phi.state_dict(), **encoder.state_dict()}

    whole = run(tmp_path / "whole", None)
    with pytest.raises(TrainingStopped):
        run(tmp_path / "parts", 3)
    resumed = run(tmp_path / "parts", None)
    assert all(torch.equal(whole[name], tensor) for name, tensor in resumed.items())


def test_with_a_fixed_encoder_only_phi_learns_from_views_of_every_clip() -> None:
    encoder, phi, reader = new_networks()
    corpus, words = new_corpus()
    fixed = replace(WORDS, fixed_views=2)
    tokens = encode_views(corpus, encoder, fixed, 5)
    assert tokens.shape == (2, 4, 32, 16)
    assert torch.equal(tokens, encode_views(corpus, encoder, fixed, 5))
    assert not torch.equal(tokens[0], tokens[1])
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(TrainingStopped):
        encode_views(corpus, encoder, fixed, 5, cancel)
    loss_of = picture_loss(corpus, encoder, phi, reader, PictureBatches(4, 16, 5), fixed, words, tokens)
    loss_of(0, torch.Generator().manual_seed(3)).backward()
    assert phi.words.traits.grad is not None
    assert all(weight.grad is None for weight in encoder.parameters())


def test_the_level_of_words_is_learned_whatever_the_picture_shows() -> None:
    torch.manual_seed(0)
    phi = Phi(features=8, width=16, blocks=1, heads=2, head=(8,), text_width=TEXT)
    pictures, texts = 2 * torch.randn(2, 1, 8), torch.randn(2, TEXT)
    shown, said = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 1, 1, 0])
    levels = torch.tensor([-8.0, -3.0])[said][:, None].expand(-1, 12)  # as the words say
    optimiser = torch.optim.Adam(phi.words.parameters(), lr=0.01)
    with torch.no_grad():
        usual = phi.words.usual_level(texts)
    torch.testing.assert_close(usual, torch.full((2,), -4.0))
    for _ in range(150):
        energies = phi(pictures[shown].expand(-1, 12, -1), texts[said])
        loss = (energies - levels).abs().mean() + (phi.words.usual_level(texts[said]) - levels[:, 0]).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        learned = phi(pictures[shown].expand(-1, 12, -1), texts[said])
    assert (learned - levels).abs().max() < 1


def test_settings_decide_the_parts_of_the_networks(tmp_path: Path) -> None:
    plain, worded = StarterConfig(), StarterConfig(picture_recipe=WORDS)
    assert plain.new_phi().words is None
    assert plain.new_video_encoder().residual_stem is None
    phi = worded.new_phi()
    assert phi.words is not None
    assert phi.events is not None
    assert worded.new_video_encoder().residual_stem is not None
    assert replace(worded, picture_recipe=replace(WORDS, words=0)).new_phi().events is None
    (tmp_path / "settings.toml").write_text("[picture_recipe]\nwords = 1\nmismatch = 0\n")
    assert StarterConfig.read(tmp_path / "settings.toml").picture_recipe == PictureRecipe(words=1, mismatch=0)
    (tmp_path / "settings.toml").write_text('[picture_recipe]\nwords = "yes"\n')
    with pytest.raises(SettingsError, match="words"):
        StarterConfig.read(tmp_path / "settings.toml")
