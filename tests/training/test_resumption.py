"""Real stages continue where they were stopped or killed, unless their settings have changed."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest
import torch
from child_processes import killed_child
from test_starter_stages import SMALL

from rewas_cli.main import run
from rewas_engine.errors import SettingsError
from rewas_engine.models.text_projection import TextProjection
from rewas_engine.recipes import starter
from rewas_engine.recipes.starter import StarterTraining
from rewas_engine.runtime.progress import Progress
from rewas_engine.training.progress import TrainingStopped


@pytest.fixture(scope="module", autouse=True)
def no_sheets() -> Iterator[None]:
    """Nothing here depends on the sheets, which take longer than the training."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(starter, "can_draw", lambda: False)
        yield


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that has only its clips."""
    folder = tmp_path_factory.mktemp("clips")
    StarterTraining(SMALL, folder).write_corpus()
    return folder


def stopped(folder: Path, stage: str, step: int) -> None:
    """Train one stage up to a step."""
    cancel = threading.Event()

    def stop(progress: Progress) -> None:
        if progress.step == step:
            cancel.set()

    with pytest.raises(TrainingStopped):
        StarterTraining(SMALL, folder, report=stop, cancel=cancel).run([stage])


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["picture", "vocoder"])
def test_a_stopped_stage_does_not_continue_with_other_settings(stage: str, clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    copytree(clips, folder)
    stopped(folder, stage, 2)
    other = replace(SMALL, **{f"{stage}_batch": 3})
    checkpoint = (folder / f"{stage}.checkpoint").read_bytes()
    message = rf"{stage}.checkpoint has other settings: {stage}_batch \(2, now 3\)\. Use those settings"
    with pytest.raises(SettingsError, match=message):
        StarterTraining(other, folder).run([stage])
    assert (folder / f"{stage}.checkpoint").read_bytes() == checkpoint
    assert not (folder / f"{stage}.finished").exists()
    # The settings of other stages and the device do not matter.
    reports: list[int] = []
    elsewhere = replace(SMALL, device="cpu", joint_width=8, adapter=replace(SMALL.adapter, steps=9))
    StarterTraining(elsewhere, folder, report=lambda progress: reports.append(progress.step)).run([stage])
    assert reports == [3, 4]
    with pytest.raises(SettingsError, match=rf"stage {stage} in .* finished with other settings: {stage}_batch"):
        StarterTraining(other, folder).run()
    StarterTraining(SMALL, folder).run([stage])


def test_another_number_of_clips_is_refused(clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    copytree(clips, folder)
    with pytest.raises(SettingsError, match="contains clips with other settings; these settings differ: clips"):
        StarterTraining(replace(SMALL, sounds=7), folder).run(["vocoder"])


def test_the_settings_file_of_a_corpus_is_not_rewritten(clips: Path) -> None:
    training = StarterTraining(SMALL, clips)
    claims = [(clips / name / "corpus.json").stat() for name in ("sound", "picture")]
    training.write_corpus()
    for before, name in zip(claims, ("sound", "picture"), strict=True):
        after = (clips / name / "corpus.json").stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("base", "The stage base needs the stages corpus, words and codec first."),
        ("vocoder", "The stage vocoder needs the stage corpus first."),
        ("pack", "The stage pack needs the stages corpus, words, codec, base, adapter, vocoder and picture first."),
    ],
)
def test_the_command_names_the_stages_that_come_first(stage: str, message: str, tmp_path: Path, capfd) -> None:
    assert run(["train", "starter", "--stage", stage, "-o", str(tmp_path / "run")]) == 2
    assert message in " ".join(capfd.readouterr().err.split())
    assert not (tmp_path / "run").exists()


def train_until_3(wait: Callable[[str], None], folder: Path, stage: str) -> None:
    def report(progress: Progress) -> None:
        if progress.stage == stage and progress.step == 3:
            wait("at 3")

    StarterTraining(SMALL, folder, report=report).run(["base", "picture"])


@pytest.mark.slow
def test_killed_stages_end_with_the_same_bytes(clips: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    copytree(clips, whole)
    before = StarterTraining(SMALL, whole)
    # Instead of the stage words, whose sentence embeddings take longer than everything else here.
    torch.manual_seed(0)
    before._save(TextProjection(hidden=8, choices=(4, 3), flags=2), "text_projection")
    before.ledger.finish("words")
    before.run(["codec"])
    copytree(whole, killed)
    StarterTraining(SMALL, whole).run(["base", "picture"])

    with killed_child(train_until_3, killed, "base", said="at 3"):
        assert not (killed / "components" / "denoiser").exists()
    with killed_child(train_until_3, killed, "picture", said="at 3"):
        assert (killed / "base.finished").is_file()
        assert not (killed / "components" / "phi").exists()
    reports: list[tuple[str, int]] = []
    finished = StarterTraining(SMALL, killed, report=lambda now: reports.append((now.stage, now.step)))
    finished.run(["base", "picture"])
    assert reports == [("picture", 3), ("picture", 4)]  # the last checkpoint was at 2

    kept = {path.relative_to(whole): path.read_bytes() for path in (whole / "components").rglob("*") if path.is_file()}
    assert {path.parts[1] for path in kept} == {"text_projection", "codec", "denoiser", "video_encoder", "phi"}
    assert {name: (killed / name).read_bytes() for name in kept} == kept
