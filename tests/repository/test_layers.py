"""The import contracts hold, and the check catches a forbidden import."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE_FOLDERS = {
    "rewas_engine": "rewas_engine",
    "rewas_server": "server/rewas_server",
    "rewas_cli": "server/rewas_cli",
    "rewas_otio": "server/rewas_otio",
    "rewas_stage": "server/rewas_stage",
    "rewas_api": "proto/rewas_api",
    "rewas_nle": "addon/rewas_nle",
}
BLENDER_VERSIONS = ("4.2", "4.5", "5.0", "5.2")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    search_path = os.pathsep.join(str(folder / package_folder) for package_folder in ("", "proto", "server", "addon"))
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": search_path},
        text=True,
        capture_output=True,
        check=False,
    )


@pytest.fixture
def repository_copy(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package_folder in PACKAGE_FOLDERS.values():
        shutil.copytree(
            ROOT / package_folder, tmp_path / package_folder, ignore=shutil.ignore_patterns("__pycache__", "data")
        )
    return tmp_path


def test_the_contracts_hold() -> None:
    completed = lint_imports(ROOT)
    assert completed.returncode == 0, completed.stdout + completed.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "planted"),
    [
        ("rewas_engine/curves/energy.py", "import grpc"),
        ("rewas_engine/curves/energy.py", "import opentimelineio"),
        ("rewas_engine/curves/energy.py", "import rewas_server.jobs.lifecycle"),
        ("rewas_engine/curves/energy.py", "import rewas_engine.media.clip"),
        ("rewas_engine/runtime/memory.py", "import rewas_engine.world.scene"),
        ("rewas_engine/generation/sampling.py", "import rewas_engine.matching.report"),
        ("rewas_engine/training/loop.py", "import rewas_engine.evaluation.figures"),
        ("server/rewas_server/jobs/lifecycle.py", "import rewas_server.grpc.app"),
        ("server/rewas_server/config.py", "import rewas_cli.console"),
        ("server/rewas_otio/blender_process.py", "import rewas_nle"),
        ("server/rewas_stage/rendering.py", "import rewas_engine"),
        ("rewas_engine/training/stage_renderer.py", "import rewas_stage"),
        ("proto/rewas_api/client.py", "import torch"),
        ("proto/rewas_api/client.py", "import rewas_engine"),
        ("server/rewas_server/jobs/lifecycle.py", "import bpy"),
        ("addon/rewas_nle/core/planted.py", "import rewas_engine"),
        ("addon/rewas_nle/core/planted.py", "import bpy"),
        ("addon/rewas_nle/timeline/planted.py", "import grpc"),
        ("addon/rewas_nle/timeline/planted.py", "import rewas_nle.core"),
        ("addon/rewas_nle/blender/planted.py", "import torch"),
    ],
)
def test_a_forbidden_import_is_caught(repository_copy: Path, module: str, planted: str) -> None:
    path = repository_copy / module
    with path.open("a", encoding="utf-8") as file:
        file.write(f"\n{planted}\n")
    completed = lint_imports(repository_copy)
    offender = ".".join(path.relative_to(repository_copy).with_suffix("").parts).removeprefix("proto.")
    offender = offender.removeprefix("server.").removeprefix("addon.")
    assert completed.returncode == 1, completed.stdout + completed.stderr
    assert f"{offender} -> {planted.removeprefix('import ')}" in completed.stdout


@pytest.mark.parametrize(
    "module",
    ["rewas_engine", "rewas_api.client", "rewas_server.grpc.app", "rewas_cli.main", "rewas_otio.blender_process"],
)
def test_modules_that_start_fast_do_not_import_torch(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    completed = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert {"torch", "diffusers", "transformers", "bpy"}.isdisjoint(completed.stdout.split())


@pytest.mark.parametrize("version", BLENDER_VERSIONS)
def test_blender_environments_do_not_contain_the_model(version: str) -> None:
    python = ROOT / f".venv-blender-{version}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"Blender {version} is not set up here; `make test` does it")
    forbidden = ("torch", "diffusers", "transformers", "rewas_engine", "rewas_server")
    code = f"import importlib.util as u; print([name for name in {forbidden} if u.find_spec(name)])"
    # Isolated, because PYTHONPATH names folders of the checkout while tests run.
    completed = subprocess.run([python, "-I", "-c", code], cwd="/", text=True, capture_output=True, check=True)
    assert completed.stdout.strip() == "[]"
