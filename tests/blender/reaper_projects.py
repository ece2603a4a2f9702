"""Converts timelines to REAPER projects with the server's package in the main environment."""

import os
import subprocess
from pathlib import Path

from conftest import MAIN_PYTHON, ROOT

CONVERT = """
import sys
from pathlib import Path
from rewas_server.otio.reading import open_timeline
from rewas_server.otio.writing import write_timeline
source, target = map(Path, sys.argv[1:])
write_timeline(open_timeline(source).timeline, target, source_folder=source.parent)
"""


def as_project(path: Path) -> Path:
    """Return the REAPER project that the server's package writes for a timeline."""
    project = path.with_suffix(".rpp")
    folders = os.pathsep.join(str(ROOT / folder) for folder in ("", "proto", "server"))
    environment = {**os.environ, "PYTHONPATH": folders}
    command = [MAIN_PYTHON, "-c", CONVERT, path, project]
    converted = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert converted.returncode == 0, converted.stderr
    return project
