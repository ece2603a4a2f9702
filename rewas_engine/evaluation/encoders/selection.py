"""Which encoder computes which measure: those of a folder, in the order that publications prefer, or a stand-in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, cast, get_args

from rewas_engine.errors import PackError, SettingsError
from rewas_engine.evaluation.encoders.i3d import I3dEncoder
from rewas_engine.evaluation.encoders.panns import PannsEncoder
from rewas_engine.evaluation.encoders.passt import PasstEncoder
from rewas_engine.evaluation.encoders.protocols import (
    FrameSoundEncoder,
    SoundEncoder,
    Synchroniser,
    TextFrameEncoder,
    TextSoundEncoder,
    VideoEncoder,
)
from rewas_engine.evaluation.encoders.stand_ins import JudgeEncoder, joint_space_encoder
from rewas_engine.evaluation.encoders.transformers_encoders import AstEncoder, ClapEncoder, ClipFrameEncoder
from rewas_engine.evaluation.encoders.vggish import VggishEncoder
from rewas_engine.matching.imagebind_encoder import IMAGEBIND, ImageBindEncoder
from rewas_engine.packs.components import CONFIG_FILE
from rewas_engine.packs.model_folders import LAYOUT_REMEDY, read_config
from rewas_engine.pipeline import ReWaS

Measure = Literal["fd", "fad", "mkl", "is", "clap", "clipsim", "avhscore", "fvd", "kvd", "desync"]
"""Measures that need an encoder."""
SOUND_MEASURES = ("fd", "fad", "mkl", "is")
MEASURES: tuple[Measure, ...] = get_args(Measure)

KINDS: Mapping[str, Callable[[Path, str], Any]] = {
    "audio-spectrogram-transformer": AstEncoder,
    "clap": ClapEncoder,
    "clip": ClipFrameEncoder,
    "i3d": I3dEncoder,
    IMAGEBIND: ImageBindEncoder,
    "panns": PannsEncoder,
    "passt": PasstEncoder,
    "vggish": VggishEncoder,
}
"""model_type in config.json -> class of the encoder."""

PREFERRED: Mapping[Measure, tuple[str, ...]] = {
    "fd": ("panns", "passt", "audio-spectrogram-transformer", "vggish"),
    "fad": ("vggish", "panns", "passt", "audio-spectrogram-transformer"),
    "mkl": ("passt", "panns", "audio-spectrogram-transformer"),
    "is": ("panns", "passt", "audio-spectrogram-transformer"),
    "clap": ("clap",),
    "clipsim": ("clip",),
    "avhscore": (IMAGEBIND,),
    "fvd": ("i3d",),
    "kvd": ("i3d",),
    "desync": ("synchformer",),
}
"""Measure -> kinds of encoders that can compute it, the one that publications use first."""


class EncoderSet:
    """The encoders of an evaluation. Each is loaded when it is first used.

    Args:
        model: The pack whose joint space replaces missing encoders.
        folder: A folder with one subfolder per encoder, or the folder of a single encoder; None for stand-ins alone.
        device: Torch device name.

    Raises:
        PackError: The folder contains no encoder, or one of an unknown kind.
    """

    def __init__(self, model: ReWaS, folder: Path | None = None, device: str = "cpu") -> None:
        self._model, self._device = model, device
        self._folders = {} if folder is None else find_encoders(folder)
        self._loaded: dict[str, Any] = {}

    @property
    def folders(self) -> dict[str, Path]:
        """Folders that were found, by kind."""
        return dict(self._folders)

    def kind_for(self, measure: Measure) -> str | None:
        """Kind of the given encoder that computes a measure; None if a stand-in does, or nothing can."""
        return next((kind for kind in PREFERRED[measure] if kind in self._folders), None)

    def for_sounds(self, measure: Literal["fd", "fad", "mkl", "is"]) -> SoundEncoder:
        """The encoder of sounds for a measure. Raises PackError if it cannot be loaded."""
        return cast("SoundEncoder", self._find(measure, "judge"))

    @property
    def text_sound(self) -> TextSoundEncoder:
        """The encoder for the CLAP score. Raises PackError if there is none."""
        return cast("TextSoundEncoder", self._find("clap", "joint"))

    @property
    def text_frames(self) -> TextFrameEncoder:
        """The encoder for CLIPSIM. Raises PackError if there is none."""
        return cast("TextFrameEncoder", self._find("clipsim", "joint"))

    @property
    def frame_sound(self) -> FrameSoundEncoder:
        """The encoder for AVHScore. Raises PackError if there is none."""
        return cast("FrameSoundEncoder", self._find("avhscore", "joint"))

    @property
    def video(self) -> VideoEncoder:
        """The encoder for FVD and KVD. Raises PackError if there is none."""
        return cast("VideoEncoder", self._find("fvd", "joint"))

    @property
    def synchroniser(self) -> Synchroniser | None:
        """The synchroniser for DeSync; None if none is given, since none comes with ReWaS."""
        return None if self.kind_for("desync") is None else cast("Synchroniser", self._find("desync", ""))

    def _find(self, measure: Measure, stand_in: str) -> Any:
        kind = self.kind_for(measure) or stand_in
        if kind not in self._loaded:
            if kind == "judge":
                self._loaded[kind] = JudgeEncoder()
            elif kind == "joint":
                self._loaded[kind] = joint_space_encoder(self._model)
            else:
                self._loaded[kind] = _load(kind, self._folders[kind], self._device)
        return self._loaded[kind]


def load_encoder(folder: Path, device: str = "cpu") -> Any:
    """Load the encoder of a folder; config.json names its kind. Raises PackError if it cannot be loaded."""
    return _load(_kind_of(folder), folder, device)


def _load(kind: str, folder: Path, device: str) -> Any:
    try:
        return KINDS[kind](folder, device)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError) as error:  # values of another type
        raise PackError(
            f"The config.json of the encoder {folder.name} is not valid: {error}.", LAYOUT_REMEDY
        ) from error


def find_encoders(folder: Path) -> dict[str, Path]:
    """Find the encoders in a folder: itself, or its subfolders, by kind.

    Raises:
        PackError: There are none, one is of an unknown kind, or two are of the same kind.
    """
    if not folder.is_dir():
        raise SettingsError(f"The folder of encoders {folder} does not exist.", "Check the path.")
    places = (
        [folder] if (folder / CONFIG_FILE).is_file() else sorted(path.parent for path in folder.glob("*/config.json"))
    )
    if not places:
        raise PackError(f"The folder {folder.name} contains no encoders.", LAYOUT_REMEDY)
    found: dict[str, Path] = {}
    for place in places:
        kind = _kind_of(place)
        if kind in found:
            raise PackError(
                f"The folders {found[kind].name} and {place.name} both contain an encoder of the kind {kind}.",
                "Keep one of them.",
            )
        found[kind] = place
    return found


def _kind_of(folder: Path) -> str:
    kind = str(read_config(folder)["model_type"])
    if kind not in KINDS:
        raise PackError(
            f"The folder {folder.name} holds a model of the kind {kind}, which is not an encoder of a measure.",
            f"Use one of {', '.join(sorted(KINDS))}.",
        )
    return kind
