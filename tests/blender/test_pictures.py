"""A proxy shows what Blender shows: each of its frames is compared with Blender's own picture of that frame.

The media show the number of each frame as bars, so a frame that is early or late by one is found.
"""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import pytest
from conftest import MAIN_PYTHON, part, set_rate, strips_of

WIDTH, HEIGHT, BITS = 320, 180, 10
MEDIA_FRAMES = 100
IMAGES = 8

_WRITE_MEDIA = """
import sys, av, numpy as np
from fractions import Fraction
from pathlib import Path
folder = Path(sys.argv[1])

def picture(number):
    pixels = np.full((180, 320, 3), 40, np.uint8)
    for bit in range(10):
        # Frame 0 has a bar, too.
        pixels[20:160, bit * 32 + 4 : bit * 32 + 28] = 230 if (number + 1) >> bit & 1 else 10
    return av.VideoFrame.from_ndarray(pixels, "rgb24")

def write(name, rate, times):
    with av.open(str(folder / name), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        stream.codec_context.time_base = stream.time_base = 1 / Fraction(rate * 10)
        for number, tick in enumerate(times):
            frame = picture(number)
            frame.pts, frame.time_base = tick, 1 / Fraction(rate * 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())

for name, rate in (("25.mp4", Fraction(25)), ("2997.mp4", Fraction(30000, 1001))):
    write(name, rate, [number * 10 for number in range(100)])
write("varying.mp4", Fraction(25), [number * 10 + (number % 2) * 5 for number in range(100)])
for number in range(8):
    picture(100 + number).to_image().save(folder / f"{number}.png")
"""
_READ_PICTURES = """
import sys, json, av
numbers = {}
for path in sys.argv[1:]:
    with av.open(path) as container:
        rate = container.streams.video[0].average_rate
        found = []
        for frame in container.decode(video=0):
            gray = frame.to_ndarray(format="gray")
            height, width = gray.shape
            columns = gray[int(height * 0.3) : int(height * 0.7)]
            dark, light = int(columns.min()), int(columns.max())
            bits = [
                columns[:, int(width * (bit + 0.35) / 10) : int(width * (bit + 0.65) / 10)].mean() > (dark + light) / 2
                for bit in range(10)
            ]
            found.append((sum(int(bit) << index for index, bit in enumerate(bits)) if light - dark > 40 else 0) - 1)
        numbers[path] = {"rate": str(rate), "frames": found}
print(json.dumps(numbers))
"""


def read_pictures(paths: list[Path]) -> dict[Path, Any]:
    """Return the rate and the numbers of the frames of movies and images. -1 is a frame without bars."""
    command = [MAIN_PYTHON, "-c", _READ_PICTURES, *paths]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return {Path(path): found for path, found in json.loads(answer.stdout).items()}


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    subprocess.run([MAIN_PYTHON, "-c", _WRITE_MEDIA, folder], check=True, capture_output=True)
    return folder


class Timeline:
    """A scene with one strip of each kind, each on its own frames."""

    def __init__(self, media: Path) -> None:
        bpy.ops.wm.read_homefile(use_empty=True)
        self.media = media
        self.scene = bpy.context.scene
        self.editor = self.scene.sequence_editor_create()
        self.strips = strips_of(self.editor)
        set_rate(self.scene, 25, 1.0)
        self.scene.render.resolution_x, self.scene.render.resolution_y = WIDTH, HEIGHT
        self.scene.frame_start = 1001
        self._handles = part("blender.compat").set_handles

    def movie(self, name: str, channel: int, start: int, shown: tuple[int, int], file: str = "25.mp4") -> Any:
        strip = self.strips.new_movie(name, str(self.media / file), channel, start)
        self._handles(strip, *shown)
        return strip

    def add_everything(self) -> None:
        self.movie("reversed", 1, 101, (111, 123)).use_reverse_frames = True
        self.movie("held", 2, 101, (196, 206))
        self.movie("held before", 3, 1101, (1095, 1105))
        self.movie("other rate", 4, 1, (21, 33), "2997.mp4")
        self.movie("mirrored", 5, 401, (405, 415)).use_flip_x = True
        self.movie("cropped", 6, 401, (405, 415)).crop.max_y = 20
        self.movie("strobe", 7, 401, (405, 415)).strobe = 3
        self.movie("muted", 8, 401, (405, 415)).use_reverse_frames = True
        self.strips["muted"].mute = True
        self._add_speed("fast", 9, -20, (-20, -8))
        meta = self.strips.new_meta("meta", 12, 501)
        inside = strips_of(meta).new_movie("inside", str(self.media / "25.mp4"), 1, 501)
        hidden = strips_of(meta).new_movie("hidden", str(self.media / "2997.mp4"), 2, 501)
        self._handles(inside, 505, 530)
        self._handles(hidden, 505, 530)
        hidden.mute = True
        self._handles(meta, 510, 522)
        inside.use_flip_x = True
        still = self.strips.new_image("still", str(self.media / "3.png"), 13, 601)
        self._handles(still, 601, 607)
        images = self.strips.new_image("images", str(self.media / "0.png"), 14, 601)
        for number in range(1, IMAGES):
            images.elements.append(f"{number}.png")
        self._handles(images, 602, 607)
        other = bpy.data.scenes.new("Other")
        strips_of(other.sequence_editor_create()).new_movie("in scene", str(self.media / "25.mp4"), 1, 1)
        other.frame_start, other.frame_end = 1, MEDIA_FRAMES
        other.render.resolution_x, other.render.resolution_y = WIDTH, HEIGHT
        set_rate(other, 25, 1.0)
        shown = self.strips.new_scene("scene", other, 15, 701)
        shown.scene_input = "SEQUENCER"
        self._handles(shown, 705, 715)
        # They must not be seen in any of the others.
        self.movie("above", 30, 1, (1, 1200), "2997.mp4")
        for strip in self.editor.strips_all if hasattr(self.editor, "strips_all") else self.editor.sequences_all:
            strip.rewas.prompt = "rain"

    def _add_speed(self, name: str, channel: int, start: int, shown: tuple[int, int]) -> None:
        strip = self.movie(name, channel, start, shown)
        length = {"length": 12} if bpy.app.version >= (5, 0) else {"frame_end": shown[1]}
        source = {"seq1": strip} if bpy.app.version < (4, 4) else {"input1": strip}
        effect = self.strips.new_effect(
            name="Speed", type="SPEED", channel=channel + 1, frame_start=shown[0], **length, **source
        )
        effect.speed_control, effect.speed_factor = "MULTIPLY", 2.0

    def clips(self, folder: Path, names: list[str]) -> dict[str, tuple[Any, Any]]:
        """Return the clip and the rendering task of each strip."""
        reading, rendering = part("blender.strip_reading"), part("blender.proxy_rendering")
        proxies, selection = part("core.proxies"), part("timeline.selection")
        run_all = part("core.slices").run_all
        surroundings = reading.survey_strips(self.scene)
        found = {}
        for strip in self.editor.strips_all if hasattr(self.editor, "strips_all") else self.editor.sequences_all:
            if strip.name in names:
                snapshot = reading.read_strip(self.scene, strip, surroundings)
                snapshot = run_all(proxies.locate_proxy(snapshot, folder))
                clip = selection.clip_from_strip(snapshot, reading.scene_rate(self.scene))
                task = rendering.describe_task(self.scene, strip, snapshot, surroundings) if clip.proxy else None
                found[strip.name] = clip, task
        return found

    def render_still(self, names: set[str], frame: int, path: Path) -> Path:
        """Render one frame in this process, with only these strips of the timeline."""
        muted = {strip.name: strip.mute for strip in self.strips}
        for strip in self.strips:
            strip.mute = strip.name not in names
        self.scene.frame_set(frame)
        settings = self.scene.render.image_settings
        if hasattr(settings, "media_type"):
            settings.media_type = "IMAGE"
        settings.file_format = "PNG"
        self.scene.render.filepath = str(path)
        bpy.ops.render.render(write_still=True, scene=self.scene.name)
        for strip in self.strips:
            strip.mute = muted[strip.name]
        return path


NAMES = [
    "reversed", "held", "held before", "other rate", "mirrored", "cropped", "strobe", "muted", "fast", "meta", "inside",
    "still", "images", "scene",
]  # fmt: skip


@pytest.fixture(scope="module")
def rendered(installed: str, media: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The frames of every proxy, and Blender's own frames at some of the positions, rendered once."""
    folder = tmp_path_factory.mktemp("proxies")
    timeline = Timeline(media)
    timeline.add_everything()
    clips = timeline.clips(folder, NAMES)
    messages: list[Any] = []
    tasks = [task for _, task in clips.values()]
    render = part("blender.proxy_rendering").start_rendering(timeline.scene, tasks, post=messages.append)
    stills: dict[tuple[str, int], Path] = {}
    for name, (clip, _) in clips.items():
        # Blender writes no still of a negative frame, and shows the inside of a meta strip only while it is open.
        if clip.start_frame >= 0 and name != "inside":
            for index in {0, clip.frames // 2, clip.frames - 1}:
                path = folder / f"{name}-{index}.png"
                stills[name, index] = timeline.render_still({name}, clip.start_frame + index, path)
    assert render.join(240)
    failed = [message for message in messages if type(message).__name__ == "ProxyFailed"]
    assert not failed, failed
    pictures = read_pictures([*(Path(clip.path) for clip, _ in clips.values()), *stills.values()])
    yield {"clips": clips, "pictures": pictures, "stills": stills, "messages": messages}
    bpy.ops.wm.read_homefile(use_empty=True)


def reversed_bits(number: int) -> int:
    return int(f"{number + 1:0{BITS}b}"[::-1], 2) - 1


EXPECTED = {
    "reversed": [MEDIA_FRAMES - 1 - index for index in range(10, 22)],
    "held": [*range(95, MEDIA_FRAMES), *[MEDIA_FRAMES - 1] * 5],
    "held before": [*[0] * 6, *range(4)],
    "other rate": [*range(20, 32)],
    "mirrored": [reversed_bits(index) for index in range(4, 14)],
    "cropped": [*range(4, 14)],
    "muted": [MEDIA_FRAMES - 1 - index for index in range(4, 14)],
    # Blender 5.2 repeats a frame when it renders this as an animation, but not as a still.
    "fast": [0, 2, 2 if bpy.app.version >= (5, 2) else 4, *range(6, 24, 2)],
    "meta": [reversed_bits(index) for index in range(9, 21)],
    "inside": [reversed_bits(index) for index in range(4, 29)],
    "still": [103] * 6,
    "images": [*range(101, 106)],
    "scene": [*range(4, 14)],
}


@pytest.mark.parametrize("name", NAMES)
def test_a_proxy_shows_exactly_the_frames_of_its_strip(rendered: dict[str, Any], name: str) -> None:
    clip, task = rendered["clips"][name]
    shown = rendered["pictures"][Path(clip.path)]
    assert len(shown["frames"]) == clip.frames == task.frames
    assert Fraction(shown["rate"]) == clip.rate == 25
    if name in EXPECTED:
        assert shown["frames"] == EXPECTED[name]
    for (still_name, index), path in rendered["stills"].items():
        if still_name == name:
            assert rendered["pictures"][path]["frames"] == [shown["frames"][index]], index


def test_progress_is_reported_and_nothing_is_left_behind(rendered: dict[str, Any]) -> None:
    kinds = {type(message).__name__ for message in rendered["messages"]}
    assert kinds == {"ProxyProgress", "ProxyReady"}
    folder = Path(rendered["clips"]["still"][0].path).parent
    assert not [path for path in folder.iterdir() if path.name.startswith("unfinished-")]


def frame_at(file: str, time_s: Fraction) -> int:
    """Return the number of the frame that a movie shows at a time."""
    if file == "varying.mp4":
        starts_s = [Fraction(number * 10 + number % 2 * 5, 250) for number in range(MEDIA_FRAMES)]
    else:
        rate = Fraction(30000, 1001) if file == "2997.mp4" else Fraction(25)
        starts_s = [number / rate for number in range(MEDIA_FRAMES)]
    return max(number for number, start_s in enumerate(starts_s) if start_s <= time_s)


@pytest.mark.parametrize(
    ("file", "fps", "shown", "nearest"),
    [("varying.mp4", 25, (105, 190), False), ("2997.mp4", 24, (109, 170), True), ("25.mp4", 30, (107, 180), True)],
)
def test_media_of_other_rates_is_read_at_the_times_that_blender_shows(
    installed: str, media: Path, tmp_path: Path, file: str, fps: int, shown: tuple[int, int], nearest: bool
) -> None:
    """Blender shows the frame that is nearest to the time, which may begin half a frame later."""
    timeline = Timeline(media)
    set_rate(timeline.scene, fps, 1.0)
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    area.type = "SEQUENCE_EDITOR"
    options: dict[str, Any] = {"move_strips": False} if bpy.app.version >= (5, 0) else {}
    if hasattr(window.workspace, "sequencer_scene"):
        window.workspace.sequencer_scene = timeline.scene
    with bpy.context.temp_override(window=window, area=area):
        bpy.ops.sequencer.movie_strip_add(
            filepath=str(media / file), frame_start=101, channel=1, use_framerate=False, sound=False,
            adjust_playback_rate=True, **options,
        )  # fmt: skip
    strip = timeline.strips[0]
    strip.rewas.prompt = "rain"
    timeline._handles(strip, *shown)
    clip, task = timeline.clips(tmp_path, [strip.name])[strip.name]
    assert (clip.proxy, task, clip.path) == (None, None, str(media / file))
    frames = sorted({*range(0, clip.frames, 9), clip.frames - 1})
    stills = [
        timeline.render_still({strip.name}, clip.start_frame + frame, tmp_path / f"{frame}.png") for frame in frames
    ]
    seen = [picture["frames"][0] for picture in read_pictures(stills).values()]
    times_s = [clip.source_start_s + Fraction(frame, fps) for frame in frames]
    if not nearest:
        assert seen == [frame_at(file, time_s) for time_s in times_s]
    for number, time_s in zip(seen, times_s, strict=True):
        assert number - frame_at(file, time_s) in (0, 1)
        assert number == frame_at(file, time_s) or number == frame_at(
            file, time_s + Fraction(501, 1000) / clip.media_rate
        )


@pytest.mark.parametrize("keys", ["fast", "freeze"])
def test_retiming_keys_are_rendered_as_blender_plays_them(
    installed: str, media: Path, tmp_path: Path, keys: str
) -> None:
    timeline = Timeline(media)
    strip = timeline.movie("retimed", 1, 101, (101, 201))
    strip.rewas.prompt = "rain"
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    area.type = "SEQUENCE_EDITOR"
    if hasattr(window.workspace, "sequencer_scene"):
        window.workspace.sequencer_scene = timeline.scene
    strip.select = True
    timeline.editor.active_strip = strip
    region = next(region for region in area.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.sequencer.retiming_key_add(timeline_frame=141)
        if keys == "fast":
            set_speed = bpy.ops.sequencer.retiming_segment_speed_set
            # 5.2 does not offer the choice, and changes the speed of the whole strip.
            has_choice = "keep_retiming" in set_speed.get_rna_type().properties
            set_speed(speed=250.0, **({"keep_retiming": False} if has_choice else {}))
        else:
            bpy.ops.sequencer.retiming_freeze_frame_add(duration=5)
    (clip, task) = timeline.clips(tmp_path, ["retimed"])["retimed"]
    assert clip.proxy.reason == "is retimed"
    messages: list[Any] = []
    render = part("blender.proxy_rendering").start_rendering(timeline.scene, [task], post=messages.append)
    frames = sorted({frame for frame in (0, 38, 42, 44, 47, 60) if frame < clip.frames} | {clip.frames - 1})
    stills = [
        timeline.render_still({"retimed"}, clip.start_frame + index, tmp_path / f"{index}.png") for index in frames
    ]
    assert render.join(120)
    pictures = read_pictures([Path(clip.path), *stills])
    shown = pictures[Path(clip.path)]["frames"]
    assert len(shown) == clip.frames
    assert [shown[index] for index in frames] == [pictures[still]["frames"][0] for still in stills]
    assert shown[:39] != list(range(39)) or shown != list(range(len(shown)))


def test_a_damaged_movie_inside_a_meta_strip_fails_with_its_path(installed: str, media: Path, tmp_path: Path) -> None:
    timeline = Timeline(media)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes((media / "25.mp4").read_bytes())
    meta = timeline.strips.new_meta("meta", 1, 1)
    strips_of(meta).new_movie("inside", str(damaged), 1, 1)
    part("blender.compat").set_handles(meta, 1, 11)
    meta.rewas.prompt = "rain"
    damaged.write_bytes(b"no movie at all")
    (_, task) = timeline.clips(tmp_path, ["meta"])["meta"]
    messages: list[Any] = []
    render = part("blender.proxy_rendering").start_rendering(timeline.scene, [task], post=messages.append)
    assert render.join(120)
    assert str(damaged) in messages[-1].problem.what
    assert 'the strip "meta"' in messages[-1].problem.what


@pytest.mark.slow
def test_a_three_dimensional_scene_is_rendered(installed: str, media: Path, tmp_path: Path) -> None:
    timeline = Timeline(media)
    world = bpy.data.scenes.new("Set")
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location = (0.0, 0.0, 5.0)
    mesh = bpy.data.meshes.new("Plane")
    mesh.from_pydata([(-9, -9, 0), (9, -9, 0), (9, 9, 0), (-9, 9, 0)], [], [(0, 1, 2, 3)])
    plane = bpy.data.objects.new("Plane", mesh)
    light = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    light.data.energy = 4.0
    for item in (camera, plane, light):
        world.collection.objects.link(item)
    world.camera = camera
    world.render.engine = "CYCLES"
    world.frame_start, world.frame_end = 1, 10
    # The plane appears in the sixth frame.
    plane.hide_render = True
    plane.keyframe_insert("hide_render", frame=1)
    plane.hide_render = False
    plane.keyframe_insert("hide_render", frame=6)
    strip = timeline.strips.new_scene("set", world, 1, 101)
    strip.rewas.prompt = "rain"
    (clip, task) = timeline.clips(tmp_path, ["set"])["set"]
    assert clip.proxy.reason == "shows a scene"
    messages: list[Any] = []
    render = part("blender.proxy_rendering").start_rendering(timeline.scene, [task], post=messages.append)
    assert render.join(280)
    assert [type(message).__name__ for message in messages][-1] == "ProxyReady", messages
    script = (
        "import av, json, sys; print(json.dumps([float(frame.to_ndarray(format='gray').mean())"
        " for frame in av.open(sys.argv[1]).decode(video=0)]))"
    )
    read = subprocess.run([MAIN_PYTHON, "-c", script, clip.path], check=True, capture_output=True, text=True)
    levels = json.loads(read.stdout)
    assert len(levels) == 10
    assert max(levels[:5]) + 30 < min(levels[5:]), levels


def test_cancelling_ends_the_second_blender(scene: Any, media: Path) -> None:
    """The row shows that the picture is rendered, and cancelling it removes the job and the process."""
    set_rate(scene, 25, 1.0)
    strip = strips_of(scene.sequence_editor).new_movie("long", str(media / "25.mp4"), 1, 1)
    part("blender.compat").set_handles(strip, 1, 100_000)
    strip.rewas.prompt, strip.select = "rain", True
    pump, session = part("blender.pump"), part("blender.shared_session").session()
    queue = part("blender.picture_queue")
    folder = part("core.proxies").proxy_folder()
    earlier = set(folder.iterdir()) if folder.exists() else set()
    assert bpy.ops.rewas.generate() == {"FINISHED"}
    ((key, job),) = session.board.jobs.items()
    assert (job.state, queue.is_rendering()) == ("preparing", True)
    assert session.book.get(key).clip.proxy.reason == "extends beyond its media and holds a still frame"
    deadline_s = time.monotonic() + 60
    while session.board.jobs[key].step == 0:
        assert time.monotonic() < deadline_s
        pump.pump()
        threading.Event().wait(0.02)
    assert session.board.jobs[key].status_text.startswith("Rendering the picture ")
    (render,) = queue._renders
    process = render._process
    assert bpy.ops.rewas.cancel(key=key) == {"FINISHED"}
    assert render.join(20)
    assert process.poll() is not None
    while session.board.jobs[key].state != "cancelled":
        assert time.monotonic() < deadline_s
        pump.pump()
    assert session.book.get(key) is None
    assert not queue.is_rendering()
    assert set(folder.iterdir()) <= earlier


def test_a_withdrawn_question_ends_the_second_blender(scene: Any, media: Path) -> None:
    """Nothing is rendered for a question that needs no answer any more."""
    set_rate(scene, 25, 1.0)
    strip = strips_of(scene.sequence_editor).new_movie("long", str(media / "25.mp4"), 1, 1)
    part("blender.compat").set_handles(strip, 1, 100_000)
    strip.select = True
    scene.sequence_editor.active_strip = strip
    queue, questions = part("blender.picture_queue"), part("blender.questions")
    assert bpy.ops.rewas.suggest_words() == {"FINISHED"}
    assert queue.is_rendering()
    (render,) = queue._renders
    assert bpy.ops.rewas.cancel_words() == {"FINISHED"}
    assert not queue.is_rendering()
    assert not questions.is_asking()
    assert render.join(60)
    part("blender.pump").pump()
    assert questions.problem_of("words", strip) is None
