"""Peak memory of a pack at each precision, each measured in its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from rewas_engine.errors import EngineError, InsufficientMemoryError
from rewas_engine.evaluation.peak_memory import GIGABYTE, peak_gb, reset_peak
from rewas_engine.generation.options import Sampling
from rewas_engine.runtime.execution import Execution


@dataclass(frozen=True)
class MemoryRow:
    """Memory that a pack needs to generate a sound of one window.

    Attributes:
        precision: Floating-point type of the forward passes.
        low_memory: Whether networks are offloaded.
        weights_gb: Weights in memory at the end.
        peak_gb: Peak of the whole process on a CPU, or of the device's memory on a GPU; None if unknown.
        failed: Reason why nothing was generated, otherwise "".
    """

    precision: str
    low_memory: bool
    weights_gb: float | None
    peak_gb: float | None
    failed: str = ""

    def report(self) -> dict[str, Any]:
        """Convert to JSON."""
        return asdict(self)


def memory_table(
    pack: Path,
    device: str,
    executions: Sequence[Execution],
    *,
    limit_gb: float | None = None,
    on_row: Callable[[int, int], object] | None = None,
) -> list[MemoryRow]:
    """Measure a pack's peak memory, one process after another.

    Args:
        pack: The pack's folder.
        device: Device to run on.
        executions: Precision and offloading of each row.
        limit_gb: Limit on the private memory of each process.
        on_row: Called with finished and total rows.
    """
    rows = []
    for number, execution in enumerate(executions):
        if on_row is not None:
            on_row(number, len(executions))
        request = {
            "pack": str(pack),
            "device": device,
            "limit_gb": limit_gb,
            "precision": execution.precision,
            "low_memory": execution.low_memory,
        }
        process = subprocess.run(
            [sys.executable, "-m", __name__, json.dumps(request)], capture_output=True, text=True, check=False
        )
        last = process.stdout.strip().splitlines()[-1:] or ["{}"]
        try:
            rows.append(MemoryRow(**json.loads(last[0])))
        except (TypeError, ValueError):
            reason = (
                process.stderr.strip().splitlines() or [f"the process ended with exit code {process.returncode}"]
            )[-1]
            rows.append(MemoryRow(execution.precision or "auto", execution.low_memory, None, None, reason))
    return rows


def _measure(request: dict[str, Any]) -> MemoryRow:
    from rewas_engine.evaluation.procedure_benchmark import PROMPT, flat_controls
    from rewas_engine.pipeline import ReWaS

    if request["limit_gb"] is not None:
        import resource

        limit = int(request["limit_gb"] * GIGABYTE)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    precision, low_memory, device = request["precision"], request["low_memory"], request["device"]
    reset_peak(device)
    try:
        execution = Execution(precision=precision, low_memory=low_memory)
        model = ReWaS.from_pretrained(Path(request["pack"]), device=device, execution=execution)
        rate, width, height = model.frame_format
        model.estimate_energy_from_frames(torch.zeros(round(5 * rate), height, width, dtype=torch.uint8).numpy())
        log_mel = model.sound_generator.generate_log_mel(
            PROMPT, flat_controls(model), 0, model.sampling_settings(Sampling(num_inference_steps=2))
        )
        model.sound_generator.vocoder.vocode(log_mel, len(log_mel) * model.front_end.config.hop_samples)
    except InsufficientMemoryError as error:
        return MemoryRow(precision, low_memory, None, peak_gb(device), error.what)
    except EngineError as error:
        return MemoryRow(precision, low_memory, None, None, str(error))
    held = sum(model.weight_bytes.values()) / GIGABYTE
    return MemoryRow(precision, low_memory, held, peak_gb(device))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_measure(json.loads(sys.argv[1])).report()) + "\n")
