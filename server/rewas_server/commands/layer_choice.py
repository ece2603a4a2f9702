"""What the command line says of layers: their words, gains and energies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rewas_api.layer_settings import LayerSettings
from rewas_engine import SettingsError

PRIMARY, AMBIENCE = "primary", "ambience"


@dataclass(frozen=True)
class LayerChoice:
    """Layers as settings hold them, and the gain of the primary stem; None is what is not said."""

    layers: tuple[LayerSettings, ...] | None
    gain_db: float | None

    @classmethod
    def parsed(
        cls,
        ambience: str | None,
        layers: Sequence[str] | None,
        gains: Sequence[str] | None,
        following: Sequence[str] | None,
    ) -> LayerChoice:
        """What --ambience TEXT, --layer NAME=TEXT, --gain NAME=DB and --following NAME say.

        Raises SettingsError for what cannot be understood, and ProblemError for what no layer can be.
        """
        words = [] if ambience is None else [(AMBIENCE, ambience)]
        words += [_named(each, "--layer", "crowd=people clapping") for each in layers or ()]
        gains_db = {name: _gain_db(text) for name, text in (_named(g, "--gain", "ambience=-12") for g in gains or ())}
        names = [name for name, _ in words]
        for option, asked in (("--gain", [name for name in gains_db if name != PRIMARY]), ("--following", following)):
            for name in asked or ():
                if name not in names:
                    raise SettingsError(
                        f"{option} speaks of a layer {name!r}, which there is not.",
                        f"Choose one of {', '.join(names)}." if names else "Add it with --layer or --ambience.",
                    )
        made = tuple(
            LayerSettings(name, text, gains_db.get(name), "following" if name in (following or ()) else None)
            for name, text in words
        )
        return cls(made or None, gains_db.get(PRIMARY))


def _named(text: str, option: str, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise SettingsError(f"{option} is “{text[:60]}”.", f"Write it as {option} {example!r}.")
    return name.strip(), value.strip()


def _gain_db(text: str) -> float:
    try:
        return float(text.removesuffix("dB") if text.isascii() and "_" not in text else "")
    except ValueError:
        raise SettingsError(f"The gain “{text[:60]}” is no number.", "Write it as ambience=-12.") from None
