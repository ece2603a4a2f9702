"""Write a pack with random weights, to test a backbone family's speed and memory before weights exist."""

from __future__ import annotations

import argparse
from pathlib import Path

from rewas_engine.recipes.untrained_make_an_audio import PUBLISHED, TINY_MAKE_AN_AUDIO, write_untrained_make_an_audio
from rewas_engine.recipes.untrained_starter import write_untrained_pack

WRITERS = {
    "starter": write_untrained_pack,
    "make-an-audio-tiny": lambda folder: write_untrained_make_an_audio(folder, TINY_MAKE_AN_AUDIO),
    "make-an-audio": lambda folder: write_untrained_make_an_audio(folder, PUBLISHED),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=sorted(WRITERS))
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the new pack; it must not exist")
    arguments = parser.parse_args()
    print(WRITERS[arguments.kind](arguments.output))


if __name__ == "__main__":
    main()
