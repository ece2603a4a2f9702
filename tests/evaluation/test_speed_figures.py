"""The measurements of `rewas bench` at a small scale: procedures, batches, memory and samplers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rewas_engine import Execution, ReWaS
from rewas_engine.evaluation.memory_use import memory_table
from rewas_engine.evaluation.procedure_benchmark import compare_procedures, write_bench_clip
from rewas_engine.evaluation.samplers import compare_samplers
from rewas_engine.evaluation.throughput import batch_table, peak_teraflops
from rewas_engine.media.video import probe_video
from rewas_engine.recipes.untrained_starter import write_untrained_pack

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_untrained_pack(tmp_path_factory.mktemp("packs") / "tiny")


def test_both_procedures_are_timed_on_one_clip(pack: Path, tmp_path: Path) -> None:
    clip = write_bench_clip(tmp_path)
    assert float(probe_video(clip).duration_s) == pytest.approx(5.12, abs=0.001)
    stages: list[str] = []
    compared = compare_procedures(
        pack, clip, device="cpu", measured_steps=3, on_progress=lambda progress: stages.append(progress.stage)
    )
    report = compared.report()
    ours, released = report["ours"], report["released"]
    assert (released["sampler"], released["num_steps"], released["guidance_scale"]) == ("ddim", 200, 3.0)
    assert (released["precision"], released["measured_steps"], released["extrapolated"]) == ("float32", 3, True)
    assert not ours["extrapolated"]
    assert report["ratio_is_extrapolated"]
    assert set(ours["seconds"]) == set(released["seconds"]) == {"decode", "energy", "sample", "vocode"}
    assert report["ratio"] == pytest.approx(released["total_s"] / ours["total_s"], rel=0.02)
    assert report["processor_ratio"] == pytest.approx(released["processor_s"] / ours["processor_s"], rel=0.02)
    assert ours["again_s"] > 0
    assert released["again_s"] is None
    assert {"Sampling, default", "Sampling, released"} <= set(stages)


def test_a_batch_of_windows_is_counted_and_timed(pack: Path) -> None:
    model = ReWaS.from_pretrained(pack, device="cpu", execution=Execution(precision="float32"))
    peak, rows = batch_table(model, (1, 3))
    assert peak > 0.001
    assert [row.batch for row in rows] == [1, 3]
    assert all(row.share is not None and 0 < row.share < 1.5 for row in rows)
    assert all(row.teraflops == pytest.approx(row.share * peak) for row in rows)


def test_counted_operations_match_the_networks() -> None:
    assert peak_teraflops("cpu", "float32") > 0.001
    one = torch.nn.Linear(10, 20)
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counted:
        one(torch.zeros(3, 10))
    assert counted.get_total_flops() == 2 * 3 * 10 * 20


@pytest.mark.slow
def test_memory_is_measured_in_separate_processes(pack: Path) -> None:
    progress: list[tuple[int, int]] = []
    rows = memory_table(
        pack,
        "cpu",
        [Execution(precision="bfloat16", low_memory=True), Execution(precision="float32")],
        limit_gb=4.0,
        on_row=lambda done, total: progress.append((done, total)),
    )
    assert progress == [(0, 2), (1, 2)]
    assert [(row.precision, row.low_memory, row.failed) for row in rows] == [
        ("bfloat16", True, ""),
        ("float32", False, ""),
    ]
    assert all(row.peak_gb is not None and 0.1 < row.peak_gb < 4 for row in rows)
    (refused,) = memory_table(pack, "cpu", [Execution(precision="float32")], limit_gb=0.02)
    # Memory may run out before or after the pack's name is read.
    while_loading = {f"Out of memory while loading {what}" for what in (f"the pack {pack.name}", "a pack")}
    assert refused.failed.removesuffix(", even at batch size 1.") in while_loading
    assert refused.weights_gb is None


def test_samplers_are_compared_with_many_steps(pack: Path) -> None:
    model = ReWaS.from_pretrained(pack, device="cpu", execution=Execution(precision="float32"))
    rows = compare_samplers(
        model, choices=(("ddim", 12), ("dpm++", 3)), reference_steps=12, classes=("drum_hit", "rain")
    )
    assert [(row.sampler, row.num_steps) for row in rows] == [("reference", 12), ("ddim", 12), ("dpm++", 3)]
    assert rows[0].log_mel_l1_nats == rows[1].log_mel_l1_nats == 0
    assert rows[2].log_mel_l1_nats > 0.01
    assert all(-1 <= row.correlation_mean <= 1 and 0 <= row.right_class <= 1 for row in rows)
    assert rows[2].report()["num_steps"] == 3
