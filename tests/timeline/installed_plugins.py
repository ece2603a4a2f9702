"""The plugins for OpenTimelineIO as an installed distribution, with the entry points in pyproject.toml."""

import os
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GROUP = "opentimelineio.plugins"


def search_path(folder: Path) -> str:
    """Write the metadata of the distribution to a folder, and return the PYTHONPATH that finds it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed = folder / f"rewas_nle-{project['version']}.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: rewas-nle\nVersion: {project['version']}\n")
    lines = [f"{name} = {target}\n" for name, target in project["entry-points"][GROUP].items()]
    (installed / "entry_points.txt").write_text(f"[{GROUP}]\n{''.join(lines)}", encoding="utf-8")
    return os.pathsep.join(map(str, (folder, ROOT, ROOT / "proto", ROOT / "server")))
