"""Write a library pack of recordings of the synthetic world, to measure performances of recordings.

python scripts/measure/write_world_library.py -o build/world-library
rewas eval --pack build/world-library --fast
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rewas_engine.recipes.world_library import TAKES, write_world_library
from rewas_engine.world import CLASS_NAMES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the new pack; it must not exist")
    parser.add_argument("--takes", type=int, default=TAKES, help="recordings of each class")
    parser.add_argument("--classes", nargs="+", default=CLASS_NAMES, metavar="NAME", help="classes; all by default")
    arguments = parser.parse_args()
    pack = write_world_library(arguments.output, classes=arguments.classes, takes=arguments.takes)
    print(f"{pack.path}: {pack.summary}")


if __name__ == "__main__":
    main()
