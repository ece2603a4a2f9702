"""The alignment loss: picture and sound of one clip are closer to each other than to those of other clips."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

TEMPERATURE = 0.1
"""Temperature of the contrastive loss in TAVDiffusion."""


class Alignment(nn.Module):
    """Similarity of two sets of tokens with learned weights (TAVDiffusion, equations 13 and 14).

    Each token has a weight, a softmax over a linear layer of its features. The similarity is the weighted sum of the
    cosines between the tokens of one set and the mean direction of the other, both ways, halved so that it stays
    within ±1. Features of different widths are projected to the smaller one first.

    Args:
        picture_width: Channels of the picture's features.
        sound_width: Channels of the sound's features.
    """

    def __init__(self, picture_width: int, sound_width: int) -> None:
        super().__init__()
        shared = min(picture_width, sound_width)
        self.picture_weight, self.sound_weight = nn.Linear(picture_width, 1), nn.Linear(sound_width, 1)
        same = picture_width == sound_width
        self.picture_projection: nn.Module = nn.Identity() if same else nn.Linear(picture_width, shared)
        self.sound_projection: nn.Module = nn.Identity() if same else nn.Linear(sound_width, shared)

    def similarities(self, picture: torch.Tensor, sound: torch.Tensor) -> torch.Tensor:
        """Similarity [B, B] of each picture's tokens [B, N, C] (rows) to each sound's [B, M, C'] (columns)."""
        # The layers run in the precision of their weights, everything after them in float32.
        seen = functional.normalize(self.picture_projection(picture).float(), dim=-1)
        heard = functional.normalize(self.sound_projection(sound).float(), dim=-1)
        weighted_seen = (self.picture_weight(picture).float().softmax(dim=1) * seen).sum(dim=1)
        weighted_heard = (self.sound_weight(sound).float().softmax(dim=1) * heard).sum(dim=1)
        mean_seen = functional.normalize(seen.mean(dim=1), dim=-1)
        mean_heard = functional.normalize(heard.mean(dim=1), dim=-1)
        return 0.5 * (weighted_seen @ mean_heard.T + mean_seen @ weighted_heard.T)

    def forward(self, picture: torch.Tensor, sound: torch.Tensor) -> torch.Tensor:
        """Symmetric contrastive loss of a batch of clips. A batch of one clip has the loss 0."""
        logits = self.similarities(picture, sound) / TEMPERATURE
        own = torch.arange(len(logits), device=logits.device)
        return 0.5 * (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own))
