"""Send thousands of malformed requests to a real server, and report crashes, internal errors and growth.

`python benchmarks/malformed_requests.py --requests 10000` prints one JSON object. The exit code is 1 if anything
crashed, if an error was internal, or if the front process grew by more than 50 MB at any moment.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "server"))

from malformed_requests import MalformedRun

LARGEST_GROWTH_BYTES = 50 * 10**6


def main() -> int:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = MalformedRun(Path(folder) / "run", **vars(given)).run()
    print(json.dumps({**vars(given), **vars(report)}, indent=2))
    return 0 if report.is_clean and report.largest_growth_bytes <= LARGEST_GROWTH_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
