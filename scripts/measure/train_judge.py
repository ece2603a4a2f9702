"""Train the sound judge on a corpus of the synthetic world and evaluate it on held-out scenes.

    python scripts/measure/train_judge.py CORPUS [--grains DIR] [--start-from DIR] [--run DIR] [--output DIR]
        [--steps N] [--learning-rate RATE] [--scenes N]

CORPUS is a folder for the judge's own corpus, with every class of the world; missing parts are rendered. With --grains,
half of the sounds of classes with recordings are made of parts of them, as in the training of the starter pack. The
judge is measured on synthetic sounds, on sounds of these recordings, and on sounds of the recordings that are left out
of training. A stopped run resumes. The shipped judge is in
rewas_engine/data/judge.
"""

from __future__ import annotations

import argparse
import shutil
import time
from dataclasses import replace
from pathlib import Path

from rewas_engine.evaluation.judge import JUDGE_FOLDER, Judge
from rewas_engine.recipes.judge import (
    FIRST_SEED,
    STAGE,
    JudgeRecipe,
    credits_of,
    measure_judge,
    train_judge,
    world_clips,
    write_figures,
)
from rewas_engine.runtime.progress import Progress
from rewas_engine.training.corpus import WorldCorpus
from rewas_engine.training.grain_recordings import read_grains
from rewas_engine.world import ALL_CLASSES


def main() -> None:
    recipe = JudgeRecipe()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--run", type=Path, default=Path("training-runs/judge"), help="checkpoint and loss curve")
    parser.add_argument("--output", type=Path, default=JUDGE_FOLDER, help="folder for the trained judge")
    parser.add_argument("--start-from", type=Path, help="folder of a judge to continue")
    parser.add_argument("--learning-rate", type=float, default=recipe.loop.learning_rate)
    parser.add_argument("--steps", type=int, default=recipe.loop.steps)
    parser.add_argument("--scenes", type=int, default=20 * len(ALL_CLASSES), help="number of held-out scenes")
    parser.add_argument("--clips", type=int, default=14_000, help="number of clips of the corpus")
    parser.add_argument("--grains", type=Path, help="folder of recordings with a table, such as that of `make foley`")
    parser.add_argument("--workers", type=int, default=1, help="processes that render a corpus")
    given = parser.parse_args()

    corpus = WorldCorpus(given.corpus, given.clips, 0, FIRST_SEED, ALL_CLASSES, given.grains)
    corpus.write(given.workers, lambda done, total: print(f"corpus: {done} of {total}", flush=True))
    log_mels, labels = world_clips(corpus)
    judge = train_judge(
        log_mels,
        labels,
        given.run,
        recipe=replace(recipe, loop=replace(recipe.loop, steps=given.steps, learning_rate=given.learning_rate)),
        start_from=Judge.load(given.start_from) if given.start_from else None,
        report=report,
    )
    figures = measure_judge(judge, given.scenes)
    print(f"accuracy {figures['accuracy']:.4f}; worst {figures['worst_class']} {figures['worst_class_accuracy']:.3f}")
    recordings = corpus.grain_recordings
    for which, found in (("recordings", recordings.training), ("left_out_recordings", recordings.left_out)):
        if found:
            # Every sound uses a recording.
            grains = replace(read_grains(found), share=1.0)
            recorded = measure_judge(judge, given.scenes // 2, classes=grains.classes, grains=grains)
            figures[f"accuracy_with_{which}"] = recorded["accuracy"]
            figures[f"class_accuracies_with_{which}"] = recorded["class_accuracies"]
            print(f"accuracy with {which.replace('_', ' ')}: {recorded['accuracy']:.4f}")
    described = {"first_training_seed": corpus.first_seed, **credits_of(recordings.training)}
    write_figures(given.run / STAGE, {**described, **figures})
    shutil.copytree(given.run / STAGE, given.output, dirs_exist_ok=True)


def report(progress: Progress) -> None:
    if progress.step % 50 == 0 or progress.step == progress.total_steps:
        left = f"{(progress.time_left_s or 0) / 60:.1f} min left"
        print(
            f"{time.strftime('%H:%M:%S')} {progress.step} of {progress.total_steps}: {progress.loss:.3f}, {left}",
            flush=True,
        )


if __name__ == "__main__":
    main()
