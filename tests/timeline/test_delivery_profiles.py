"""Delivery profiles are read strictly, and determine tracks and audible takes."""

from __future__ import annotations

import tomllib
from dataclasses import fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import pytest

from rewas_api.errors import ProblemError
from rewas_engine.matching.sound_kinds import table_phrases
from rewas_server.delivery.layout import lay_out
from rewas_server.delivery.profiles import (
    Department,
    Profile,
    list_profiles,
    load_profile,
    read_profile,
    user_profiles_folder,
)
from rewas_server.delivery.provenance import Provenance
from rewas_server.delivery.sound_categories import SoundCategories, categories
from rewas_server.delivery.stems import GeneratedStem


def write_profile(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def generated_stem(**changes: Any) -> GeneratedStem:
    given: dict[str, Any] = {
        "path": Path("a.wav"),
        "sha256": "0" * 64,
        "clip_name": "shot",
        "clip_number": 1,
        "role": "primary",
        "take_number": 1,
        "position_s": Fraction(0),
        "duration_s": Fraction(1),
        "provenance": Provenance("rain", 7, "starter", "0.1.0", "Apache-2.0"),
    }
    return GeneratedStem(**(given | changes))


@pytest.mark.parametrize("name", ["default", "post", "reaper", "stereo"])
def test_each_shipped_profile_is_valid_and_described(name: str) -> None:
    profile = load_profile(name)
    assert (profile.name, profile.path.is_file()) == (name, True)
    assert profile.summary.endswith(".")


def test_the_default_profile_states_the_default_of_each_setting() -> None:
    default = load_profile()
    assert vars(default) == vars(Profile(schema=1, summary=default.summary, path=default.path))
    content = tomllib.loads(default.path.read_text("utf-8"))
    for name, value in vars(default).items():
        if is_dataclass(value):
            assert set(content[name]) == {field.name for field in fields(value)}


def test_a_profile_of_the_user_replaces_a_shipped_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    user_profiles_folder().mkdir(parents=True)
    path = write_profile(user_profiles_folder(), 'schema = 1\nsummary = "Ours."', "post.toml")
    assert list_profiles()["post"] == path
    assert load_profile("post").summary == "Ours."
    assert not load_profile("post").tracks


@pytest.mark.parametrize(
    ("text", "what", "remedy"),
    [
        ("", "has no setting `schema`", "Add it."),
        ("schema = 2", "`schema` is 2", "Use schema 1, which this version reads."),
        ("schema = true", "`schema` is true", "a whole number"),
        ("schema = 1\nfiel = 1", "there is no setting `fiel`", "Did you mean `file`?"),
        ("schema = 1\n[file]\nsample_rate = 48000", "no setting `file.sample_rate`", "`file.sample_rate_hz`?"),
        ("schema = 1\n[file]\nsample_rate_hz = 32000", "`file.sample_rate_hz` is 32000", "48000"),
        ("schema = 1\n[file]\nhandle_frames = 1.5", "`file.handle_frames` is 1.5", "a whole number"),
        ("schema = 1\n[file]\nhandle_frames = -1", "`file.handle_frames` is -1", "from 0 to 1000"),
        ("schema = 1\n[file]\nmax_true_peak_db = nan", "`file.max_true_peak_db` is nan", "a number"),
        ("schema = 1\n[file]\nmax_true_peak_db = 1", "`file.max_true_peak_db` is 1", "from -30 to 0"),
        ('schema = 1\n[file]\nchannels = "5.1"', '`file.channels` is "5.1"', "mono, stereo"),
        ("schema = 1\nfile = 3", "`file` is not a table", "[file]"),
        ('schema = 1\n[names]\ntemplate = "{klip}"', "the field {klip}", "{clip}?"),
        ('schema = 1\n[names]\ntemplate = "{role}"', "gives all clips the same name", "{number}"),
        ('schema = 1\n[names]\ntemplate = "{clip"', "`names.template` is not valid", "braces"),
        ('schema = 1\n[names]\ntemplate = "{clip:>9}"', "has a format in the field {clip}", "Write only its name"),
        ('schema = 1\n[names]\ntemplate = "{clip.__class__}"', "does not exist", "clip"),
        ('schema = 1\n[[tracks]]\nroles = ["mix"]', "no setting `tracks.name`", "Add it."),
        ('schema = 1\n[[tracks]]\nname="A"\ndepartments=["foly"]', '`tracks.departments` is "foly"', "foley"),
        ('schema = 1\n[[tracks]]\nname="A"\n[[tracks]]\nname="a"', 'Two tracks have the name "a"', "Combine or rename"),
        ('schema = 1\n[layout]\ntake_track_name="{track}"', "`layout.take_track_name`", "{take}"),
        (
            'schema = 1\n[content_credentials]\nprivate_key = "k"',
            "no setting `content_credentials.certificate`",
            "Add it.",
        ),
        ("schema = ", "not valid TOML", "Correct that line."),
        ("schema = 1\n" + "a = [" * 5000, "not valid TOML", "Correct that line."),
    ],
)
def test_an_invalid_profile_is_refused_with_the_setting(tmp_path: Path, text: str, what: str, remedy: str) -> None:
    with pytest.raises(ProblemError) as caught:
        read_profile(write_profile(tmp_path, text))
    assert what in caught.value.what
    assert "mine.toml" in caught.value.what
    assert remedy in caught.value.remedy


def test_a_profile_that_does_not_exist_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match='There is no delivery profile "pots"') as caught:
        load_profile("pots")
    assert 'Did you mean "post"?' in caught.value.remedy
    with pytest.raises(ProblemError, match="cannot be read: No such file"):
        load_profile(str(tmp_path / "none.toml"))
    with pytest.raises(ProblemError, match="cannot be read: Is a directory"):
        load_profile(str(tmp_path) + "/")
    (tmp_path / "latin.toml").write_bytes(b"summary = '\xe9'")
    with pytest.raises(ProblemError, match="is not UTF-8"):
        load_profile(str(tmp_path / "latin.toml"))


def test_a_profile_may_begin_with_the_mark_of_windows_editors(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xef\xbb\xbfschema = 1\r\n[file]\r\nhandle_frames = 8\r\n")
    assert read_profile(tmp_path / "mine.toml").file.handle_frames == 8


def test_each_kind_of_sound_has_a_category() -> None:
    from rewas_engine.matching.sound_kinds import SoundKinds

    kinds = {match.kind.name for match in SoundKinds(_FirstPhrase()).nearest_first("rain")}  # type: ignore[arg-type]
    assert set(categories()) == kinds
    for kind, category in categories().items():
        assert category.department in get_args(Department), kind


def test_each_cat_id_is_in_the_universal_category_system() -> None:
    lines = Path(__file__).with_name("ucs_8_2_1_cat_ids.txt").read_text("utf-8").splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    known = {short + ending.strip(".") for short, *endings in rows for ending in endings}
    assert len(known) == 753
    used = {category.cat_id for category in categories().values()}
    assert used | {load_profile(name).names.cat_id for name in list_profiles()} <= known


class _FirstPhrase:
    """An encoder that places each prompt exactly at the table's first phrase."""

    def __call__(self, phrases: list[str]) -> Any:
        import torch

        from rewas_engine.matching.sound_kinds import table_embeddings

        return torch.tensor(table_embeddings()[:1]).repeat(len(phrases), 1)


def post_tracks(*stems: GeneratedStem) -> list[str]:
    kinds = {"rain": "rain", "steps": "footsteps on gravel", "a piano": "piano", "a blob": ""}
    return [each.track for each in lay_out(stems, load_profile("post"), SoundCategories(kinds))]


def with_prompt(prompt: str, **changes: Any) -> GeneratedStem:
    return generated_stem(provenance=Provenance(prompt, 7, "starter", "0.1.0", "Apache-2.0"), **changes)


def test_the_prompt_decides_the_track_of_the_post_profile() -> None:
    assert table_phrases()
    assert post_tracks(*map(with_prompt, ["rain", "steps", "a piano", "a blob"])) == ["AMB", "FOLEY", "FX", "FX"]


def test_a_role_and_a_chosen_track_come_before_the_prompt() -> None:
    assert post_tracks(
        with_prompt("steps", role="ambience"),
        with_prompt("steps", track="fx"),
        with_prompt("steps", track="Doors"),
        with_prompt("steps", role="wind", track="Doors"),
        with_prompt("steps; rain", role="mix"),
    ) == ["AMB", "FX", "Doors", "FOLEY", "MIX"]


def takes(profile: str, *stems: GeneratedStem) -> list[tuple[str, int]]:
    laid_out = lay_out(stems, load_profile(profile), SoundCategories({"rain": "rain"}))
    return [(each.stem.role, each.stem.take_number) for each in laid_out if each.is_audible]


def test_one_version_is_audible() -> None:
    stems = [generated_stem(role=role, take_number=take) for take in (1, 2) for role in ("primary", "wind", "mix")]
    assert takes("default", *stems) == [("primary", 1), ("wind", 1)]


def test_the_best_take_without_faults_is_audible() -> None:
    rated = [
        generated_stem(take_number=1, score=0.5),
        generated_stem(take_number=2, score=0.9, has_faults=True),
        generated_stem(take_number=3, score=0.8),
        generated_stem(take_number=4, score=0.8),
    ]
    assert takes("post", *rated) == [("primary", 3)]
    assert takes("default", *rated) == [("primary", 1)]
    assert takes("post", *(generated_stem(take_number=take) for take in (1, 2))) == [("primary", 1)]


def test_the_mix_is_audible_alone_or_not_at_all(tmp_path: Path) -> None:
    path = write_profile(tmp_path, 'schema = 1\n[layout]\naudible_mix = true\nfurther_takes = "none"')
    stems = [
        generated_stem(clip_number=clip, role=role, take_number=take)
        for clip, roles in ((1, ("primary", "mix")), (2, ("primary",)))
        for take in (1, 2)
        for role in roles
    ]
    laid_out = lay_out(stems, read_profile(path), SoundCategories())
    assert [(each.stem.clip_number, each.stem.role, each.stem.take_number) for each in laid_out] == [
        (1, "primary", 1),
        (1, "mix", 1),
        (2, "primary", 1),
    ]
    assert [each.is_audible for each in laid_out] == [False, True, True]
