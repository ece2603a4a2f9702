"""The ReWaS method: video and a prompt in, energy and sound out. This is the public interface of the engine."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from rewas_engine.errors import (
        Cancelled,
        EngineError,
        InsufficientMemoryError,
        MediaError,
        PackError,
        SettingsError,
    )
    from rewas_engine.generation.options import Control, Output, Sampling
    from rewas_engine.generation.sampling_settings import SamplingSettings
    from rewas_engine.matching.report import ConflictError, ConflictReport, ConflictSpan, Familiarity, Suggestion
    from rewas_engine.media.clip import VideoClip
    from rewas_engine.media.cuts import find_cuts
    from rewas_engine.media.image_sequence import ImageSequence
    from rewas_engine.media.probe import ProbedClip
    from rewas_engine.media.reference import ReferenceSound
    from rewas_engine.media.stem import Stem
    from rewas_engine.packs.description import InstalledPack, PackInfo, installed_packs
    from rewas_engine.pipeline import ReWaS
    from rewas_engine.recordings.credits import UsedRecording
    from rewas_engine.recordings.options import PerformanceOptions
    from rewas_engine.requests.layers import Layer
    from rewas_engine.requests.notes import Note
    from rewas_engine.requests.regeneration import Regenerate
    from rewas_engine.requests.results import GenerationResult, LayerReport, Take
    from rewas_engine.runtime.execution import Execution
    from rewas_engine.runtime.progress import Progress

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
    "PerformanceOptions",
    "ProbedClip",
    "Progress",
    "RaiseBand",
    "ReWaS",
    "ReferenceSound",
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
    "UsedRecording",
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

_NAMES_BY_MODULE: dict[str, tuple[str, ...]] = {
    "rewas_engine.curves.edit_parser": (
        "parse_edit",
        "parse_texture_edit",
    ),
    "rewas_engine.curves.edits": (
        "BoostEvents",
        "Compress",
        "DuplicateEvent",
        "EnergyEdit",
        "FadeIn",
        "FadeOut",
        "Gate",
        "IsolateEvents",
        "MoveEvent",
        "MuteEvents",
        "Offset",
        "RaiseBand",
        "Scale",
        "Shift",
        "Smooth",
        "Stretch",
        "TextureEdit",
        "Tilt",
        "apply_edits",
    ),
    "rewas_engine.curves.energy": (
        "SILENCE_NATS",
        "EnergyCurve",
    ),
    "rewas_engine.curves.events": (
        "EnergyEvent",
        "find_events",
        "onset_strengths",
    ),
    "rewas_engine.curves.sources": (
        "curve_from_points",
        "flat_curve",
        "read_curve",
        "read_texture",
        "texture_from_points",
        "write_curve",
        "write_texture",
    ),
    "rewas_engine.curves.texture": (
        "TextureCurve",
        "flat_texture",
    ),
    "rewas_engine.errors": (
        "Cancelled",
        "EngineError",
        "InsufficientMemoryError",
        "MediaError",
        "PackError",
        "SettingsError",
    ),
    "rewas_engine.generation.options": (
        "Control",
        "Output",
        "Sampling",
    ),
    "rewas_engine.generation.sampling_settings": ("SamplingSettings",),
    "rewas_engine.matching.report": (
        "ConflictError",
        "ConflictReport",
        "ConflictSpan",
        "Familiarity",
        "Suggestion",
    ),
    "rewas_engine.media.clip": ("VideoClip",),
    "rewas_engine.media.cuts": ("find_cuts",),
    "rewas_engine.media.image_sequence": ("ImageSequence",),
    "rewas_engine.media.probe": ("ProbedClip",),
    "rewas_engine.media.stem": ("Stem",),
    "rewas_engine.packs.description": (
        "InstalledPack",
        "PackInfo",
        "installed_packs",
    ),
    "rewas_engine.pipeline": ("ReWaS",),
    "rewas_engine.recordings.credits": ("UsedRecording",),
    "rewas_engine.recordings.options": ("PerformanceOptions",),
    "rewas_engine.requests.layers": ("Layer",),
    "rewas_engine.requests.notes": ("Note",),
    "rewas_engine.media.reference": ("ReferenceSound",),
    "rewas_engine.requests.regeneration": ("Regenerate",),
    "rewas_engine.requests.results": (
        "GenerationResult",
        "LayerReport",
        "Take",
    ),
    "rewas_engine.runtime.execution": ("Execution",),
    "rewas_engine.runtime.progress": ("Progress",),
}
_MODULE_BY_NAME = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}


def __getattr__(name: str) -> Any:
    # Importing torch takes seconds, and a process that only reads timelines needs none of these modules.
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name != "ReWaS":
        return getattr(import_module(_MODULE_BY_NAME[name]), name)
    from rewas_engine.runtime.garbage_collection import paused_garbage_collection

    with paused_garbage_collection():
        return import_module(_MODULE_BY_NAME[name]).ReWaS


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
