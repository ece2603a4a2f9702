"""Names of delivered files from the template of a profile."""

from __future__ import annotations

import functools
import string
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePath

from rewas_engine.media.stem import MIX
from rewas_server.delivery.file_names import safe_file_name
from rewas_server.delivery.layout import LaidOutStem
from rewas_server.delivery.profiles import Profile, template_fields
from rewas_server.delivery.sound_categories import SoundCategories
from rewas_server.delivery.stems import GeneratedStem, TimelineFacts
from rewas_server.timecode import format_timecode

MAX_WINDOWS_PATH = 259
"""Most programs on Windows cannot open a file with a longer path."""
_MAX_FX_NAME = 25
"""The Universal Category System recommends shorter names."""
_MAX_PROMPT = 60
_SHRINKABLE = ("clip", "timeline", "prompt", "fx_name", "source", "track", "creator", "pack", "role")
_MIN_SHRUNK = 8
_ARTICLES = ("a ", "an ", "the ")


def plan_file_names(
    stems: Sequence[LaidOutStem], profile: Profile, facts: TimelineFacts, categories: SoundCategories
) -> list[str]:
    """Return the name of each stem, without extension.

    Names are valid on every system, and differ in more than the case of letters. If the template gives several stems
    the same name, all but the first get a number.
    """
    taken: set[str] = set()
    copies: dict[str, int] = {}
    names = []
    for stem in stems:
        fields = _field_values(stem, profile, facts, categories)
        name = _render(fields, profile, 1)
        first_key = name_key(name)
        while name_key(name) in taken:
            # Starts at the last number of this name, so that many equal names take no longer than different ones.
            copies[first_key] = copies.get(first_key, 1) + 1
            name = _render(fields, profile, copies[first_key])
        taken.add(name_key(name))
        names.append(name)
    return names


def name_key(name: str) -> str:
    """Return a text that is the same for all names that are the same file on some system."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def long_path_note(folder: Path, names: Iterable[str]) -> str | None:
    """Return a warning if the paths of files with these names in a folder are too long for Windows, else None."""
    longest = max(names, key=len, default="")
    length = len(str(folder.absolute() / longest)) + len(".wav")
    if length <= MAX_WINDOWS_PATH:
        return None
    return (
        f"Some paths have up to {length} characters, which most programs on Windows cannot open. "
        "Choose a folder with a shorter path, or lower `names.max_characters` of the profile."
    )


def fx_name(prompt: str) -> str:
    """Return the FXName of the Universal Category System for a prompt: a few words with capital letters."""
    text = " ".join(prompt.replace("_", " ").replace("-", " ").split())
    first = text.split(";")[0].split(",")[0].split(".")[0].strip() or text
    for article in _ARTICLES:
        if first.casefold().startswith(article):
            first = first[len(article) :]
            break
    return string.capwords(_shorten(first, _MAX_FX_NAME))


def _field_values(
    laid_out: LaidOutStem, profile: Profile, facts: TimelineFacts, categories: SoundCategories
) -> dict[str, str]:
    """Return the values of the fields of the template."""
    stem, names = laid_out.stem, profile.names
    values: dict[str, Callable[[], str]] = {
        "number": lambda: f"{stem.clip_number:03d}",
        "clip": lambda: _without_extension(stem.clip_name, stem.media_name),
        "timeline": lambda: facts.name,
        "track": lambda: laid_out.track,
        "role": lambda: stem.role,
        "take": lambda: str(stem.take_number),
        "seed": lambda: str(stem.provenance.seed),
        "timecode": lambda: _timecode(facts, laid_out),
        "prompt": lambda: _shorten(" ".join(stem.provenance.prompt.split()), _MAX_PROMPT),
        "fx_name": lambda: fx_name(stem.provenance.prompt),
        "creator": lambda: names.creator or profile.credits.creator or "ReWaS",
        "source": lambda: names.source or profile.credits.project or facts.name,
        "pack": lambda: stem.provenance.pack_name,
        "cat_id": lambda: _cat_id(stem, profile, categories),
    }
    return {
        name: _safe_value(values[name](), names.ucs and name != "cat_id") for name in template_fields(names.template)
    }


def _cat_id(stem: GeneratedStem, profile: Profile, categories: SoundCategories) -> str:
    prompt = stem.provenance.prompt
    # The prompt of a mix begins with that of its primary sound.
    category = categories.of(prompt.split("; ")[0] if stem.role == MIX else prompt)
    return profile.names.cat_id if category is None else category.cat_id


@functools.lru_cache(maxsize=4096)
def _safe_value(value: str, is_ucs: bool) -> str:
    safe = safe_file_name(value) if value else ""
    # The category system reserves both characters.
    return " ".join(safe.replace("_", " ").replace("-", " ").split()) if is_ucs else safe


def _render(fields: dict[str, str], profile: Profile, copy: int) -> str:
    template, limit = profile.names.template, profile.names.max_characters
    in_name = profile.names.ucs and "{fx_name}" in template
    suffix = "" if copy == 1 else f" {copy}"
    shown = dict(fields)
    excess = len(template.format_map(shown)) + len(suffix) - limit
    while excess > 0:
        longest = max((name for name in _SHRINKABLE if name in shown), key=lambda name: len(shown[name]), default=None)
        if longest is None or len(shown[longest]) <= _MIN_SHRUNK:
            break
        shown[longest] = shown[longest][: max(_MIN_SHRUNK, len(shown[longest]) - excess)].rstrip()
        excess = len(template.format_map(shown)) + len(suffix) - limit
    if in_name:
        shown["fx_name"] += suffix
        suffix = ""
    text = safe_file_name(template.format_map(shown))[: limit - len(suffix)].rstrip(" .-")
    return f"{text}{suffix}"


def _timecode(facts: TimelineFacts, laid_out: LaidOutStem) -> str:
    timecode = format_timecode(facts.start_s + laid_out.stem.position_s, facts.frame_rate, facts.is_drop_frame)
    return timecode.replace(":", ".").replace(";", ".")


def _without_extension(clip_name: str, media_name: str) -> str:
    """Return the name of a clip, without the extension if it is a file name."""
    suffix = PurePath(media_name).suffix
    is_file_name = bool(suffix) and clip_name.casefold().endswith(suffix.casefold())
    return (clip_name[: -len(suffix)] if is_file_name else clip_name) or clip_name


def _shorten(text: str, length: int) -> str:
    """Return a text with at most `length` characters, cut between words if possible."""
    if len(text) <= length:
        return text
    cut = text[: length + 1].rpartition(" ")[0]
    return cut if len(cut) >= length // 2 else text[:length]
