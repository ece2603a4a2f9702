"""`rewas timeline profiles`: delivery profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewas_cli.commands.completion import complete_profile
from rewas_cli.commands.shared_options import JsonOption
from rewas_cli.console import FAILED_WORK, SUCCESS, Printer

if TYPE_CHECKING:
    from rewas_server.delivery.profiles import Profile

EXAMPLES = """\
rewas timeline profiles
rewas timeline profiles --show post > studio.toml
rewas timeline profiles --show studio.toml
"""


def profiles(
    show: Annotated[
        str | None,
        typer.Option(
            "--show",
            metavar="PROFILE",
            help="Print a profile to copy or check it. PROFILE is a name or a TOML file.",
            autocompletion=complete_profile,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """List the delivery profiles, which determine what `rewas batch` delivers.

    To make your own profile, save one of these with --show, change it, and put it into
    the folder named at the end of the list.

    The exit code is 1 if a profile in that folder is not valid.
    """
    if show is None:
        return _print_list(as_json)
    from rewas_server.delivery.profiles import load_profile

    profile = load_profile(show)
    Printer(as_json).result(_report(profile), profile.path.read_text("utf-8").splitlines())
    return SUCCESS


def _print_list(as_json: bool) -> int:
    from rewas_api.errors import ProblemError
    from rewas_server.delivery.profiles import list_profiles, read_profile, user_profiles_folder

    reports: list[dict[str, Any]] = []
    lines = []
    for name, path in list_profiles().items():
        try:
            profile = read_profile(path)
        except ProblemError as error:
            problem = {"what": error.what, "remedy": error.remedy}
            reports.append({"name": name, "path": str(path), "problem": problem})
            lines.append(f"{name}: unusable. {error.what} {error.remedy}")
        else:
            reports.append({"name": name, "path": str(path), "summary": profile.summary, "problem": None})
            lines.append(f"{name}: {profile.summary}".rstrip(": "))
    lines.append(f"The folder for your own profiles is {user_profiles_folder()}.")
    Printer(as_json).result({"profiles": reports, "folder": str(user_profiles_folder())}, lines)
    return FAILED_WORK if any(report["problem"] for report in reports) else SUCCESS


def _report(profile: Profile) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(profile) | {"path": str(profile.path)}
