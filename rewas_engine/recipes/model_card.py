"""The model card of a starter pack: what it is, its training, its figures and its limits."""

from __future__ import annotations

import json
import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rewas_engine.errors import Cancelled, PackError
from rewas_engine.evaluation.figures import Evaluation
from rewas_engine.evaluation.report import clips_of, format_target, format_value, format_verdict, table
from rewas_engine.evaluation.suite import EvaluationPlan, evaluate
from rewas_engine.pipeline import ReWaS
from rewas_engine.runtime.atomic_files import write_text_atomic
from rewas_engine.runtime.devices import resolve_device
from rewas_engine.runtime.precision import training_precision
from rewas_engine.runtime.progress import CancelSignal, Progress, ProgressCallback
from rewas_engine.training.pack_writer import LICENCE, PERMITS
from rewas_engine.training.progress import PartCounter, TrainingStopped
from rewas_engine.training.starting_point import NOTHING

if TYPE_CHECKING:
    from rewas_engine.training.config import StarterConfig
    from rewas_engine.training.grain_recordings import GrainRecording

FIGURES_FILE = "figures.json"
_FIGURES, _LIMITS = "## Figures", "## Limits"
MEASURED = EvaluationPlan(("energy", "picture"), clips_per_class=2)
"""Sections that a training measures, enough to see that it succeeded; `rewas eval` measures everything."""
MEASURING_STAGE = "pack: measuring"
"""Name of the measuring stage."""


def measure_pack(path: Path, report: ProgressCallback | None = None, cancel: CancelSignal | None = None) -> Evaluation:
    """Measure the figures of the card. Raises TrainingStopped if the work was cancelled."""
    counter, done = PartCounter(report), 0

    def on_progress(progress: Progress) -> None:
        nonlocal done
        done = progress.step
        counter.report(f"{MEASURING_STAGE}, {progress.stage.lower()}", progress.step, progress.total_steps)

    try:
        return evaluate(ReWaS.from_pretrained(path), MEASURED, on_progress=on_progress, cancel=cancel)
    except Cancelled as cancelled:
        raise TrainingStopped(MEASURING_STAGE, done) from cancelled


def write_model_card(
    path: Path,
    config: StarterConfig,
    records: Mapping[str, Mapping[str, Any]],
    began: Mapping[str, str],
    evaluation: Evaluation,
    *,
    version: str,
    earlier: Sequence[Mapping[str, Any]] = (),
    remarks: str = "",
    recordings: Sequence[GrainRecording] = (),
) -> None:
    """Write README.md and figures.json next to pack.toml.

    Args:
        path: The pack's folder.
        config: Settings of the training.
        records: Stage -> seconds and losses.
        began: Component -> the pack that initialised it, or NOTHING.
        evaluation: The figures.
        version: Version of the pack.
        earlier: Trainings of the continued pack, from its figures.json, oldest first.
        remarks: Further sentences on the training.
        recordings: Real recordings that sounds of the training use.
    """
    training = [
        *earlier,
        {
            "version": version,
            "stages": {name: _summarise(record) for name, record in records.items()},
            **({"recordings": [_entry(each) for each in recordings]} if recordings else {}),
        },
    ]
    used = _all_recordings(training)
    nature = "The sounds are synthetic, or made of parts of few recordings" if used else "Everything is synthetic"
    remarks_paragraph = f"\n{remarks}\n" if remarks else ""
    classes = ", ".join(name.replace("_", " ") for name in config.classes)
    folder = Path(config.picture_folder).name
    precision = training_precision(resolve_device(config.device), config.denoiser.precision)
    further_clips = f"further video clips of the synthetic world in the folder {folder}, " if folder else ""
    text = f"""# {path.name}

A small sound model with prompt and energy control, trained by `rewas train starter` on clips that the same program
synthesises. {_made_of(used)} went into it.

Its text encoder is all-MiniLM-L6-v2 (Apache-2.0), which is installed separately and is not part of the pack; a
projection in the pack extracts from its embeddings what they say about sounds. Sounds controlled by onsets are
generated with guidance, all others without.

Licence: {LICENCE}. {PERMITS}

## Training

{config.sounds} sounds and {config.pictures} video clips of the synthetic world, seed {config.seed}, {further_clips}on
{platform.machine()} ({torch.get_num_threads()} threads, {precision} forward passes of the denoiser,
PyTorch {torch.__version__}).

{_starting_points(began)}

{_training_table(training)}{remarks_paragraph}
{_credits(used)}{_FIGURES}

{_figures_section(evaluation)}
{_LIMITS}

- It knows {len(config.classes)} kinds of sound: {classes}. Other prompts give the closest of these, or a mixture.
- {nature}: recognisable, not realistic. The sample rate is 16 kHz, so there is nothing above 8 kHz.
- The estimator was trained on synthetic videos; on camera footage it sees motion, not its causes.
- The energy estimated from a video is smoother than that of a sound: fast strikes merge. Where single hits matter, use
  a curve.
- No speech, no music.
"""
    write_text_atomic(path / "README.md", text)
    document = {
        "figures": _values(evaluation),
        "measured": evaluation.pack,
        "training": training,
        "config": asdict(config),
    }
    write_text_atomic(path / FIGURES_FILE, json.dumps(document, indent=1) + "\n")


def replace_figures(path: Path, evaluation: Evaluation) -> None:
    """Replace the figures in a pack's card and figures.json by those of a fuller evaluation.

    Raises:
        PackError: There is no card from `write_model_card`.
    """
    try:
        card, document = ((path / name).read_text("utf-8") for name in ("README.md", FIGURES_FILE))
        before, _, rest = card.partition(f"{_FIGURES}\n")
        _, _, after = rest.partition(f"{_LIMITS}\n")
        updated = {**json.loads(document), "figures": _values(evaluation), "measured": evaluation.pack}
    except (OSError, ValueError) as error:
        raise PackError(f"The model card of {path.name} cannot be read ({error}).", "Train the pack again.") from error
    if not after:
        raise PackError(f"The model card of {path.name} has no figures and limits.", "Train the pack again.")
    write_text_atomic(path / "README.md", f"{before}{_FIGURES}\n\n{_figures_section(evaluation)}\n{_LIMITS}\n{after}")
    write_text_atomic(path / FIGURES_FILE, json.dumps(updated, indent=1) + "\n")


def read_trainings(path: Path) -> Sequence[Mapping[str, Any]]:
    """Trainings of a pack, from its figures.json, oldest first; empty if it has none."""
    try:
        training = json.loads((path / FIGURES_FILE).read_text("utf-8")).get("training", [])
    except (OSError, ValueError, AttributeError):
        return []
    return training if isinstance(training, list) else []


def _summarise(record: Mapping[str, Any]) -> dict[str, float]:
    losses = record["losses"]
    return {
        "steps": len(losses),
        "minutes": round(record["seconds"] / 60),
        "first_loss": round(losses[0], 3),
        "last_loss": round(sum(losses[-50:]) / len(losses[-50:]), 3),
    }


def _training_table(training: Sequence[Mapping[str, Any]]) -> str:
    keys = ("steps", "minutes", "first_loss", "last_loss")
    return table(
        ("version", "stage", *(key.replace("_", " ") for key in keys)),
        [
            (part["version"], stage, *(str(record.get(key, "")) for key in keys))
            for part in training
            for stage, record in part["stages"].items()
        ],
    )


def _figures_section(evaluation: Evaluation) -> str:
    trained, setting = evaluation.trained, evaluation.setting
    figures = table(
        ("figure", "clips", "value", "target", "", "note"),
        [
            (
                figure.label,
                clips_of(figure, setting),
                format_value(figure),
                format_target(figure, trained),
                format_verdict(figure, trained),
                figure.note if figure.value is not None else "",
            )
            for figure in evaluation.figures().values()
        ],
    )
    return f"""Figures marked "synthetic" were measured on {setting["clips"]} held-out scenes of the synthetic world,
with {setting["num_steps"]} steps; "original" sounds are those of the scenes. Decisions may depend on development clips,
but not on held-out ones. Correlations are Pearson's between requested and produced energy (mean log-mel, 100 values per
second); "without control" is the same noise and prompt with the adapter switched off. The report of `rewas eval`
explains how each figure is measured. The targets are those of packs trained on a {trained.upper()}.

{figures}"""


def _values(evaluation: Evaluation) -> dict[str, Any]:
    figures = evaluation.figures()
    values = {key: figure.value for key, figure in figures.items() if figure.value is not None}
    return {"scenes": evaluation.setting["clips"], **values}


def _made_of(recordings: Collection[Mapping[str, str]]) -> str:
    """Subject of a sentence: what the training used besides synthesis."""
    if not recordings:
        return "No recording, no video and no other model's output"
    return f"{len(recordings)} real recordings, listed below, but no video and no other model's output"


def _entry(recording: GrainRecording) -> dict[str, str]:
    return {
        "file": recording.name,
        "kind of sound": recording.class_name.replace("_", " "),
        "licence": recording.licence,
        "author and source": recording.credit,
    }


def _all_recordings(training: Sequence[Mapping[str, Any]]) -> list[Mapping[str, str]]:
    """Recordings of all trainings, each once, by name."""
    found = {tuple(each.items()): each for part in training for each in part.get("recordings", [])}
    return [found[key] for key in sorted(found)]


def _credits(recordings: Sequence[Mapping[str, str]]) -> str:
    """A section with author and licence of each recording, "" if there are none."""
    if not recordings:
        return ""
    rows = [[" ".join(cell.split()) for cell in each.values()] for each in recordings]
    shown = table(tuple(recordings[0]), rows)
    return f"## Recordings\n\nParts of these, changed in pitch, length and brightness, were used:\n\n{shown}\n"


def _starting_points(began: Mapping[str, str]) -> str:
    """Sentences on the initial weights."""
    continued: dict[str, list[str]] = {}
    for role, pack in began.items():
        if pack != NOTHING:
            continued.setdefault(pack, []).append(role.replace("_", " "))
    if not continued:
        return "All components were trained from scratch."
    sentences = [f"Continued from {pack}: {', '.join(roles)}." for pack, roles in continued.items()]
    return " ".join([*sentences, "All other components were trained from scratch."])
