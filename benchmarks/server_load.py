"""Run many short jobs of many clients while the server and its workers are killed, and report the outcomes.

`python benchmarks/server_load.py --jobs 2000 --clients 20 --server-kills 10 --worker-kills 20` prints one JSON object.
The exit code is 1 if a job was lost, doubled or failed, or if a sound was damaged.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "server"))

from load_run import LoadRun


def main() -> int:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--server-kills", type=int, default=10)
    parser.add_argument("--worker-kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = LoadRun(Path(folder) / "run", **vars(given)).run()
    print(json.dumps({**vars(given), **vars(report)}, indent=2))
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
