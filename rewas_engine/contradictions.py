"""Which settings of one request contradict each other."""

from __future__ import annotations

from collections.abc import Sequence

from rewas_engine.clip import Seconds
from rewas_engine.errors import SettingsError
from rewas_engine.layers import Layer
from rewas_engine.limits import OUTPUT_RATES_HZ
from rewas_engine.revision import Revision


def check_together(
    *, layers: Sequence[Layer], gain_db: float, loop: bool, cuts: Sequence[Seconds], revision: Revision | None
) -> None:
    """Raises SettingsError where what is asked for cannot be had at once."""
    if layers and revision is not None:
        raise SettingsError(
            "A part of a sound is to be made again, and there are layers beside it.", "Make each again by itself."
        )
    if gain_db and revision is not None:
        raise SettingsError(
            f"A part of a sound is to be made again, with a gain of {gain_db:g} dB: what stays keeps its level.",
            "Leave the gain out.",
        )
    if loop and revision is not None:
        raise SettingsError("A part of a sound is to be made again, and to loop.", "Ask for one of the two.")
    if cuts and (loop or revision is not None):
        other = "it is to loop" if loop else "a part of it is to be made again"
        raise SettingsError(f"The sound is to begin anew at cuts, and {other}.", "Ask for one of the two.")


def output_rate_hz(sample_rate_hz: int | None, pack_rate_hz: int, revision: Revision | None) -> int:
    """The rate of the stems: what is asked for, or the pack's own, or that of the sound that is revised.

    Raises SettingsError for a rate that is not offered, or another one than that of the sound that is revised.
    """
    if revision is not None:
        own_hz = revision.stem.sample_rate_hz
        if sample_rate_hz not in (None, own_hz):
            raise SettingsError(
                f"A sound at {own_hz} Hz is to be made again in part, at {sample_rate_hz} Hz.",
                f"Ask for {own_hz} Hz: what stays is not resampled.",
            )
        return own_hz
    rate_hz = pack_rate_hz if sample_rate_hz is None else sample_rate_hz
    if rate_hz not in (*OUTPUT_RATES_HZ, pack_rate_hz):
        raise SettingsError(f"sample_rate_hz is {rate_hz}.", f"Choose one of {', '.join(map(str, OUTPUT_RATES_HZ))}.")
    return rate_hz
