"""The ReWaS method: video and a prompt in, energy and sound out. This is the public interface of the engine."""

from typing import TYPE_CHECKING, Any

from rewas_engine.curves.edit_parser import parse_edit, parse_texture_edit
from rewas_engine.curves.edits import (
    BoostEvents,
    Compress,
    DuplicateEvent,
    EnergyEdit,
    FadeIn,
    FadeOut,
    Gate,
    IsolateEvents,
    MoveEvent,
    MuteEvents,
    Offset,
    RaiseBand,
    Scale,
    Shift,
    Smooth,
    Stretch,
    TextureEdit,
    Tilt,
    apply_edits,
)
from rewas_engine.curves.energy import SILENCE_NATS, EnergyCurve
from rewas_engine.curves.events import EnergyEvent, find_events, onset_strengths
from rewas_engine.curves.sources import (
    curve_from_points,
    flat_curve,
    read_curve,
    read_texture,
    texture_from_points,
    write_curve,
    write_texture,
)
from rewas_engine.curves.texture import TextureCurve, flat_texture
from rewas_engine.errors import Cancelled, EngineError, InsufficientMemoryError, MediaError, PackError, SettingsError
from rewas_engine.generation.options import Control, Output, Sampling
from rewas_engine.generation.sampling_settings import SamplingSettings
from rewas_engine.matching.report import ConflictError, ConflictReport, ConflictSpan, Familiarity, Suggestion
from rewas_engine.media.clip import VideoClip
from rewas_engine.media.cuts import find_cuts
from rewas_engine.media.image_sequence import ImageSequence
from rewas_engine.media.probe import ProbedClip
from rewas_engine.media.stem import Stem
from rewas_engine.packs.description import InstalledPack, PackInfo, installed_packs
from rewas_engine.requests.layers import Layer
from rewas_engine.requests.notes import Note
from rewas_engine.requests.results import GenerationResult, LayerReport, Take
from rewas_engine.runtime.execution import Execution
from rewas_engine.runtime.imports import without_collection
from rewas_engine.runtime.progress import Progress

if TYPE_CHECKING:
    from rewas_engine.pipeline import ReWaS
    from rewas_engine.requests.regeneration import Regenerate

__all__ = [
    "SILENCE_NATS",
    "BoostEvents",
    "Cancelled",
    "Compress",
    "ConflictError",
    "ConflictReport",
    "ConflictSpan",
    "Control",
    "DuplicateEvent",
    "EnergyCurve",
    "EnergyEdit",
    "EnergyEvent",
    "EngineError",
    "Execution",
    "FadeIn",
    "FadeOut",
    "Familiarity",
    "Gate",
    "GenerationResult",
    "ImageSequence",
    "InstalledPack",
    "InsufficientMemoryError",
    "IsolateEvents",
    "Layer",
    "LayerReport",
    "MediaError",
    "MoveEvent",
    "MuteEvents",
    "Note",
    "Offset",
    "Output",
    "PackError",
    "PackInfo",
    "ProbedClip",
    "Progress",
    "RaiseBand",
    "ReWaS",
    "Regenerate",
    "Sampling",
    "SamplingSettings",
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
    "apply_edits",
    "curve_from_points",
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
    # Importing torch takes seconds, and the server's main process and `rewas --help` only need the types.
    if name == "ReWaS":
        with without_collection():
            from rewas_engine.pipeline import ReWaS

        return ReWaS
    if name == "Regenerate":
        from rewas_engine.requests.regeneration import Regenerate

        return Regenerate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
