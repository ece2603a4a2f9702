"""Memory that really runs out, by the system's own limit: all that comes of it is a sound or a plain sentence."""

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

where, pack, shot, rooms_mb = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4])
torch.set_num_threads(1)
# Quick on every processor; the pack's own bfloat16 takes minutes without hardware for it.
execution = Execution(precision="float32")
unlimited = resource.getrlimit(resource.RLIMIT_DATA)
# What is imported and set up only once, when it is needed first.
warm = ReWaS.from_pretrained(Path(sys.argv[5]), device="cpu", execution=execution)
warm.generate(VideoClip(shot), prompt="rain", sampling=Sampling(num_inference_steps=1))
del warm
model = None if where == "load" else ReWaS.from_pretrained(pack, device="cpu", execution=execution)
ends = []
for room_mb in rooms_mb:
    lines = open("/proc/self/status").read().splitlines()
    used_kb = next(int(line.split()[1]) for line in lines if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (int(used_kb * 1024 + room_mb * 1e6), unlimited[1]))
    try:
        if where == "load":
            ReWaS.from_pretrained(pack, device="cpu", execution=execution)
        elif where == "sampling":
            controls = Controls(energy=numpy.full(1500, -4.0, numpy.float32))
            sampling = Sampling(num_inference_steps=1, guidance_scale=2.0)
            model.sound_generator.generate_log_mel(f"rain {room_mb}", controls, 1, model.sampling_settings(sampling))
        else:
            model.clear_cache()
            model.generate(VideoClip(shot), prompt="rain", sampling=Sampling(num_inference_steps=1))
        end = "made"
    except InsufficientMemoryError as error:
        end = str(error)
    except BaseException as error:
        end = f"{type(error).__name__}: {error}"
    resource.setrlimit(resource.RLIMIT_DATA, unlimited)
    ends.append(end)
print(json.dumps(ends))
"""


def _ends(where: str, tiny_pack: Path, folder: Path, rooms_mb: list[float]) -> tuple[list[str], str]:
    """What came of the starter pack with so much memory beyond what is taken already, and what was said meanwhile."""
    import rewas_engine

    shot = write_numbered_clip(folder / "shot.mkv", frames=60, rate=25, sound=noise(38_400))
    starter = Path(rewas_engine.__file__).parent / "data" / "packs" / "starter"
    arguments = [where, starter, shot, json.dumps(rooms_mb), tiny_pack]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's own data so")
@pytest.mark.parametrize(
    ("where", "while_what", "remedy"),
    [
        ("load", "while loading the pack starter", "Close other programs"),
        ("sampling", "while sampling", "--low-memory"),
        ("generate", "", "--low-memory"),
    ],
)
def test_too_little_memory_is_said(where: str, while_what: str, remedy: str, tiny_pack: Path, tmp_path: Path) -> None:
    ends, told = _ends(where, tiny_pack, tmp_path, [3000, 120, 60, 30, 12, 4, 0.1, 3000])
    for end in ends:
        assert end == "made" or (f"Out of memory {while_what}" in end and remedy in end), end
    assert "Out of memory while" in told + "".join(ends)
    assert ends[0] == ends[-1] == "made"  # one that was short of memory is none the worse for it
