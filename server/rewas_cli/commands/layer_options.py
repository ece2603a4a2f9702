"""The layer options: prompts, gains and energies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rewas_api.layer_settings import LayerSettings
from rewas_api.performance_settings import PerformanceSettings
from rewas_cli.commands.energy_options import EnergyOptions
from rewas_engine import MediaError, SettingsError

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
        """The files that the layers' energies are read from, and their reference sounds."""
        likes = [Path(layer.like) for layer in self.layers or () if layer.like]
        return (*(path for energy in self.energies.values() for path in energy.input_files), *likes)

    @classmethod
    def from_options(
        cls,
        ambience: str | None,
        layers: Sequence[str] | None,
        gains: Sequence[str] | None,
        following: Sequence[str] | None,
        energies: Sequence[str] | None = None,
        edits: Sequence[str] | None = None,
        likes: Sequence[str] | None = None,
        packs: Sequence[str] | None = None,
        recordings: Sequence[str] | None = None,
    ) -> LayerOptions:
        """Parse --ambience, --layer NAME=TEXT, --gain NAME=DB, --following NAME, --layer-energy NAME=SOURCE,
        --layer-edit NAME=EDIT, --layer-like NAME=SOUND, --layer-pack NAME=PACK and --layer-recording NAME=N.

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
        sounds = {
            name: str(find_reference_sound(Path(text)))
            for name, text in _one_for_each_layer(
                "--layer-like", likes, "ambience=street.wav", "reference sound"
            ).items()
        }
        own_packs = _one_for_each_layer("--layer-pack", packs, "ambience=starter", "pack")
        places = {
            name: _parse_place(text)
            for name, text in _one_for_each_layer(
                "--layer-recording", recordings, "ambience=1", "choice of recordings"
            ).items()
        }
        names = [name for name, _ in prompts]
        for option, used in (
            ("--gain", [name for name in gains_db if name != PRIMARY]),
            ("--following", following),
            ("--layer-energy", [name for name, _ in sources]),
            ("--layer-edit", [name for name, _ in changes]),
            ("--layer-like", list(sounds)),
            ("--layer-pack", list(own_packs)),
            ("--layer-recording", list(places)),
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
            LayerSettings(
                name,
                text,
                gains_db.get(name),
                "following" if name in (following or ()) else None,
                sounds.get(name),
                own_packs.get(name),
                PerformanceSettings(places.get(name)),
            )
            for name, text in prompts
        )
        chosen = {
            name: EnergyOptions.from_options(source, [edit for edited, edit in changes if edited == name])
            for name, source in sources
        }
        return cls(parsed_layers or None, gains_db.get(PRIMARY), chosen)


def find_reference_sound(path: Path) -> Path:
    """Return the absolute path of a reference sound. Raises MediaError if there is no such file."""
    if not path.is_file():
        raise MediaError(
            f"The reference sound {path} does not exist." if not path.exists() else f"{path} is not a file.",
            "Give the path of a sound file.",
        )
    return path.absolute()


def _one_for_each_layer(option: str, given: Sequence[str] | None, example: str, what: str) -> dict[str, str]:
    """Parse an option NAME=TEXT that each layer may have once. Raises SettingsError. what: the option gives."""
    texts: dict[str, str] = {}
    for name, text in (_split_assignment(each, option, example) for each in given or ()):
        if name in texts:
            raise SettingsError(f"The layer {name!r} has more than one {what}.", f"Give one {option} for each layer.")
        texts[name] = text
    return texts


def _parse_place(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise SettingsError(f"--layer-recording is “{text[:60]}”.", "Write it as --layer-recording 'ambience=1'.")
    return int(text)


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
