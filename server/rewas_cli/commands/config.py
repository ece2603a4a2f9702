"""`rewas config`: the settings of the server, and the file that holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rewas_cli.commands.help_pages import Command, Group
from rewas_cli.commands.shared_options import ConfigFileOption, JsonOption
from rewas_cli.console import Printer

config = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Show and write the settings of the server.",
    epilog="rewas config show\nrewas config init",
)


@config.command("show", cls=Command, epilog="rewas config show\nrewas config show --config studio.toml --json")
def show(config_file: ConfigFileOption = None, as_json: JsonOption = False) -> None:
    """Show each setting with the place that its value comes from."""
    from rewas_server.config_file import resolve_config, variable_name

    settings = resolve_config({}, config_file).settings
    report = {
        each.name: {
            "value": _plain(each.value),
            "source": each.source,
            "place": each.place or None,
            "variable": variable_name(each.name),
            "description": each.description,
        }
        for each in settings
    }
    width = max(len(each.name) for each in settings)
    lines = []
    for each in settings:
        place = f" ({each.place})" if each.place else ""
        lines.append(f"{each.name:<{width}}  {_text(each.value)}    from: {each.source}{place}")
    Printer(as_json).result({"settings": report}, lines)


@config.command("path", cls=Command, epilog="rewas config path")
def path(as_json: JsonOption = False) -> None:
    """Show the path of the configuration file."""
    from rewas_server.config_file import default_config_path

    found = default_config_path()
    Printer(as_json).result({"path": str(found), "exists": found.is_file()}, [str(found)])


@config.command("init", cls=Command, epilog="rewas config init")
def init(
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            dir_okay=False,
            help="The file to write. By default, the path that rewas config path prints.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a configuration file that lists every setting with its default, commented out."""
    from rewas_api.errors import ProblemError, ProblemKind
    from rewas_engine.runtime.atomic_files import write_text_atomic
    from rewas_server.config_file import default_config_path, example_file

    target = (config_file or default_config_path()).absolute()
    if target.exists():
        raise ProblemError(f"{target} exists already.", "Edit it, or move it away first.", ProblemKind.SETTINGS)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomic(target, example_file())
    Printer(as_json).result({"path": str(target)}, [f"Wrote {target}."])


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "(none)"
    return "(not set)" if value is None else str(value)
