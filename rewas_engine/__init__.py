"""The ReWaS method: video and words in, energy and sound out. This is the whole public face of the engine."""

from typing import TYPE_CHECKING, Any

from rewas_engine.clip import VideoClip
from rewas_engine.curve_edits import (
    EnergyEdit,
    FadeIn,
    FadeOut,
    Scale,
    Shift,
    Smooth,
    Stretch,
    TextureEdit,
    edited,
)
from rewas_engine.edit_words import parse_edit, parse_texture_edit
from rewas_engine.energy import SILENCE_NATS, EnergyCurve
from rewas_engine.energy_edits import (
    BoostEvents,
    Compress,
    DuplicateEvent,
    Gate,
    IsolateEvents,
    MoveEvent,
    MuteEvents,
    Offset,
)
from rewas_engine.energy_events import EnergyEvent, find_events, onset_strengths
from rewas_engine.energy_sources import curve_from_points, flat_curve, read_curve, write_curve
from rewas_engine.errors import (
    Cancelled,
    ConflictError,
    EngineError,
    MediaError,
    MemoryShortage,
    PackError,
    SettingsError,
)
from rewas_engine.execution import Execution
from rewas_engine.layers import Layer
from rewas_engine.packs import InstalledPack, installed_packs
from rewas_engine.results import (
    ClipRead,
    ConflictMoment,
    ConflictReport,
    GenerationResult,
    LayerReport,
    PackInfo,
    Progress,
    Stem,
    Suggestion,
    Take,
)
from rewas_engine.shots import find_cuts
from rewas_engine.texture import TextureCurve, flat_texture
from rewas_engine.texture_edits import RaiseBand, Tilt
from rewas_engine.texture_sources import read_texture, texture_from_points, write_texture

if TYPE_CHECKING:
    from rewas_engine.pipeline import ReWaS
    from rewas_engine.revision import Revision

__all__ = [
    "SILENCE_NATS",
    "BoostEvents",
    "Cancelled",
    "ClipRead",
    "Compress",
    "ConflictError",
    "ConflictMoment",
    "ConflictReport",
    "DuplicateEvent",
    "EnergyCurve",
    "EnergyEdit",
    "EnergyEvent",
    "EngineError",
    "Execution",
    "FadeIn",
    "FadeOut",
    "Gate",
    "GenerationResult",
    "InstalledPack",
    "IsolateEvents",
    "Layer",
    "LayerReport",
    "MediaError",
    "MemoryShortage",
    "MoveEvent",
    "MuteEvents",
    "Offset",
    "PackError",
    "PackInfo",
    "Progress",
    "RaiseBand",
    "ReWaS",
    "Revision",
    "Scale",
    "SettingsError",
    "Shift",
    "Smooth",
    "Stem",
    "Stretch",
    "Suggestion",
    "Take",
    "TextureCurve",
    "TextureEdit",
    "Tilt",
    "VideoClip",
    "curve_from_points",
    "edited",
    "find_cuts",
    "find_events",
    "flat_curve",
    "flat_texture",
    "installed_packs",
    "onset_strengths",
    "parse_edit",
    "parse_texture_edit",
    "read_curve",
    "read_texture",
    "texture_from_points",
    "write_curve",
    "write_texture",
]


def __getattr__(name: str) -> Any:
    # Torch takes seconds to import: a server's front process and `rewas --help` need the types, not the model.
    if name == "ReWaS":
        from rewas_engine.pipeline import ReWaS

        return ReWaS
    if name == "Revision":
        from rewas_engine.revision import Revision

        return Revision
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
