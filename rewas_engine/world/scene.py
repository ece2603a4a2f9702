"""A scene: the sound source, when and how strongly it sounds, and the viewpoint.

Every class gets every kind of pattern, so that the class never determines the shape of the energy: a model must learn
the class from the prompt and the timing from the energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.errors import SettingsError
from rewas_engine.world.classes import (
    ALL_CLASSES,
    AMBIENCE_CLASSES,
    CLASS_NAMES,
    CLIP_DURATION_S,
    ENVELOPE_RATE_HZ,
    has_picture,
    is_struck,
)
from rewas_engine.world.excitation import (
    ENVELOPE_PATTERNS,
    EVENT_PATTERNS,
    PATTERNS,
    draw_fall_s,
    excitation,
    pulses_at,
)
from rewas_engine.world.vocabulary import describe, describe_behind, describe_silence, join_captions

FloatArray = NDArray[np.floating[Any]]

SILENT_MOTION_SHARE = 0.08
STILL_SHARE = 0.03
QUIET_SHARE = 0.12
OFF_SCREEN_SHARE = 0.07
FLOOR_SHARE = 0.09
"""Share of audible scenes whose own sound is never silent."""
STEADY_AMBIENCE_SHARE = 0.05
"""Share of audible scenes with a constant background sound."""
AMBIENCE_SHARE = 0.1
"""Share of audible scenes with a varying background sound."""
AMBIENCE_BELOW_DB = (8.0, 22.0)
FLOOR_BELOW_NATS = (2.0, 5.0)
"""How far the floor of a clip's own sound is below its peak."""
_AMBIENCE_PATTERNS = ("steady", "swell", "gusts", "ramp", "gated")
ROOM_SHARE = 0.4
FAR_SHARE = 0.25

# Each stream of random numbers has its own branch of the seed, so that drawing more numbers for the video never changes
# the sound.
SCENE_STREAM, SOUND_STREAM, VIDEO_STREAM, ROOM_STREAM, LAYER_STREAM, OFF_SCREEN_STREAM = range(6)
JOINED_CAPTION_STREAM, MURMUR_STREAM, CONTACT_STREAM, STAGE_STREAM, FOOTAGE_STREAM = range(6, 11)
GRAIN_STREAM = 11


SHORTEST_S = 0.2


@dataclass(frozen=True, eq=False)
class Scene:
    """One clip of the world, before it is rendered.

    Attributes:
        class_name: One of ALL_CLASSES.
        seed: Determines everything that the fields do not contain, such as colours and the pitch of a bell.
        duration_s: Length in seconds.
        pattern: One of PATTERNS, the origin of the events or the envelope.
        event_times_s: [N] seconds, ascending; times of contact or onset. Empty for a continuous envelope.
        event_strengths: [N] intensities in 0..1.
        envelope: [T] intensities in 0..1 at ENVELOPE_RATE_HZ; value i is at i / ENVELOPE_RATE_HZ seconds. 0 is true
            silence. For struck classes it outlines the strikes and the floor beneath them.
        caption: A true description of the clip.
        silent_motion: Objects move but there is no sound.
        still: Nothing moves and there is no sound. Silent scenes have no events and an envelope of zeros.
        distance: 0 near to 1 far: softer, duller and smaller.
        reverb_s: Reverberation time (a fall of 60 dB) of the room; 0 is outdoors.
        floor: Intensity below which the class's own sound never falls, 0 if the gaps are silent. For struck classes
            it is a dense roll of faint strikes that are neither visible nor in event_times_s.
        off_screen: The sound source is not in the frame. Always true for classes without a picture.
        ambience: A second, quieter scene of another sustained class, without its own ambience.
        below_db: For an ambience, how far its peak level is below that of the foreground.
    """

    class_name: str
    seed: int
    duration_s: float
    pattern: str
    event_times_s: FloatArray
    event_strengths: FloatArray
    envelope: FloatArray
    caption: str
    silent_motion: bool
    still: bool
    distance: float
    reverb_s: float
    floor: float = 0.0
    off_screen: bool = False
    ambience: Scene | None = None
    below_db: float = 0.0

    @property
    def full_caption(self) -> str:
        """Description of all sounds: the caption, joined with that of the ambience, if any."""
        if self.ambience is None:
            return self.caption
        rng = self.random(JOINED_CAPTION_STREAM)
        return join_captions(rng, self.caption, self.ambience.caption, self.ambience.class_name)

    @property
    def is_silent(self) -> bool:
        """Whether the clip is silent throughout."""
        return self.silent_motion or self.still

    def random(self, stream: int) -> np.random.Generator:
        """A new generator for one of the scene's streams of random numbers."""
        return np.random.default_rng([self.seed, stream, ALL_CLASSES.index(self.class_name)])

    def intensity_at(self, times_s: FloatArray) -> FloatArray:
        """Interpolate the envelope linearly at any times: intensities in 0..1."""
        return np.interp(times_s, np.arange(self.envelope.size) / ENVELOPE_RATE_HZ, self.envelope)


def amplitude(intensity: FloatArray) -> FloatArray:
    """Linear amplitude of an intensity: 1 at 1, 33 dB lower at 0.3, and continuously down to true silence at 0."""
    return intensity * np.exp(1.6 * np.log(10.0) * (intensity - 1.0))


def intensity_of(linear_amplitude: FloatArray | float) -> FloatArray:
    """Intensity in 0..1 of a linear amplitude: the inverse of `amplitude`."""
    grid = np.linspace(0.0, 1.0, 2001)
    return np.asarray(np.interp(linear_amplitude, amplitude(grid), grid))


def sample_scene(
    seed: int,
    class_name: str | None = None,
    duration_s: float = CLIP_DURATION_S,
    *,
    pattern: str | None = None,
    classes: Sequence[str] = CLASS_NAMES,
) -> Scene:
    """Draw the scene for a seed. Class and pattern are random unless they are given.

    With a given pattern, the scene is always audible. Without a given class, it is one of `classes`.

    Raises:
        SettingsError: The class or pattern is unknown, or the duration is below SHORTEST_S.
    """
    unknown = [name for name in (class_name, *classes) if name is not None and name not in ALL_CLASSES]
    if unknown:
        raise SettingsError(f"The world has no class {unknown[0]!r}.", f"Choose one of {', '.join(ALL_CLASSES)}.")
    if pattern is not None and pattern not in PATTERNS:
        raise SettingsError(f"The world has no pattern {pattern!r}.", f"Choose one of {', '.join(PATTERNS)}.")
    if not duration_s >= SHORTEST_S:
        raise SettingsError(f"The scene's duration is {duration_s} s.", f"Give a duration of at least {SHORTEST_S} s.")

    rng = np.random.default_rng([seed, SCENE_STREAM])
    drawn_class = str(rng.choice(classes))
    drawn_pattern = str(rng.choice(EVENT_PATTERNS if rng.random() < 0.55 else ENVELOPE_PATTERNS))
    fate = rng.random() if pattern is None else 1.0
    class_name = class_name or drawn_class
    pattern = pattern or drawn_pattern
    if not has_picture(class_name):
        fate = 1.0
    silent_motion = fate < SILENT_MOTION_SHARE
    still = SILENT_MOTION_SHARE <= fate < SILENT_MOTION_SHARE + STILL_SHARE

    distance = float(rng.uniform(0.6, 1.0)) if rng.random() < FAR_SHARE else float(rng.uniform(0.0, 0.3))
    reverb_s = float(rng.uniform(0.12, 0.5)) if rng.random() < ROOM_SHARE else 0.0
    loudest = float(rng.uniform(0.35, 0.6)) if rng.random() < QUIET_SHARE else 1.0

    times_s, strengths, envelope = excitation(rng, pattern, is_struck(class_name), duration_s)
    if loudest < 1.0:
        softening = loudest / max(float(envelope.max()), loudest)
        strengths, envelope = strengths * softening, envelope * softening
    if silent_motion or still:
        times_s, strengths, envelope = times_s[:0], strengths[:0], np.zeros_like(envelope)

    if silent_motion or still:
        caption, floor, ambience = describe_silence(rng, class_name), 0.0, None
    else:
        peak = float(envelope.max())
        floor, ambience = _draw_background(seed, class_name, duration_s, peak)
        counted = pattern in EVENT_PATTERNS and floor == 0.0
        caption = describe(
            rng,
            class_name,
            loudness=_typical_intensity(envelope),
            rate_hz=_event_rate_hz(times_s) if counted else None,
            **_viewpoint(distance, reverb_s),
            pattern=pattern if floor == 0.0 else "steady",
            event_count=times_s.size if counted else None,
            rising=_is_rising(envelope) if floor == 0.0 else None,
        )
        envelope = floor + (peak - floor) / peak * envelope
    return Scene(
        class_name=class_name,
        seed=seed,
        duration_s=duration_s,
        pattern=pattern,
        event_times_s=times_s,
        event_strengths=strengths,
        envelope=envelope,
        caption=caption,
        silent_motion=silent_motion,
        still=still,
        distance=distance,
        reverb_s=reverb_s,
        floor=floor,
        off_screen=not has_picture(class_name)
        or (
            not (silent_motion or still)
            and bool(np.random.default_rng([seed, OFF_SCREEN_STREAM]).random() < OFF_SCREEN_SHARE)
        ),
        ambience=ambience,
    )


def with_contacts(scene: Scene, times_s: FloatArray, strengths: FloatArray) -> Scene:
    """The scene with other events, such as the contacts of things that fall, and a caption that fits them.

    Args:
        scene: An audible scene of a struck class.
        times_s: [N] seconds, ascending, at least one.
        strengths: [N] intensities in 0..1.

    Raises:
        SettingsError: There are no events, or the scene has no strikes.
    """
    if times_s.size == 0 or scene.is_silent or not is_struck(scene.class_name):
        raise SettingsError(
            f"A scene of {scene.class_name} cannot have {times_s.size} contacts.",
            "Give at least one contact, and an audible scene of a struck class.",
        )
    rng = scene.random(CONTACT_STREAM)
    pattern = _course_of(times_s)
    envelope = pulses_at(times_s, strengths, draw_fall_s(rng), scene.envelope.size)
    caption = describe(
        rng,
        scene.class_name,
        loudness=_typical_intensity(envelope),
        rate_hz=_event_rate_hz(times_s),
        **_viewpoint(scene.distance, scene.reverb_s),
        pattern=pattern,
        event_count=times_s.size,
        rising=_is_rising(envelope),
    )
    return replace(
        scene,
        pattern=pattern,
        event_times_s=times_s,
        event_strengths=strengths,
        envelope=envelope,
        caption=caption,
        floor=0.0,
    )


def _course_of(times_s: FloatArray) -> str:
    """The pattern that describes events at these times."""
    if times_s.size <= 4:
        return "single" if times_s.size == 1 else "few"
    gaps_s = np.diff(times_s)
    return "accelerating" if (gaps_s[1:] < 1.05 * gaps_s[:-1]).all() else "irregular"


def _viewpoint(distance: float, reverb_s: float) -> dict[str, bool]:
    """What a caption may say about the distance and the room."""
    return {"far": distance > 0.5, "near": distance < 0.15, "indoors": reverb_s > 0.25}


def _draw_background(seed: int, class_name: str, duration_s: float, peak: float) -> tuple[float, Scene | None]:
    """The floor of the clip's own sound (0 for none), and a background scene.

    Drawn from a separate stream, so that the rest of the scene does not depend on it.
    """
    rng = np.random.default_rng([seed, LAYER_STREAM])
    share = rng.random()
    if share < FLOOR_SHARE:
        contrast_nats = rng.uniform(*FLOOR_BELOW_NATS)
        return float(intensity_of(amplitude(np.asarray(peak)) * np.exp(-contrast_nats))), None
    if share >= FLOOR_SHARE + STEADY_AMBIENCE_SHARE + AMBIENCE_SHARE:
        return 0.0, None
    return 0.0, _ambience(rng, class_name, duration_s, always=share < FLOOR_SHARE + STEADY_AMBIENCE_SHARE)


def _ambience(rng: np.random.Generator, class_name: str, duration_s: float, *, always: bool) -> Scene:
    """A sustained background scene for a scene of class_name. always: it is constant throughout."""
    behind = str(rng.choice([name for name in AMBIENCE_CLASSES if name != class_name]))
    pattern = "steady" if always else str(rng.choice(_AMBIENCE_PATTERNS))
    envelope = np.full(round(duration_s * ENVELOPE_RATE_HZ) + 1, rng.uniform(0.6, 1.0))
    if not always:
        envelope = excitation(rng, pattern, False, duration_s)[2]
    return Scene(
        class_name=behind,
        seed=int(rng.integers(0, 2**31)),
        duration_s=duration_s,
        pattern=pattern,
        event_times_s=np.empty(0),
        event_strengths=np.empty(0),
        envelope=envelope,
        caption=describe_behind(rng, behind),
        silent_motion=False,
        still=False,
        distance=float(rng.uniform(0.0, 0.4)),
        reverb_s=0.0,
        below_db=float(rng.uniform(*AMBIENCE_BELOW_DB)),
    )


def _typical_intensity(envelope: FloatArray) -> float:
    audible = envelope[envelope > 0.05]
    return float(np.quantile(audible, 0.8)) if audible.size else 0.0


def _event_rate_hz(times_s: FloatArray) -> float | None:
    return float(1.0 / np.median(np.diff(times_s))) if times_s.size > 3 else None


def _is_rising(envelope: FloatArray) -> bool | None:
    """True if the clip clearly gets louder, False if it clearly fades, None otherwise."""
    audible = np.flatnonzero(envelope > 0.05)
    if audible.size < 100:
        return None
    halves = np.array_split(envelope[audible], 2)
    change = float(halves[1].mean() - halves[0].mean())
    return None if abs(change) < 0.2 else change > 0
