"""The configuration of a server from options, environment variables, a TOML file and the defaults.

A setting has the name of its field in ServerConfig, and `execution.precision` and the like for those of packs. The
first of these that has a value decides: the option of `rewas serve`, the environment variable (REWAS_PORT,
REWAS_EXECUTION_PRECISION), the file, the default.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from rewas_api.errors import ProblemError, SettingsProblem
from rewas_engine import EngineError
from rewas_server.config import ServerConfig
from rewas_server.database_url import passwords_of, without_password

ENVIRONMENT_PREFIX = "REWAS_"
FILE_VARIABLE = "REWAS_CONFIG"
"""Environment variable with the path of the file."""
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a string", Path: "a path"}


@dataclass(frozen=True)
class Setting:
    """One setting of a server.

    Attributes:
        name: Field of ServerConfig, with a dot for the fields of `execution`.
        value: Its value, without passwords.
        source: "option", "environment", "file" or "default".
        place: The name of the variable, or the path of the file with the line; "" for the other sources.
        description: What it does.
    """

    name: str
    value: Any
    source: str
    place: str
    description: str


@dataclass(frozen=True)
class ResolvedConfig:
    """A configuration, and where each of its settings comes from."""

    config: ServerConfig
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class _Field:
    name: str
    kind: Any
    default: Any
    description: str


@dataclass(frozen=True)
class _Given:
    value: Any
    source: str
    place: str


def default_config_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the path of the file: $REWAS_CONFIG, or config.toml in the user's folder for configurations."""
    named = environment.get(FILE_VARIABLE)
    return Path(named).expanduser() if named else platformdirs.user_config_path("rewas") / "config.toml"


def resolve_config(
    options: Mapping[str, Any], path: Path | None = None, environment: Mapping[str, str] = os.environ
) -> ResolvedConfig:
    """Combine all sources.

    Args:
        options: Name of a setting -> its value as an option; None for options that were not given.
        path: The file. The default one, which may be missing, if None.
        environment: The environment variables.

    Raises:
        ProblemError: SETTINGS, with the file, the line and the key, for a file that cannot be read, an unknown key, or
            a value of the wrong type or out of bounds.
    """
    must_exist = path is not None or FILE_VARIABLE in environment
    path = path or default_config_path(environment)
    fields = {each.name: each for each in _fields()}
    given = _read_file(path, fields, must_exist=must_exist)
    for field in fields.values():
        variable = variable_name(field.name)
        if variable in environment:
            value = _parse_text(environment[variable], field, variable)
            given[field.name] = _Given(value, "environment", variable)
    for name, value in options.items():
        if name == "database" and value is not None and passwords_of(value):
            raise SettingsProblem(
                "The URL of --database contains a password, which every program on this computer can see.",
                f"Put the password in a password file or PGPASSWORD, or the URL in {variable_name(name)} or the "
                "configuration file.",
            )
        if value is not None:
            given[name] = _Given(value, "option", "")
    defaults = {name: _Given(field.default, "default", "") for name, field in fields.items()}
    all_given = defaults | given
    settings = tuple(
        Setting(name, _shown(name, each.value), each.source, each.place, fields[name].description)
        for name, each in all_given.items()
    )
    return ResolvedConfig(_build({name: each.value for name, each in all_given.items()}, settings), settings)


def _shown(name: str, value: Any) -> Any:
    return without_password(value) if name == "database" and value else value


def variable_name(name: str) -> str:
    """Return the environment variable of a setting."""
    return ENVIRONMENT_PREFIX + name.upper().replace(".", "_")


def example_file() -> str:
    """Return a file that lists every setting with its default, commented out."""
    lines = [
        "# Configuration of the ReWaS server. Remove the # in front of a setting to change it.",
        "# Environment variables such as REWAS_PORT and options of `rewas serve` override this file.",
    ]
    table = ""
    # A TOML table ends where the next one begins, so the settings without one come first.
    for field in sorted(_fields(), key=lambda each: each.name.count(".")):
        owner, _, key = field.name.rpartition(".")
        if owner != table:
            table = owner
            lines += ["", f"[{owner}]"]
        value = _to_toml(field.default)
        lines += ["", f"# {field.description}"] if field.description else [""]
        lines.append(f"# {key} = {value}" if value is not None else f"# {key} is not set.")
    return "\n".join(lines) + "\n"


def _fields() -> Iterator[_Field]:
    yield from _fields_of(ServerConfig, "")


def _fields_of(owner: Any, prefix: str) -> Iterator[_Field]:
    kinds, descriptions = typing.get_type_hints(owner), _descriptions(owner)
    for each in dataclasses.fields(owner):
        name, kind = f"{prefix}{each.name}", kinds[each.name]
        if dataclasses.is_dataclass(kind):
            yield from _fields_of(kind, f"{name}.")
        else:
            default = each.default_factory() if callable(each.default_factory) else each.default
            yield _Field(name, kind, default, descriptions.get(each.name, ""))


def _descriptions(owner: Any) -> dict[str, str]:
    """The paragraphs under "Attributes:" in the docstring of a class."""
    _, _, attributes = (inspect.getdoc(owner) or "").partition("Attributes:\n")
    block = re.split(r"\n(?=\S)", attributes)[0]
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", block, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def _read_file(path: Path, fields: Mapping[str, _Field], *, must_exist: bool) -> dict[str, _Given]:
    try:
        text = path.read_text("utf-8")
        content = tomllib.loads(text)
    except FileNotFoundError:
        if must_exist:
            raise SettingsProblem(
                f"The configuration file {path} does not exist.",
                "Check the path, or create the file with `rewas config init`.",
            ) from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsProblem(
            f"The configuration file {path} cannot be read ({error}).", "Check its permissions."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsProblem(
            f"The configuration file {path} is not valid TOML: {error}.", "Correct that line."
        ) from error
    tables = {name.partition(".")[0] for name in fields if "." in name}
    given = {}
    for name, value in _flatten(content, tables):
        line = _line_of(text, name)
        place = f"{path}, line {line}" if line else str(path)
        if name not in fields:
            raise SettingsProblem(
                f"In {place}: there is no setting `{name}`.",
                "Correct or remove it; `rewas config show` lists the settings.",
            )
        given[name] = _Given(_parse_value(value, fields[name], path.parent, place), "file", place)
    return given


def _flatten(content: Mapping[str, Any], tables: set[str]) -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if key in tables and isinstance(value, dict):
            for inner, inner_value in value.items():
                yield f"{key}.{inner}", inner_value
        else:
            yield key, value


def _line_of(text: str, name: str) -> int | None:
    """The line of a key, as TOML is usually written: `key = value`, under its [table]."""
    owner, _, key = name.rpartition(".")
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.fullmatch(r"\s*\[\s*([\w.\"-]+)\s*\]\s*(#.*)?", line)
        if header:
            table = header[1]
            if table == name:
                return number
        found = re.match(r"\s*([\w.\"'-]+)\s*=", line)
        if found:
            written = found[1].replace('"', "").replace("'", "")
            if (f"{table}.{written}" if table else written) == (f"{owner}.{key}" if owner else key):
                return number
    return None


def _parse_value(value: Any, field: _Field, folder: Path, place: str) -> Any:
    kind, is_list = _kind_of(field)
    values = value if is_list and isinstance(value, list) else [value]
    if is_list != isinstance(value, list):
        raise _type_problem(value, field, place)
    parsed: list[Any] = []
    for each in values:
        if kind is Path and isinstance(each, str):
            parsed.append(_absolute(each, folder))
        elif kind is float and type(each) is int:
            parsed.append(float(each))
        elif type(each) is kind:
            parsed.append(each)
        else:
            raise _type_problem(each, field, place)
    return tuple(parsed) if is_list else parsed[0]


def _parse_text(text: str, field: _Field, variable: str) -> Any:
    kind, is_list = _kind_of(field)
    texts = [each for each in text.split(os.pathsep) if each] if is_list else [text]
    try:
        parsed = [_parse_one(each.strip(), kind) for each in texts]
    except ValueError:
        raise _type_problem(text, field, f"the environment variable {variable}") from None
    return tuple(parsed) if is_list else parsed[0]


def _parse_one(text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() not in _TRUE + _FALSE:
            raise ValueError(text)
        return text.lower() in _TRUE
    if kind is Path:
        if not text:
            raise ValueError(text)
        return _absolute(text, Path.cwd())
    return kind(text)


def _absolute(text: str, folder: Path) -> Path:
    return folder.absolute() / Path(text).expanduser()


def _kind_of(field: _Field) -> tuple[Any, bool]:
    """The type of a setting's value or, if it is a tuple, of its elements; and whether it is a tuple."""
    kind = field.kind
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        (kind,) = (each for each in typing.get_args(kind) if each is not types.NoneType)
    is_list = typing.get_origin(kind) is tuple
    if is_list:
        kind = typing.get_args(kind)[0]
    if kind not in _TYPE_NAMES:
        raise TypeError(f"ServerConfig.{field.name} has a type that a file cannot hold: {field.kind}")
    return kind, is_list


def _build(values: Mapping[str, Any], settings: tuple[Setting, ...]) -> ServerConfig:
    try:
        config: ServerConfig = _build_owner(ServerConfig, values, "")
    except (ProblemError, EngineError) as error:
        # A message names the setting; the file or the variable that it comes from is known only here.
        named = [each for each in settings if each.place and f"`{each.name}`" in str(error)]
        if isinstance(error, EngineError):
            named = [each for each in settings if each.place and "." in each.name]
        places = {each.place for each in named}
        where = f"In {places.pop()}: " if len(places) == 1 else ""
        raise SettingsProblem(f"{where}{error.what}", error.remedy) from error
    return config


def _build_owner(owner: Any, values: Mapping[str, Any], prefix: str) -> Any:
    kinds = typing.get_type_hints(owner)
    return owner(
        **{
            each.name: _build_owner(kinds[each.name], values, f"{prefix}{each.name}.")
            if dataclasses.is_dataclass(kinds[each.name])
            else values[f"{prefix}{each.name}"]
            for each in dataclasses.fields(owner)
        }
    )


def _to_toml(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(str(_to_toml(each)) for each in value)}]"
    if isinstance(value, str | Path):
        # A TOML basic string: backslashes of Windows paths are escaped.
        escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value)


def _type_problem(value: Any, field: _Field, place: str) -> ProblemError:
    kind, is_list = _kind_of(field)
    wanted = f"a list in which each element is {_TYPE_NAMES[kind]}" if is_list else _TYPE_NAMES[kind]
    found = "of the wrong type" if field.name == "database" else repr(str(value)[:80])
    return SettingsProblem(f"In {place}: `{field.name}` is {found}.", f"Its value must be {wanted}.")
