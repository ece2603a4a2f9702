"""Training of a tiny model for audible video on clips of the drawn world."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from rewas_engine.audible_video.loss import training_loss
from rewas_engine.audible_video.model import (
    DESCRIPTION_FILE,
    AudibleVideo,
    AudibleVideoDescription,
    load_lender,
    to_levels,
)
from rewas_engine.audible_video.two_stream import TwoStreamDenoiser
from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.errors import PackError, SettingsError
from rewas_engine.evaluation.audible_video import (
    CLIPS_PER_CLASS,
    MEASURED_STEPS,
    AudibleVideoFigures,
    measure_audible_video,
)
from rewas_engine.models.codec import PatchAutoencoder, encode_scaled
from rewas_engine.packs.components import CONFIG_FILE, config_json, save_component
from rewas_engine.packs.description import JOINT_ROLE, find_pack, read_model_pack
from rewas_engine.recipes.audible_video_card import write_model_card
from rewas_engine.recipes.audible_video_config import LATENT_CHANNELS, PATCH, AudibleVideoConfig
from rewas_engine.recipes.starter import StarterTraining
from rewas_engine.runtime.atomic_files import atomic_path, write_text_atomic
from rewas_engine.runtime.progress import CancelSignal, Progress, ProgressCallback
from rewas_engine.training.config import SEEDS_APART
from rewas_engine.training.loop import lower_precision, train
from rewas_engine.training.progress import TrainingStopped
from rewas_engine.world import captions, render_brightness, render_sound
from rewas_engine.world.clear_scenes import SEEDS_PER_SCENE, clear_scene
from rewas_engine.world.vocabulary import further_captions

STAGE = "tavd"
_TEXT_DROPOUT = 0.1


class AudibleVideoTraining:
    """Clips, training and model in one folder; a run that was stopped continues.

    Args:
        config: Settings.
        folder: Folder of everything that is written.
        report: Called with the progress.
        cancel: Stops the training when it is set.
    """

    def __init__(
        self,
        config: AudibleVideoConfig,
        folder: Path,
        report: ProgressCallback | None = None,
        cancel: CancelSignal | None = None,
    ) -> None:
        self.config, self.folder, self.model_folder = config, folder, folder / "model"
        self._report, self._cancel = report, cancel

    def run(self) -> None:
        """Draw the clips, train, and write the model.

        Raises:
            TrainingStopped: The training was cancelled.
            SettingsError: The folder belongs to a training with other settings, or with another version of the lender.
            PackError: The lender is missing or damaged, or has no joint space, which measures the model.
        """
        config = self.config
        description = read_model_pack(find_pack(config.lender))
        if JOINT_ROLE not in description.components:
            raise PackError(
                f"The pack {config.lender} has no joint space, so the model could not be measured.",
                "Set lender to a pack with one, such as starter.",
            )
        lender, audio, _, sha256 = load_lender(description)
        clips = self._clips(lender, AudioFrontEnd(audio), sha256)
        phrases = {name: (*captions(name), *further_captions(name)) for name in config.classes}
        every = [phrase for name in config.classes for phrase in phrases[name]]
        embedded = lender.embed_prompts(every).float()
        first = np.cumsum([0, *(len(phrases[name]) for name in config.classes)])

        frame_codec = PatchAutoencoder(LATENT_CHANNELS, PATCH)
        levels = to_levels(clips["frames"].numpy())
        frame_codec.fit(levels.flatten(0, 1)[:20_000])
        with torch.no_grad():
            pictures = encode_scaled(frame_codec, levels.flatten(0, 1)).unflatten(0, levels.shape[:2])
        schedule = StarterTraining.schedule()
        torch.manual_seed(config.seed)
        denoiser = config.new_denoiser()

        def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
            rows = torch.randint(len(pictures), (config.batch,), generator=generator)
            text = torch.zeros(config.batch, 1, embedded.shape[1])
            for place, row in enumerate(rows.tolist()):
                number = int(clips["classes"][row])
                count = int(first[number + 1] - first[number])
                chosen = int(torch.randint(count, (), generator=generator))
                if float(torch.rand((), generator=generator)) >= _TEXT_DROPOUT:
                    text[place, 0] = embedded[int(first[number]) + chosen]
            with lower_precision(torch.device("cpu")):
                return training_loss(
                    denoiser,
                    schedule,
                    pictures[rows],
                    clips["sounds"][rows],
                    text,
                    generator,
                    config.alignment_weight,
                    config.apart_share,
                )

        train(
            STAGE,
            denoiser,
            loss_of,
            config.loop,
            folder=self.folder,
            seed=config.seed,
            settings=json.loads(json.dumps(asdict(config))),
            report=self._report,
            cancel=self._cancel,
        )
        self._write_model(denoiser, frame_codec, schedule, sha256)

    def measure(self, clips_per_class: int = CLIPS_PER_CLASS, num_steps: int = MEASURED_STEPS) -> AudibleVideoFigures:
        """Measure the written model, and write its model card and figures into its folder.

        Args:
            clips_per_class: Clips to generate of each class.
            num_steps: Steps of the sampling.

        Raises:
            PackError: The model or its lender is missing or damaged.
            Cancelled: The work was cancelled.
        """
        figures, _ = measure_audible_video(
            AudibleVideo(self.model_folder),
            clips_per_class=clips_per_class,
            num_steps=num_steps,
            report=self._report,
            cancel=self._cancel,
        )
        record = json.loads((self.folder / f"{STAGE}.record.json").read_text("utf-8"))
        write_model_card(self.model_folder, self.config, figures, record)
        return figures

    def _clips(self, lender: Any, front_end: AudioFrontEnd, lender_sha256: str) -> dict[str, torch.Tensor]:
        """Frames [N, T, H, W], latents of the sounds [N, 8, T', F'] and classes [N], drawn once for the folder."""
        config, path = self.config, self.folder / "clips.safetensors"
        drawn_with = {
            name: value
            for name, value in asdict(config).items()
            if name in ("lender", "classes", "clips_per_class", "frames", "frames_per_s", "size", "seed")
        }
        # With another version of the lender, the latents of the sounds mean something else.
        drawn_with["lender_sha256"] = lender_sha256
        self.folder.mkdir(parents=True, exist_ok=True)
        stamp = self.folder / "clips.json"
        wanted = json.dumps(drawn_with)
        if path.is_file() and stamp.is_file():
            if stamp.read_text("utf-8") != wanted:
                raise SettingsError(
                    f"The clips in {self.folder} were drawn with other settings or another version of {config.lender}.",
                    "Use those again, or another folder.",
                )
            return load_file(path)
        total = len(config.classes) * config.clips_per_class
        frames, log_mels, classes = [], [], []
        for index in range(total):
            if self._cancel is not None and self._cancel.is_set():
                raise TrainingStopped("clips", index)
            number = index % len(config.classes)
            first_seed = config.seed * SEEDS_APART + index * SEEDS_PER_SCENE
            scene = clear_scene(config.classes[number], first_seed, float(config.frames / config.frame_rate))
            seen = render_brightness(scene, frame_rate=config.frame_rate, width=config.size, height=config.size)
            frames.append(torch.from_numpy(seen[: config.frames]))
            log_mels.append(front_end.encode(render_sound(scene))[: config.mel_frames])
            classes.append(number)
            if self._report is not None:
                self._report(Progress("clips", index + 1, total, (index + 1) / total))
        with torch.no_grad():
            sounds = torch.cat([lender.encode(part) for part in torch.stack(log_mels).split(64)])
        clips = {"frames": torch.stack(frames), "sounds": sounds.float().contiguous(), "classes": torch.tensor(classes)}
        with atomic_path(path) as unfinished:
            save_file(clips, unfinished)
        write_text_atomic(stamp, wanted)
        return clips

    def _write_model(
        self, denoiser: TwoStreamDenoiser, frame_codec: PatchAutoencoder, schedule: Any, lender_sha256: str
    ) -> None:
        config, unfinished = self.config, self.folder / "model.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        save_component(denoiser, unfinished, "denoiser")
        save_component(frame_codec, unfinished, "frame_codec", torch.float32)
        (unfinished / "schedule").mkdir()
        (unfinished / "schedule" / CONFIG_FILE).write_text(config_json(schedule), "utf-8")
        description = AudibleVideoDescription(
            lender=config.lender,
            lender_sha256=lender_sha256,
            frame_rate=config.frames_per_s,
            height=config.size,
            width=config.size,
            frames=config.frames,
            mel_frames=config.mel_frames,
            classes=config.classes,
            sound_lag=config.sound_lag,
        )
        (unfinished / DESCRIPTION_FILE).write_text(description.to_json(), "utf-8")
        shutil.rmtree(self.model_folder, ignore_errors=True)
        unfinished.rename(self.model_folder)
