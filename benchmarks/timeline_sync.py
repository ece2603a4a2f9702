"""Measure how far flashes and clicks move when a timeline is written in each format and read back.

    .venv/bin/python benchmarks/timeline_sync.py [--cuts 400] [--minutes 20] [--formats .otio .aaf]

Each clip has a flash in its picture and a click in its sound at the same time. After the round trip, the sounds are
mixed sample by sample. The table has the largest distance of a click from its computed place in samples at 48 kHz, that
of a flash in microseconds, the size of the file, the processor time of the round trip, and the losses that were
reported before writing.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "timeline"), str(ROOT / "server"), str(ROOT / "proto"), str(ROOT)]

from flash_and_click import Reel, click_errors_samples, find_flashes, flash_errors_s, make_reel  # noqa: E402
from test_sync import RATES, WRITTEN, write_and_read  # noqa: E402

from rewas_server.otio.writing import check_output  # noqa: E402


def measure(reel: Reel, rate: Fraction, suffix: str, folder: Path) -> str:
    """Return a row of the table."""
    said = check_output(folder / f"reel{suffix}", timeline=reel.timeline)
    begin_s = time.process_time()
    found, media_folder = write_and_read(reel, rate, suffix, folder / "out")
    took_s = time.process_time() - begin_s
    clicks = max(click_errors_samples(found, media_folder, reel))
    flashes = max(flash_errors_s(found, reel)) * 1e6
    size = (folder / "out" / f"reel{suffix}").stat().st_size / 1e6
    shutil.rmtree(folder / "out")
    places = [loss for loss in said if "exact place" in loss]
    return f"{clicks:.3f} | {flashes:.1f} | {size:.1f} | {took_s:.1f} | {'; '.join(places) or 'nothing'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=400)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--formats", nargs="+", default=WRITTEN, choices=WRITTEN)
    parser.add_argument("--rates", nargs="+", default=list(RATES), choices=list(RATES))
    arguments = parser.parse_args()
    print("| Rate | Format | Click, samples | Flash, µs | MB | Processor, s | Reported losses |")
    print("|---|---|---|---|---|---|---|")
    for name in arguments.rates:
        rate, start_frames = RATES[name]
        with tempfile.TemporaryDirectory() as folder:
            length_s = round(arguments.minutes * 60)
            reel = make_reel(Path(folder) / "reel", rate, arguments.cuts, length_s, start_frames=start_frames)
            if find_flashes(reel.film) != [round(reel.flash_s * rate)]:
                raise SystemExit("The film does not have its flash where it should.")
            for suffix in arguments.formats:
                print(f"| {name} | {suffix} | {measure(reel, rate, suffix, Path(folder))} |", flush=True)
    print(f"Peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB", file=sys.stderr)


if __name__ == "__main__":
    main()
