"""A small run of malformed requests: no crash, no internal error, no traceback, no growth."""

import sys
from pathlib import Path

import pytest
from malformed_requests import MalformedRun

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]


def test_malformed_requests_are_refused_without_a_crash_or_an_internal_error(tmp_path: Path) -> None:
    report = MalformedRun(tmp_path / "run", requests=120, seed=1).run()
    assert report.is_clean, report
    assert set(report.sent) == {"message", "timeline", "media"}
    # Not everything is refused: the damage reaches the inside of the server.
    assert report.outcomes["OK"]
    assert report.outcomes["INVALID_ARGUMENT"]
    assert report.largest_growth_bytes < 50e6
