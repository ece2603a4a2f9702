"""Model packs: folders that hold everything that differs between models.

A pack is a folder with `pack.toml` (name, licence, sampling defaults, the hash of every file) and one folder for each
component in the diffusers/transformers layout. This module does not import torch, so that commands and the server's
main process can list packs quickly.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypedDict

import platformdirs
import tomli_w

from rewas_engine.errors import PackError
from rewas_engine.models.sampler_names import SAMPLER_NAMES
from rewas_engine.packs.backbones.families import DEFAULT_FAMILY, family_names, is_family_name, unknown_family_error
from rewas_engine.runtime.atomic_files import write_text_atomic
from rewas_engine.runtime.execution import PRECISION_NAMES
from rewas_engine.runtime.process_locks import AlreadyLocked, file_lock

PACK_FORMAT = 1
"""Layout of the packs that this version reads and writes."""
DESCRIPTION_FILE = "pack.toml"
DEFAULT_PACK = "starter"
LIBRARY_FAMILY = "library"
"""Family of packs whose sounds are recordings; `rewas_engine.recordings.library_pack` reads them."""
ROLES = ("text_encoder", "video_encoder", "phi", "codec", "denoiser", "adapter", "schedule", "vocoder")
"""Components of every pack; each is in the folder of its name."""
JOINT_ROLE = "joint"
OPTIONAL_ROLES = ("text_projection", JOINT_ROLE)
"""Components that a pack may have: a projection of text embeddings for the denoiser, and a joint space."""
CONFLICT_ROLE = "conflict"
"""An optional CLIP model for the conflict check. It replaces the joint space there."""
SEARCH_PATH_VARIABLE = "REWAS_PACKS"
_VOCODERS: Mapping[str, Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "SpectralVocoder": {
        "sample_rate_hz": ("sample_rate_hz", int),
        "hop_samples": ("hop_samples", int),
        "bins": ("bins", int),
    },
    "SpeechT5HifiGan": {
        "sample_rate_hz": ("sampling_rate", int),
        "hop_samples": ("upsample_rates", math.prod),
        "bins": ("model_in_dim", int),
    },
}
"""Vocoder class -> field of [audio] -> field of the vocoder's config.json, and the function that reads it."""


_SOUND_TABLES = ("components", "audio", "window", "sampling", "picture", "files")
"""Tables of pack.toml that determine the sounds of the pack."""
LIBRARY_CONTROLS = ("energy", "onsets")
LIBRARY_RATE_HZ = 48_000
"""Default sample rate of sounds that are performed from recordings."""
_LIBRARY_ROLES = ("text_encoder", "video_encoder", "phi", JOINT_ROLE, CONFLICT_ROLE)
"""Components that a library uses from a model pack: those that read video and prompts."""


@dataclass(frozen=True)
class PackDescription:
    """The contents of pack.toml.

    Args:
        info: General information.
        family: Kind of text-to-audio model, see `rewas_engine.packs.backbones`.
        components: Role -> class name.
        audio: Fields of MelConfig.
        window: Geometry of the denoising windows, in mel frames.
        sampling: Defaults of a generation.
        picture: Video format of the video encoder.
        files: Path within the pack -> SHA-256.
        lender: The model pack whose components a library of recordings uses to read video and prompts; None for a
            model pack. The tables from `components` to `picture` are then those of the lender.
    """

    info: PackInfo
    family: str
    components: Mapping[str, str]
    audio: Mapping[str, Any]
    window: Mapping[str, Any]
    sampling: Mapping[str, Any]
    picture: Mapping[str, Any]
    files: Mapping[str, str]
    lender: PackDescription | None = None

    @property
    def component_folder(self) -> Path:
        """The folder that contains the components."""
        return self.path if self.lender is None else self.lender.path

    @property
    def path(self) -> Path:
        """The pack's folder."""
        return self.info.path

    @property
    def fingerprint(self) -> str:
        """A hash of the hashes of all files: equal for equal weights, whatever the description says."""
        listed = "".join(f"{self.files[name]} {name}\n" for name in sorted(self.files))
        return hashlib.sha256(listed.encode()).hexdigest()


@dataclass(frozen=True)
class InstalledPack:
    """A pack in one of the search folders: `info` is its description, or `problem` says why it cannot be used."""

    name: str
    path: Path
    info: PackInfo | None
    problem: PackError | None


def installed_packs() -> list[InstalledPack]:
    """List all packs on this machine, the default one first. If two have the same name, the first one found counts.

    The search folders are those of the environment variable REWAS_PACKS, the user's data folder, and the folder of the
    packs that are part of ReWaS.
    """
    found = [_inspect_pack(path) for path in _installed_folders().values()]
    return sorted(found, key=lambda pack: (pack.name != DEFAULT_PACK, pack.name))


def _installed_folders() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in search_folders():
        if not folder.is_dir():
            continue
        for path in sorted(folder.iterdir()):
            unfinished = path.name.startswith(".")
            if (path / DESCRIPTION_FILE).is_file() and path.name not in found and not unfinished:
                found[path.name] = path
    return found


def search_folders() -> list[Path]:
    """Return the folders that are searched for packs, in order."""
    named = [Path(folder) for folder in os.environ.get(SEARCH_PATH_VARIABLE, "").split(os.pathsep) if folder]
    return [
        *named,
        platformdirs.user_data_path("rewas") / "packs",
        Path(__file__).resolve().parents[1] / "data" / "packs",
    ]


def find_pack(pack: str | Path) -> Path:
    """Return the folder of a pack, given by name or by path. Raises PackError if there is none."""
    if isinstance(pack, Path) or os.sep in pack:
        path = Path(pack)
        if not path.is_dir():
            raise PackError(
                f"The pack folder {path} does not exist.", "Give the folder that contains the pack's pack.toml."
            )
        return path
    folders = _installed_folders()
    if pack not in folders:
        raise pack_not_installed_error(str(pack), sorted(folders, key=lambda name: (name != DEFAULT_PACK, name)))
    return folders[str(pack)]


def pack_not_installed_error(name: str, installed: Iterable[str]) -> PackError:
    """Return the error for a pack that is not among the names of installed packs."""
    names = ", ".join(installed)
    remedy = f"Choose an installed pack ({names}) or add it." if names else "Add it with: rewas packs add."
    return PackError(f"The pack {name!r} is not installed.", remedy)


def read_pack(path: Path) -> PackDescription:
    """Read and validate a pack's description without reading its weights or recordings.

    Raises PackError if pack.toml is missing, unreadable, incomplete or of a newer format, if the family is not
    installed, or if the pack is a library of recordings and the model pack that it uses cannot be read.
    """
    document = read_document(path)
    if document.get("family") == LIBRARY_FAMILY:
        return _read_library(path, document)
    try:
        if document.get("format") != PACK_FORMAT:
            raise ValueError(f"format is {document.get('format')!r}")
        if not all(isinstance(document[table], dict) for table in _SOUND_TABLES):
            raise ValueError("a table is missing")
        _check_tables(document)
        info = PackInfo(
            path=path,
            controls=tuple(document["controls"]),
            sample_rate_hz=int(document["audio"]["sample_rate_hz"]),
            checks_conflict=any(role in document["components"] for role in (CONFLICT_ROLE, JOINT_ROLE)),
            scores_words=JOINT_ROLE in document["components"],
            content_sha256=_hash_content(document),
            is_library=False,
            reads_words=_reads_words(path, document["components"]),
            **_texts(document),
        )
    except (KeyError, ValueError, TypeError, ZeroDivisionError) as error:
        raise damaged_pack_error(path, f"{DESCRIPTION_FILE} is incomplete ({error})") from error
    family = str(document.get("family", DEFAULT_FAMILY))
    if family not in family_names():
        raise unknown_family_error(family)
    return PackDescription(info, family, **{table: document[table] for table in _SOUND_TABLES})


def _reads_words(path: Path, components: Mapping[str, Any]) -> bool:
    """Whether φ reads prompts. Loading the pack says what is wrong with a file that cannot be read."""
    if "phi" not in components:
        return False
    try:
        config = json.loads((path / "phi" / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and bool(config.get("text_width"))


class _Texts(TypedDict):
    name: str
    version: str
    summary: str
    licence: str
    permits: str
    kinds: tuple[str, ...]


def _texts(document: Mapping[str, Any]) -> _Texts:
    """The fields of pack.toml that describe any pack. Raises KeyError or ValueError."""
    return _Texts(
        name=str(document["name"]),
        version=str(document["version"]),
        summary=str(document["summary"]),
        licence=str(document["licence"]),
        permits=str(document["permits"]),
        kinds=_kinds(document.get("kinds", [])),
    )


def _kinds(listed: Any) -> tuple[str, ...]:
    """The kinds of sound in a description. Newer versions may know more of them than this one."""
    if not isinstance(listed, list) or not all(isinstance(kind, str) for kind in listed):
        raise ValueError("kinds is not a list of names")
    return tuple(listed)


def read_model_pack(path: Path) -> PackDescription:
    """Read a pack like `read_pack`. Raises PackError also if it is a library of recordings, which has no model."""
    description = read_pack(path)
    if description.info.is_library:
        raise no_model_error(path.name)
    return description


def no_model_error(name: str) -> PackError:
    """Return the error for a library of recordings where a model is needed."""
    return PackError(f"The pack {name} is a library of recordings and has no model.", "Choose a pack with a model.")


def _read_library(path: Path, document: Mapping[str, Any]) -> PackDescription:
    try:
        library, files = dict(document["library"]), dict(document["files"])
        texts = _texts(document)
        lender_name = str(library["model"])
    except (KeyError, ValueError, TypeError) as error:
        raise damaged_pack_error(path, f"{DESCRIPTION_FILE} is incomplete ({error})") from error
    try:
        folder = find_pack(lender_name)
        if read_document(folder).get("family") == LIBRARY_FAMILY:
            raise no_model_error(lender_name)
        lender = read_pack(folder)
    except PackError as error:
        raise PackError(
            f"The library {path.name} uses the pack {lender_name} to read video and prompts. {error.what}", error.remedy
        ) from error
    # A recording without its own licence has that of the library, which every sound states.
    determining = [LIBRARY_FAMILY, texts["licence"], library, files, lender.info.content_sha256]
    content = json.dumps(determining, sort_keys=True, default=str)
    info = PackInfo(
        path=path,
        controls=LIBRARY_CONTROLS,
        sample_rate_hz=LIBRARY_RATE_HZ,
        checks_conflict=lender.info.checks_conflict,
        scores_words=False,
        content_sha256=hashlib.sha256(content.encode()).hexdigest(),
        is_library=True,
        reads_words=lender.info.reads_words,
        **texts,
    )
    components = {role: name for role, name in lender.components.items() if role in _LIBRARY_ROLES}
    return replace(lender, info=info, family=LIBRARY_FAMILY, components=components, files=files, lender=lender)


def read_document(path: Path) -> dict[str, Any]:
    """Read the pack.toml of any family. Raises PackError if it is missing, unreadable or of a newer format."""
    try:
        document = tomllib.loads((path / DESCRIPTION_FILE).read_text("utf-8"))
    except FileNotFoundError as error:
        raise PackError(f"The pack {path.name} has no {DESCRIPTION_FILE}.", "Install the pack again.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise damaged_pack_error(path, f"{DESCRIPTION_FILE} cannot be read ({error})") from error
    found = document.get("format")
    if isinstance(found, int) and found > PACK_FORMAT:
        raise PackError(
            f"The pack {path.name} has format {found}, but this version reads formats only up to {PACK_FORMAT}.",
            "Update ReWaS, or install an older version of the pack.",
        )
    return document


def verify_files(description: PackDescription) -> None:
    """Compare every file of the pack with its hash, and the vocoder with the audio format in pack.toml.

    Raises PackError for the first file that is missing, differs, or would be loaded without a hash, and if pack.toml
    and the vocoder contradict each other. For a library of recordings, also compares the pack that it uses.
    """
    if description.lender is None:
        _check_every_file_has_hash(description)
    else:
        verify_files(description.lender)
    for name, expected in description.files.items():
        path = description.path / name
        if not path.resolve().is_relative_to(description.path.resolve()):
            raise damaged_pack_error(description.path, f"it names a file outside its folder ({name})")
        if not path.is_file():
            raise damaged_pack_error(description.path, f"{name} is missing")
        if sha256_of(path) != expected:
            raise damaged_pack_error(description.path, f"{name} is not the original file")
    if description.lender is None:
        _check_vocoder(description)


def _check_every_file_has_hash(description: PackDescription) -> None:
    for role in description.components:
        for file in sorted((description.path / role).glob("*")):
            if file.suffix in (".json", ".safetensors") and f"{role}/{file.name}" not in description.files:
                raise damaged_pack_error(description.path, f"it has no hash of {role}/{file.name}")


@contextmanager
def new_pack_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder for a new pack, which gets its final name on success and is deleted on failure.

    Leftovers of a killed process are deleted. Raises PackError if the folder exists or another process is writing it.
    """
    _check_does_not_exist(folder)
    unfinished = folder.absolute().with_name(f".{folder.name}.partial")
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file_lock(unfinished.with_suffix(".lock")):
            _check_does_not_exist(folder)  # it may have been finished just now
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            try:
                yield unfinished
                unfinished.replace(folder)
            except BaseException:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise
    except AlreadyLocked as error:
        raise PackError(
            f"Another process is writing the pack {folder.name} in {unfinished.parent}.",
            "Wait until it has finished, or give the pack another name.",
        ) from error


def write_description(path: Path, document: Mapping[str, Any]) -> None:
    """Write pack.toml into a finished pack folder, adding the format and the hash of every other file."""
    files = {
        file.relative_to(path).as_posix(): sha256_of(file)
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name not in (DESCRIPTION_FILE, "README.md")
    }
    write_text_atomic(path / DESCRIPTION_FILE, tomli_w.dumps({"format": PACK_FORMAT, **document, "files": files}))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes in lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_content(document: Mapping[str, Any]) -> str:
    described = {name: document.get(name) for name in ("family", *_SOUND_TABLES)}
    return hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()


def _check_does_not_exist(folder: Path) -> None:
    if folder.exists():
        raise PackError(f"The folder {folder} already exists.", "Remove it, or give the pack another name.")


def _inspect_pack(path: Path) -> InstalledPack:
    try:
        return InstalledPack(path.name, path, read_pack(path).info, None)
    except PackError as problem:
        return InstalledPack(path.name, path, None, problem)


def _check_tables(document: Mapping[str, Any]) -> None:
    """Raise KeyError, TypeError or ValueError for values that would otherwise fail during generation."""
    if not is_family_name(document.get("family", DEFAULT_FAMILY)):
        raise ValueError(f"family is {document['family']!r}")
    _check_components(document["components"])
    _check_audio(document["audio"], document["window"])
    _check_sampling(document["sampling"])
    _check_picture(document["picture"])


def _check_components(components: Mapping[str, Any]) -> None:
    for role in (*ROLES, *components):
        if not isinstance(components[role], str) or not role.isidentifier():
            raise ValueError(f"the component {role!r} is not a class in a folder of the pack")


def _check_audio(audio: Mapping[str, Any], window: Mapping[str, Any]) -> None:
    for name, value in audio.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise ValueError(f"audio.{name} is {value!r}")
    _check_counts(window, "frames", "patch")
    _check_overlap("window", window["overlap_frames"], window["frames"])
    if window["frames"] % window["patch"] or window["overlap_frames"] % window["patch"]:
        raise ValueError("the window is not a whole number of patches")


def _check_sampling(sampling: Mapping[str, Any]) -> None:
    _check_counts(sampling, "num_steps")
    if not 0 <= float(sampling["eta"]) <= 1 or not float(sampling["guidance_scale"]) >= 0:
        raise ValueError("sampling.eta or sampling.guidance_scale is out of range")
    if not float(sampling.get("onsets_guidance_scale", 1)) >= 0:
        raise ValueError(f"sampling.onsets_guidance_scale is {sampling['onsets_guidance_scale']!r}")
    if not 0 <= float(sampling.get("unguided_share", 0)) <= 1:
        raise ValueError(f"sampling.unguided_share is {sampling['unguided_share']!r}")
    _check_precision("sampling", sampling)
    if sampling.get("sampler", "ddim") not in SAMPLER_NAMES:
        raise ValueError(f"sampling.sampler is {sampling['sampler']!r}")
    if not isinstance(sampling.get("ddim_steps", 1), int) or sampling.get("ddim_steps", 1) < 1:
        raise ValueError(f"sampling.ddim_steps is {sampling['ddim_steps']!r}")


def _check_picture(picture: Mapping[str, Any]) -> None:
    _check_counts(picture, "width", "height", "window_frames")
    _check_overlap("picture", picture["overlap_frames"], picture["window_frames"])
    if Fraction(picture["frame_rate"]) <= 0:
        raise ValueError(f"picture.frame_rate is {picture['frame_rate']!r}")
    if picture.get("token_times", "centres") not in ("centres", "released"):
        raise ValueError(f"picture.token_times is {picture['token_times']!r}")
    for name in ("short_side", "smoothing_frames"):
        if not isinstance(picture.get(name, 1), int) or picture.get(name, 1) < 1:
            raise ValueError(f"picture.{name} is {picture[name]!r}")
    _check_precision("picture", picture)


def _check_counts(table: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if not isinstance(table[name], int) or table[name] < 1:
            raise ValueError(f"{name} is {table[name]!r}")


def _check_overlap(table: str, overlap_frames: Any, frames: int) -> None:
    if not 0 <= overlap_frames < frames:
        raise ValueError(f"{table}.overlap_frames is {overlap_frames!r}")


def _check_precision(name: str, table: Mapping[str, Any]) -> None:
    if table.get("precision", "float32") not in PRECISION_NAMES:
        raise ValueError(f"{name}.precision is {table['precision']!r}")


def _check_vocoder(description: PackDescription) -> None:
    """Raise PackError if the vocoder was trained for another rate, hop or number of bins than [audio] states."""
    read_off = _VOCODERS.get(description.components["vocoder"], {})
    path = description.path / "vocoder" / "config.json"
    try:
        config = json.loads(path.read_text("utf-8")) if read_off else {}
        sounds = {name: int(read(config[field])) for name, (field, read) in read_off.items() if field in config}
    except (OSError, ValueError, TypeError) as error:
        raise damaged_pack_error(description.path, f"vocoder/config.json cannot be read ({error})") from error
    for name, made_for in sounds.items():
        said = description.audio.get(name, made_for)
        if said != made_for:
            raise PackError(
                f"The pack {description.path.name} contradicts itself: audio.{name} is {said} in {DESCRIPTION_FILE}, "
                f"but its vocoder was trained for {made_for} ({read_off[name][0]} in vocoder/config.json).",
                "Install the pack again, or give it a vocoder that was trained for its audio.",
            )


def damaged_pack_error(path: Path, reason: str) -> PackError:
    """Return the error for a damaged pack. reason: a clause."""
    return PackError(f"The pack {path.name} is damaged: {reason}.", "Install the pack again.")


@dataclass(frozen=True)
class PackInfo:
    """General information about a pack.

    Args:
        licence, permits: Name of the licence, and what it permits in one sentence.
        sample_rate_hz: Rate of its vocoder; the default rate of a library of recordings.
        controls: Controls that its adapter reads.
        path: Folder.
        checks_conflict: Whether it has a model for the conflict check.
        scores_words: Whether it can score how well a sound matches a prompt.
        content_sha256: SHA-256 of everything that determines its sounds: its files and the settings in its description.
        is_library: Whether it is a library of recordings, which are performed, instead of a model.
        reads_words: Whether an energy that it estimates from video depends on the prompt.
        kinds: Kinds of sound that it was trained on, as classes of the synthetic world; empty if it does not say.
    """

    name: str
    version: str
    summary: str
    licence: str
    permits: str
    sample_rate_hz: int
    controls: tuple[str, ...]
    path: Path
    checks_conflict: bool
    scores_words: bool
    content_sha256: str
    is_library: bool
    reads_words: bool
    kinds: tuple[str, ...] = ()
