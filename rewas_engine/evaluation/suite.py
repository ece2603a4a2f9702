"""Evaluation of a pack: its sections, their requirements, and the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewas_engine.errors import SettingsError
from rewas_engine.evaluation.ablation import ablation_section
from rewas_engine.evaluation.bench import Bench, BenchClip, Watch, bench_clips, check_audio_format
from rewas_engine.evaluation.conflict import conflict_section
from rewas_engine.evaluation.control_following import energy_section, texture_section
from rewas_engine.evaluation.energy_from_video import energy_from_video_section
from rewas_engine.evaluation.figures import Evaluation, Figure, Section, Trained
from rewas_engine.evaluation.joint_section import joint_section
from rewas_engine.evaluation.judge import Judge
from rewas_engine.evaluation.known_classes import known_classes
from rewas_engine.evaluation.onset_control import onset_section, onset_settings
from rewas_engine.evaluation.prompt_adherence import prompt_section
from rewas_engine.evaluation.real_clips import real_clips_section
from rewas_engine.evaluation.real_manifest import ManifestEntry, real_clip_entries
from rewas_engine.evaluation.real_sounds import RealSound, real_sounds
from rewas_engine.evaluation.realism import realism_section, unmeasured_realism
from rewas_engine.evaluation.sound_embedding import find_weights
from rewas_engine.evaluation.sound_store import SoundStore
from rewas_engine.evaluation.speed import speed_section
from rewas_engine.evaluation.splits import TEST
from rewas_engine.evaluation.video_to_sound import align_section
from rewas_engine.evaluation.vocoding import vocoder_section
from rewas_engine.generation.sampling_settings import SamplingSettings
from rewas_engine.packs.description import PackInfo, read_pack
from rewas_engine.pipeline import ReWaS
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback
from rewas_engine.world import ALL_CLASSES, has_picture

CLIPS_PER_CLASS = 20
FAST_CLIPS_PER_CLASS = 2
JOINT_SCENES_A_CLIP = 15
CONFLICT_SCENES_A_CLIP = 15
"""Scenes for each bench clip of a class. The energy-from-video section has one clip for each sound."""


@dataclass(frozen=True)
class EvaluationPlan:
    """What to measure.

    Attributes:
        sections: Names out of SECTION_NAMES; empty means all.
        clips_per_class: Clips of the test split.
        real: A folder of video files with sound, with or without a manifest.
        trained: Device that the targets are for.
        classes: Classes of the world, two or more; empty means those that the pack knows.
        real_sounds: A folder of recordings by kind, which training has not used.
    """

    sections: tuple[str, ...] = ()
    clips_per_class: int = CLIPS_PER_CLASS
    real: Path | None = None
    trained: Trained = "cpu"
    classes: tuple[str, ...] = ()
    real_sounds: Path | None = None

    def __post_init__(self) -> None:
        if self.clips_per_class < 1:
            raise SettingsError(f"clips_per_class is {self.clips_per_class}.", "Use 1 or more.")
        for name in self.sections:
            if name not in SECTION_NAMES:
                raise SettingsError(f"There is no section {name!r}.", f"Choose from {', '.join(SECTION_NAMES)}.")
        for name in self.classes:
            if name not in ALL_CLASSES:
                raise SettingsError(f"The world has no class {name!r}.", f"Choose from {', '.join(ALL_CLASSES)}.")
        if len(set(self.classes)) == 1:
            raise SettingsError("A single class cannot be distinguished from others.", "Name two or more classes.")
        if "real" in self.sections and self.real is None:
            raise SettingsError("The section real needs a folder of real clips.", "Give the folder that contains them.")
        if "realism" in self.sections and self.real_sounds is None:
            raise SettingsError("The section realism needs a folder of real recordings.", "Give the folder.")

    @property
    def chosen(self) -> tuple[str, ...]:
        """The sections to run, in order; all if none is named."""
        return tuple(name for name in SECTION_NAMES if name in (self.sections or SECTION_NAMES))

    def classes_for(self, pack: PackInfo) -> tuple[str, ...]:
        """The classes to use, in the order of the world; those that the pack knows if none is named."""
        return tuple(name for name in ALL_CLASSES if name in (self.classes or known_classes(pack)))


@dataclass(frozen=True)
class _Run:
    """State that the sections share."""

    model: ReWaS
    plan: EvaluationPlan
    entries: Sequence[ManifestEntry]
    recordings: Mapping[str, Sequence[RealSound]]
    watch: Watch
    bench: Bench

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes to measure, in the order of the world."""
        return self.plan.classes_for(self.model.pack)

    @property
    def seen_classes(self) -> tuple[str, ...]:
        """Those with a picture."""
        return tuple(filter(has_picture, self.classes))

    @property
    def unseen_classes(self) -> tuple[str, ...]:
        """Those without a picture."""
        return tuple(name for name in self.classes if not has_picture(name))


@dataclass(frozen=True)
class _SectionSpec:
    """A section and its requirements: "clips" of every class, and the "judge"."""

    make: Callable[[_Run], Section]
    needs: tuple[str, ...] = ("clips",)


def evaluate(
    model: ReWaS,
    plan: EvaluationPlan,
    settings: SamplingSettings | None = None,
    *,
    judge: Judge | None = None,
    sounds_folder: Path | None = None,
    on_progress: ProgressCallback | None = None,
    cancel: CancelSignal | None = None,
) -> Evaluation:
    """Measure a pack on the test split.

    Args:
        model: The pack.
        plan: What to measure.
        settings: Sampling settings; None for the defaults of the pack.
        judge: The judge; None for the shipped one.
        sounds_folder: Folder for generated sounds, so that an interrupted evaluation can continue and parallel ones
            share the work.
        on_progress: Called with the progress.
        cancel: Stops the work within one sampling step when it is set.

    Raises:
        SettingsError: The plan cannot be carried out.
        PackError: The pack's audio format differs from the world's, or the judge or the package of the embeddings of
            sound effects is missing.
        Cancelled: The work was cancelled.
    """
    check_audio_format(model)
    entries = real_clip_entries(plan.real) if plan.real is not None and "real" in plan.chosen else []
    recordings: Mapping[str, Sequence[RealSound]] = {}
    if plan.real_sounds is not None and "realism" in plan.chosen:
        find_weights()
        recordings = real_sounds(plan.real_sounds)
    watch = Watch(on_progress, cancel)
    clips = _clips(model, plan, watch)
    store = None if sounds_folder is None else SoundStore(sounds_folder, read_pack(model.pack.path), model.device)
    bench = Bench(model, judge, clips, settings or model.sampling_settings(), watch, store)
    run = _Run(model, plan, entries, recordings, watch, bench)
    # Fail now instead of after an hour if the judge is missing.
    accuracy = run.bench.judge.figures.get("accuracy") if _needs(plan, "judge") else None
    sections = []
    for name in plan.chosen:
        watch.section = name
        watch.check()
        sections.append(_SECTIONS[name].make(run))
    splits = {name: count for section in sections for name, count in section.details.get("splits", {}).items()}
    setting = {**_setting(run), "judge_real_accuracy": accuracy, "real": splits}
    return Evaluation(_pack(model), setting, plan.trained, tuple(sections))


def _clips(model: ReWaS, plan: EvaluationPlan, watch: Watch) -> list[BenchClip]:
    classes = plan.classes_for(model.pack)
    if _needs(plan, "clips"):
        return bench_clips(TEST, classes, plan.clips_per_class, model.front_end, watch)
    return bench_clips(TEST, classes[:1], 1, model.front_end, watch)


def _needs(plan: EvaluationPlan, what: str) -> bool:
    return any(what in _SECTIONS[name].needs for name in plan.chosen)


def _pack(model: ReWaS) -> dict[str, Any]:
    pack = model.pack
    return {
        "name": pack.name,
        "version": pack.version,
        "licence": pack.licence,
        "controls": list(pack.controls),
        "fingerprint": read_pack(pack.path).fingerprint,
    }


def _setting(run: _Run) -> dict[str, Any]:
    settings = run.bench.settings
    sampling = {
        "num_steps": settings.num_inference_steps,
        "guidance_scale": settings.guidance_scale,
        "onsets_guidance_scale": onset_settings(run.bench).guidance_scale,
        "unguided_share": settings.unguided_share,
    }
    lender = read_pack(run.model.pack.path).lender
    return {
        "split": TEST.name,
        "clips_per_class": run.plan.clips_per_class,
        "clips": len(run.bench.clips),
        "classes": list(run.classes),
        **(sampling if lender is None else dict.fromkeys(sampling)),
        "lender": None if lender is None else lender.info.name,
        "device": run.model.device,
    }


def _real(run: _Run) -> Section:
    if run.plan.real is None:
        figure = Figure("real_clips_zero_lag", "Real clips, zero lag", None, note=("not measured: no folder was given"))
        return Section("real", "Real clips", (figure,))
    return real_clips_section(run.model, run.entries, run.watch)


def _realism(run: _Run) -> Section:
    if not run.recordings:
        figure = unmeasured_realism("not measured: no folder of recordings was given")
        return Section("realism", "Realism", (figure,))
    return realism_section(run.bench, run.recordings, run.classes)


_SECTIONS: dict[str, _SectionSpec] = {
    "energy": _SectionSpec(lambda run: energy_section(run.bench)),
    "words": _SectionSpec(lambda run: prompt_section(run.bench), ("clips", "judge")),
    "vocoder": _SectionSpec(lambda run: vocoder_section(run.bench), ("clips", "judge")),
    "onsets": _SectionSpec(lambda run: onset_section(run.bench)),
    "texture": _SectionSpec(lambda run: texture_section(run.bench)),
    "ablation": _SectionSpec(lambda run: ablation_section(run.bench), ("clips", "judge")),
    "picture": _SectionSpec(
        lambda run: energy_from_video_section(
            run.model, TEST, len(run.seen_classes) * run.plan.clips_per_class, run.watch
        ),
        needs=(),
    ),
    "align": _SectionSpec(lambda run: align_section(run.bench), ("clips", "judge")),
    "joint": _SectionSpec(
        lambda run: joint_section(
            run.bench, TEST, JOINT_SCENES_A_CLIP * run.plan.clips_per_class, unseen_classes=run.unseen_classes
        )
    ),
    "conflict": _SectionSpec(
        lambda run: conflict_section(run.bench, TEST, CONFLICT_SCENES_A_CLIP * run.plan.clips_per_class), needs=()
    ),
    "real": _SectionSpec(_real, needs=()),
    "realism": _SectionSpec(_realism, needs=()),
    "speed": _SectionSpec(lambda run: speed_section(run.bench), needs=()),
}
SECTION_NAMES = tuple(_SECTIONS)
"""All sections, in the order in which they run."""
