"""The options for regenerating a sound: --regenerate, --range and --strength."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import typer

from rewas_api.v1 import rewas_pb2
from rewas_cli.commands.shared_options import parse_time_s
from rewas_engine import MediaError, SettingsError
from rewas_server.work.translation import rational

_RANGE = "--range"


def regenerate_message(
    sound: Path | None, time_range: str | None, strength: float | None
) -> rewas_pb2.Regeneration | None:
    """Return the request that the options make; None without --regenerate.

    Raises:
        SettingsError: a range or strength without a sound.
        MediaError: the sound does not exist.
        typer.BadParameter: the range cannot be read.
    """
    if sound is None:
        if time_range is not None or strength is not None:
            option = _RANGE if time_range is not None else "--strength"
            raise SettingsError(f"{option} needs a sound to regenerate.", "Name the sound with --regenerate.")
        return None
    if not sound.is_file():
        raise MediaError(f"The sound {sound} does not exist.", "Name the WAV or FLAC file to regenerate.")
    start_s, end_s = (None, None) if time_range is None else parse_range(time_range)
    return rewas_pb2.Regeneration(
        sound_url=str(sound.absolute()),
        start_s=None if start_s is None else rational(start_s),
        end_s=None if end_s is None else rational(end_s),
        strength=strength,
    )


def parse_range(text: str) -> tuple[Fraction | None, Fraction | None]:
    """Return start and end of a typed range: "1.5-3", "1:02-1:05.5", "4-" (to the end), "-2" (from the beginning).

    Raises typer.BadParameter for anything else, and for a range that ends before it begins.
    """
    begin, dash, end = text.partition("-")
    if not dash or not (begin.strip() or end.strip()):
        raise typer.BadParameter(f"{text!r} is not a range; write it as 1.5-3, 4- or -2.", param_hint=_RANGE)
    start_s = parse_time_s(begin, _RANGE) if begin.strip() else None
    end_s = parse_time_s(end, _RANGE) if end.strip() else None
    if end_s is not None and end_s <= (start_s or 0):
        raise typer.BadParameter(f"The range {text} ends before it begins.", param_hint=_RANGE)
    return start_s, end_s
