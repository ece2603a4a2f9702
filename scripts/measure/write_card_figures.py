"""Write the figures of full evaluations into a pack's model card: `write_card_figures.py PACK_FOLDER FIGURES_JSON…`.

Each report is the figures.json of a `rewas eval` run; several reports may cover different sections of the same pack.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rewas_engine.evaluation.figures import merge_reports
from rewas_engine.recipes.model_card import replace_figures


def main() -> None:
    pack, *reports = map(Path, sys.argv[1:])
    if not reports:
        sys.exit(__doc__)
    replace_figures(pack, merge_reports([json.loads(report.read_text("utf-8")) for report in reports]))


if __name__ == "__main__":
    main()
