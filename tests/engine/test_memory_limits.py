"""Running out of memory under a limit of the system ends with a sound or a clear error."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from numbered_clips import noise, write_numbered_clip

CHILD = """
import json, resource, sys
from pathlib import Path
import numpy, torch
from rewas_engine import Execution, InsufficientMemoryError, ReWaS, Sampling, VideoClip
from rewas_engine.conditioning.controls import Controls

where, pack, shot, free_memory_mb = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4])
torch.set_num_threads(1)
# Fast on every processor. The bfloat16 of the pack takes minutes without hardware support.
execution = Execution(precision="float32")
unlimited = resource.getrlimit(resource.RLIMIT_DATA)
# Import and set up everything that is needed only once.
warm = ReWaS.from_pretrained(Path(sys.argv[5]), device="cpu", execution=execution)
warm.generate(VideoClip(shot), prompt="rain", sampling=Sampling(num_inference_steps=1))
del warm
model = None if where == "load" else ReWaS.from_pretrained(pack, device="cpu", execution=execution)
outcomes = []
for free_mb in free_memory_mb:
    lines = open("/proc/self/status").read().splitlines()
    used_kb = next(int(line.split()[1]) for line in lines if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (int(used_kb * 1024 + free_mb * 1e6), unlimited[1]))
    try:
        if where == "load":
            ReWaS.from_pretrained(pack, device="cpu", execution=execution)
        elif where == "sampling":
            controls = Controls(energy=numpy.full(900, -4.0, numpy.float32))
            sampling = Sampling(num_inference_steps=1, guidance_scale=2.0)
            model.sound_generator.generate_log_mel(f"rain {free_mb}", controls, 1, model.sampling_settings(sampling))
        else:
            model.clear_cache()
            model.generate(VideoClip(shot), prompt="rain", sampling=Sampling(num_inference_steps=1))
        outcome = "generated"
    except InsufficientMemoryError as error:
        outcome = str(error)
    except BaseException as error:
        outcome = f"{type(error).__name__}: {error}"
    resource.setrlimit(resource.RLIMIT_DATA, unlimited)
    outcomes.append(outcome)
print(json.dumps(outcomes))
"""


def _run_with_limits(where: str, tiny_pack: Path, folder: Path, free_memory_mb: list[float]) -> tuple[list[str], str]:
    """Run the starter pack with these amounts of free memory.

    Returns:
        For each amount "generated" or the error message, and the standard error of the process.
    """
    import rewas_engine

    shot = write_numbered_clip(folder / "shot.mkv", frames=60, rate=25, sound=noise(38_400))
    starter = Path(rewas_engine.__file__).parent / "data" / "packs" / "starter"
    arguments = [where, starter, shot, json.dumps(free_memory_mb), tiny_pack]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    completed = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr[-2000:]
    return json.loads(completed.stdout.splitlines()[-1]), completed.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this limit on the data of a process")
@pytest.mark.parametrize(
    ("where", "while_what", "remedy"),
    [
        ("load", "while loading the pack starter", "Close other programs"),
        ("sampling", "while sampling", "--low-memory"),
        ("generate", "", "--low-memory"),
    ],
)
def test_too_little_memory_is_reported(
    where: str, while_what: str, remedy: str, tiny_pack: Path, tmp_path: Path
) -> None:
    outcomes, log = _run_with_limits(where, tiny_pack, tmp_path, [3000, 120, 60, 30, 12, 4, 0.1, 3000])
    for outcome in outcomes:
        assert outcome == "generated" or (f"Out of memory {while_what}" in outcome and remedy in outcome), outcome
    assert "Out of memory while" in log + "".join(outcomes)
    assert outcomes[0] == outcomes[-1] == "generated"  # a model that ran out of memory still works
