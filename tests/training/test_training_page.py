"""docs/training.md lists the existing settings, stages and options."""

import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from rewas_cli.main import run
from rewas_engine.training.config import StarterConfig, read_settings
from rewas_engine.training.continuation import PACK_SIZES, ContinuedConfig
from rewas_engine.training.loop import LoopConfig
from rewas_engine.training.part_config import AdapterConfig, PhiConfig
from rewas_engine.training.stage_order import STAGES
from rewas_engine.world import CLASS_NAMES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "training.md").read_text("utf-8")
FROM_THE_PACK = "the pack's"


def settings_of(config: StarterConfig) -> dict[str, str]:
    """Every setting by its dotted name, with its value as written on the page."""
    flat: dict[str, str] = {}
    for entry in fields(config):
        value = getattr(config, entry.name)
        inner = (
            {f"{entry.name}.{each.name}": getattr(value, each.name) for each in fields(value)}
            if is_dataclass(value)
            else {entry.name: value}
        )
        for name, setting in inner.items():
            shown = (
                f'"{setting}"'
                if isinstance(setting, str)
                else f"{setting:g}"
                if isinstance(setting, float)
                else setting
            )
            flat[name] = str(list(setting)) if isinstance(setting, tuple) else str(shown)
            if setting == CLASS_NAMES:
                flat[name] = "the 27 with a picture"
    return flat


def rows_of_the_page() -> dict[str, tuple[str, str]]:
    """Every setting on the page by its dotted name, with the values for a new and a continued pack."""
    loops = [
        entry.name for entry in fields(StarterConfig) if isinstance(getattr(StarterConfig(), entry.name), LoopConfig)
    ]
    rows: dict[str, tuple[str, str]] = {}
    tables = PAGE[: PAGE.index("## One part of a pack")] + PAGE[PAGE.index("## The starter") :]
    for name, new, continued in re.findall(r"^\| `([\w.*]+)` \| .+ \| (.+) \| (.+) \|$", tables, re.MULTILINE):
        for full in [name.replace("*", loop) for loop in loops] if "*" in name else [name]:
            rows[full] = new, continued
    return rows


def test_the_page_lists_every_setting_with_its_values() -> None:
    new, continued = settings_of(StarterConfig()), settings_of(ContinuedConfig())
    of_phi = ("words", "events", "residual_motion")
    for name in (*PACK_SIZES, "codec_clips", *(f"picture_recipe.{each}" for each in of_phi)):
        continued[name] = FROM_THE_PACK
    assert rows_of_the_page() == {name: (new[name], continued[name]) for name in new}


@pytest.mark.parametrize("command", ["starter", "pack"])
def test_the_help_of_stage_lists_all_stages(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(["train", command, "--help"])
    help_text = " ".join(re.sub("[│|]", " ", capsys.readouterr().out).split())
    assert ", ".join(STAGES) in help_text


def test_the_page_lists_every_stage() -> None:
    listed = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]*\|$", PAGE, re.MULTILINE)
    assert listed == list(STAGES)


@pytest.mark.parametrize("defaults", [AdapterConfig(), PhiConfig()])
def test_the_page_shows_the_default_settings_of_parts(defaults: AdapterConfig | PhiConfig, tmp_path: Path) -> None:
    owner = "the adapter's" if isinstance(defaults, AdapterConfig) else "φ's"
    (shown,) = [block for block in PAGE.split("```")[1::2] if f"# {owner} defaults" in block]
    text = shown.removeprefix("toml\n")
    path = tmp_path / "shown.toml"
    path.write_text(text, "utf-8")
    assert read_settings(defaults, path) == defaults
    expected = {entry.name for each in (defaults, defaults.loop) for entry in fields(each)}
    assert set(re.findall(r"^(\w+) =", text, re.MULTILINE)) == expected - {"loop"}


@pytest.mark.parametrize("command", ["pack", "starter", "phi", "adapter"])
def test_options_on_the_page_exist(command: str, capfd) -> None:
    assert run(["train", command, "--help"]) == 0
    options = set(re.findall(r"--[a-z-]+", capfd.readouterr().out))
    shown = [block for block in PAGE.split("```")[1::2] if f"rewas train {command}" in block]
    assert shown
    used = set(re.findall(r"--[a-z-]+", " ".join(shown)))
    assert used <= options
