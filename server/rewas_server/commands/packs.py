"""`rewas packs`: the model packs that there are."""

from __future__ import annotations

import typer

from rewas_server.commands.options import JsonOption, ServerOption
from rewas_server.console import Printer, standard_output_kept_clean

packs = typer.Typer(no_args_is_help=True, help="Look after model packs.")


@packs.command("list")
def list_packs(server: ServerOption = None, as_json: JsonOption = False) -> None:
    """List the installed model packs, what each may be used for, and what is wrong with it."""
    from rewas_server.reports import pack_report
    from rewas_server.running import runner_for

    with standard_output_kept_clean(), runner_for(server) as runner:
        reports = [pack_report(pack) for pack in runner.packs()]
    lines = []
    for report in reports:
        if report["problem"]:
            lines.append(f"{report['name']}: unusable. {report['problem']['what']} {report['problem']['remedy']}")
        else:
            lines.append(f"{report['name']} {report['version']} ({report['licence']}): {report['summary']}")
            lines.append(f"    {report['permits']}")
    Printer(as_json).result({"packs": reports}, lines or ["No pack is installed."])
