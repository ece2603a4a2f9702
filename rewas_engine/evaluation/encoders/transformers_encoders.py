"""CLAP, CLIP and AST from folders in which transformers saved them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    ASTFeatureExtractor,
    ASTForAudioClassification,
    AutoTokenizer,
    ClapFeatureExtractor,
    ClapModel,
)

from rewas_engine.curves.energy import FloatArray
from rewas_engine.errors import PackError
from rewas_engine.evaluation.encoders.protocols import SoundFeatures
from rewas_engine.matching.clip_loading import load_clip_encoder
from rewas_engine.media.video_format import VideoFormat
from rewas_engine.media.waveforms import at_rate, even_windows, unit_rows
from rewas_engine.packs.model_folders import (
    LAYOUT_REMEDY,
    display_name,
    folder_sha256,
    load_pretrained,
)

SOUND_BATCH_SIZE = 8
TEXT_BATCH_SIZE = 64
FRAME_BATCH_SIZE = 32
FRAMES_PER_S = 4
MIN_SOUND_S = 0.2
"""Shorter sounds are padded with silence."""


class ClapEncoder:
    """CLAP (Wu et al. 2023): transformers' ClapModel, with its feature extractor and tokenizer.

    Sounds longer than the model's window are cut into windows, and their mean direction is used. The published code
    takes a random window instead.
    """

    is_stand_in = False

    def __init__(self, folder: Path, device: str) -> None:
        self.name = display_name("CLAP", folder)
        self._folder, self._device = folder, device
        self._model = load_pretrained(ClapModel, folder, device)
        self._extractor = _load_from_folder(ClapFeatureExtractor, folder, "preprocessor_config.json")
        self._tokenizer = _load_from_folder(AutoTokenizer, folder, "tokenizer_config.json")

    @cached_property
    def content_sha256(self) -> str:
        return folder_sha256(self._folder)

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors [N, D] of texts; longer ones are truncated to the model's maximum."""
        # RoBERTa's positions start behind its padding token.
        longest = self._model.config.text_config.max_position_embeddings - 2
        embedded = []
        for first in range(0, len(texts), TEXT_BATCH_SIZE):
            tokens = self._tokenizer(
                list(texts[first : first + TEXT_BATCH_SIZE]),
                padding=True,
                truncation=True,
                max_length=longest,
                return_tensors="pt",
            ).to(self._device)
            embedded.append(_as_array(self._model.get_text_features(**tokens).pooler_output))
        return unit_rows(np.concatenate(embedded))

    @torch.inference_mode()
    def embed_sounds(self, sounds: Sequence[FloatArray], sample_rate_hz: int) -> FloatArray:
        """Unit vectors [N, D] of sounds."""
        rate_hz = int(self._extractor.sampling_rate)
        windows: list[FloatArray] = []
        owners: list[int] = []
        for owner, sound in enumerate(sounds):
            fitted = at_rate(sound, sample_rate_hz, rate_hz, round(MIN_SOUND_S * rate_hz))
            cut = even_windows(fitted, int(self._extractor.nb_max_samples))
            windows += cut
            owners += [owner] * len(cut)
        vectors = np.concatenate(
            [
                self._embed_windows(windows[first : first + SOUND_BATCH_SIZE])
                for first in range(0, len(windows), SOUND_BATCH_SIZE)
            ]
        )
        means = [vectors[np.equal(owners, owner)].mean(axis=0) for owner in range(len(sounds))]
        return unit_rows(np.stack(means))

    def _embed_windows(self, windows: Sequence[FloatArray]) -> FloatArray:
        # One at a time: in a batch, the extractor would draw at random which sound it treats as longer.
        prepared = [
            self._extractor(window, sampling_rate=self._extractor.sampling_rate, return_tensors="pt")
            for window in windows
        ]
        features = torch.cat([torch.as_tensor(one["input_features"]).float() for one in prepared])
        is_longer = torch.cat([torch.as_tensor(one["is_longer"]).bool() for one in prepared])
        found = self._model.get_audio_features(features.to(self._device), is_longer=is_longer.to(self._device))
        return unit_rows(_as_array(found.pooler_output))


class ClipFrameEncoder:
    """CLIP (Radford et al. 2021): transformers' CLIPModel, with its image settings and tokenizer."""

    is_stand_in = False

    def __init__(self, folder: Path, device: str) -> None:
        self.name = display_name("CLIP", folder)
        self._folder = folder
        self._encoder = load_clip_encoder(folder, device)
        side = self._encoder.side
        self.frame_format = VideoFormat(Fraction(FRAMES_PER_S), side, side, short_side=self._encoder.short_side)

    @cached_property
    def content_sha256(self) -> str:
        return folder_sha256(self._folder)

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors [N, D] of texts; longer ones are truncated to the model's maximum."""
        parts = [
            self._encoder.encode_text(texts[first : first + TEXT_BATCH_SIZE]).cpu().numpy()
            for first in range(0, len(texts), TEXT_BATCH_SIZE)
        ]
        return np.concatenate(parts)

    def embed_frames(self, frames: NDArray[np.uint8]) -> FloatArray:
        """Unit vectors [T, D] of RGB frames [T, side, side, 3]."""
        parts = [
            self._encoder.encode_frames(frames[first : first + FRAME_BATCH_SIZE]).cpu().numpy()
            for first in range(0, len(frames), FRAME_BATCH_SIZE)
        ]
        return np.concatenate(parts)


class AstEncoder:
    """The Audio Spectrogram Transformer (Gong et al. 2021): transformers' ASTForAudioClassification.

    Longer sounds than the model's window, about 10 s, are cut into windows. The embedding and the class scores are the
    means over the windows.
    """

    is_stand_in = False

    def __init__(self, folder: Path, device: str) -> None:
        self.name = display_name("AST", folder)
        self._folder, self._device = folder, device
        self._model = load_pretrained(ASTForAudioClassification, folder, device)
        self._extractor = _load_from_folder(ASTFeatureExtractor, folder, "preprocessor_config.json")
        expected = (self._model.config.max_length, self._model.config.num_mel_bins)
        if (self._extractor.max_length, self._extractor.num_mel_bins) != expected:
            raise PackError(
                f"The preprocessor_config.json of the encoder {folder.name} does not fit its model.",
                "Use the file that belongs to the model.",
            )

    @cached_property
    def content_sha256(self) -> str:
        return folder_sha256(self._folder)

    @torch.inference_mode()
    def describe_sounds(self, sounds: Sequence[FloatArray], sample_rate_hz: int) -> list[SoundFeatures]:
        """One embedding and the class scores of each sound."""
        rate_hz = int(self._extractor.sampling_rate)
        # Frames of 25 ms every 10 ms.
        window_samples = (self._extractor.max_length - 1) * rate_hz // 100 + rate_hz // 40
        described = []
        for sound in sounds:
            fitted = at_rate(sound, sample_rate_hz, rate_hz, round(MIN_SOUND_S * rate_hz))
            windows = even_windows(fitted, window_samples)
            prepared = self._extractor(windows, sampling_rate=rate_hz, return_tensors="pt")
            values = torch.as_tensor(np.stack(prepared["input_values"])).float().to(self._device)
            pooled = self._model.audio_spectrogram_transformer(values).pooler_output
            logits = self._model.classifier(pooled).mean(dim=0)
            described.append(SoundFeatures(_as_array(pooled.mean(dim=0, keepdim=True)), _as_array(logits)))
        return described


def _as_array(vectors: torch.Tensor) -> FloatArray:
    return np.asarray(vectors.float().cpu().numpy(), np.float32)


def _load_from_folder(kind: Any, folder: Path, file: str) -> Any:
    """Load a tokenizer or feature extractor. Raises PackError if its file is missing or damaged."""
    if not (folder / file).is_file():
        raise PackError(f"The encoder {folder.name} lacks {file}.", LAYOUT_REMEDY)
    try:
        with warnings.catch_warnings():
            # AST's lowest filters are narrower than a bin of its spectrum; the published ones are empty too.
            warnings.filterwarnings("ignore", message="At least one mel filter has all zero values")
            return kind.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers raises many types for invalid files
        raise PackError(f"The {file} of the encoder {folder.name} cannot be used: {error}", LAYOUT_REMEDY) from error
