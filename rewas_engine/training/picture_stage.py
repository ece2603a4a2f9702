"""The picture stage: trains video encoder and φ to estimate energy from video."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.signal import savgol_coeffs
from torch import nn

from rewas_engine.curves.energy import SILENCE_NATS
from rewas_engine.models.motion import MotionEncoder
from rewas_engine.models.phi import Phi
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.training.loop import LossFunction, lower_precision
from rewas_engine.training.picture_labels import LabelReader, PictureLabels, strikes_loss
from rewas_engine.training.progress import TrainingStopped

SHAPE_WEIGHT = 2.0
"""Weight of the shape of a curve relative to its level. Video shows when a sound occurs better than how loud it is."""
LABELS_WEIGHT = 1.0
SPREAD_NATS = 0.5
"""Standard deviation below which a curve has no shape worth learning."""
SLOWEST_FOOTAGE_HZ = 12.0
GRAIN_DRAWS = 8
VIEW_BATCH = 8
TOKEN_NOISE = 0.1
"""Noise on the tokens of a fixed encoder, relative to their standard deviation."""
AUDIBLE_NATS = 1.0
"""A clip counts as audible if it is ever this far above silence."""
PHRASES = 64
"""Phrases of known character in every step with words."""
SHAKE_PIXELS, PAN_PIXELS = 0.6, 0.5
"""Standard deviation of the shake of a camera and of its pan, per frame."""


@dataclass(frozen=True)
class PictureCorpus:
    """Training data for energy from video.

    Attributes:
        frames: [N, T, H, W] uint8 brightness.
        energies: [N, T] nats, at the frame rate.
        frame_rate_hz: Rate of both.
        labels: Auxiliary labels of the scenes; None for filmed clips.
        of_known_level: [N], whether a clip's video shows how loud the sound is, not only when it occurs; None if all
            do.
        captions: One for each clip; empty if they have none.
    """

    frames: torch.Tensor
    energies: torch.Tensor
    frame_rate_hz: float = 25.0
    labels: PictureLabels | None = None
    of_known_level: torch.Tensor | None = None
    captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class PictureRecipe:
    """What the picture stage trains, and how it changes the clips.

    Attributes:
        words: Whether φ reads prompts (1) or not (0).
        events: Whether φ has a head for events (1) or not (0); only with words.
        residual_motion: Whether the encoder also reads motion without that of the camera (1) or not (0).
        text_dropout: Share of clips without prompt.
        text_noise: Largest standard deviation of the noise on each component of a prompt embedding, so that unknown
            phrases are near known ones.
        mismatch: Share of clips that show the video of another clip, so that φ learns the level of words. They teach
            only the level.
        camera: Share of clips whose camera shakes and pans.
        fixed_views: If above 0, the video encoder stays as it is, and φ learns from the tokens of this many views of
            each clip, each changed at random. They are computed once, so that a step takes a fraction of the time.
    """

    words: int = 0
    events: int = 0
    residual_motion: int = 0
    text_dropout: float = 0.2
    text_noise: float = 0.6
    mismatch: float = 0.15
    camera: float = 0.0
    fixed_views: int = 0


@dataclass(frozen=True)
class PictureWords:
    """Prompts for the picture stage.

    Attributes:
        captions: [N, D] sentence embeddings of the captions of the corpus; zeros for clips without.
        phrases: [M, D] sentence embeddings of phrases of known character.
        characters: [M] their characters, indices into `rewas_engine.models.phi.CHARACTERS`.
    """

    captions: torch.Tensor
    phrases: torch.Tensor
    characters: torch.Tensor


@dataclass(frozen=True)
class PictureBatches:
    """Size of the batches.

    Before whole_from_step, a step uses shorter crops of more clips, with the same number of frames in total. More clips
    teach more than more frames of the same clip.

    Attributes:
        clips: Whole clips per step.
        crop_frames: Length of the crops.
        whole_from_step: First step with whole clips.
    """

    clips: int
    crop_frames: int
    whole_from_step: int

    def lengths(self, step: int, whole_frames: int) -> tuple[int, int]:
        """Number of clips in a step, and of frames in each."""
        if step >= self.whole_from_step or self.crop_frames >= whole_frames:
            return self.clips, whole_frames
        return max(1, self.clips * whole_frames // self.crop_frames), self.crop_frames


def picture_loss(
    corpus: PictureCorpus,
    encoder: MotionEncoder,
    phi: Phi,
    reader: LabelReader,
    batches: PictureBatches,
    recipe: PictureRecipe | None = None,
    words: PictureWords | None = None,
    tokens: torch.Tensor | None = None,
) -> LossFunction:
    """Loss of video encoder and φ: ‖φ(E_v) − e‖² in a form that is robust to outliers, and 1 − correlation.

    The correlation is the mean of two, over the raw curves and over curves smoothed as in generation. Strikes faster
    than the frame rate cannot be separated in a video, and would mask everything else. If the corpus has labels, the
    loss of the auxiliary head is added.

    With words, φ reads the captions, and a further loss teaches it the characters of many more phrases. With an event
    head, the labels of strikes also teach that head.

    `tokens` [views, N, T, features] of a fixed encoder replace the frames; see `encode_views`.
    """
    whole_frames = corpus.frames.shape[1]
    recipe = recipe or PictureRecipe()

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        count, length = batches.lengths(step, whole_frames)
        rows = torch.randint(len(corpus.frames), (count, 1), generator=generator)
        places = torch.randint(whole_frames - length + 1, (count, 1), generator=generator) + torch.arange(length)
        shown, is_mismatched = rows, torch.zeros(count, dtype=torch.bool)
        if words is not None:
            is_mismatched = torch.rand(count, generator=generator) < recipe.mismatch
            is_mismatched[0] = False  # at least one clip teaches the shape
            shown = torch.where(is_mismatched[:, None], rows.roll(1, 0), rows)
        text = None if words is None else _draw_prompts(words, rows[:, 0], recipe, generator).to(phi.device)
        if tokens is None:
            frames = _change_clips(corpus.frames[shown, places], corpus.frame_rate_hz, recipe, generator)
            with lower_precision(phi.device):
                seen = encoder(frames.to(phi.device))
                reading = phi.read(seen, text)
        else:
            views = torch.randint(len(tokens), (count, 1), generator=generator)
            seen = tokens[views, shown, places].to(phi.device).float()
            noise = TOKEN_NOISE * torch.randn(seen.shape, generator=generator).to(phi.device)
            reading = phi.read(seen + seen.std() * noise, text)
        energies, wanted = reading.energies.float(), corpus.energies[rows, places].to(phi.device)
        matched = ~is_mismatched.to(phi.device)
        level = _level_distance(energies, wanted, _known_level(corpus, rows[:, 0]))
        exact = _shape_distance(energies[matched], wanted[matched])
        smooth = _shape_distance(_smooth(energies[matched]), _smooth(wanted[matched]))
        loss = level + SHAPE_WEIGHT * 0.5 * (exact + smooth)
        if corpus.labels is not None:
            labels = corpus.labels.select(rows, places).where(~is_mismatched)
            loss = loss + LABELS_WEIGHT * reader.loss(seen[matched], labels)
            if reading.strike_logits is not None:
                loss = loss + LABELS_WEIGHT * strikes_loss(reading.strike_logits[matched], labels.strikes)
        if words is not None and phi.words is not None and text is not None:
            loss = loss + _characters_loss(words, phi, recipe, generator)
            loss = loss + _usual_level_distance(phi, text, wanted, _known_level(corpus, rows[:, 0]))
        return loss

    return loss_of


@torch.no_grad()
def encode_views(
    corpus: PictureCorpus,
    encoder: MotionEncoder,
    recipe: PictureRecipe,
    seed: int,
    cancel: CancelSignal | None = None,
) -> torch.Tensor:
    """Tokens [views, N, T, features] float16 of changed views of every clip. The same seed gives the same tokens.

    Raises TrainingStopped if `cancel` was set.
    """
    encoder.train()  # a single pass, as in training
    views = []
    for view in range(recipe.fixed_views):
        parts = []
        for number, frames in enumerate(corpus.frames.split(VIEW_BATCH)):
            if cancel is not None and cancel.is_set():
                raise TrainingStopped("picture", 0)
            generator = torch.Generator().manual_seed((seed * 1_009 + view) * 1_000_003 + number)
            changed = _change_clips(frames, corpus.frame_rate_hz, recipe, generator)
            with lower_precision(encoder.device):
                parts.append(encoder(changed.to(encoder.device)).cpu().half())
        views.append(torch.cat(parts))
    return torch.stack(views)


def _change_clips(
    frames: torch.Tensor, frame_rate_hz: float, recipe: PictureRecipe, generator: torch.Generator
) -> torch.Tensor:
    """Frames [B, T, H, W] from 0 to 1 with a lower rate, other looks and a moving camera, at random."""
    slower = simulate_lower_rates(frames, frame_rate_hz, generator)
    changed = augment(slower.float() / 255, generator)
    return move_camera(changed, recipe.camera, generator) if recipe.camera else changed


def _draw_prompts(
    words: PictureWords, rows: torch.Tensor, recipe: PictureRecipe, generator: torch.Generator
) -> torch.Tensor:
    """Embeddings [B, D] of the captions of clips [B], with noise; zeros for those that are dropped."""
    noisy = _add_noise(words.captions[rows], recipe, generator)
    kept = torch.rand(len(rows), generator=generator) >= recipe.text_dropout
    return noisy * (kept & words.captions[rows].any(dim=1))[:, None]


def _add_noise(embeddings: torch.Tensor, recipe: PictureRecipe, generator: torch.Generator) -> torch.Tensor:
    deviations = recipe.text_noise * torch.rand((len(embeddings), 1), generator=generator)
    # Relative to the size of a component, whatever the norm of the embeddings.
    sizes = embeddings.square().mean(dim=1, keepdim=True).sqrt()
    return embeddings + sizes * deviations * torch.randn(embeddings.shape, generator=generator)


def _characters_loss(words: PictureWords, phi: Phi, recipe: PictureRecipe, generator: torch.Generator) -> torch.Tensor:
    """Cross entropy of the characters of PHRASES phrases."""
    assert phi.words is not None
    rows = torch.randint(len(words.phrases), (PHRASES,), generator=generator)
    texts = _add_noise(words.phrases[rows], recipe, generator).to(phi.device)
    logits = phi.words.character_logits(texts)
    return nn.functional.cross_entropy(logits, words.characters[rows].to(phi.device))


def _usual_level_distance(phi: Phi, text: torch.Tensor, wanted: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Distance of the usual level of words [B, D] from the mean of energies [B, T], over audible clips with words.

    As long as φ does not rely on the words, nothing else teaches it their level, and so it would never rely on them.
    """
    assert phi.words is not None
    means = wanted.mean(dim=1)
    counts = text.any(dim=1) & (wanted.amax(dim=1) > SILENCE_NATS + AUDIBLE_NATS) & known.to(wanted.device).bool()
    distances = nn.functional.smooth_l1_loss(phi.words.usual_level(text), means, reduction="none")
    return (distances * counts).sum() / counts.sum().clamp(min=1)


def _known_level(corpus: PictureCorpus, rows: torch.Tensor) -> torch.Tensor:
    """[B]: 1 for clips whose level is learned, 0 for the others."""
    return torch.ones(len(rows)) if corpus.of_known_level is None else corpus.of_known_level[rows].float()


def _level_distance(energies: torch.Tensor, wanted: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Distance of energies [B, T] in nats, mean over the clips of known level [B]; robust to outliers."""
    distances = nn.functional.smooth_l1_loss(energies, wanted, beta=1.0, reduction="none").mean(dim=1)
    known = known.to(distances.device)
    return (distances * known).sum() / known.sum().clamp(min=1)


def _smooth(energies: torch.Tensor) -> torch.Tensor:
    """Smooth energies [B, T] with the Savitzky-Golay filter of generation (9 values, order 2), holding the ends."""
    weights = torch.tensor(savgol_coeffs(9, 2), dtype=energies.dtype, device=energies.device)
    held = nn.functional.pad(energies[:, None], (4, 4), mode="replicate")
    return nn.functional.conv1d(held, weights[None, None])[:, 0]


def _shape_distance(energies: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """1 − Pearson correlation over time, averaged over the clips whose energy varies."""
    ours, theirs = energies - energies.mean(dim=1, keepdim=True), wanted - wanted.mean(dim=1, keepdim=True)
    spread = theirs.square().mean(dim=1).sqrt()
    product = (ours * theirs).mean(dim=1)
    correlation = product / ((ours.square().mean(dim=1) + 0.01).sqrt() * (spread + 1e-3))
    counts = (spread > SPREAD_NATS).float()
    return ((1 - correlation) * counts).sum() / counts.sum().clamp(min=1)


def simulate_lower_rates(frames: torch.Tensor, frame_rate_hz: float, generator: torch.Generator) -> torch.Tensor:
    """Simulate a lower frame rate in half of the clips [B, T, H, W] by repeating frames."""
    count = frames.shape[1]
    # Slow footage is harder, so lower rates are drawn more often.
    faster = torch.rand(len(frames), generator=generator).square()
    slower_hz = SLOWEST_FOOTAGE_HZ + (frame_rate_hz - SLOWEST_FOOTAGE_HZ) * faster
    slower_hz[torch.rand(len(frames), generator=generator) < 0.5] = frame_rate_hz
    times_s = (torch.arange(count, dtype=torch.float64) + 0.5) / frame_rate_hz
    shown = torch.floor(times_s * slower_hz[:, None].double() + 1e-9) + 0.5
    indices = torch.floor(shown / slower_hz[:, None].double() * frame_rate_hz + 1e-9).long().clamp(0, count - 1)
    return torch.stack([clip[index] for clip, index in zip(frames, indices, strict=True)])


def augment(frames: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Augment clips [B, T, H, W] with random mirroring, zoom, brightness, contrast and grain for each clip."""
    size = len(frames)
    draws = torch.rand((6, size, 1, 1, 1), generator=generator)
    zoom = 1.0 - 0.25 * draws[1].flatten()
    affine = torch.zeros(size, 2, 3)
    affine[:, 0, 0] = torch.where(draws[0].flatten() < 0.5, zoom, -zoom)
    affine[:, 1, 1] = zoom
    affine[:, :, 2] = (torch.rand((size, 2), generator=generator) * 2 - 1) * (1 - zoom[:, None])
    grid = nn.functional.affine_grid(affine, [size, 1, *frames.shape[2:]], align_corners=False)
    zoomed = nn.functional.grid_sample(frames, grid, padding_mode="border", align_corners=False)
    sign = torch.where(draws[5] < 0.15, -1.0, 1.0)  # some are inverted
    contrast, brightness = sign * (0.5 + draws[2]), sign * 0.4 * (draws[3] - 0.5)
    toned = zoomed.sub_(0.5).mul_(contrast).add_(0.5 + brightness)
    return toned.add_(0.03 * draws[4] * _grain(frames.shape, generator)).clamp_(0, 1)


def move_camera(frames: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """Shake and pan the camera of a share of clips [B, T, H, W], by whole pixels; the borders are repeated."""
    batch, count, height, width = frames.shape
    shakes = SHAKE_PIXELS * torch.randn((batch, count, 2), generator=generator)
    pans = PAN_PIXELS * torch.randn((batch, 1, 2), generator=generator) * (torch.arange(count)[:, None] - count / 2)
    # A pan turns back before it leaves the picture.
    reach = height / 8
    path = shakes + reach * torch.sin(pans / reach)
    path = path * (torch.rand((batch, 1, 1), generator=generator) < share)
    shifts = path.round().long()
    rows = (torch.arange(height) - shifts[..., :1]).clamp(0, height - 1)
    columns = (torch.arange(width) - shifts[..., 1:]).clamp(0, width - 1)
    moved = frames.gather(2, rows[..., None].expand(-1, -1, -1, width))
    return moved.gather(3, columns[:, :, None].expand(-1, -1, height, -1))


def _grain(shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    """White noise [B, T, H, W] that differs in every frame. A few draws are shifted randomly from frame to frame."""
    batch, count, height, width = shape
    drawn = torch.randn((batch, GRAIN_DRAWS, height, width), generator=generator)
    noise = torch.empty(shape)
    for number in range(count):
        down, across = (int(shift) for shift in torch.randint(64, (2,), generator=generator))
        noise[:, number] = drawn[:, number % GRAIN_DRAWS].roll((down, across), dims=(1, 2))
    return noise
