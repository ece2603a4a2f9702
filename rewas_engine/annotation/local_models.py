"""Captioners and language models from local folders, loaded by transformers without the network."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoFeatureExtractor,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForSpeechSeq2Seq,
    AutoProcessor,
    AutoTokenizer,
)

from rewas_engine.annotation.stages import Caption
from rewas_engine.errors import EngineError, PackError
from rewas_engine.media.audio import read_audio
from rewas_engine.media.clip import VideoClip
from rewas_engine.media.probe import read_clip, read_clip_with_sound
from rewas_engine.media.video import read_frames
from rewas_engine.runtime.progress import CancelSignal, raise_if_cancelled

FRAMES_A_CLIP = 4
"""Frames of a clip that are captioned, evenly spaced."""
FRAME_SIZE = 224
"""Width and height of the frames. Like the processor of BLIP-2, this ignores their aspect ratio."""
MAX_NEW_TOKENS = 80
MAX_SOUND_S = 30
"""Longest part of a sound that is captioned, from its beginning: the window of Whisper's encoder."""


class PictureCaptioner:
    """An image-to-text model of transformers, such as BLIP-2, that captions single frames.

    Args:
        folder: Folder of the model with its processor, as `save_pretrained` writes it. The weights are safetensors.
        device: Torch device name.

    Raises:
        PackError: The folder contains no such model.
    """

    has_labels = False

    def __init__(self, folder: Path, device: str) -> None:
        self.name = folder.name
        self._device = device
        self._processor = _load(AutoProcessor.from_pretrained, folder, "image-to-text model")
        self._model = _load_model(AutoModelForImageTextToText, folder, "image-to-text model", device)

    def caption(self, clip: VideoClip, cancel: CancelSignal | None) -> tuple[Caption, ...]:
        """Caption evenly spaced frames, in the order of time. Raises MediaError, Cancelled."""
        read = read_clip(clip)
        frames = read_frames(
            read.path,
            start_s=read.start_s,
            duration_s=read.duration_s,
            frame_rate=Fraction(FRAMES_A_CLIP) / read.duration_s,
            width=FRAME_SIZE,
            height=FRAME_SIZE,
            rgb=True,
            speed=read.speed,
            sequence=read.sequence,
            cancel=cancel,
        )
        captions = []
        for frame in frames[:FRAMES_A_CLIP]:
            raise_if_cancelled(cancel)
            inputs = self._processor(images=frame, return_tensors="pt").to(self._device)
            captions.append(Caption(self._generate(inputs)))
        return tuple(captions)

    def _generate(self, inputs: Any) -> str:
        with torch.inference_mode():
            tokens = self._model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        return str(self._processor.batch_decode(tokens, skip_special_tokens=True)[0])


class SoundCaptioner:
    """An audio-to-text model of transformers, such as a Whisper that was trained to caption sounds.

    Args:
        folder: Folder of the model with its feature extractor and tokenizer. The weights are safetensors.
        device: Torch device name.

    Raises:
        PackError: The folder contains no such model.
    """

    has_labels = False

    def __init__(self, folder: Path, device: str) -> None:
        self.name = folder.name
        self._device = device
        self._features = _load(AutoFeatureExtractor.from_pretrained, folder, "audio-to-text model")
        self._tokenizer = _load(AutoTokenizer.from_pretrained, folder, "audio-to-text model")
        self._model = _load_model(AutoModelForSpeechSeq2Seq, folder, "audio-to-text model", device)
        self._rate_hz = int(self._features.sampling_rate)

    def caption(self, clip: VideoClip, cancel: CancelSignal | None) -> tuple[Caption, ...]:
        """Caption the clip's own sound; nothing for silence. Raises MediaError, Cancelled."""
        read, origin_s = read_clip_with_sound(clip)
        sound = read_audio(
            read.path,
            start_s=read.start_s,
            duration_s=min(read.duration_s, Fraction(MAX_SOUND_S)),
            sample_rate_hz=self._rate_hz,
            origin_s=origin_s,
        )
        raise_if_cancelled(cancel)
        if not sound.any():
            return ()
        inputs = self._features(sound, sampling_rate=self._rate_hz, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            tokens = self._model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        return (Caption(str(self._tokenizer.batch_decode(tokens, skip_special_tokens=True)[0])),)


class LocalLanguageModel:
    """A causal language model of transformers.

    Args:
        folder: Folder of the model with its tokenizer. The weights are safetensors. If the tokenizer has a chat
            template, the instruction is a chat message.
        device: Torch device name.

    Raises:
        PackError: The folder contains no such model.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self.name = folder.name
        self._device = device
        self._tokenizer = _load(AutoTokenizer.from_pretrained, folder, "language model")
        self._model = _load_model(AutoModelForCausalLM, folder, "language model", device)

    def answer(self, instruction: str, text: str, cancel: CancelSignal | None) -> str:
        """Follow an instruction about a text, without sampling. Raises Cancelled."""
        raise_if_cancelled(cancel)
        request = f"{instruction}\n\n{text}"
        if self._tokenizer.chat_template:
            message = [{"role": "user", "content": request}]
            written = self._tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
            inputs = self._tokenizer(written, return_tensors="pt", add_special_tokens=False)
        else:
            inputs = self._tokenizer(f"{request}\n\n", return_tensors="pt")
        inputs = inputs.to(self._device)
        with torch.inference_mode():
            tokens = self._model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=MAX_NEW_TOKENS,
                do_sample=False,
                pad_token_id=self._tokenizer.pad_token_id or self._tokenizer.eos_token_id,
            )
        return str(self._tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


def _load_model(kind: Any, folder: Path, what: str, device: str) -> Any:
    def load(path: Path, **options: Any) -> Any:
        return kind.from_pretrained(path, use_safetensors=True, **options)

    return _load(load, folder, what).to(device).eval()


def _load(load: Callable[..., Any], folder: Path, what: str) -> Any:
    if not (folder / "config.json").is_file():
        raise PackError(f"The folder {folder} contains no {what}.", "Give a folder that save_pretrained has written.")
    try:
        return load(folder, local_files_only=True, trust_remote_code=False)
    except EngineError:
        raise
    except Exception as error:  # transformers raises errors of many classes for damaged folders
        raise PackError(
            f"The {what} in {folder} cannot be loaded ({type(error).__name__}: {str(error).splitlines()[0][:200]}).",
            "Give a folder that save_pretrained has written, with weights as safetensors.",
        ) from error
