"""Write synthetic checkpoints with the released names, and a tokenizer, into a folder.

    python scripts/measure/write_synthetic_checkpoints.py FOLDER [--small]

They test the conversion and everything after it without the released files; the sound is noise. At full size they take
4.5 GB. MANIFESTS: a folder with lists of the released names, whose remaining tensors are written too. PREFIX is put
before every key of the weight recipe.
"""

from __future__ import annotations

import argparse
import os
import shlex
from dataclasses import asdict
from pathlib import Path

from rewas_engine.conversion.sizes import RELEASED, SMALL
from rewas_engine.conversion.sources import SOURCE_KINDS
from rewas_engine.parity.synthetic_checkpoints import write_synthetic_checkpoints

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write synthetic checkpoints with the released names.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", action="store_true", help="the same networks, small enough for tests")
    arguments = parser.parse_args()
    manifests = os.environ.get("MANIFESTS")
    files = write_synthetic_checkpoints(
        arguments.folder,
        SMALL if arguments.small else RELEASED,
        prefix=os.environ.get("PREFIX", ""),
        manifests=Path(manifests) if manifests and not arguments.small else None,
    )
    command = ["rewas", "packs", "convert", "rewas", "--tokenizer", str(files.tokenizer), "-o", "DIR"]
    for kind, path in asdict(files).items():
        command += [SOURCE_KINDS[kind].option, str(path)] if kind in SOURCE_KINDS else []
    print(shlex.join([*command, "--size", "small"] if arguments.small else command))
