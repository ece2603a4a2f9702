"""Measure a model for audible video: the class of its pictures and sounds, and how well the two belong together."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from rewas_engine.audible_video.model import AudibleVideo, AudibleVideoDescription
from rewas_engine.errors import PackError, SettingsError
from rewas_engine.evaluation.joint_retrieval import ranking_auc
from rewas_engine.evaluation.judge import Judge
from rewas_engine.evaluation.paired_bootstrap import INTERVAL, RESAMPLES
from rewas_engine.evaluation.splits import TEST_SEED
from rewas_engine.matching.embedding import JointScorer
from rewas_engine.pipeline import ReWaS
from rewas_engine.runtime.progress import CancelSignal, Progress, ProgressCallback
from rewas_engine.world import STRUCK_CLASSES, captions, held_out_captions, render_brightness, render_sound
from rewas_engine.world.clear_scenes import SEEDS_PER_SCENE, clear_scene

CLIPS_PER_CLASS = 12
"""About as many as a class has held-out sentences."""
MEASURED_STEPS = 25
"""Inference steps: half of the default of `AudibleVideo.sample`, to halve the time."""
_BATCH = 12
TARGETS = {"sound_class": 0.8, "picture_class": 0.8, "avh_auc": 0.9, "struck_agreement": 0.5}
"""What a model should reach, by figure."""

FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Mean:
    """A mean over clips.

    Attributes:
        value: The mean.
        low: Lower end of its 95 % interval, from clips drawn with replacement.
        high: Upper end.
        clips: Number of clips.
    """

    value: float
    low: float
    high: float
    clips: int


@dataclass(frozen=True)
class ClipFigures:
    """Figures of a set of clips.

    Attributes:
        sound_class: Share of clips whose sound the judge assigns to the class of the sentence.
        picture_class: Share of clips whose picture the joint space of the pack assigns to it.
        both_classes: Share of clips for which both are right.
        avh_auc: How often the AVHScore of a clip is above that of its picture with the sound of a clip of another
            class.
        avh_any_auc: The same with the sound of any other clip, often of the same class.
        struck_agreement: Correlation of motion and energy from frame to frame, in clips of struck classes; None if
            there are none.
        sustained_agreement: The same in clips of the other classes.
        classes: By class, the shares of clips whose sound is right and whose picture is right.
    """

    sound_class: Mean
    picture_class: Mean
    both_classes: Mean
    avh_auc: Mean
    avh_any_auc: Mean
    struck_agreement: Mean | None
    sustained_agreement: Mean | None
    classes: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class AudibleVideoFigures:
    """Figures of a model beside their limits.

    Attributes:
        generated: Clips generated from sentences that training never used.
        drawn: Drawn clips of scenes that training never used: the limit of these measurements.
        shuffled: The generated pictures with the sounds of other generated clips of their class: what a model would
            reach whose streams share only the sentence.
        sampling: Settings of the sampling.
    """

    generated: ClipFigures
    drawn: ClipFigures
    shuffled: ClipFigures
    sampling: dict[str, float]

    def report(self) -> dict[str, Any]:
        """Convert to JSON."""
        return {**asdict(self), "targets": TARGETS}


@dataclass(frozen=True, eq=False)
class Clips:
    """Clips to measure.

    Attributes:
        frames: [N, T, H, W] uint8, brightness.
        log_mels: [N, T', bins] in nats, a multiple of T mel frames each.
        class_names: [N].
    """

    frames: NDArray[np.uint8]
    log_mels: torch.Tensor
    class_names: tuple[str, ...]


def measure_audible_video(
    model: AudibleVideo,
    *,
    clips_per_class: int = CLIPS_PER_CLASS,
    num_steps: int = MEASURED_STEPS,
    guidance_scale: float = 3.0,
    report: ProgressCallback | None = None,
    cancel: CancelSignal | None = None,
) -> tuple[AudibleVideoFigures, Clips]:
    """Measure a model on held-out sentences of its classes.

    Args:
        model: The model.
        clips_per_class: Clips of each class, which use its held-out sentences in turn.
        num_steps: Steps of DDIM.
        guidance_scale: Scale of the guidance.
        report: Called with the progress.
        cancel: Stops when it is set.

    Returns:
        The figures and the generated clips.

    Raises:
        SettingsError: A setting is out of range, or the model has learned fewer than two classes.
        PackError: The pack that the model borrows from has no joint space.
        Cancelled: The caller asked to stop.
    """
    about = model.description
    if len(about.classes) < 2 or clips_per_class < 2:
        raise SettingsError(
            f"{clips_per_class} clips of each of {len(about.classes)} classes are too few to compare.",
            "Measure at least two clips per class, with a model of at least two classes.",
        )
    measurement = ClipMeasurement(about)
    asked = [
        (name, sentences[place % len(sentences)])
        for name, sentences in ((name, held_out_captions(name)) for name in about.classes)
        for place in range(clips_per_class)
    ]
    frames, log_mels = [], []
    for start in range(0, len(asked), _BATCH):
        part = asked[start : start + _BATCH]

        def tell(done: int, total: int, start: int = start, size: int = len(part)) -> None:
            if report is not None:
                fraction = (start + size * done / total) / len(asked)
                report(Progress("generate", start + (size if done == total else 0), len(asked), fraction))

        # The seed numbers the batch, so that no two clips start from the same noise.
        seen, heard = model.sample(
            [sentence for _, sentence in part],
            seed=start,
            num_steps=num_steps,
            guidance_scale=guidance_scale,
            on_step=tell,
            cancel=cancel,
        )
        frames.append(seen)
        log_mels.append(heard)
    generated = Clips(np.concatenate(frames), torch.cat(log_mels), tuple(name for name, _ in asked))
    figures = AudibleVideoFigures(
        generated=measurement.measure(generated),
        drawn=measurement.measure(measurement.drawn(clips_per_class)),
        shuffled=measurement.measure(shuffle_within_classes(generated)),
        sampling={"num_steps": num_steps, "guidance_scale": guidance_scale},
    )
    return figures, generated


class ClipMeasurement:
    """What measures the clips of a model: the judge, and the joint space of the pack that the model borrows from.

    Args:
        about: Description of the model.

    Raises:
        PackError: The pack has no joint space, or is damaged.
    """

    def __init__(self, about: AudibleVideoDescription) -> None:
        self._about, self._frame_rate, self._judge = about, Fraction(about.frame_rate), Judge.load()
        self._pack = ReWaS.from_pretrained(about.lender)
        if self._pack.joint_scorer is None:
            raise PackError(f"The pack {about.lender} has no joint space.", "Measure a model that uses another pack.")
        self._scorer: JointScorer = self._pack.joint_scorer

    def drawn(self, clips_per_class: int) -> Clips:
        """Draw clips of test scenes in the format of the model, as its training draws them."""
        about = self._about
        seen, heard, names = [], [], []
        for number, name in enumerate(about.classes):
            for place in range(clips_per_class):
                first_seed = TEST_SEED + (number * clips_per_class + place) * SEEDS_PER_SCENE
                scene = clear_scene(name, first_seed, float(about.frames / self._frame_rate))
                video = render_brightness(scene, frame_rate=self._frame_rate, width=about.width, height=about.height)
                seen.append(video[: about.frames])
                heard.append(self._pack.front_end.encode(render_sound(scene))[: about.mel_frames])
                names.append(name)
        return Clips(np.stack(seen), torch.stack(heard), tuple(names))

    def measure(self, clips: Clips) -> ClipFigures:
        """Measure clips of at least two classes."""
        names = np.array(clips.class_names)
        classes = tuple(dict.fromkeys(clips.class_names))
        # The judge chooses among all classes of the world, the joint space only among those of the model.
        heard = np.array(self._judge.names(clips.log_mels))
        pictures = np.stack([self._picture(video) for video in clips.frames])
        words = np.stack([self._words(name) for name in classes])
        seen = np.array(classes)[(pictures @ words.T).argmax(axis=1)]
        sounds = torch.stack([self._scorer.embed_sound(log_mel) for log_mel in clips.log_mels]).cpu().numpy()
        scores = pictures @ sounds.T
        own, apart = np.eye(len(names), dtype=bool), names[:, None] != names[None]
        agreement = np.array([agree(*pair) for pair in zip(clips.frames, clips.log_mels.numpy(), strict=True)])
        struck = np.isin(names, STRUCK_CLASSES)
        right_sound, right_picture = heard == names, seen == names
        return ClipFigures(
            sound_class=mean(right_sound),
            picture_class=mean(right_picture),
            both_classes=mean(right_sound & right_picture),
            avh_auc=mean(placements(scores[own], scores[apart])),
            avh_any_auc=mean(placements(scores[own], scores[~own])),
            struck_agreement=mean(agreement[struck]) if struck.any() else None,
            sustained_agreement=mean(agreement[~struck]) if not struck.all() else None,
            classes={
                name: (float(right_sound[names == name].mean()), float(right_picture[names == name].mean()))
                for name in classes
            },
        )

    def _picture(self, frames: NDArray[np.uint8]) -> FloatArray:
        """Unit vector of a video [T, H, W], with its frames enlarged and repeated to the format of the pack."""
        rate, width, height = self._pack.frame_format
        pixels = torch.from_numpy(frames).float()[:, None]
        enlarged = functional.interpolate(pixels, size=(height, width), mode="bilinear")[:, 0].round().byte().numpy()
        shown = np.arange(int(len(frames) * rate / self._frame_rate)) / float(rate) * float(self._frame_rate)
        return self._scorer.embed_video(enlarged[shown.astype(int)]).cpu().numpy()

    def _words(self, class_name: str) -> FloatArray:
        """Mean direction [D] of the captions of a class."""
        vector = self._scorer.embed_text(list(captions(class_name))).mean(dim=0)
        return functional.normalize(vector, dim=0).cpu().numpy()


def agree(frames: NDArray[np.uint8], log_mel: FloatArray) -> float:
    """Correlation of motion and energy over the frames of a clip; 0 if one of them does not change.

    Args:
        frames: [T, H, W]. The motion of a frame is its mean absolute difference from the one before.
        log_mel: [T', bins], T' a multiple of T. The energy of a frame is its mean over the frame and all bins, in nats.
    """
    motion = np.abs(np.diff(frames.astype(np.float64), axis=0)).mean(axis=(1, 2))
    energy = log_mel.reshape(len(frames), -1).mean(axis=1)[1:].astype(np.float64)
    if min(np.ptp(motion), np.ptp(energy)) < 1e-9:
        return 0.0
    return float(np.corrcoef(motion, energy)[0, 1])


def shuffle_within_classes(clips: Clips) -> Clips:
    """Give each picture the sound of the next clip of the same class."""
    order = np.arange(len(clips.class_names))
    names = np.array(clips.class_names)
    for name in set(clips.class_names):
        rows = np.flatnonzero(names == name)
        order[rows] = np.roll(rows, 1)
    return Clips(clips.frames, clips.log_mels[torch.from_numpy(order)], clips.class_names)


def placements(right: FloatArray, wrong: FloatArray) -> FloatArray:
    """For each right score, the share of wrong scores below it; their mean is the area under the ROC curve."""
    return np.array([ranking_auc(np.array([score]), wrong) for score in right])


def mean(values: NDArray[Any]) -> Mean:
    """Mean of values [N], N at least 1, with its interval. The same values always give the same interval."""
    numbers = np.asarray(values, np.float64)
    drawn = np.random.default_rng(0).integers(0, numbers.size, (RESAMPLES, numbers.size))
    tail = (1 - INTERVAL) / 2
    low, high = np.quantile(numbers[drawn].mean(axis=1), [tail, 1 - tail])
    return Mean(float(numbers.mean()), float(low), float(high), numbers.size)
