"""`rewas doctor`: checks the whole installation."""

from __future__ import annotations

from typing import Annotated

import typer

from rewas_cli.commands.shared_options import ConfigFileOption, JsonOption
from rewas_cli.console import FAILED_WORK, SUCCESS, Printer, protect_stdout

EXAMPLES = """\
rewas doctor
rewas doctor --full --json
"""


def doctor(
    full: Annotated[
        bool, typer.Option("--full", help="Also generate a second of sound, which takes seconds to minutes.")
    ] = False,
    config_file: ConfigFileOption = None,
    database: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Check this PostgreSQL database, as in postgresql://USER@HOST/DATABASE."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Check packages, packs, device, media formats, state, databases, server and extension, and say what to do.

    The exit code is 1 if there is a problem.
    """
    from rewas_cli.diagnosis import PROBLEM, WARNING, check_installation

    with protect_stdout():
        findings = list(check_installation(config_file, database=database, full=full))
    count = {level: sum(finding.level == level for finding in findings) for level in (PROBLEM, WARNING)}
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<8} {finding.name}: {finding.found}")
        if finding.remedy:
            lines.append(f"{'':<8} -> {finding.remedy}")
    lines.append("")
    lines.append(
        "Everything is in order."
        if not any(count.values())
        else f"Problems: {count[PROBLEM]}; warnings: {count[WARNING]}."
    )
    report = {
        "problems": count[PROBLEM],
        "warnings": count[WARNING],
        "findings": [
            {"name": each.name, "level": each.level, "found": each.found, "remedy": each.remedy or None}
            for each in findings
        ],
    }
    Printer(as_json).result(report, lines)
    return FAILED_WORK if count[PROBLEM] else SUCCESS
