"""Jobs of many clients while the server and its workers are killed: none is lost, doubled, failed or damaged."""

from pathlib import Path

import pytest
from load_run import LoadRun


@pytest.mark.slow
def test_no_job_is_lost_doubled_failed_or_damaged_under_kills(tmp_path: Path) -> None:
    report = LoadRun(tmp_path / "load", jobs=40, clients=5, server_kills=1, worker_kills=1).run()
    assert report.is_clean, report
