"""Train the sound judge on a corpus of the synthetic world and evaluate it on held-out scenes.

    python scripts/measure/train_judge.py CORPUS [--run DIR] [--output DIR] [--steps N] [--scenes N]

CORPUS is a folder of sounds as written by `rewas train starter`; a missing one is created from its own seeds.
A stopped run resumes. The shipped judge is in rewas_engine/data/judge.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

from rewas_engine.evaluation.judge import JUDGE_FOLDER
from rewas_engine.recipes.judge import (
    FIRST_SEED,
    STAGE,
    JudgeRecipe,
    measure_judge,
    train_judge,
    world_clips,
    write_figures,
)
from rewas_engine.runtime.progress import Progress
from rewas_engine.training.corpus import WorldCorpus


def main() -> None:
    recipe = JudgeRecipe()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--run", type=Path, default=Path("training-runs/judge"), help="checkpoint and loss curve")
    parser.add_argument("--output", type=Path, default=JUDGE_FOLDER, help="folder for the trained judge")
    parser.add_argument("--steps", type=int, default=recipe.loop.steps)
    parser.add_argument("--scenes", type=int, default=1080, help="number of held-out scenes for evaluation")
    parser.add_argument("--clips", type=int, default=20_000, help="number of clips of a new corpus")
    parser.add_argument("--workers", type=int, default=1, help="processes that render a corpus")
    given = parser.parse_args()

    corpus = load_or_make_corpus(given.corpus, given.clips, given.workers)
    log_mels, labels = world_clips(corpus)
    judge = train_judge(
        log_mels,
        labels,
        given.run,
        recipe=replace(recipe, loop=replace(recipe.loop, steps=given.steps)),
        report=report,
    )
    figures = measure_judge(judge, given.scenes)
    write_figures(given.run / STAGE, {"first_training_seed": corpus.first_seed, **figures})
    shutil.copytree(given.run / STAGE, given.output, dirs_exist_ok=True)
    print(f"accuracy {figures['accuracy']:.4f}; worst {figures['worst_class']} {figures['worst_class_accuracy']:.3f}")


def load_or_make_corpus(folder: Path, clips: int, workers: int) -> WorldCorpus:
    """Load the corpus in a folder, rendering what is missing."""
    described = folder / "corpus.json"
    stored = json.loads(described.read_text("utf-8")) if described.is_file() else None
    corpus = WorldCorpus(folder, **stored) if stored else WorldCorpus(folder, clips, 0, FIRST_SEED)
    corpus.write(workers, lambda done, total: print(f"corpus: {done} of {total}", flush=True))
    return corpus


def report(progress: Progress) -> None:
    if progress.step % 50 == 0 or progress.step == progress.total_steps:
        left = f"{(progress.time_left_s or 0) / 60:.1f} min left"
        print(
            f"{time.strftime('%H:%M:%S')} {progress.step} of {progress.total_steps}: {progress.loss:.3f}, {left}",
            flush=True,
        )


if __name__ == "__main__":
    main()
