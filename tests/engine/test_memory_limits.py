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

pack, shot, free_memory_mb = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
torch.set_num_threads(1)
# Fast on every processor. The bfloat16 of the pack takes minutes without hardware support.
execution = Execution(precision="float32")
unlimited = resource.getrlimit(resource.RLIMIT_DATA)
# Import and set up everything that is needed only once.
warm = ReWaS.from_pretrained(Path(sys.argv[4]), device="cpu", execution=execution)
warm.generate(VideoClip(shot), prompt="rain", sampling=Sampling(num_inference_steps=1))
del warm
model = None


def load():
    global model
    model = ReWaS.from_pretrained(pack, device="cpu", execution=execution)


def sample():
    controls = Controls(energy=numpy.full(900, -4.0, numpy.float32))
    sampling = Sampling(num_inference_steps=1, guidance_scale=2.0)
    model.sound_generator.generate_log_mel(f"rain {free_mb}", controls, 1, model.sampling_settings(sampling))


def generate():
    model.clear_cache()
    model.generate(VideoClip(shot), prompt="rain", sampling=Sampling(num_inference_steps=1))


outcomes = {}
for work in (load, sample, generate):
    print(work.__name__, file=sys.stderr)
    for free_mb in free_memory_mb:
        if work is load:
            model = None
        lines = open("/proc/self/status").read().splitlines()
        used_kb = next(int(line.split()[1]) for line in lines if line.startswith("VmData"))
        resource.setrlimit(resource.RLIMIT_DATA, (int(used_kb * 1024 + free_mb * 1e6), unlimited[1]))
        try:
            work()
            outcome = "generated"
        except InsufficientMemoryError as error:
            outcome = str(error)
        except BaseException as error:
            outcome = f"{type(error).__name__}: {error}"
        resource.setrlimit(resource.RLIMIT_DATA, unlimited)
        outcomes.setdefault(work.__name__, []).append(outcome)
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def with_limits(tiny_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[str]], str]:
    """The starter pack with different amounts of free memory, first and last with enough.

    Returns for each kind of work its outcomes, "generated" or the error message, and the standard error of the process.
    """
    import rewas_engine

    shot = write_numbered_clip(tmp_path_factory.mktemp("clip") / "shot.mkv", frames=60, rate=25, sound=noise(38_400))
    starter = Path(rewas_engine.__file__).parent / "data" / "packs" / "starter"
    arguments = [starter, shot, json.dumps([3000, 120, 60, 30, 12, 4, 0.1, 3000]), tiny_pack]
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
    ("work", "while_what", "remedy"),
    [
        ("load", "while loading the pack starter", "Close other programs"),
        ("sample", "while sampling", "--low-memory"),
        ("generate", "", "--low-memory"),
    ],
)
def test_too_little_memory_is_reported(
    work: str, while_what: str, remedy: str, with_limits: tuple[dict[str, list[str]], str]
) -> None:
    outcomes = with_limits[0][work]
    log = with_limits[1].partition(f"{work}\n")[2].partition("generate\n" if work == "sample" else "sample\n")[0]
    for outcome in outcomes:
        assert outcome == "generated" or (f"Out of memory {while_what}" in outcome and remedy in outcome), outcome
    assert "Out of memory while" in log + "".join(outcomes)
    assert outcomes[0] == outcomes[-1] == "generated"  # a model that ran out of memory still works
