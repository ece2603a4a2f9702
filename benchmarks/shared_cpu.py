"""Time a take alone and next to a busy process, with OpenMP's default waiting policy and with the command's.

`python benchmarks/shared_cpu.py` prints one JSON object with the seconds of a 5.12 s take of the starter pack in all
four cases, and their ratios.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np

from rewas_cli.startup import OMP_SPIN_COUNT

TAKES = 7


def main() -> None:
    """Measure all four cases and print them."""
    if sys.argv[1:] == ["take"]:
        print(take_s())
        return
    seconds: dict[str, float] = {}
    for name, spins in (("default", None), ("command", OMP_SPIN_COUNT)):
        seconds[f"{name}_alone_s"] = measure_with_spins_s(spins)
        with busy_process():
            seconds[f"{name}_shared_s"] = measure_with_spins_s(spins)
    for where in ("alone", "shared"):
        seconds[f"{where}_ratio"] = seconds[f"default_{where}_s"] / seconds[f"command_{where}_s"]
    print(json.dumps({name: round(value, 3) for name, value in seconds.items()}, indent=1))


def take_s() -> float:
    """Return the median time of several takes in this process."""
    from rewas_engine import ReWaS
    from rewas_engine.conditioning.controls import Controls

    model = ReWaS.from_pretrained("starter", device="cpu")
    controls, settings = Controls(energy=np.full(512, -5, np.float32)), model.sampling_settings()
    took_s = []
    for seed in range(TAKES + 1):
        begin_s = time.perf_counter()
        log_mel = model.sound_generator.generate_log_mel("rain", controls, seed, settings)
        model.sound_generator.vocoder.vocode(log_mel, 512 * model.front_end.config.hop_samples)
        took_s.append(time.perf_counter() - begin_s)
    return statistics.median(took_s[1:])


def measure_with_spins_s(spins: int | None) -> float:
    """Return the same for a new process with this spin count."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    if spins is not None:
        environment["GOMP_SPINCOUNT"] = str(spins)
    done = subprocess.run(
        [sys.executable, __file__, "take"], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


@contextlib.contextmanager
def busy_process() -> Iterator[None]:
    """Another program that never rests."""
    started = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        started.kill()
        started.wait()


if __name__ == "__main__":
    main()
