"""The model card: what the pack is, how it was trained, what it measures, where it ends."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rewas_engine.errors import Cancelled, PackError
from rewas_engine.evaluation.bench import EvaluationProgress
from rewas_engine.evaluation.figures import Evaluation
from rewas_engine.evaluation.report import format_target, format_value, format_verdict, table
from rewas_engine.evaluation.suite import EvaluationPlan, evaluate
from rewas_engine.pipeline import ReWaS
from rewas_engine.runtime.atomic_files import write_text_atomic
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.training.pack_writer import LICENCE, PERMITS
from rewas_engine.training.progress import Counting, ReportTraining, TrainingStopped
from rewas_engine.training.starting_point import NOTHING
from rewas_engine.world import CLASS_NAMES

if TYPE_CHECKING:
    from rewas_engine.training.config import StarterConfig

FIGURES_FILE = "figures.json"
_FIGURES, _LIMITS = "## Figures", "## Limits"
MEASURED = EvaluationPlan(("energy", "picture"), clips_per_class=2)
"""What a training measures by itself: enough to see that it went well. `rewas eval` measures everything."""
MEASURING = "pack: measuring"
"""The stage in which it does."""


def measure_pack(path: Path, report: ReportTraining | None = None, cancel: CancelSignal | None = None) -> Evaluation:
    """The figures of the card. Raises TrainingStopped where asked to stop."""
    counting, done = Counting(report), 0

    def tell(progress: EvaluationProgress) -> None:
        nonlocal done
        done = progress.done
        counting.tell(f"{MEASURING}, {progress.what.lower()}", progress.done, progress.total)

    try:
        return evaluate(ReWaS.from_pretrained(path), MEASURED, on_progress=tell, cancel=cancel)
    except Cancelled as cancelled:
        raise TrainingStopped(MEASURING, done) from cancelled


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
) -> None:
    """Write README.md and figures.json beside pack.toml.

    records: stage -> seconds and losses. began: component -> the pack whose weights it began with, or NOTHING.
    version: of the pack. earlier: what trained the pack that was continued, as its own figures.json tells it, oldest
    first. remarks: what else there is to tell of the training, in sentences.
    """
    training = [*earlier, {"version": version, "stages": {name: _told(record) for name, record in records.items()}}]
    told_beside = f"\n{remarks}\n" if remarks else ""
    classes = ", ".join(name.replace("_", " ") for name in CLASS_NAMES)
    text = f"""# {path.name}

A small text- and energy-controlled sound model, trained by `rewas train starter` on clips that the same program
synthesises. No recording, no video and no other model's output went into it. Its prompts are read by
all-MiniLM-L6-v2 (Apache-2.0), which is installed beside it and is not part of the pack; a projection of its own takes
from them what they say of sounds. Sounds that onsets steer are made with guidance, all others without.

Licence: {LICENCE}. {PERMITS}

## Training

{config.sounds} sounds and {config.pictures} clips with pictures of the synthetic world, seed {config.seed}, on
{platform.machine()} ({torch.get_num_threads()} threads, bfloat16 forward passes, PyTorch {torch.__version__}).

{_origins(began)}

{_course(training)}{told_beside}
{_FIGURES}

{_measured(evaluation)}
{_LIMITS}

- It knows {len(CLASS_NAMES)} kinds of sound: {classes}. Other prompts land on the nearest of these, or between them.
- Everything is synthetic: recognisable, not realistic. The rate is 16 kHz, so there is nothing above 8 kHz.
- Picture to energy was learnt from drawn pictures; on camera footage it sees motion, not causes.
- The energy that it reads from a picture is smoother than sound is: quick strikes melt together. Where single hits
  matter, bring a curve.
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


def retell_figures(path: Path, evaluation: Evaluation) -> None:
    """Put the figures of a fuller evaluation in the place of those in a pack's card and figures.json.

    Raises PackError where there is no card that write_model_card has written.
    """
    try:
        card, document = ((path / name).read_text("utf-8") for name in ("README.md", FIGURES_FILE))
        before, _, rest = card.partition(f"{_FIGURES}\n")
        _, _, after = rest.partition(f"{_LIMITS}\n")
        told = {**json.loads(document), "figures": _values(evaluation), "measured": evaluation.pack}
    except (OSError, ValueError) as error:
        raise PackError(f"The card of {path.name} cannot be read ({error}).", "Train the pack again.") from error
    if not after:
        raise PackError(f"The card of {path.name} has no figures and limits.", "Train the pack again.")
    write_text_atomic(path / "README.md", f"{before}{_FIGURES}\n\n{_measured(evaluation)}\n{_LIMITS}\n{after}")
    write_text_atomic(path / FIGURES_FILE, json.dumps(told, indent=1) + "\n")


def told_training(path: Path) -> Sequence[Mapping[str, Any]]:
    """What trained a pack, as its figures.json tells it, oldest first; nothing where it does not."""
    try:
        training = json.loads((path / FIGURES_FILE).read_text("utf-8")).get("training", [])
    except (OSError, ValueError, AttributeError):
        return []
    return training if isinstance(training, list) else []


def _told(record: Mapping[str, Any]) -> dict[str, float]:
    losses = record["losses"]
    return {
        "steps": len(losses),
        "minutes": round(record["seconds"] / 60),
        "first_loss": round(losses[0], 3),
        "last_loss": round(sum(losses[-50:]) / len(losses[-50:]), 3),
    }


def _course(training: Sequence[Mapping[str, Any]]) -> str:
    keys = ("steps", "minutes", "first_loss", "last_loss")
    return table(
        ("for version", "stage", *(key.replace("_", " ") for key in keys)),
        [
            (part["version"], stage, *(str(told.get(key, "")) for key in keys))
            for part in training
            for stage, told in part["stages"].items()
        ],
    )


def _measured(evaluation: Evaluation) -> str:
    trained, setting = evaluation.trained, evaluation.setting
    figures = table(
        ("figure", "value", "bar", "", "note"),
        [
            (
                figure.label,
                format_value(figure),
                format_target(figure, trained),
                format_verdict(figure, trained),
                figure.note if figure.value is not None else "",
            )
            for figure in evaluation.figures().values()
        ],
    )
    return f"""On {setting["clips"]} synthetic scenes that no stage has seen, with {setting["num_steps"]} steps.
Correlations are Pearson's between requested and produced energy (mean log-mel, 100 values a second); without control is
the same noise and prompt with the adapter switched off. `rewas eval` says how each figure is measured. The bars are
those of packs trained on a {trained.upper()}.

{figures}"""


def _values(evaluation: Evaluation) -> dict[str, Any]:
    figures = evaluation.figures()
    values = {key: figure.value for key, figure in figures.items() if figure.value is not None}
    return {"scenes": evaluation.setting["clips"], **values}


def _origins(began: Mapping[str, str]) -> str:
    """One sentence on what the weights began with."""
    continued = [f"{role.replace('_', ' ')} from {pack}" for role, pack in began.items() if pack != NOTHING]
    if not continued:
        return "Every component began with nothing."
    return f"Continued were: {', '.join(continued)}. All else began with nothing."
