"""What a program that is busy beside it costs a take: by how threads wait for each other, side by side in one run.

`python benchmarks/beside_others.py` prints one JSON object: seconds of a take of 5.12 s with the starter, alone and
beside one busy process, with what OpenMP does by default and with what the command sets; and the ratios.
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
    """Measure all four and print them."""
    if sys.argv[1:] == ["take"]:
        print(take_s())
        return
    told: dict[str, float] = {}
    for name, spins in (("default", None), ("command", OMP_SPIN_COUNT)):
        told[f"{name}_alone_s"] = measure_with_spins_s(spins)
        with busy_process():
            told[f"{name}_beside_others_s"] = measure_with_spins_s(spins)
    for where in ("alone", "beside_others"):
        told[f"{where}_ratio"] = told[f"default_{where}_s"] / told[f"command_{where}_s"]
    print(json.dumps({name: round(value, 3) for name, value in told.items()}, indent=1))


def take_s() -> float:
    """The median over some takes, in this process."""
    from rewas_engine import ReWaS
    from rewas_engine.conditioning.controls import Controls

    model = ReWaS.from_pretrained("starter", device="cpu")
    controls, settings = Controls(energy=np.full(512, -5, np.float32)), model.sampling_settings()
    took_s = []
    for seed in range(TAKES + 1):
        begin_s = time.perf_counter()
        log_mel = model.sound.log_mel("rain", controls, seed, settings)
        model.sound.vocoding.waveform(log_mel, 512 * model.front_end.config.hop_samples)
        took_s.append(time.perf_counter() - begin_s)
    return statistics.median(took_s[1:])


def measure_with_spins_s(spins: int | None) -> float:
    """The same in a process whose threads wait so."""
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
