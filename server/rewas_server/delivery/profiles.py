"""Delivery profiles: TOML files that say how sounds are delivered.

A few profiles come with the package. Users put their own into the folder `user_profiles_folder()`, or name a file.
"""

from __future__ import annotations

import difflib
import functools
import math
import string
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import platformdirs

from rewas_api.clip_settings import SAMPLE_RATES_HZ
from rewas_api.errors import SettingsProblem
from rewas_server.delivery.strict_toml import read_table

SampleFormat = Literal["pcm_16", "pcm_24", "float_32"]
"""16 or 24-bit integers, or 32-bit floats."""
Department = Literal["fx", "foley", "ambience", "music", "voice"]
DEFAULT_PROFILE = "default"
SCHEMA = 1
"""Schema of the files that this version reads."""
MAX_HANDLE_FRAMES = 1000
MAX_FILE_BYTES = 100_000
"""A larger file is not a profile."""
TEMPLATE_FIELDS = (
    "number",
    "clip",
    "timeline",
    "track",
    "role",
    "take",
    "seed",
    "timecode",
    "prompt",
    "cat_id",
    "fx_name",
    "creator",
    "source",
    "pack",
)
"""Fields of file name templates, in braces."""
_SHIPPED = Path(__file__).parent / "shipped_profiles"


@dataclass(frozen=True)
class FileFormat:
    """The [file] table: the contents of a file.

    Args:
        sample_rate_hz: One of SAMPLE_RATES_HZ.
        sample_format: 16 or 24-bit integers, or 32-bit floats.
        channels: "mono" or "stereo". In stereo, a mono sound is in both channels, 3 dB lower, so that it is as loud as
            in mono. It has no width.
        handle_frames: Additional frames before and after the clip, where its media has them.
        max_true_peak_db: Highest true peak, in dBTP. All stems of a take are lowered if one of them exceeds it.
        fade_ms: Length of the fades where a file begins or ends in the middle of a wave, 0 for none.

    Raises ValueError for a value out of bounds.
    """

    sample_rate_hz: int = 48000
    sample_format: SampleFormat = "pcm_24"
    channels: Literal["mono", "stereo"] = "mono"
    handle_frames: int = 0
    max_true_peak_db: float = -1.0
    fade_ms: float = 5.0

    def __post_init__(self) -> None:
        if self.sample_rate_hz not in SAMPLE_RATES_HZ:
            raise ValueError(
                f"`file.sample_rate_hz` is {self.sample_rate_hz}.\nUse one of {', '.join(map(str, SAMPLE_RATES_HZ))}."
            )
        _check_range("file.handle_frames", self.handle_frames, 0, MAX_HANDLE_FRAMES)
        _check_range("file.max_true_peak_db", self.max_true_peak_db, -30, 0)
        _check_range("file.fade_ms", self.fade_ms, 0, 1000)


@dataclass(frozen=True)
class FileNames:
    """The [names] table: the names of files.

    Args:
        template: Name without extension, with fields such as {clip}. See TEMPLATE_FIELDS.
        ucs: Whether names follow the Universal Category System: `_` only between the blocks of the template.
        cat_id: CatID of sounds whose kind is not known.
        creator: Creator's identifier, for {creator}. If empty, the creator of the credits, and without that, "ReWaS".
        source: Project's identifier, for {source}. If empty, the project of the credits, and without that, the name of
            the timeline.
        max_characters: Maximum length of a name without extension.

    Raises ValueError for an unknown field, or a number out of bounds.
    """

    template: str = "{number} {clip} {role} take {take} seed {seed}"
    ucs: bool = False
    cat_id: str = "DSGNMisc"
    creator: str = ""
    source: str = ""
    max_characters: int = 120

    def __post_init__(self) -> None:
        _check_range("names.max_characters", self.max_characters, 20, 180)
        fields = template_fields(self.template)
        for name in fields:
            if name not in TEMPLATE_FIELDS:
                near = difflib.get_close_matches(name, TEMPLATE_FIELDS, n=1, cutoff=0.5)
                remedy = f"Did you mean {{{near[0]}}}?" if near else f"Use {', '.join(TEMPLATE_FIELDS)}."
                raise ValueError(f"`names.template` has the field {{{name}}}, which does not exist.\n{remedy}")
        if not {"clip", "number", "timecode", "fx_name", "prompt"} & set(fields):
            raise ValueError(
                "`names.template` gives all clips the same name.\n"
                "Add {number}, {clip}, {timecode}, {prompt} or {fx_name}."
            )


@dataclass(frozen=True)
class TrackRule:
    """A [[tracks]] table: an audio track, and what goes on it.

    Args:
        name: Name of the track, for example "FX".
        roles: Roles of stems: "primary", "mix", or the name of a layer such as "ambience".
        departments: Departments of sounds: "fx", "foley", "ambience", "music" or "voice". The prompt determines it.
        rest: Whether all other sounds go on this track.
    """

    name: str
    roles: tuple[str, ...] = ()
    departments: tuple[Department, ...] = ()
    rest: bool = False

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > 100:
            raise ValueError("A track has no name, or one that is too long.\nUse 1 to 100 characters.")


@dataclass(frozen=True)
class Layout:
    """The [layout] table: the names of tracks, and what is audible.

    Args:
        track_name: Name of a track with the audible stems; {track} is the name of the rule, or the role.
        take_track_name: Name of a track with further takes. It must contain {take}.
        audible_take: The take that is audible: the first, or the one with the highest score. Takes without faults are
            preferred.
        further_takes: Where the other takes are: on muted tracks, as media references of the audible clip, or nowhere
            (they are then not delivered).
        audible_mix: Whether the mix is audible instead of the stems, if there is one. They are never audible together.
        media_paths: How the timeline refers to the files: "" means the default of its format, "embedded" that an AAF
            file contains them.
    """

    track_name: str = "ReWaS {track}"
    take_track_name: str = "ReWaS {track}, take {take}"
    audible_take: Literal["first", "best"] = "first"
    further_takes: Literal["tracks", "references", "none"] = "tracks"
    audible_mix: bool = False
    media_paths: Literal["", "relative", "absolute", "url", "embedded"] = ""

    def __post_init__(self) -> None:
        for name, text, fields in (
            ("track_name", self.track_name, ("track",)),
            ("take_track_name", self.take_track_name, ("track", "take")),
        ):
            if any(f"{{{each}}}" not in text for each in fields):
                needed = " and ".join(f"{{{each}}}" for each in fields)
                raise ValueError(f'`layout.{name}` is "{text}".\nIt must contain {needed}.')


@dataclass(frozen=True)
class Reports:
    """The [reports] table: which reports are written next to the stems.

    Args:
        cue_sheet: A CSV file with the timecodes of all sounds.
        html: An HTML page with loudness and provenance.
        csv: The same figures as a CSV file.
    """

    cue_sheet: bool = False
    html: bool = False
    csv: bool = False


@dataclass(frozen=True)
class Credits:
    """The [credits] table, which is written into every file. Empty texts are left out.

    Args:
        creator: Creator of the sounds.
        project: Title of the film or series.
        copyright: Holder of the rights.
        contact: Contact for questions.
    """

    creator: str = ""
    project: str = ""
    copyright: str = ""
    contact: str = ""


@dataclass(frozen=True)
class ContentCredentials:
    """The [content_credentials] table: adds a signed C2PA manifest to every file.

    Args:
        certificate: PEM file with the certificate chain. A relative path starts at the folder of the profile.
        private_key: PEM file with its private key, without a password.
        algorithm: Algorithm of the signature.
    """

    certificate: str
    private_key: str
    algorithm: Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"] = "es256"


@dataclass(frozen=True)
class ProfileTables:
    """The contents of a profile's file.

    Args:
        schema: SCHEMA.
        summary: One sentence, for lists.
        tracks: Tracks in the order of the timeline. If there are none, each role has its own track.
        content_credentials: Signature of the files; None for no C2PA manifest.
    """

    schema: int
    summary: str = ""
    file: FileFormat = field(default_factory=FileFormat)
    names: FileNames = field(default_factory=FileNames)
    tracks: tuple[TrackRule, ...] = ()
    layout: Layout = field(default_factory=Layout)
    reports: Reports = field(default_factory=Reports)
    credits: Credits = field(default_factory=Credits)
    content_credentials: ContentCredentials | None = None

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"`schema` is {self.schema}.\nUse schema {SCHEMA}, which this version reads.")
        names = [track.name.casefold() for track in self.tracks]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise ValueError(f'Two tracks have the name "{self.tracks[number].name}".\nCombine or rename them.')
        if sum(track.rest for track in self.tracks) > 1:
            raise ValueError("More than one track has `rest = true`.\nSet it for one track only.")


@dataclass(frozen=True)
class Profile(ProfileTables):
    """A delivery profile: the tables of its file, its name (that of the file without extension), and its path."""

    name: str = DEFAULT_PROFILE
    path: Path = Path()


def user_profiles_folder() -> Path:
    """Return the folder for the user's own profiles. It may not exist."""
    return platformdirs.user_config_path("rewas") / "profiles"


def list_profiles() -> dict[str, Path]:
    """Return the names and files of all profiles. A user's profile replaces a shipped one with the same name."""
    found = {}
    for folder in (_SHIPPED, user_profiles_folder()):
        if folder.is_dir():
            found.update({path.stem: path for path in sorted(folder.glob("*.toml"))})
    return found


def load_profile(name_or_path: str = DEFAULT_PROFILE) -> Profile:
    """Read a profile by name, or from a file if the text ends with .toml or contains a path separator.

    Raises ProblemError (SETTINGS) for a profile that does not exist or is not valid.
    """
    path = Path(name_or_path).expanduser()
    if path.suffix.lower() != ".toml" and len(path.parts) == 1:
        profiles = list_profiles()
        if name_or_path not in profiles:
            near = difflib.get_close_matches(name_or_path, profiles, n=1)
            hint = f'Did you mean "{near[0]}"? ' if near else ""
            raise SettingsProblem(
                f'There is no delivery profile "{name_or_path[:80]}".',
                f"{hint}Use one of {', '.join(profiles)}, or the path of a TOML file.",
            )
        path = profiles[name_or_path]
    return read_profile(path)


def read_profile(path: Path) -> Profile:
    """Read a profile from a file. Raises ProblemError (SETTINGS)."""
    tables = read_table(ProfileTables, _parse(path), path.name)
    return Profile(**vars(tables), name=path.stem, path=path)


def _parse(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise SettingsProblem(
                f"{path} is too large for a delivery profile.", "Choose a TOML file of a few kilobytes."
            )
        # Some editors on Windows begin a file with a byte order mark.
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise SettingsProblem(
            f"The delivery profile {path} cannot be read: {error.strerror or error}.", "Check the path."
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsProblem(f"The delivery profile {path} is not UTF-8 text.", "Save it as UTF-8.") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsProblem(
            f"The delivery profile {path} is not valid TOML: {error}.", "Correct that line."
        ) from error


@functools.cache
def template_fields(template: str) -> tuple[str, ...]:
    """Return the fields of a file name template. Raises ValueError if it is not valid."""
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(
            f"`names.template` is not valid ({error}).\nWrite fields in braces, as in {{clip}}."
        ) from error
    for _, name, specification, conversion in parsed:
        if name is not None and (specification or conversion):
            raise ValueError(f"`names.template` has a format in the field {{{name}}}.\nWrite only its name in braces.")
    return tuple(name for _, name, _, _ in parsed if name is not None)


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"`{name}` is {value:g}.\nUse a value from {low:g} to {high:g}.")
