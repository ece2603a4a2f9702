"""The layer options: prompts, gains and energies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rewas_api.layer_settings import LayerSettings
from rewas_cli.commands.energy_options import EnergyOptions
from rewas_engine import SettingsError

PRIMARY, AMBIENCE = "primary", "ambience"


@dataclass(frozen=True)
class LayerOptions:
    """Layers for the settings, and the gain of the primary stem; None if not given.

    Args:
        layers: The layers.
        gain_db: The gain of the primary stem.
        energies: The energies of the layers that have their own.
    """

    layers: tuple[LayerSettings, ...] | None
    gain_db: float | None
    energies: Mapping[str, EnergyOptions] = field(default_factory=dict)

    @property
    def prompts(self) -> dict[str, str]:
        """The prompt of each layer, by name."""
        return {layer.name: layer.prompt for layer in self.layers or ()}

    @property
    def input_files(self) -> tuple[Path, ...]:
        """The files that the layers' energies are read from."""
        return tuple(path for energy in self.energies.values() for path in energy.input_files)

    @classmethod
    def from_options(
        cls,
        ambience: str | None,
        layers: Sequence[str] | None,
        gains: Sequence[str] | None,
        following: Sequence[str] | None,
        energies: Sequence[str] | None = None,
        edits: Sequence[str] | None = None,
    ) -> LayerOptions:
        """Parse --ambience, --layer NAME=TEXT, --gain NAME=DB, --following NAME, --layer-energy NAME=SOURCE and
        --layer-edit NAME=EDIT.

        Raises SettingsError if they cannot be parsed, and ProblemError for an invalid layer.
        """
        prompts = [] if ambience is None else [(AMBIENCE, ambience)]
        prompts += [_split_assignment(each, "--layer", "crowd=people clapping") for each in layers or ()]
        gains_db: dict[str, float] = {}
        for name, text in (_split_assignment(each, "--gain", "ambience=-12") for each in gains or ()):
            if name in gains_db:
                raise SettingsError(f"The stem {name!r} has more than one gain.", "Give one --gain for each stem.")
            gains_db[name] = _parse_gain_db(text)
        sources = [_split_assignment(each, "--layer-energy", "ambience=flat:-7") for each in energies or ()]
        changes = [_split_assignment(each, "--layer-edit", "ambience=fade in 0.5") for each in edits or ()]
        names = [name for name, _ in prompts]
        for option, used in (
            ("--gain", [name for name in gains_db if name != PRIMARY]),
            ("--following", following),
            ("--layer-energy", [name for name, _ in sources]),
            ("--layer-edit", [name for name, _ in changes]),
        ):
            for name in used or ():
                if name not in names:
                    raise SettingsError(
                        f"{option} names a layer {name!r} that does not exist.",
                        f"Choose one of {', '.join(names)}." if names else "Add it with --layer or --ambience.",
                    )
        for number, (name, _) in enumerate(sources):
            if name in (following or ()) or name in [other for other, _ in sources[:number]]:
                raise SettingsError(
                    f"The layer {name!r} has more than one energy.", "Give one --layer-energy, or --following."
                )
        for name, _ in changes:
            if name not in [followed for followed, _ in sources]:
                raise SettingsError(
                    f"--layer-edit edits the energy of the layer {name!r}, but no --layer-energy sets one.",
                    "Choose its source with --layer-energy.",
                )
        parsed_layers = tuple(
            LayerSettings(name, text, gains_db.get(name), "following" if name in (following or ()) else None)
            for name, text in prompts
        )
        chosen = {
            name: EnergyOptions.from_options(source, [edit for edited, edit in changes if edited == name])
            for name, source in sources
        }
        return cls(parsed_layers or None, gains_db.get(PRIMARY), chosen)


def _split_assignment(text: str, option: str, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise SettingsError(f"{option} is “{text[:60]}”.", f"Write it as {option} {example!r}.")
    return name.strip(), value.strip()


def _parse_gain_db(text: str) -> float:
    try:
        return float(text.removesuffix("dB") if text.isascii() and "_" not in text else "")
    except ValueError:
        raise SettingsError(f"The gain “{text[:60]}” is not a number.", "Write it as ambience=-12.") from None
