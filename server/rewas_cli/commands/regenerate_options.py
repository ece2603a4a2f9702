"""What the command line says of a sound that is to be made again."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import typer

from rewas_api.v1 import rewas_pb2
from rewas_cli.commands.shared_options import seconds
from rewas_engine import MediaError, SettingsError
from rewas_server.work.translation import rational

_RANGE = "--range"


def regenerate_message(
    sound: Path | None, time_range: str | None, degree: float | None
) -> rewas_pb2.Regeneration | None:
    """The regeneration that --again, --range and --degree ask for; None where they are not given.

    Raises SettingsError where a range or degree comes without a sound, MediaError where there is no such sound,
    typer.BadParameter for what is no range.
    """
    if sound is None:
        if time_range is not None or degree is not None:
            what = "A range" if time_range is not None else "A degree"
            raise SettingsError(f"{what} is to be made again, but not of which sound.", "Name the sound with --again.")
        return None
    if not sound.is_file():
        raise MediaError(f"There is no sound {sound}.", "Give the WAV or FLAC file that is to be made again.")
    start_s, end_s = (None, None) if time_range is None else parse_range(time_range)
    return rewas_pb2.Regeneration(
        sound_url=str(sound.absolute()),
        start_s=None if start_s is None else rational(start_s),
        end_s=None if end_s is None else rational(end_s),
        strength=degree,
    )


def parse_range(text: str) -> tuple[Fraction | None, Fraction | None]:
    """A range as it is typed: "1.5-3", "1:02-1:05.5", "4-" to the end, "-2" from the beginning.

    Raises typer.BadParameter for anything else, and where it ends before it begins.
    """
    begin, dash, end = text.partition("-")
    if not dash or not (begin.strip() or end.strip()):
        raise typer.BadParameter(f"{text!r} is not a range; write it as 1.5-3, 4- or -2.", param_hint=_RANGE)
    start_s = seconds(begin, _RANGE) if begin.strip() else None
    end_s = seconds(end, _RANGE) if end.strip() else None
    if end_s is not None and end_s <= (start_s or 0):
        raise typer.BadParameter(f"The range {text} ends before it begins.", param_hint=_RANGE)
    return start_s, end_s
