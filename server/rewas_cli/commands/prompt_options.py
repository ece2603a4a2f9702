"""Options for the prompts of a timeline, shared by `rewas timeline` and `rewas batch`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewas_cli.commands.completion import complete_from

if TYPE_CHECKING:
    from rewas_server.otio.prompts import PromptOptions

PROMPTS_PANEL = "Prompts"

SheetOption = Annotated[
    Path | None,
    typer.Option(
        "--sheet",
        metavar="FILE",
        dir_okay=False,
        help="A spotting sheet (CSV) with the prompts of the clips. `rewas timeline sheet` writes one.",
        rich_help_panel=PROMPTS_PANEL,
    ),
]
MarkersOption = Annotated[
    str,
    typer.Option(
        "--markers",
        metavar="labelled|all|none|COLOUR",
        help="Which markers are prompts: those that begin with SFX:, FX:, FOLEY:, AMB: or PROMPT:, all of them, none, "
        "or also those of one colour.",
        autocompletion=complete_from("labelled", "all", "none", "red", "green", "blue", "yellow"),
        rich_help_panel=PROMPTS_PANEL,
    ),
]
PromptForOption = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt-for",
        metavar="PATTERN=TEXT",
        help="The prompt for clips without one whose name, media or track matches a pattern, such as 'door*=a heavy "
        "door' or 'track:V2=rain'. Can be repeated; the first match counts.",
        rich_help_panel=PROMPTS_PANEL,
    ),
]
DefaultPromptOption = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        "-p",
        metavar="TEXT",
        help="The prompt for all other clips without one.",
        rich_help_panel=PROMPTS_PANEL,
    ),
]
SuggestOption = Annotated[
    bool,
    typer.Option(
        "--suggest",
        help="Let the model pack suggest a prompt for each clip that has none.",
        rich_help_panel=PROMPTS_PANEL,
    ),
]


def prompt_options(
    prompt: str | None, prompt_for: Sequence[str] | None, markers: str, sheet: Path | None
) -> PromptOptions:
    """Return where the prompts of a timeline come from. Raises ProblemError (SETTINGS) for an invalid option."""
    from rewas_server.otio.marker_prompts import parse_marker_choice
    from rewas_server.otio.prompts import PromptOptions, check_prompt, parse_prompt_rule
    from rewas_server.otio.spotting_sheet import read_sheet

    return PromptOptions(
        prompt="" if prompt is None else check_prompt(prompt, "--prompt"),
        rules=tuple(parse_prompt_rule(rule) for rule in prompt_for or ()),
        markers=parse_marker_choice(markers),
        sheet=None if sheet is None else read_sheet(sheet),
    )
