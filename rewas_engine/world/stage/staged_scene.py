"""A scene of the rendered world: what sounds, and everything that is seen of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from rewas_engine.errors import SettingsError
from rewas_engine.world.classes import CLIP_DURATION_S, STRUCK_CLASSES
from rewas_engine.world.motion import Drive, Strikes
from rewas_engine.world.scene import STAGE_STREAM, Scene, sample_scene, with_contacts
from rewas_engine.world.stage.acts import Act, FloatArray, StruckAct, SustainedAct, fixed
from rewas_engine.world.stage.bystanders import BYSTANDERS, LOOK_ALIKES, Bystander
from rewas_engine.world.stage.fall_acts import FALL_CLASSES, drop
from rewas_engine.world.stage.footage import Footage, draw_footage
from rewas_engine.world.stage.machine_acts import MACHINE_ACTS
from rewas_engine.world.stage.performer_acts import PERFORMER_ACTS
from rewas_engine.world.stage.poses import points, pose
from rewas_engine.world.stage.props import Prop
from rewas_engine.world.stage.rigid_bodies import Contact
from rewas_engine.world.stage.rooms import Room, draw_room
from rewas_engine.world.stage.shots import Shots, draw_shots
from rewas_engine.world.stage.step_acts import STEP_ACTS
from rewas_engine.world.stage.tool_acts import TOOL_ACTS
from rewas_engine.world.stage.weather_acts import WEATHER_ACTS
from rewas_engine.world.video import AMBIENCE_SEEN_SHARE

FALL_SHARE = 0.55
"""Share of the clips of a class of falling things in which they fall; in the others, someone strikes them."""
BUSY_SHARE, RESTLESS_SHARE = 0.35, 0.8
BLURRED_SHARE = 0.2
_RATES = ("12", "15", "24000/1001", "24", "25", "30000/1001", "30", "48", "50", "60")
_RATE_CHANCES = (0.07, 0.08, 0.10, 0.12, 0.25, 0.10, 0.18, 0.02, 0.04, 0.04)
_SHAPES = ((1.0, 9 / 16), (1.0, 3 / 4), (0.8, 0.8), (9 / 16, 1.0))
_SHAPE_CHANCES = (0.5, 0.2, 0.15, 0.15)
LONGER_SIDE = 80
"""Pixels of the longer side of a picture, unless a size is given."""

STRUCK_ACTS: dict[str, tuple[StruckAct, ...]] = {**PERFORMER_ACTS, **TOOL_ACTS, **STEP_ACTS}
"""Acts of each struck class."""
SUSTAINED_ACTS: dict[str, tuple[SustainedAct, ...]] = {**WEATHER_ACTS, **MACHINE_ACTS}
"""Acts of each sustained class."""


_EMPTY_STAGE = Act(lambda times_s: [], fixed(0.0, 0.0, 1.0), 1.2)


@dataclass(frozen=True, eq=False)
class StagedScene:
    """One clip of the rendered world, before it is rendered.

    Attributes:
        scene: What sounds, when and how strongly; its sound and captions are those of the drawn world.
        act: What is seen of it. If the source is off screen, something else or an empty stage.
        company: Further things that move: silent ones, and the source of the ambience.
        room: The surroundings.
        shots: The cameras.
        footage: How the frames are finished.
        frame_rate: Frames per second, exact. Frame i shows the time (i + 0.5) / frame_rate, and a contact at t seconds
            is in frame floor(t * frame_rate), as in the drawn world.
        width, height: Pixels of the finished frames, even.
        exposures: Moments averaged over the half frame for which the shutter is open; above 1, motion is blurred.
        contacts: Contacts of falling bodies, with their impulses; empty if nothing falls.
        falls: Whether the strikes are contacts of falling bodies.
    """

    scene: Scene
    act: Act
    company: tuple[Callable[[FloatArray], list[Prop]], ...]
    room: Room
    shots: Shots
    footage: Footage
    frame_rate: Fraction
    width: int
    height: int
    exposures: int
    contacts: tuple[Contact, ...]
    falls: bool

    @property
    def motionless(self) -> bool:
        """Whether the source sounds but neither moves nor changes."""
        return self.act.motionless and not self.scene.is_silent

    @property
    def frame_times_s(self) -> FloatArray:
        """[T] times that the frames show."""
        frames = max(1, round(Fraction(self.scene.duration_s).limit_denominator(10_000) * self.frame_rate))
        return np.asarray((np.arange(frames) + 0.5) / float(self.frame_rate))

    def exposure_times_s(self, frame_times_s: FloatArray) -> FloatArray:
        """[T * exposures] times of all exposures of frames at these times [T], in order."""
        opening = (np.arange(self.exposures) + 0.5) / self.exposures - 0.5
        return np.asarray((frame_times_s[:, None] + 0.5 * opening / float(self.frame_rate)).ravel())

    def props(self, times_s: FloatArray) -> list[Prop]:
        """Everything on the stage at these times."""
        if self.scene.still:  # Performers stir on their own, for example the tail of a dog.
            times_s = np.zeros_like(times_s)
        placed = [*self.room.props, *self.act.props(times_s)]
        for each in self.company:
            placed += each(times_s)
        return placed


def sample_staged_scene(
    seed: int,
    class_name: str | None = None,
    duration_s: float = CLIP_DURATION_S,
    *,
    pattern: str | None = None,
    frame_rate: Fraction | None = None,
    size: tuple[int, int] | None = None,
) -> StagedScene:
    """Draw the staged scene for a seed. Everything that is not given is random.

    Unless something falls, the scene is that of `sample_scene` for the same arguments.

    Raises:
        SettingsError: The class or pattern is unknown, the scene is too short, or a rate or size is not positive.
    """
    if (frame_rate is not None and frame_rate <= 0) or (
        size is not None and (min(size) < 2 or size[0] % 2 or size[1] % 2)
    ):
        raise SettingsError(
            f"A video of {size} pixels at {frame_rate} frames per second cannot be rendered.",
            "Use even sizes and a frame rate above 0.",
        )
    scene = sample_scene(seed, class_name, duration_s, pattern=pattern)
    streams = scene.random(STAGE_STREAM).spawn(9)
    for_format, for_act, for_fall, for_others, for_shots, for_room, for_footage, for_blur, for_ambience = streams
    drawn_rate = Fraction(str(for_format.choice(_RATES, p=_RATE_CHANCES)))
    drawn_shape = _SHAPES[int(for_format.choice(len(_SHAPES), p=_SHAPE_CHANCES))]
    width, height = size or (_even(drawn_shape[0] * LONGER_SIDE), _even(drawn_shape[1] * LONGER_SIDE))
    scene, act, contacts = _perform(scene, for_act, for_fall)
    shots = draw_shots(
        for_shots,
        act,
        duration_s,
        width / height,
        fixed=scene.still,
        restless=scene.silent_motion,
        far=scene.distance,
    )
    room = _draw_room(act, shots, for_room)
    company = _draw_company(scene, for_others, act.radius_m)
    if room.outdoors:
        company += _draw_ambience(scene, for_ambience, act.radius_m)
    return StagedScene(
        scene=scene,
        act=act,
        company=company,
        room=room,
        shots=shots,
        footage=draw_footage(for_footage, duration_s, width, height, fixed=scene.still),
        frame_rate=frame_rate or drawn_rate,
        width=width,
        height=height,
        exposures=2 if not scene.still and for_blur.random() < BLURRED_SHARE else 1,
        contacts=contacts,
        falls=bool(contacts),
    )


def _perform(
    scene: Scene, rng: np.random.Generator, for_fall: np.random.Generator
) -> tuple[Scene, Act, tuple[Contact, ...]]:
    """The act of a scene, and the scene itself with the contacts if things fall."""
    fate = rng.random()
    if scene.off_screen and not scene.is_silent:
        if fate < 0.4:  # something else is there, at rest
            other = str(rng.choice(STRUCK_CLASSES))
            return scene, _one_of(STRUCK_ACTS[other], rng)(rng, Strikes(np.empty(0), np.empty(0))), ()
        return scene, _bystander_act(LOOK_ALIKES, rng) if fate < 0.65 else _EMPTY_STAGE, ()
    if scene.silent_motion and fate < 0.45:
        return scene, _bystander_act(LOOK_ALIKES, rng), ()
    if scene.class_name not in STRUCK_CLASSES:
        return scene, _one_of(SUSTAINED_ACTS[scene.class_name], rng)(rng, Drive(scene)), ()
    if not scene.is_silent and scene.class_name in FALL_CLASSES and for_fall.random() < FALL_SHARE:
        fall = drop(scene.class_name, for_fall, scene.duration_s, float(scene.envelope.max()))
        if fall.times_s.size:
            return with_contacts(scene, fall.times_s, fall.strengths), fall.act, fall.contacts
    act = _one_of(STRUCK_ACTS[scene.class_name], rng)
    if not scene.silent_motion:
        return scene, act(rng, Strikes(scene.event_times_s, scene.event_strengths)), ()
    swings_s = np.arange(rng.uniform(0.3, 1.0), scene.duration_s, rng.uniform(0.4, 1.5))
    return scene, act(rng, Strikes(swings_s, rng.uniform(0.3, 0.9, swings_s.size), touches=False)), ()


def _bystander_act(kinds: tuple[Bystander, ...], rng: np.random.Generator) -> Act:
    props = kinds[int(rng.integers(len(kinds)))](rng, points(0.0, 0.0, 0.0))
    return Act(props, fixed(0.0, 0.0, 1.2), 1.1)


def _draw_company(
    scene: Scene, rng: np.random.Generator, radius_m: float
) -> tuple[Callable[[FloatArray], list[Prop]], ...]:
    """Up to two silent things behind and beside the act."""
    moves_anyway = scene.silent_motion or scene.off_screen
    if scene.still or rng.random() >= (RESTLESS_SHARE if moves_anyway else BUSY_SHARE):
        return ()
    company = []
    for _ in range(int(rng.integers(1, 3))):
        angle, distance = rng.uniform(1.15 * np.pi, 1.85 * np.pi), radius_m + rng.uniform(0.7, 1.8)
        place = points(distance * np.cos(angle), distance * np.sin(angle), 0.0)
        company.append(BYSTANDERS[int(rng.integers(len(BYSTANDERS)))](rng, place))
    return tuple(company)


def _draw_ambience(
    scene: Scene, rng: np.random.Generator, radius_m: float
) -> tuple[Callable[[FloatArray], list[Prop]], ...]:
    """The source of the ambience, far behind the act; rain falls everywhere."""
    if scene.ambience is None or rng.random() >= AMBIENCE_SEEN_SHARE:
        return ()
    act = _one_of(SUSTAINED_ACTS[scene.ambience.class_name], rng)(rng, Drive(scene.ambience))
    angle, distance = rng.uniform(1.2 * np.pi, 1.8 * np.pi), radius_m + 1.5 * act.radius_m + rng.uniform(1.0, 3.0)
    place = points(distance * np.cos(angle), distance * np.sin(angle), 0.0)
    if scene.ambience.class_name == "rain":
        place = points(0.0, 0.0, 0.0)
    offset = pose(place, np.zeros((1, 4)))

    def props(times_s: FloatArray) -> list[Prop]:
        return [replace(prop, poses=prop.poses + offset) for prop in act.props(times_s)]

    return (props,)


def _draw_room(act: Act, shots: Shots, rng: np.random.Generator) -> Room:
    """Surroundings with walls behind all cameras."""
    times_s = np.linspace(0.0, shots.duration_s, 9)
    eyes = np.concatenate([shots.view(number, act, times_s)[0][:, :2] for number in range(len(shots.shots))])
    paths = act.focus(times_s)[:, :2]
    reach = max(float(np.abs(np.concatenate([eyes, paths])).max()), 1.5 * act.radius_m)
    clear = float(np.abs(paths).max()) + act.radius_m
    return draw_room(rng, reach, clear, act.ground, act.outdoors)


def _one_of(acts: tuple[Callable[..., Act], ...], rng: np.random.Generator) -> Callable[..., Act]:
    return acts[int(rng.integers(len(acts)))]


def _even(pixels: float) -> int:
    return 2 * round(pixels / 2)
