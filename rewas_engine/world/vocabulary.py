"""Captions: phrasings for training, held-out phrasings for evaluation, and modifiers that must be true."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from rewas_engine.errors import SettingsError
from rewas_engine.world.class_phrases import ClassPhrases, read_class_phrases

_WORDS = read_class_phrases()

_LOUD = ("loud", "strong", "powerful")
_QUIET = ("quiet", "soft", "weak", "faint")
_FAST = ("fast", "rapid", "quick")
_SLOW = ("slow", "unhurried")
_FAR = ("far away", "in the distance", "from a distance")
_NEAR = ("close up", "nearby", "close by")
_INDOORS = ("in a room", "indoors", "in a hall")
_CONTRADICTED = ((re.compile(r"\bdistan(t|ce)\b|\bfar\b"), _NEAR), (re.compile(r"\bclose[- ]up\b|\bnearby\b"), _FAR))
"""Words in a phrase about the distance of a sound, and modifiers that would contradict them."""
_PLAIN_SHARE = 0.5
"""Share of captions without further words around the phrase, because users type short plain prompts."""
_FRAMES = (
    "the sound of {}",
    "sound of {}",
    "sounds of {}",
    "a recording of {}",
    "recording of {}",
    "field recording of {}",
    "field recording: {}",
    "a video of {}",
    "a clip of {}",
    "footage of {}",
    "sound effect of {}",
    "sound effect: {}",
    "sfx {}",
    "foley: {}",
    "foley of {}",
    "we hear {}",
    "you can hear {}",
    "audio: {}",
    "audio of {}",
    "high quality audio of {}",
    "realistic {}",
    "the noise of {}",
    "a short film in which we hear {}",
    "this is {}",
    "{} sound",
    "{} sound effect",
    "{} sfx",
    "{}, sound effect",
    "{}, foley",
    "{}, field recording",
    "{}, high quality",
    "{}, mono recording",
    "{}, in 4k",
    "{} (video)",
    "{}, realistic sound",
    "{} - stock footage",
)
_PATTERN_WORDS = {
    "single": ("once", "a single time"),
    "few": ("a few times",),
    "regular": ("regularly", "in a steady rhythm"),
    "irregular": ("irregularly", "at random"),
    "accelerating": ("getting faster", "faster and faster"),
    "decelerating": ("getting slower", "slower and slower"),
    "bursts": ("in bursts", "in series"),
    "roll": ("very fast", "in a dense roll"),
    "gated": ("on and off", "with pauses"),
}
MODIFIERS: Mapping[str, tuple[str, ...]] = {
    "loud": _LOUD,
    "quiet": _QUIET,
    "fast": _FAST,
    "slow": _SLOW,
    "far": _FAR,
    "near": _NEAR,
    "indoors": _INDOORS,
    **_PATTERN_WORDS,
    "rising": ("getting louder",),
    "falling": ("fading away",),
}
"""What words around a phrase may say of how something sounds, and the words for it."""
_SAID_MODIFIER = re.compile(
    rf", ({'|'.join(sorted({words for phrases in MODIFIERS.values() for words in phrases}, key=len, reverse=True))})\b"
)
_WORDLESS = ("", "something", "a sound", "anything", "a thing", "it")
_COUNT_NEEDED = dict.fromkeys(("regular", "irregular", "accelerating", "decelerating", "bursts", "roll"), 4)
"""Number of events from which a rhythm is audible; captions describe the rhythm only from there on."""
_BEHIND: dict[str, tuple[str, ...]] = {
    "rain": ("rain", "falling rain", "rain pattering", "a rain shower"),
    "wind": ("wind", "blowing wind", "gusts of wind", "wind in the trees"),
    "sea_waves": ("sea waves", "ocean waves", "waves on the beach", "the surf of the sea"),
    "fire": ("a crackling fire", "a fire burning", "a campfire", "flames crackling"),
    "engine": ("an engine running", "a running motor", "engine noise", "an engine idling"),
    "helicopter": ("a helicopter", "a helicopter flying", "helicopter noise", "a helicopter hovering"),
    "bird_song": ("birdsong", "a bird singing", "a bird chirping", "birds"),
    "stream": ("a stream", "a babbling brook", "running water", "a creek gurgling"),
    "car_passing": ("a passing car", "traffic", "a car driving past", "cars on the road"),
    "applause": ("applause", "a crowd clapping", "an audience applauding", "clapping people"),
}
"""Names of background sounds, so that they fit into any of _JOINED."""
_SETTINGS: dict[str, tuple[str, ...]] = {
    "rain": ("in the rain", "on a rainy day"),
    "wind": ("in the wind", "on a windy day"),
    "sea_waves": ("by the sea", "at the beach"),
    "fire": ("by the fire", "near a fireplace"),
    "engine": ("near a running engine",),
    "helicopter": ("under a helicopter",),
    "bird_song": ("among singing birds",),
    "stream": ("by a stream", "near a brook"),
    "car_passing": ("beside a road", "at the roadside"),
    "applause": ("before an applauding crowd",),
}
_JOINED = (
    "{} with {} in the background",
    "{}, {} in the background",
    "{} to the sound of {}",
    "{}, {} behind it",
    "{} and {}",
    "{}, with {}",
    "{} over {}",
    "{}; quieter: {}",
    "{} and, softly, {}",
    "{}, with {} far behind",
)
_SETTING_SHARE = 0.3
_SILENCE = ("silence", "no sound", "complete silence", "nothing is heard", "{}, no sound", "{}, silent", "silence, {}")


def captions(class_name: str) -> tuple[str, ...]:
    """Plain phrasings of a class for captions. Raises SettingsError for an unknown class."""
    return _words(class_name).training


def further_captions(class_name: str) -> tuple[str, ...]:
    """Other phrasings of a class, common and rare, that no caption uses. Raises SettingsError like `captions`."""
    return _words(class_name).further


def held_out_captions(class_name: str) -> tuple[str, ...]:
    """Phrasings of a class that training never uses. Raises SettingsError for an unknown class."""
    return _words(class_name).held_out


def describe(
    rng: np.random.Generator,
    class_name: str,
    *,
    loudness: float,
    rate_hz: float | None,
    far: bool,
    near: bool,
    indoors: bool,
    pattern: str,
    event_count: int | None,
    rising: bool | None,
) -> str:
    """A caption with up to two modifiers, each true of the scene.

    Args:
        loudness: Typical intensity of the sound, 0..1.
        rate_hz: Events per second, None if there are too few.
        event_count: Number of audible events, None for a continuous envelope.
        rising: True if the clip grows, False if it fades, None otherwise.
    """
    phrase = str(rng.choice(_words(class_name).training))
    modifiers: list[str] = []
    if loudness > 0.85 and not far:
        modifiers.append(str(rng.choice(_LOUD)))
    elif loudness < 0.55:
        modifiers.append(str(rng.choice(_QUIET)))
    if rate_hz is not None and pattern in ("regular", "irregular"):
        modifiers += [str(rng.choice(_FAST))] if rate_hz > 3.5 else [str(rng.choice(_SLOW))] if rate_hz < 1.4 else []
    modifiers += [str(rng.choice(_FAR))] if far else [str(rng.choice(_NEAR))] if near else []
    modifiers += [str(rng.choice(_INDOORS))] if indoors else []
    course = "single" if event_count == 1 else pattern
    if event_count is None or event_count == 1 or event_count >= _COUNT_NEEDED.get(pattern, 1):
        modifiers += [str(rng.choice(_PATTERN_WORDS[course]))] if course in _PATTERN_WORDS else []
    if rising is not None:
        modifiers.append("getting louder" if rising else "fading away")
    chosen = rng.permutation(modifiers)[: int(rng.choice((0, 1, 2), p=(0.45, 0.35, 0.2)))]
    words = phrase if rng.random() < _PLAIN_SHARE else frame_phrase(rng, phrase)
    # After all draws, so that the captions of other scenes stay as they are.
    ruled_out = {each for said, modifiers in _CONTRADICTED if said.search(phrase) for each in modifiers}
    return ", ".join([words, *(each for each in map(str, chosen) if each not in ruled_out)])


def frame_phrase(rng: np.random.Generator, phrase: str) -> str:
    """A phrase with words around it that say nothing about the sound."""
    return str(rng.choice(_FRAMES)).format(phrase)


def describe_behind(rng: np.random.Generator, class_name: str) -> str:
    """A description of a background sound that fits after "with"."""
    _words(class_name)
    return str(rng.choice(_BEHIND.get(class_name, captions(class_name))))


def join_captions(rng: np.random.Generator, caption: str, behind: str, behind_class: str) -> str:
    """One caption for a foreground sound and a quieter sound of behind_class, described by `behind`."""
    if behind_class in _SETTINGS and rng.random() < _SETTING_SHARE:
        return f"{caption} {rng.choice(_SETTINGS[behind_class])}"
    return str(rng.choice(_JOINED)).format(caption, behind)


def describe_silence(rng: np.random.Generator, class_name: str) -> str:
    """A caption for a silent clip."""
    return str(rng.choice(_SILENCE)).format(_words(class_name).thing)


def find_modifiers(caption: str) -> frozenset[str]:
    """The MODIFIERS in a caption of the world: those whose words begin after a comma."""
    said = set(_SAID_MODIFIER.findall(caption))
    return frozenset(name for name, phrases in MODIFIERS.items() if not said.isdisjoint(phrases))


def unnamed_captions() -> tuple[str, ...]:
    """Captions that name no sound: the empty one, and those of _FRAMES around no particular sound."""
    return ("", *(frame.format(words).strip(" ,:-") for frame in _FRAMES for words in _WORDLESS[:3]), *_WORDLESS[1:])


def _words(class_name: str) -> ClassPhrases:
    try:
        return _WORDS[class_name]
    except KeyError:
        raise SettingsError(
            f"The world knows no class {class_name!r}.", f"Choose one of {', '.join(_WORDS)}."
        ) from None
