"""Check prompts against your own footage and print the table "On real footage" of docs/controls.md in Markdown.

    python scripts/measure/conflict_on_footage.py prompts.csv FOLDER

The CSV has the columns `clip,shown,prompt,kind`: a file in the folder, what it shows, a prompt, and whether the prompt
is right, near or wrong.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from rewas_engine import ReWaS, VideoClip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prompts", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pack", default="starter")
    parser.add_argument("--conflict-model", help="folder of a CLIP model to use instead")
    options = parser.parse_args()
    model = ReWaS.from_pretrained(options.pack, device="cpu", conflict_model=options.conflict_model)
    print("| What the clip shows | Prompt | | Verdict | Score | Suggestion |")
    print("|---|---|---|---|---|---|")
    shown = ""
    with options.prompts.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            report = model.check_conflict(VideoClip(options.folder / row["clip"]), row["prompt"])
            score = "" if report.score is None else f"{report.score:.2f}"
            better = report.suggestions[0].text if report.suggestions else ""
            clip = "" if row["shown"] == shown else row["shown"]
            print(f"| {clip} | {row['prompt']} | {row['kind']} | {report.verdict} | {score} | {better} |", flush=True)
            shown = row["shown"]


if __name__ == "__main__":
    main()
