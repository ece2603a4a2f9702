"""What is typed after `rewas`: its commands, and what is said and returned where one cannot be done."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from rewas_cli.commands.batch import batch
from rewas_cli.commands.bench import bench
from rewas_cli.commands.conflict import conflict
from rewas_cli.commands.energy import energy
from rewas_cli.commands.evaluate import evaluate
from rewas_cli.commands.generate import generate
from rewas_cli.commands.packs import packs
from rewas_cli.commands.serve import serve
from rewas_cli.commands.texture import texture
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

app = typer.Typer(
    name="rewas",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Sound for picture: ReWaS listens to what a picture does and to what you say should be heard.",
)
app.command()(generate)
app.command()(energy)
app.command()(texture)
app.command()(conflict)
app.command()(batch)
app.add_typer(packs, name="packs")
app.command("eval")(evaluate)
app.command()(bench)
app.command()(serve)
app.add_typer(train, name="train")

_OPTIONS_BY_SETTING = {
    "num_steps": ("--steps", "--num-steps"),
    "num_inference_steps": ("--steps", "--num-steps"),
    "guidance_scale": ("--guidance-scale",),
    "control_strength": ("--strength", "--control-strength"),
    "control_start": ("--control-from",),
    "control_end": ("--control-until",),
    "conflict_policy": ("--conflict",),
    "sample_rate_hz": ("--sample-rate",),
    "gain_db": ("--gain",),
}
"""What the engine and the contract call what may be typed."""

_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""Typer raises click's usage errors or its own copies of them, depending on its version."""


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code; everything that is to be said has then been said."""
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
        return _told(error, arguments) if lost is None else _report_lost_output(lost)
    except Exception as error:
        return _told(error, arguments)
    finally:
        # What was said last may be what standard output does not take.
        find_lost_output()


def _report_usage_error(error: Any, as_json: bool) -> int:
    what = error.format_message()
    if "\n" in what:  # Nothing but a group's name was given: the message is its help.
        error.show()
    else:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "rewas"
        print_problem(f"{what.rstrip('.')}.", f"See {command} --help.", "SETTINGS", as_json)
    return BAD_INPUT


def _told(error: Exception, arguments: Sequence[str]) -> int:
    from rewas_api.errors import JobCancelled, ProblemError, ProblemKind
    from rewas_engine import Cancelled, EngineError
    from rewas_server.work.translation import problem_from_error

    as_json = "--json" in arguments
    if isinstance(error, Cancelled | JobCancelled):
        print_problem("Stopped on request.", "Nothing half-written was left behind.", "CANCELLED", as_json)
        return INTERRUPTED
    problem = problem_from_error(error)
    if not isinstance(error, ProblemError | EngineError | OSError | MemoryError):
        traceback.print_exception(error)
    # A timeline's clips carry settings under their own names, which nobody typed.
    typed = {} if problem.kind is ProblemKind.TIMELINE else typed_options(arguments)
    what, remedy = with_option_names(problem.what, typed), with_option_names(problem.remedy, typed)
    print_problem(what, remedy, problem.kind.name, as_json)
    asked_wrongly = {
        ProblemKind.SETTINGS,
        ProblemKind.MEDIA,
        ProblemKind.PACK,
        ProblemKind.TIMELINE,
        ProblemKind.PERMISSION,
        ProblemKind.NOT_FOUND,
        ProblemKind.CONFLICT,
    }
    return BAD_INPUT if problem.kind in asked_wrongly else FAILED_WORK


def typed_options(arguments: Sequence[str]) -> dict[str, str]:
    """Names of settings -> the options that were typed for them."""
    typed = [argument.partition("=")[0] for argument in arguments]
    return {name: option for name, options in _OPTIONS_BY_SETTING.items() for option in options if option in typed}


def with_option_names(sentence: str, typed: Mapping[str, str]) -> str:
    """A sentence about settings in the words of the command line. typed: as of `typed_options`."""
    for name, option in typed.items():
        sentence = re.sub(rf"(?<![\w-]){name}\b", option, sentence)
    return sentence


def _report_lost_output(lost: OSError) -> int:
    # A reader that has gone (rewas … | head) wants to hear no more.
    if not isinstance(lost, BrokenPipeError):
        print_problem(
            f"Standard output cannot be written ({lost.strerror or lost}).",
            "Send it to where there is room.",
            "RESOURCES",
            as_json=False,
        )
    return FAILED_WORK
