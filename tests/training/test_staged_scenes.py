"""Staged scenes: contacts where they are heard, silence where nothing touches, and the same scene for the same seed."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rewas_engine.errors import SettingsError
from rewas_engine.world import (
    CLASS_NAMES,
    STRUCK_CLASSES,
    SUSTAINED_CLASSES,
    Scene,
    render_sound,
    sample_scene,
)
from rewas_engine.world.excitation import SHORTEST_GAP_S
from rewas_engine.world.motion import Drive, Strikes
from rewas_engine.world.scene import with_contacts
from rewas_engine.world.stage import skeleton
from rewas_engine.world.stage.acts import Act
from rewas_engine.world.stage.description import describe_stage
from rewas_engine.world.stage.fall_acts import FALL_CLASSES, drop, heard
from rewas_engine.world.stage.performer_acts import clapper
from rewas_engine.world.stage.props import Prop
from rewas_engine.world.stage.rigid_bodies import GROUND, Contact
from rewas_engine.world.stage.skeleton import bend
from rewas_engine.world.stage.staged_scene import STRUCK_ACTS, SUSTAINED_ACTS, StagedScene, sample_staged_scene

seeds = st.integers(0, 10**6)
classes = st.sampled_from(CLASS_NAMES)


def motion_of(props: list[Prop]) -> float:
    """How much anything moves, changes its shape or its light from one time to the next."""
    change = 0.0
    for prop in props:
        for course in (prop.poses, prop.vertices, prop.glows):
            if course is not None and len(course) > 1:
                change = max(change, float(np.abs(np.diff(course, axis=0)).max()))
    return change


@given(seed=seeds, class_name=classes)
@settings(max_examples=30, deadline=None)
def test_the_same_seed_gives_the_same_scene_sound_and_description(seed: int, class_name: str) -> None:
    first, again = (sample_staged_scene(seed, class_name, 1.5) for _ in range(2))
    assert first.contacts == again.contacts
    assert np.array_equal(render_sound(first.scene), render_sound(again.scene))
    assert describe_stage(first, 1) == describe_stage(again, 1)


@given(seed=seeds, class_name=classes)
@settings(max_examples=40, deadline=None)
def test_every_scene_can_be_described(seed: int, class_name: str) -> None:
    staged = sample_staged_scene(seed, class_name, 1.0)
    description = json.loads(json.dumps(describe_stage(staged, 4), allow_nan=False))
    exposures = description["exposures"]
    assert exposures == staged.exposures * staged.frame_times_s.size == len(description["shots"])
    assert len(description["cameras"]) > max(description["shots"])
    for camera in description["cameras"]:
        assert len(camera["poses"]) == len(camera["lens_mm"]) == exposures
    for thing in description["things"]:
        assert len(thing["poses"]) in (1, exposures)
        assert thing["vertices"] is None or len(thing["vertices"]) in (1, exposures)
        assert thing["glows"] is None or len(thing["glows"]) == exposures
        assert 0 <= thing["material"] < len(description["materials"])
        rotations = np.array(thing["poses"])[:, 3:]
        assert np.abs((rotations**2).sum(axis=1) - 1).max() < 1e-3
    assert description["height"] + 2 * staged.footage.bars == staged.height


@given(seed=seeds, class_name=classes)
@settings(max_examples=30, deadline=None)
def test_without_a_fall_the_scene_is_that_of_the_drawn_world(seed: int, class_name: str) -> None:
    staged, drawn = sample_staged_scene(seed, class_name, 1.5), sample_scene(seed, class_name, 1.5)
    if not staged.falls:
        assert staged.scene.full_caption == drawn.full_caption
        assert np.array_equal(render_sound(staged.scene), render_sound(drawn))


@example(seed=1428)  # a dog, whose tail wags on its own
@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_still_scenes_do_not_move(seed: int) -> None:
    staged = sample_staged_scene(seed, duration_s=1.0)
    times_s = staged.frame_times_s
    if staged.scene.still:
        assert motion_of(staged.props(times_s)) < 1e-9
        poses, lens_mm = staged.shots.view(0, staged.act, times_s)
        assert np.ptp(poses, axis=0).max() < 1e-9
        assert np.ptp(lens_mm) < 1e-9


def test_every_class_has_acts() -> None:
    assert set(STRUCK_ACTS) == set(STRUCK_CLASSES)
    assert set(SUSTAINED_ACTS) == set(SUSTAINED_CLASSES)


@pytest.mark.parametrize("class_name", STRUCK_CLASSES)
def test_acts_move_towards_their_contacts(class_name: str) -> None:
    """Every act moves around a strike, and rests long before it."""
    for number, draw in enumerate(STRUCK_ACTS[class_name]):
        act = draw(np.random.default_rng(number), Strikes(np.array([3.0]), np.array([0.9])))
        assert motion_of(act.props(3.0 + np.linspace(-0.12, 0.12, 13))) > 0.004
        assert motion_of(act.props(np.linspace(0.5, 1.5, 11))) < 0.004


@pytest.mark.parametrize("class_name", SUSTAINED_CLASSES)
def test_sources_move_while_they_sound_unless_they_are_motionless(class_name: str) -> None:
    scene = next(
        scene
        for scene in (sample_scene(seed, class_name, pattern="steady") for seed in range(100))
        if scene.envelope.min() > 0.3
    )
    times_s = 2.0 + np.arange(25) / 25
    for number, draw in enumerate(SUSTAINED_ACTS[class_name] * 4):
        act = draw(np.random.default_rng(number), Drive(scene))
        assert act.motionless == (motion_of(act.props(times_s)) < 1e-9)


def test_an_ambience_outdoors_is_usually_seen_and_moves() -> None:
    seen = []
    for seed in range(120):
        staged = sample_staged_scene(seed, "gravel_steps", 1.0, pattern="regular")
        if staged.scene.ambience is not None:
            moving = [each for each in staged.company if motion_of(each(staged.frame_times_s)) > 1e-3]
            seen.append(len(moving) > 0)
    assert 0.5 < np.mean(seen) <= 1.0


@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_balls_touch_the_ground_at_their_contacts(seed: int) -> None:
    fall = drop("ball_bounce", np.random.default_rng(seed), 1.5, 1.0)
    times_s = np.array([contact.time_s for contact in fall.contacts if contact.other == GROUND])
    bodies = [contact.body for contact in fall.contacts if contact.other == GROUND]
    props = fall.act.props(times_s)
    balls = [prop for prop in props if prop.shape == "ball"]
    tops = [0.0] + [prop.poses[0, 2] + 0.5 * prop.size_m[2] for prop in props if prop.shape == "box"]
    for row, body in enumerate(bodies):
        bottom = balls[body].poses[row, 2] - 0.5 * balls[body].size_m[0]
        assert min(abs(bottom - top) for top in tops) < 0.004


def test_some_machines_hum_without_moving() -> None:
    found = [sample_staged_scene(seed, "engine", 1.0, pattern="steady").motionless for seed in range(40)]
    assert 5 < sum(found) < 25


@pytest.mark.parametrize(
    "class_name", ["hammer", "metal_hit", "wood_knock", "glass_clink", "bell", "hand_clap", "gunshot"]
)
def test_hands_reach_what_they_strike(class_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    missed: list[float] = []

    def measured(*arguments: Any) -> Any:
        joint, tip = bend(*arguments)
        missed.append(float(np.abs(tip - arguments[1]).max()))
        return joint, tip

    monkeypatch.setattr(skeleton, "bend", measured)
    for number, draw in enumerate(STRUCK_ACTS[class_name] * 3):
        draw(np.random.default_rng(number), Strikes(np.array([1.0]), np.array([0.9]))).props(np.array([1.0]))
    assert max(missed) < 0.005


@given(seed=seeds, strength=st.floats(0.3, 1.0))
@settings(max_examples=20, deadline=None)
def test_hands_that_clap_meet_exactly_at_the_strike(seed: int, strength: float) -> None:
    act = clapper(np.random.default_rng(seed), Strikes(np.array([1.0]), np.array([strength])))

    def gap_m(time_s: float) -> float:
        hands = [
            prop.poses[0, :3]
            for prop in act.props(np.array([time_s]))
            if prop.shape == "ball" and len({round(size, 6) for size in prop.size_m}) == 1
        ]
        return float(np.sqrt(((hands[0] - hands[1]) ** 2).sum()))

    gaps = [gap_m(1.0 + shift_s) for shift_s in (-0.08, -0.03, 0.0, 0.04, 0.1)]
    assert min(gaps) == gaps[2]
    assert gaps[2] < 0.12


@pytest.mark.parametrize("class_name", FALL_CLASSES)
def test_contacts_become_strikes_at_their_times(class_name: str) -> None:
    fall = drop(class_name, np.random.default_rng(4), 2.5, 0.9)
    times_s = [contact.time_s for contact in fall.contacts]
    assert fall.times_s.size >= 1
    assert set(fall.times_s.tolist()) <= set(times_s)
    assert (np.diff(fall.times_s) > 0).all()
    assert fall.strengths.max() == pytest.approx(0.9, abs=1e-3)
    assert fall.strengths.min() > 0


@pytest.mark.parametrize("class_name", FALL_CLASSES)
def test_the_sound_begins_in_the_sample_of_the_first_contact(class_name: str) -> None:
    scene = next(
        staged.scene
        for staged in (sample_staged_scene(seed, class_name, 2.0, pattern="few") for seed in range(60))
        if staged.falls and staged.scene.ambience is None and staged.scene.reverb_s == 0
    )
    sounding = np.flatnonzero(render_sound(scene))[0]
    assert 0 <= sounding - round(scene.event_times_s[0] * 16_000) <= 16


def contact(time_s: float, impulse_n_s: float) -> Contact:
    return Contact(time_s, 0, GROUND, impulse_n_s, 1.0)


def test_contacts_too_close_for_two_sounds_are_one_and_faint_ones_are_not_heard() -> None:
    contacts = (contact(0.1, 1.0), contact(0.12, 2.0), contact(0.5, 0.5), contact(0.9, 1e-4), contact(1.995, 2.0))
    times_s, strengths = heard(contacts, 2.0, 1.0)
    assert times_s.tolist() == [0.12, 0.5]
    assert strengths[0] == pytest.approx(1.0, abs=1e-3)
    assert strengths[1] < 0.8


@given(st.lists(st.tuples(st.floats(0.0, 1.9), st.floats(0.001, 10.0)), min_size=1, max_size=30))
def test_the_strongest_contact_is_heard_at_its_time(pairs: list[tuple[float, float]]) -> None:
    contacts = tuple(contact(time_s, impulse) for time_s, impulse in sorted(pairs))
    times_s, strengths = heard(contacts, 2.0, 0.8)
    strongest = max(impulse for _, impulse in pairs)
    assert times_s[strengths.argmax()] in [time_s for time_s, impulse in pairs if impulse == strongest]
    assert strengths.max() == pytest.approx(0.8, abs=1e-3)
    assert (np.diff(times_s) >= SHORTEST_GAP_S).all()


def test_nothing_is_heard_of_no_contacts() -> None:
    times_s, strengths = heard((), 2.0, 1.0)
    assert times_s.size == strengths.size == 0


def test_contacts_need_an_audible_scene_of_strikes() -> None:
    rain = sample_scene(1, "rain", pattern="steady")
    with pytest.raises(SettingsError, match="rain cannot have 1 contacts"):
        with_contacts(rain, np.array([1.0]), np.array([0.5]))
    hammer: Scene = sample_scene(1, "hammer", pattern="few")
    with pytest.raises(SettingsError, match="hammer cannot have 0 contacts"):
        with_contacts(hammer, np.empty(0), np.empty(0))


@given(rate=st.sampled_from(["12", "24000/1001", "25", "60"]), duration_s=st.floats(0.3, 2.0))
@settings(max_examples=20, deadline=None)
def test_frames_have_exact_times(rate: str, duration_s: float) -> None:
    staged = sample_staged_scene(3, "hammer", duration_s, frame_rate=Fraction(rate), size=(64, 48))
    times_s = staged.frame_times_s
    assert times_s[0] == pytest.approx(0.5 / float(Fraction(rate)))
    assert abs(times_s.size - duration_s * float(Fraction(rate))) <= 0.5 + 1e-6
    assert np.allclose(staged.exposure_times_s(times_s).reshape(times_s.size, -1).mean(axis=1), times_s)


def test_cameras_see_the_contact(monkeypatch: pytest.MonkeyPatch) -> None:
    """The focus is in the picture during most of every clip."""
    seen = []
    for seed in range(60):
        staged = sample_staged_scene(seed, duration_s=1.0)
        seen.append(share_in_picture(staged, staged.act))
    assert np.mean(seen) > 0.95


def share_in_picture(staged: StagedScene, act: Act) -> float:
    times_s, inside = staged.frame_times_s, []
    numbers = staged.shots.numbers(times_s)
    for number in np.unique(numbers):
        own = times_s[numbers == number]
        poses, lens_mm = staged.shots.view(int(number), act, own)
        way = act.focus(own) - poses[:, :3]
        w, axis = poses[:, 3:4], -poses[:, 4:]
        turned = way + 2 * np.cross(axis, np.cross(axis, way) + w * way)
        half = 18.0 / lens_mm
        aspect = staged.width / staged.height
        across, up = half * min(1.0, aspect), half * min(1.0, 1 / aspect)
        ahead = -turned[:, 2]
        inside += [(ahead > 0) & (np.abs(turned[:, 0]) < across * ahead) & (np.abs(turned[:, 1]) < up * ahead)]
    return float(np.concatenate(inside).mean())


@pytest.mark.parametrize("wrong", [{"frame_rate": Fraction(0)}, {"size": (63, 64)}, {"size": (0, 64)}])
def test_what_cannot_be_rendered_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="cannot be rendered"):
        sample_staged_scene(0, **wrong)  # type: ignore[arg-type]


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(SettingsError, match="no class 'kazoo'"):
        sample_staged_scene(0, "kazoo")
