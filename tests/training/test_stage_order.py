"""Which settings decide what a stage makes, and what is said of those that differ; no stage is run here."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from rewas_engine.errors import SettingsError
from rewas_engine.training.config import StarterConfig
from rewas_engine.training.continuation import ContinuedConfig
from rewas_engine.training.settings_diff import describe_difference, flatten_settings
from rewas_engine.training.stage_order import STAGES, StageLedger

CONFIG = StarterConfig()


def ledger(folder: Path, config: StarterConfig = CONFIG, start_fingerprint: str = "", uses_world: bool = True):
    return StageLedger(folder, config, start_fingerprint, uses_world)


def finished(folder: Path, *stages: str, **more) -> None:
    for stage in stages:
        ledger(folder, **more).finish(stage)


def told(config: StarterConfig, stage: str) -> dict[str, object]:
    return ledger(Path(), config).settings(stage)


@pytest.mark.parametrize(
    ("changed", "decides"),
    [
        ({"seed": 2}, STAGES),
        ({"sounds": 9}, STAGES),
        ({"pictures": 9}, STAGES),
        ({"words": replace(CONFIG.words, steps=9)}, ("words", "base", "adapter", "pack")),
        ({"codec_clips": 9}, ("codec", "base", "adapter", "pack")),
        ({"denoiser": replace(CONFIG.denoiser, louder_of=9)}, ("base", "adapter", "pack")),
        ({"adapter": replace(CONFIG.adapter, clip_norm=9.0)}, ("adapter", "pack")),
        ({"vocoder_corrections": 9}, ("vocoder", "pack")),
        ({"picture_batch": 9}, ("picture", "pack")),
        ({"phi_blocks": 9}, ("picture", "pack")),
        ({"joint_recipe": replace(CONFIG.joint_recipe, heard=9)}, ("joint", "pack")),
        ({"device": "cuda:1", "base": replace(CONFIG.base, checkpoint_every=9, show_every=9)}, ()),
    ],
    ids=lambda value: ",".join(value),
)
def test_a_setting_decides_its_stage_and_those_after_it(changed: dict[str, object], decides: tuple[str, ...]) -> None:
    other = replace(CONFIG, **changed)
    assert tuple(stage for stage in STAGES if told(other, stage) != told(CONFIG, stage)) == decides


def test_every_setting_but_the_device_decides_what_the_pack_is() -> None:
    names = {name.split(".")[0] for name in told(CONFIG, "pack")}
    assert names == {entry.name for entry in fields(CONFIG)} - {"device"}


def test_of_recordings_what_concerns_the_world_alone_decides_nothing(tmp_path: Path) -> None:
    other = replace(CONFIG, sounds=9, pictures=9, words_hidden=9, joint_strangers=9)
    one, two = (ledger(tmp_path, config, uses_world=False) for config in (CONFIG, other))
    assert all(one.settings(stage) == two.settings(stage) for stage in STAGES)


def test_it_is_the_packs_files_that_count_and_not_where_it_lies(tmp_path: Path) -> None:
    here, there = (ContinuedConfig(start_from=place) for place in ("here/starter", "there/starter"))
    assert ledger(tmp_path, here, "starter 1").settings("base") == ledger(tmp_path, there, "starter 1").settings("base")
    finished(tmp_path, "base", config=here, start_fingerprint="starter 1")
    with pytest.raises(SettingsError, match=r'start_from \("starter 1", now "starter 2"\)'):
        ledger(tmp_path, here, "starter 2").is_finished("base")


def test_a_finished_stage_of_other_settings_is_refused_with_what_differs(tmp_path: Path) -> None:
    finished(tmp_path, "base")
    assert ledger(tmp_path).is_finished("base")
    assert ledger(tmp_path, replace(CONFIG, picture_batch=9)).is_finished("base")
    other = ledger(tmp_path, replace(CONFIG, denoiser=replace(CONFIG.denoiser, batch_size=9), seed=2))
    said = r"stage base in .* finished with other settings: seed \(1, now 2\), denoiser.batch_size \(24, now 9\)\. Use"
    with pytest.raises(SettingsError, match=said):
        other.is_finished("base")
    # Nor is anything made from it.
    for stage in ("adapter", "pack"):
        with pytest.raises(SettingsError, match="stage base in"):
            other.check([stage], has_corpus=True)


def test_a_pack_takes_nothing_along_that_was_made_with_other_settings(tmp_path: Path) -> None:
    finished(tmp_path, "corpus", "words", "codec", "base", "adapter", "vocoder", "picture")
    ledger(tmp_path).check(["pack"], has_corpus=False)
    finished(tmp_path, "joint")
    with pytest.raises(SettingsError, match="stage joint in"):
        ledger(tmp_path, replace(CONFIG, joint_width=9)).check(["pack"], has_corpus=False)


def test_stages_that_earlier_versions_finished_stay_finished(tmp_path: Path) -> None:
    (tmp_path / "base.finished").touch()
    assert ledger(tmp_path, replace(CONFIG, seed=2)).is_finished("base")


@pytest.mark.parametrize(
    ("stages", "there", "said"),
    [
        (["base"], [], "The stage base needs the stages corpus, words and codec first."),
        (["base"], ["corpus", "codec"], "The stage base needs the stage words first."),
        (["vocoder"], [], "The stage vocoder needs the stage corpus first."),
        (["base", "corpus"], ["words", "codec"], "The stage base needs the stage corpus first."),
        (["adapter"], ["corpus", "words", "codec"], "The stage adapter needs the stage base first."),
        (["picture", "pack"], ["corpus", "words", "codec", "base"], "needs the stages adapter and vocoder first."),
    ],
)
def test_what_must_come_first_is_named(stages: list[str], there: list[str], said: str, tmp_path: Path) -> None:
    finished(tmp_path, *there)
    with pytest.raises(SettingsError, match=said):
        ledger(tmp_path).check(stages, has_corpus=False)


def test_all_stages_in_their_order_lack_nothing(tmp_path: Path) -> None:
    ledger(tmp_path).check(STAGES, has_corpus=False)
    ledger(tmp_path).check(["vocoder", "picture"], has_corpus=True)
    # Words and joint space are not learnt from recordings.
    finished(tmp_path, "codec", uses_world=False)
    ledger(tmp_path, uses_world=False).check(["base"], has_corpus=True)


def test_differences_are_named_but_not_endlessly() -> None:
    assert flatten_settings({"a": {"b": (1, 2), "show_every": 3}, "device": "cpu"}) == {"a.b": [1, 2]}
    assert describe_difference({"a": 1}, {"a": 1}) == ""
    assert describe_difference({"a": 1, "gone": 2}, {"a": 1, "new": 3}) == "new (not set, now 3), gone (2, now not set)"
    many = {str(number): number for number in range(9)}
    assert describe_difference(many, dict.fromkeys(many, -1)).endswith(", and 5 more")
