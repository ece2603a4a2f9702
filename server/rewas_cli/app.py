"""The `rewas` command: its subcommands, error messages and exit codes."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from rewas_cli.commands import (
    annotate,
    batch,
    bench,
    conflict,
    doctor,
    dream,
    energy,
    evaluate,
    generate,
    serve,
    status,
    texture,
)
from rewas_cli.commands.config import config
from rewas_cli.commands.help_pages import Command, Group
from rewas_cli.commands.jobs import jobs
from rewas_cli.commands.packs import packs
from rewas_cli.commands.timeline import timeline
from rewas_cli.commands.train import train
from rewas_cli.console import (
    BAD_INPUT,
    FAILED_WORK,
    INTERRUPTED,
    SUCCESS,
    Interrupted,
    OutputLost,
    find_lost_output,
    print_problem,
)
from rewas_cli.startup import STOPPED_MESSAGE

_SOUND_PANEL, _ANALYSIS_PANEL, _MODELS_PANEL, _SERVER_PANEL = "Sound", "Analysis", "Models", "Server"
_REMOTE_PANEL = "Servers on other computers"
_EXAMPLES = """\
rewas generate shot.mp4 --prompt "a hammer knocking on wood" --output stems/
rewas energy shot.mp4 --plot energy.png
rewas packs list
rewas --install-completion
"""

app = typer.Typer(
    name="rewas",
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog=_EXAMPLES,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"rewas {version('rewas-nle')}")
        raise typer.Exit


@app.callback()
def rewas(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version and exit.")
    ] = False,
    certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="REWAS_CLIENT_CERTIFICATE",
            help="The server's certificate, for an encrypted connection. A server on another machine needs it.",
            rich_help_panel=_REMOTE_PANEL,
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="REWAS_CLIENT_TOKEN_FILE",
            help="A file with the server's token. The token of a server on this computer is found automatically.",
            rich_help_panel=_REMOTE_PANEL,
        ),
    ] = None,
) -> None:
    """Generate sound for video clips: a prompt decides what it is, the video decides when and how loud."""
    from rewas_cli.connection import server_access

    server_access.certificate, server_access.token_file = certificate, token_file


app.command("generate", cls=Command, epilog=generate.EXAMPLES, rich_help_panel=_SOUND_PANEL)(generate.generate)
app.command("batch", cls=Command, epilog=batch.EXAMPLES, rich_help_panel=_SOUND_PANEL)(batch.batch)
app.add_typer(timeline, name="timeline", rich_help_panel=_SOUND_PANEL)
app.command("dream", cls=Command, epilog=dream.EXAMPLES, rich_help_panel=_SOUND_PANEL)(dream.dream)
app.command("energy", cls=Command, epilog=energy.EXAMPLES, rich_help_panel=_ANALYSIS_PANEL)(energy.energy)
app.command("texture", cls=Command, epilog=texture.EXAMPLES, rich_help_panel=_ANALYSIS_PANEL)(texture.texture)
app.command("annotate", cls=Command, epilog=annotate.EXAMPLES, rich_help_panel=_ANALYSIS_PANEL)(annotate.annotate)
app.command("conflict", cls=Command, epilog=conflict.EXAMPLES, rich_help_panel=_ANALYSIS_PANEL)(conflict.conflict)
app.add_typer(packs, name="packs", rich_help_panel=_MODELS_PANEL)
app.add_typer(train, name="train", rich_help_panel=_MODELS_PANEL)
app.command("eval", cls=Command, epilog=evaluate.EXAMPLES, rich_help_panel=_MODELS_PANEL)(evaluate.evaluate)
app.command("bench", cls=Command, epilog=bench.EXAMPLES, rich_help_panel=_MODELS_PANEL)(bench.bench)
app.command("serve", cls=Command, epilog=serve.EXAMPLES, rich_help_panel=_SERVER_PANEL)(serve.serve)
app.command("status", cls=Command, epilog=status.EXAMPLES, rich_help_panel=_SERVER_PANEL)(status.status)
app.command("doctor", cls=Command, epilog=doctor.EXAMPLES, rich_help_panel=_SERVER_PANEL)(doctor.doctor)
app.add_typer(jobs, name="jobs", rich_help_panel=_SERVER_PANEL)
app.add_typer(config, name="config", rich_help_panel=_SERVER_PANEL)

_OPTION_BY_SETTING = {
    "num_steps": "--steps",
    "num_inference_steps": "--steps",
    "guidance_scale": "--guidance-scale",
    "control_strength": "--control-strength",
    "control_start": "--control-start",
    "control_end": "--control-end",
    "conflict_policy": "--conflict",
    "clips_per_class": "--clips-per-class",
    "sample_rate_hz": "--sample-rate",
    "gain_db": "--gain",
    "performance.place": "--recording",
    "performance.tail": "--tail",
    "performance.room": "--room",
    "performance.pitch_variation_cents": "--pitch-variation",
    "performance.timing_variation_s": "--timing-variation",
}
"""Name of a setting in the engine and the contract -> its option."""

_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""Typer raises click's usage errors or its own copies of them, depending on its version."""


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code. All output has been written by then."""
    as_json = "--json" in arguments
    try:
        returned = app(args=list(arguments), prog_name="rewas", standalone_mode=False)
        code = returned if isinstance(returned, int) else SUCCESS
        lost = find_lost_output()
        return code if lost is None or code != SUCCESS else _report_lost_output(lost)
    except _UsageError as error:
        return _report_usage_error(error, as_json)
    except (typer.Abort, KeyboardInterrupt, Interrupted):
        print_problem(*STOPPED_MESSAGE, as_json)
        return INTERRUPTED
    except OutputLost as error:
        return _report_lost_output(error.reason)
    except OSError as error:
        lost = find_lost_output()
        return _report_error(error, arguments) if lost is None else _report_lost_output(lost)
    except Exception as error:
        return _report_error(error, arguments)
    finally:
        # Writing the output that is still buffered may fail.
        find_lost_output()


def _report_usage_error(error: Any, as_json: bool) -> int:
    what = error.format_message()
    if type(error).__name__ != "NoArgsIsHelpError":  # Its help has been printed.
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "rewas"
        print_problem(f"{what.rstrip('.')}.", f"See {command} --help.", "SETTINGS", as_json)
    return BAD_INPUT


def _report_error(error: Exception, arguments: Sequence[str]) -> int:
    from rewas_api.errors import JobCancelled, ProblemError, ProblemKind
    from rewas_engine import Cancelled, EngineError
    from rewas_server.work.translation import problem_from_error

    as_json = "--json" in arguments
    if isinstance(error, Cancelled | JobCancelled):
        print_problem("Stopped on request.", "No incomplete files were left.", "CANCELLED", as_json)
        return INTERRUPTED
    problem = problem_from_error(error)
    if not isinstance(error, ProblemError | EngineError | OSError | MemoryError):
        traceback.print_exception(error)
    # The clips of a timeline carry settings under the contract's names, not as options.
    typed = {} if problem.kind is ProblemKind.TIMELINE else typed_options(arguments)
    what, remedy = with_option_names(problem.what, typed), with_option_names(problem.remedy, typed)
    print_problem(what, remedy, problem.kind.name, as_json)
    input_problems = {
        ProblemKind.SETTINGS,
        ProblemKind.MEDIA,
        ProblemKind.PACK,
        ProblemKind.TIMELINE,
        ProblemKind.PERMISSION,
        ProblemKind.NOT_FOUND,
        ProblemKind.CONFLICT,
    }
    return BAD_INPUT if problem.kind in input_problems else FAILED_WORK


def typed_options(arguments: Sequence[str]) -> dict[str, str]:
    """Return the names of the settings that were typed, with their options."""
    typed = [argument.partition("=")[0] for argument in arguments]
    return {name: option for name, option in _OPTION_BY_SETTING.items() if option in typed}


def with_option_names(sentence: str, typed: Mapping[str, str]) -> str:
    """Replace names of settings in a sentence by options. typed: see `typed_options`."""
    for name, option in typed.items():
        sentence = re.sub(rf"(?<![\w-]){re.escape(name)}\b", option, sentence)
    return sentence


def _report_lost_output(lost: OSError) -> int:
    # If the reader has closed the pipe (rewas … | head), nobody would see a message.
    if not isinstance(lost, BrokenPipeError):
        print_problem(
            f"Standard output cannot be written ({lost.strerror or lost}).",
            "Redirect it to a place with free space.",
            "RESOURCES",
            as_json=False,
        )
    return FAILED_WORK
