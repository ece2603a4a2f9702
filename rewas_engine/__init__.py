"""The ReWaS method: video and words in, energy and sound out. This is the whole public face of the engine."""

from typing import TYPE_CHECKING, Any

from rewas_engine.clip import VideoClip
from rewas_engine.energy import SILENCE_NATS, EnergyCurve
from rewas_engine.errors import Cancelled, EngineError, MediaError, PackError, SettingsError
from rewas_engine.packs import InstalledPack, installed_packs
from rewas_engine.results import ClipRead, ConflictReport, GenerationResult, PackInfo, Progress, Stem, Take

if TYPE_CHECKING:
    from rewas_engine.pipeline import ReWaS

__all__ = [
    "SILENCE_NATS",
    "Cancelled",
    "ClipRead",
    "ConflictReport",
    "EnergyCurve",
    "EngineError",
    "GenerationResult",
    "InstalledPack",
    "MediaError",
    "PackError",
    "PackInfo",
    "Progress",
    "ReWaS",
    "SettingsError",
    "Stem",
    "Take",
    "VideoClip",
    "installed_packs",
]


def __getattr__(name: str) -> Any:
    # Torch takes seconds to import: a server's front process and `rewas --help` need the types, not the model.
    if name == "ReWaS":
        from rewas_engine.pipeline import ReWaS

        return ReWaS
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
