"""Tests of the add-on's modules that need no Blender, imported from the source folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "addon"))
