"""The add-on's plain parts are tested where they lie; only Blender installs them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "addon"))
