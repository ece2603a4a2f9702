"""The model card: what the pack is, how it was trained, what it measures, where it ends."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rewas_engine.evaluation.figures import Evaluation
from rewas_engine.evaluation.report import shown_bar, shown_value, shown_verdict, table
from rewas_engine.evaluation.suite import EvaluationPlan, evaluate
from rewas_engine.pipeline import ReWaS
from rewas_engine.training.beginning import NOTHING
from rewas_engine.training.pack import LICENCE, PERMITS
from rewas_engine.training.world import CLASS_NAMES

if TYPE_CHECKING:
    from rewas_engine.training.config import StarterConfig

FIGURES_FILE = "figures.json"
MEASURED = EvaluationPlan(("energy", "picture"), clips_per_class=2)
"""What a training measures by itself: enough to see that it went well. `rewas eval` measures everything."""


def measure_pack(path: Path, *, on_scene: Callable[[int, int], object] | None = None) -> Evaluation:
    """The figures of the card. on_scene: called with finished and total clips of what is being measured."""
    model = ReWaS.from_pretrained(path)
    tell = on_scene or (lambda done, total: None)
    return evaluate(model, MEASURED, on_progress=lambda progress: tell(progress.done, progress.total))


def write_model_card(
    path: Path,
    config: StarterConfig,
    records: Mapping[str, Mapping[str, Any]],
    began: Mapping[str, str],
    evaluation: Evaluation,
) -> None:
    """Write README.md and figures.json beside pack.toml.

    records: stage -> seconds and losses. began: component -> the pack whose weights it began with, or NOTHING.
    """
    rows = "\n".join(
        f"| {stage} | {len(record['losses'])} | {record['seconds'] / 60:.0f} | {record['losses'][0]:.3f} | "
        f"{sum(record['losses'][-50:]) / len(record['losses'][-50:]):.3f} |"
        for stage, record in records.items()
    )
    trained, figures = evaluation.trained, evaluation.figures()
    measured = table(
        ("figure", "value", "bar", ""),
        [
            (figure.label, shown_value(figure), shown_bar(figure, trained), shown_verdict(figure, trained))
            for figure in figures.values()
        ],
    )
    classes = ", ".join(name.replace("_", " ") for name in CLASS_NAMES)
    text = f"""# {path.name}

A small text- and energy-controlled sound model, trained by `rewas train starter` on clips that the same program
synthesises. No recording, no video and no other model's output went into it. Its prompts are read by
all-MiniLM-L6-v2 (Apache-2.0), which is installed beside it and is not part of the pack.

Licence: {LICENCE}. {PERMITS}

## Training

{config.sounds} sounds and {config.pictures} clips with pictures of the synthetic world, seed {config.seed}, on
{platform.machine()} ({torch.get_num_threads()} threads, bfloat16 forward passes, PyTorch {torch.__version__}).

{_origins(began)}

| stage | steps | minutes | first loss | last loss |
|---|---|---|---|---|
{rows}

## Figures

On {evaluation.setting["clips"]} synthetic scenes that no stage has seen, with {evaluation.setting["num_steps"]} steps.
Correlations are Pearson's between requested and produced energy (mean log-mel, 100 values a second); without control is
the same noise and prompt with the adapter switched off. `rewas eval` says how each figure is measured.

{measured}
## Limits

- It knows {len(CLASS_NAMES)} kinds of sound: {classes}. Other prompts land on the nearest of these, or between them.
- Everything is synthetic: recognisable, not realistic. The rate is 16 kHz, so there is nothing above 8 kHz.
- Picture to energy was learnt from drawn pictures; on camera footage it sees motion, not causes.
- The energy that it reads from a picture is smoother than sound is: quick strikes melt together. Where single hits
  matter, bring a curve.
- No speech, no music.
"""
    _write(path / "README.md", text)
    values = {key: figure.value for key, figure in figures.items() if figure.value is not None}
    told = {"scenes": evaluation.setting["clips"], **values}
    _write(path / FIGURES_FILE, json.dumps({"figures": told, "config": asdict(config)}, indent=1) + "\n")


def _origins(began: Mapping[str, str]) -> str:
    """One sentence on what the weights began with."""
    continued = [f"{role.replace('_', ' ')} from {pack}" for role, pack in began.items() if pack != NOTHING]
    if not continued:
        return "Every component began with nothing."
    return f"Continued were: {', '.join(continued)}. All else began with nothing."


def _write(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.partial")
    unfinished.write_text(text, "utf-8")
    unfinished.replace(path)
