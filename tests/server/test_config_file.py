"""The settings of a server from options, environment variables, a file and defaults."""

import dataclasses
import os
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_api.errors import ProblemError, ProblemKind
from rewas_engine import Execution
from rewas_server.config import ServerConfig
from rewas_server.config_file import default_config_path, example_file, resolve_config, variable_name


def write(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text, "utf-8")
    return path


def refuse(path: Path | None, environment: dict[str, str] | None = None) -> ProblemError:
    with pytest.raises(ProblemError) as raised:
        resolve_config({}, path, environment or {})
    assert raised.value.kind is ProblemKind.SETTINGS
    assert raised.value.remedy.endswith(".")
    return raised.value


def as_text(value: object) -> str:
    return os.pathsep.join(map(str, value)) if isinstance(value, tuple) else str(value)


def test_the_nearest_source_decides(tmp_path: Path) -> None:
    path = write(tmp_path, 'port = 1\nqueue_limit = 2\ndevice = "cuda:7"\n\n[execution]\nbatch_size = 3\n')
    environment = {"REWAS_PORT": "4", "REWAS_QUEUE_LIMIT": "5", "REWAS_PACKS": "/packs"}
    resolved = resolve_config({"port": 6, "metrics_port": None}, path, environment)
    config = resolved.config
    assert (config.port, config.queue_limit, config.device, config.execution.batch_size) == (6, 5, "cuda:7", 3)
    sources = {each.name: (each.source, each.place) for each in resolved.settings}
    assert sources["port"] == ("option", "")
    assert sources["queue_limit"] == ("environment", "REWAS_QUEUE_LIMIT")
    assert sources["device"] == ("file", f"{path}, line 3")
    assert sources["execution.batch_size"] == ("file", f"{path}, line 6")
    assert sources["log_level"] == ("default", "")


def test_without_sources_the_configuration_is_the_default(tmp_path: Path) -> None:
    environment = {"REWAS_CONFIG": str(write(tmp_path, ""))}
    assert resolve_config({}, None, environment).config == ServerConfig()


def test_every_setting_has_a_description_and_can_be_given_in_both_ways(tmp_path: Path) -> None:
    settings = resolve_config({}, write(tmp_path, ""), {}).settings
    assert {each.name.partition(".")[0] for each in settings} == {
        each.name for each in dataclasses.fields(ServerConfig)
    }
    assert all(each.description for each in settings)
    # Every setting that has a default: in the example file, without its comment signs, and as a variable.
    lines = [re.sub(r"^# (\w+ = )", r"\1", line) for line in example_file().splitlines()]
    path = write(tmp_path, "\n".join(lines))
    from_file = resolve_config({}, path, {})
    assert from_file.config == ServerConfig()
    given = {each.name for each in from_file.settings if each.source == "file"}
    assert given == {each.name for each in settings if each.value is not None}
    variables = {variable_name(each.name): as_text(each.value) for each in settings if each.value is not None}
    assert resolve_config({}, write(tmp_path, ""), variables).config == ServerConfig()


def test_paths_in_a_file_are_relative_to_its_folder(tmp_path: Path) -> None:
    path = write(tmp_path, 'state_dir = "state"\nallowed_roots = ["films", "~/videos", "/media"]\n')
    config = resolve_config({}, path, {}).config
    assert config.state_dir == tmp_path / "state"
    assert config.allowed_roots == (tmp_path / "films", Path.home() / "videos", Path("/media"))


@pytest.mark.parametrize(
    ("text", "line", "named"),
    [
        ("port = 5\nprot = 6\n", 2, "`prot`"),
        ('[execution]\n"batch" = 1\n', 2, "`execution.batch`"),
        ("[logging]\nlevel = 1\n", 1, "`logging`"),
        ('\nport = "high"\n', 2, "`port`"),
        ("port = true\n", 1, "`port`"),
        ("port = 5.0\n", 1, "`port`"),
        ("port = [5]\n", 1, "`port`"),
        ('log_prompts = "yes"\n', 1, "`log_prompts`"),
        ('allowed_roots = "/media"\n', 1, "`allowed_roots`"),
        ("allowed_roots = [1]\n", 1, "`allowed_roots`"),
        ("execution = 5\n", 1, "`execution`"),
        ("port = 70000\n", 1, "`port`"),
        ('log_level = "loud"\n', 1, "`log_level`"),
        ("log_files = 1\n", 1, "`log_files`"),
        ("[execution]\nbatch_size = 0\n", 2, "batch size"),
        ("port = 5\n[decoding]\npixels = 0\n", 3, "`decoding.pixels`"),
        ("[decoding]\nmemory_bytes = 1000\n", 2, "`decoding.memory_bytes`"),
        ("port = \n", 1, "TOML"),
    ],
)
def test_a_mistake_is_refused_with_file_line_and_key(tmp_path: Path, text: str, line: int, named: str) -> None:
    path = write(tmp_path, text)
    problem = refuse(path)
    assert str(path) in problem.what
    assert f"line {line}" in problem.what
    assert named in problem.what


def test_a_wrong_variable_is_refused_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    for name, value in {"REWAS_PORT": "high", "REWAS_LOG_PROMPTS": "perhaps", "REWAS_STATE_DIR": ""}.items():
        assert name in refuse(path, {name: value}).what
    assert "REWAS_PORT" in refuse(path, {"REWAS_PORT": "70000"}).what


def test_a_file_that_was_named_must_exist_and_be_readable(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert str(missing) in refuse(missing).what
    assert str(missing) in refuse(None, {"REWAS_CONFIG": str(missing)}).what
    (tmp_path / "latin.toml").write_bytes(b'device = "\xe9"')
    assert "latin.toml" in refuse(tmp_path / "latin.toml").what
    assert "cannot be read" in refuse(tmp_path).what


def test_the_default_path_follows_the_variable() -> None:
    assert default_config_path({"REWAS_CONFIG": "/etc/rewas.toml"}) == Path("/etc/rewas.toml")
    assert default_config_path({}).name == "config.toml"


_VALUES = st.fixed_dictionaries(
    {},
    optional={
        "port": st.integers(0, 65_535),
        "queue_limit": st.integers(1, 10**9),
        "cancel_grace_s": st.floats(0, 1e6, allow_nan=False),
        "log_prompts": st.booleans(),
        "device": st.from_regex(r"[a-z]{1,8}(:[0-9])?", fullmatch=True),
        "metrics_port": st.integers(0, 65_535),
    },
)


@given(values=_VALUES, batch_size=st.none() | st.integers(1, 64))
def test_what_a_file_says_is_what_the_server_gets(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, object], batch_size: int | None
) -> None:
    import tomli_w

    execution = {} if batch_size is None else {"batch_size": batch_size}
    text = tomli_w.dumps({**values, "execution": execution})
    path = tmp_path_factory.getbasetemp() / "property.toml"
    path.write_text(text, "utf-8")
    assert tomllib.loads(text)
    config = resolve_config({}, path, {}).config
    assert config == ServerConfig(**values, execution=Execution(**execution))
