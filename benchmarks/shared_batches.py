"""Measure what sampling a window costs alone, and in batches that several sounds share.

`python benchmarks/shared_batches.py --pack starter` prints one JSON object for each number of threads. Each sound has
one window, which needs one row of a batch, or two if the pack uses guidance. In each round, one sound is sampled alone.
Then, for each batch size, one to four sounds are sampled at the same time, each in its own thread.

`cpu_ms` is the CPU time per window and step, and `ratio` compares it with the window alone in the same round. Both are
the lower quartile, median and upper quartile over the rounds. On a busy machine, CPU time is more reliable than elapsed
time. `same_samples` is true if, at this batch size, each sound was the same, bit for bit, as without other sounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from rewas_engine import Execution, ReWaS, Sampling
from rewas_engine.conditioning.controls import Controls

SOUNDS = (1, 2, 3, 4)


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", default="starter")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--sizes", nargs="+", type=int, default=[2, 4, 8], help="rows of a shared batch")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()

    def load(**execution: int) -> ReWaS:
        settings = Execution(precision=options.precision, **execution)
        return ReWaS.from_pretrained(options.pack, device=options.device, execution=settings)

    alone = load()
    shared = {size: load(batch_size=size, shares_batches=True) for size in options.sizes}
    for threads in options.threads:
        torch.set_num_threads(threads)
        figures = {
            "pack": options.pack,
            "precision": options.precision,
            "threads": threads,
            "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            **compare(alone, shared, options.steps, options.rounds),
        }
        print(json.dumps(figures, indent=1), flush=True)


def compare(alone: ReWaS, shared: dict[int, ReWaS], steps: int, rounds: int) -> dict[str, object]:
    """Sample sounds alone and in shared batches, in turn."""
    # The batch sizes are checked before the first batch. This is not measured.
    expected = {size: [sample(model, number, steps) for number in SOUNDS] for size, model in shared.items()}
    sample(alone, 1, steps)
    alone_ms: list[float] = []
    spent_ms: dict[tuple[int, int], list[float]] = {}
    same = dict.fromkeys(shared, True)
    for _ in range(rounds):
        alone_ms.append(cpu_ms(lambda: sample(alone, 1, steps)) / steps)
        for size, model in shared.items():
            for count in SOUNDS:
                found: list[torch.Tensor] = []
                took_ms = cpu_ms(
                    lambda model=model, count=count, found=found: found.extend(together(model, count, steps))
                )
                spent_ms.setdefault((size, count), []).append(took_ms / steps / count)
                same[size] &= all(torch.equal(*pair) for pair in zip(found, expected[size], strict=False))
    return {
        "alone_cpu_ms": quartiles(alone_ms),
        "shared": [
            {
                "rows": size,
                "sounds": count,
                "cpu_ms": quartiles(times_ms),
                "ratio": quartiles([one / other for one, other in zip(times_ms, alone_ms, strict=True)]),
                "same_samples": same[size],
            }
            for (size, count), times_ms in spent_ms.items()
        ],
    }


def together(model: ReWaS, count: int, steps: int) -> list[torch.Tensor]:
    """Sample some sounds at the same time."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda number: sample(model, number, steps), SOUNDS[:count]))


def sample(model: ReWaS, number: int, steps: int) -> torch.Tensor:
    """Sample a sound of one window."""
    energy = np.random.default_rng(number).uniform(-8, -2, model.sound_generator.window.frames).astype(np.float32)
    settings = model.sampling_settings(Sampling(num_inference_steps=steps))
    return model.sound_generator.generate_log_mel(f"rain, {number}", Controls(energy=energy), number, settings)


def cpu_ms(work: Callable[[], object]) -> float:
    """CPU time of some work, in milliseconds."""
    began_s = time.process_time()
    work()
    return 1000 * (time.process_time() - began_s)


def quartiles(values: Sequence[float]) -> list[float]:
    """Lower quartile, median and upper quartile."""
    return [round(value, 3) for value in statistics.quantiles(values, n=4)]


if __name__ == "__main__":
    main()
