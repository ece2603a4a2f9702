"""φ, the network that estimates energy from video tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

EVENT_FRAMES = 48
"""Longest decay of an event, in tokens."""
ATTACK_TOKENS = 2
"""Tokens over which an event rises."""
ATTACK_NATS = 2.5
"""Rise of an event per token before its strike."""
NEVER_NATS = -60.0
"""Energy of the events before and after a clip."""
CHARACTERS = ("steady", "struck", "varied")
"""Kinds of words, as in `rewas_engine.matching.sound_kinds.Character`."""
_NEW_TRAITS = (-4.0, -8.0, 0.0, -2.0, 0.0, -2.0, 2.0)
"""Initial traits: level, reliance and variation (sigmoid), loudness, decay, late decay and tail (softplus)."""
_TRAIT_STEPS = 10.0
"""Scale of the learned offsets of traits, so that they move as fast as the weights of a layer."""
UNLIKELY_LOGIT = -16.0
"""Logit of a strike in a new event head: its energy is far below silence, so that the curve does not change."""


class Phi(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """The energy estimator of ReWaS (paper, section 3.2): projection, transformer blocks, and a narrowing head.

    With a text width, it also reads the words of a prompt: a shaver hums although nothing moves, and wipers are not the
    rain. Words decide the level of a curve, how much it varies, and how events rise and decay. Both additions start
    without an effect, so that a trained estimator can be continued with them.

    Args:
        features: Width of the video encoder's tokens.
        width, blocks, heads: Size of the transformer.
        head: Widths of the head between `width` and 1.
        attends_over: "time", or "batch" for the released weights, which were trained with attention over the batch
            axis. For a single clip this means that each token attends only to itself, which is computed here.
        text_width: Width of the prompt embeddings; 0 for an estimator without words.
        has_events: Whether events have their own head and are added to the sustained energy; only with words.

    Raises:
        ValueError: Events are requested without words.
    """

    config_name = "config.json"
    NEUTRAL_PARTS = ("words", "events")
    """Parts that start without an effect."""

    @register_to_config
    def __init__(
        self,
        features: int = 768,
        width: int = 768,
        blocks: int = 3,
        heads: int = 8,
        head: tuple[int, ...] = (128, 64, 16),
        attends_over: str = "time",
        text_width: int = 0,
        has_events: bool = False,
    ) -> None:
        super().__init__()
        if has_events and not text_width:
            raise ValueError("an estimator with events needs a text width")
        self.projection = nn.Linear(features, width)
        self.layers = nn.ModuleList(_Block(width, heads) for _ in range(blocks))
        narrowing: list[nn.Module] = []
        for wide, narrow in pairwise((width, *head, 1)):
            narrowing += [nn.Linear(wide, narrow), nn.ReLU()]
        self.narrowing = nn.Sequential(*narrowing[:-1])
        self.words = _Words(text_width, width) if text_width else None
        self.events = _Events(width) if has_events else None

    def forward(self, features: torch.Tensor, text: torch.Tensor | None = None) -> torch.Tensor:
        """Estimate energies [B, T] in nats from video tokens [B, T, features].

        Args:
            features: Video tokens.
            text: Prompt embeddings [B, text_width] of any norm. Zeros, like None, stand for no prompt.
        """
        return self.read(features, text).energies

    def read(self, features: torch.Tensor, text: torch.Tensor | None = None) -> Reading:
        """Estimate energies and what they consist of. Arguments as for `forward`."""
        batch, tokens, _ = features.shape
        hidden = self.projection(features)
        if text is None:
            text = features.new_zeros(batch, self.config.text_width)
        if self.words is not None:
            hidden = self.words.change_tokens(hidden, text)
        if self.config.attends_over == "batch":
            hidden = hidden.reshape(batch * tokens, 1, -1)
        for block in self.layers:
            hidden = block(hidden)
        energies: torch.Tensor = self.narrowing(hidden).reshape(batch, tokens)
        if self.words is None:
            return Reading(energies, None)
        by_clip = hidden.reshape(batch, tokens, -1)
        traits = self.words.read_traits(by_clip, text)
        energies = traits.shape_sustained(energies.float())
        if self.events is None:
            return Reading(energies, None)
        heights, logits = self.events(by_clip)
        return Reading(torch.logaddexp(energies, traits.ring(heights, logits)), logits)


@dataclass(frozen=True)
class Traits:
    """What the words of prompts say about the energy of their sounds, each [B, 1].

    Attributes:
        level: Level in nats.
        reliance: 0 to 1: how much the level follows the words instead of the picture.
        variation: Factor of the deviation from the level, 0 to 2.
        loudness: Energy of a strike at full strength, in nats.
        decay: Decay of an event in nats per token.
        late_decay: The same for its tail.
        tail: Energy of the tail below the strike, in nats.
    """

    level: torch.Tensor
    reliance: torch.Tensor
    variation: torch.Tensor
    loudness: torch.Tensor
    decay: torch.Tensor
    late_decay: torch.Tensor
    tail: torch.Tensor

    def shape_sustained(self, energies: torch.Tensor) -> torch.Tensor:
        """Move sustained energies [B, T] to the level of the words and scale their variation."""
        mean = energies.mean(dim=1, keepdim=True)
        return mean + self.reliance * (self.level - mean) + self.variation * (energies - mean)

    def ring(self, heights: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Energies [B, T] in nats of events, which rise and decay as the words say.

        Args:
            heights: [B, T] nats relative to the loudness of a strike.
            logits: [B, T] of a strike at each token.
        """
        starts = heights + self.loudness + nn.functional.logsigmoid(logits)
        after = torch.arange(EVENT_FRAMES, device=starts.device, dtype=starts.dtype)
        falls = torch.logaddexp(-self.decay * after, -self.tail - self.late_decay * after)
        rises = -ATTACK_NATS * torch.arange(ATTACK_TOKENS, 0, -1, device=starts.device, dtype=starts.dtype)
        kernel = torch.cat([rises.expand(len(starts), -1), falls], dim=1)
        padded = nn.functional.pad(starts, (EVENT_FRAMES - 1, ATTACK_TOKENS), value=NEVER_NATS)
        # Token t hears the events from EVENT_FRAMES - 1 tokens before to ATTACK_TOKENS tokens after it.
        heard = padded.unfold(1, kernel.shape[1], 1) + kernel.flip(1)[:, None]
        return heard.logsumexp(dim=2)


@dataclass(frozen=True)
class Reading:
    """What an estimator reads in a video.

    Attributes:
        energies: [B, T] nats.
        strike_logits: [B, T] of a strike at each token; None without events.
    """

    energies: torch.Tensor
    strike_logits: torch.Tensor | None


class _Words(nn.Module):
    """Reads prompt embeddings: a scale and a shift of the tokens, and the traits of the sound.

    Traits belong to characters, not to words, because far more words are known by their character than the videos of
    the training show.
    """

    HIDDEN = 128

    def __init__(self, text_width: int, width: int) -> None:
        super().__init__()
        self.reader = nn.Sequential(nn.Linear(text_width, self.HIDDEN), nn.SiLU())
        self.tokens = nn.Linear(self.HIDDEN, 2 * width)
        self.characters = nn.Sequential(
            nn.Linear(text_width, self.HIDDEN), nn.SiLU(), nn.Linear(self.HIDDEN, len(CHARACTERS))
        )
        self.traits = nn.Parameter(torch.zeros(len(CHARACTERS), len(_NEW_TRAITS)))
        self.described = nn.Sequential(nn.Linear(text_width, self.HIDDEN), nn.SiLU())
        self.doubt = nn.Sequential(nn.Linear(width + self.HIDDEN, self.HIDDEN), nn.SiLU(), nn.Linear(self.HIDDEN, 1))
        for layer in (self.tokens, self.doubt[-1]):
            assert isinstance(layer, nn.Linear)
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def normalise(self, text: torch.Tensor) -> torch.Tensor:
        """Prompts [B, text_width] with components of about 1; zeros stay zeros."""
        return math.sqrt(text.shape[1]) * nn.functional.normalize(text.float(), dim=1)

    def change_tokens(self, hidden: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Tokens [B, T, width] scaled and shifted as prompts [B, text_width] say."""
        scale, shift = self.tokens(self.reader(self.normalise(text).to(hidden.dtype)))[:, None].chunk(2, dim=-1)
        return hidden * (1 + scale) + shift

    def character_logits(self, text: torch.Tensor) -> torch.Tensor:
        """Logits [B, 3] of the characters of prompts [B, text_width], in the order of CHARACTERS."""
        logits: torch.Tensor = self.characters(self.normalise(text)).float()
        return logits

    def usual_level(self, text: torch.Tensor) -> torch.Tensor:
        """Level [B] in nats that prompts [B, text_width] stand for, whatever the picture shows."""
        return self._mix_traits(text)[:, 0]

    def _mix_traits(self, text: torch.Tensor) -> torch.Tensor:
        """Traits [B, 7] of prompts [B, text_width], before they are limited to their ranges."""
        shares = self.character_logits(text).softmax(dim=1)
        return shares @ self.traits.float() * _TRAIT_STEPS + shares.new_tensor(_NEW_TRAITS)

    def read_traits(self, hidden: torch.Tensor, text: torch.Tensor) -> Traits:
        """What prompts [B, text_width] say about a clip with tokens [B, T, width]."""
        mixed = self._mix_traits(text)
        level, reliance, variation, loudness, decay, late_decay, tail = mixed.split(1, dim=1)
        # Words count more where the picture does not show what they describe.
        described = self.described(self.normalise(text).to(hidden.dtype))
        doubt = self.doubt(torch.cat([hidden.mean(dim=1), described], dim=1)).float() * _TRAIT_STEPS
        softplus = nn.functional.softplus
        return Traits(
            level=level,
            reliance=(reliance + doubt).sigmoid(),
            variation=2 * variation.sigmoid(),
            loudness=loudness,
            decay=softplus(decay),
            late_decay=softplus(late_decay),
            tail=softplus(tail),
        )


class _Events(nn.Module):
    """Height and likelihood of a strike at each token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 2)
        nn.init.zeros_(self.out.weight)
        with torch.no_grad():
            self.out.bias.copy_(torch.tensor([0.0, UNLIKELY_LOGIT]))

    def forward(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Heights and logits, each [B, T], of tokens [B, T, width]."""
        heights, logits = self.out(self.norm(hidden)).float().unbind(dim=-1)
        return heights, logits


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = nn.MultiheadAttention(width, heads, add_bias_kv=True, batch_first=True)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        normed = self.norm1(hidden)
        hidden = hidden + self.attention(normed, normed, normed, need_weights=False)[0]
        result: torch.Tensor = hidden + self.mlp(self.norm2(hidden))
        return result
