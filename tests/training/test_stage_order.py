"""Which settings affect a stage, and the errors for different settings. No stage runs here."""

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


def finish_stages(folder: Path, *stages: str, **more) -> None:
    for stage in stages:
        ledger(folder, **more).finish(stage)


def settings_of_stage(config: StarterConfig, stage: str) -> dict[str, object]:
    return ledger(Path(), config).settings(stage)


@pytest.mark.parametrize(
    ("changed", "affected"),
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
def test_a_setting_affects_its_stage_and_later_ones(changed: dict[str, object], affected: tuple[str, ...]) -> None:
    other = replace(CONFIG, **changed)
    assert (
        tuple(stage for stage in STAGES if settings_of_stage(other, stage) != settings_of_stage(CONFIG, stage))
        == affected
    )


def test_every_setting_except_the_device_affects_the_pack() -> None:
    names = {name.split(".")[0] for name in settings_of_stage(CONFIG, "pack")}
    assert names == {entry.name for entry in fields(CONFIG)} - {"device"}


def test_settings_of_synthetic_clips_do_not_affect_recordings(tmp_path: Path) -> None:
    other = replace(CONFIG, sounds=9, pictures=9, words_hidden=9, joint_strangers=9)
    one, two = (ledger(tmp_path, config, uses_world=False) for config in (CONFIG, other))
    assert all(one.settings(stage) == two.settings(stage) for stage in STAGES)


def test_the_files_of_the_start_pack_count_not_its_path(tmp_path: Path) -> None:
    here, there = (ContinuedConfig(start_from=folder) for folder in ("here/starter", "there/starter"))
    assert ledger(tmp_path, here, "starter 1").settings("base") == ledger(tmp_path, there, "starter 1").settings("base")
    finish_stages(tmp_path, "base", config=here, start_fingerprint="starter 1")
    with pytest.raises(SettingsError, match=r'start_from \("starter 1", now "starter 2"\)'):
        ledger(tmp_path, here, "starter 2").is_finished("base")


def test_a_finished_stage_with_other_settings_is_refused_with_the_difference(tmp_path: Path) -> None:
    finish_stages(tmp_path, "base")
    assert ledger(tmp_path).is_finished("base")
    assert ledger(tmp_path, replace(CONFIG, picture_batch=9)).is_finished("base")
    other = ledger(tmp_path, replace(CONFIG, denoiser=replace(CONFIG.denoiser, batch_size=9), seed=2))
    message = (
        r"stage base in .* finished with other settings: seed \(1, now 2\), denoiser.batch_size \(24, now 9\)\. Use"
    )
    with pytest.raises(SettingsError, match=message):
        other.is_finished("base")
    # Later stages are refused too.
    for stage in ("adapter", "pack"):
        with pytest.raises(SettingsError, match="stage base in"):
            other.check([stage], has_corpus=True)


def test_a_pack_refuses_stages_of_other_settings(tmp_path: Path) -> None:
    finish_stages(tmp_path, "corpus", "words", "codec", "base", "adapter", "vocoder", "picture")
    ledger(tmp_path).check(["pack"], has_corpus=False)
    finish_stages(tmp_path, "joint")
    with pytest.raises(SettingsError, match="stage joint in"):
        ledger(tmp_path, replace(CONFIG, joint_width=9)).check(["pack"], has_corpus=False)


def test_stages_finished_by_earlier_versions_stay_finished(tmp_path: Path) -> None:
    (tmp_path / "base.finished").touch()
    assert ledger(tmp_path, replace(CONFIG, seed=2)).is_finished("base")


@pytest.mark.parametrize(
    ("stages", "existing", "message"),
    [
        (["base"], [], "The stage base needs the stages corpus, words and codec first."),
        (["base"], ["corpus", "codec"], "The stage base needs the stage words first."),
        (["vocoder"], [], "The stage vocoder needs the stage corpus first."),
        (["base", "corpus"], ["words", "codec"], "The stage base needs the stage corpus first."),
        (["adapter"], ["corpus", "words", "codec"], "The stage adapter needs the stage base first."),
        (["picture", "pack"], ["corpus", "words", "codec", "base"], "needs the stages adapter and vocoder first."),
    ],
)
def test_missing_earlier_stages_are_named(stages: list[str], existing: list[str], message: str, tmp_path: Path) -> None:
    finish_stages(tmp_path, *existing)
    with pytest.raises(SettingsError, match=message):
        ledger(tmp_path).check(stages, has_corpus=False)


def test_all_stages_in_order_are_accepted(tmp_path: Path) -> None:
    ledger(tmp_path).check(STAGES, has_corpus=False)
    ledger(tmp_path).check(["vocoder", "picture"], has_corpus=True)
    # With recordings only, text projection and joint space are not trained.
    finish_stages(tmp_path, "codec", uses_world=False)
    ledger(tmp_path, uses_world=False).check(["base"], has_corpus=True)


def test_long_differences_are_shortened() -> None:
    assert flatten_settings({"a": {"b": (1, 2), "show_every": 3}, "device": "cpu"}) == {"a.b": [1, 2]}
    assert describe_difference({"a": 1}, {"a": 1}) == ""
    assert describe_difference({"a": 1, "gone": 2}, {"a": 1, "new": 3}) == "new (not set, now 3), gone (2, now not set)"
    many = {str(number): number for number in range(9)}
    assert describe_difference(many, dict.fromkeys(many, -1)).endswith(", and 5 more")
