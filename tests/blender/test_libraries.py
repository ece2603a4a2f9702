"""Libraries of recordings in the panel: settings, takes, the next recordings, layers of another pack, and credits."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest
from conftest import add_movie, part, strips_of
from test_generate import HAS_SOUND, board, lines, pump_until, served_scene, sounds_of

__all__ = ["served_scene"]

needs_sound = pytest.mark.skipif(not HAS_SOUND, reason="Blender's 4.2 module is built without sound")


class Layout:
    """Records what a panel draws: names of properties and operators, and texts."""

    def __init__(self) -> None:
        self.drawn: list[str] = []
        self.texts: list[str] = []

    def prop(self, owner: Any, name: str, text: str = "", **named: Any) -> None:
        assert name in owner.bl_rna.properties
        self.drawn.append(name)
        self.texts.append(text)

    def operator(self, name: str, text: str = "", **named: Any) -> Any:
        self.drawn.append(name)
        self.texts.append(text)
        return SimpleNamespace()

    def label(self, text: str = "", **named: Any) -> None:
        self.texts.append(text)

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: self


def draw(panel: Any) -> Layout:
    """Let a panel draw, and return what it has drawn."""
    layout, scene = Layout(), bpy.context.scene
    context = SimpleNamespace(
        scene=scene,
        sequencer_scene=scene,
        workspace=None,
        screen=None,
        region=SimpleNamespace(width=20_000),
        preferences=bpy.context.preferences,
        window_manager=bpy.context.window_manager,
    )
    assert panel.poll(context) if hasattr(panel, "poll") else True
    panel.draw(SimpleNamespace(layout=layout), context)
    return layout


def panel(name: str) -> Any:
    return getattr(part("blender.panels"), name)


@pytest.fixture
def picture(served_scene: Any, ball: Path) -> Any:
    """A strip whose sound is performed from the library."""
    bpy.ops.rewas.check_server()
    pump_until(lambda: board().server is not None and any(pack.is_library for pack in board().server.packs))
    strip = add_movie(served_scene, ball, prompt="hammer on wood")
    settings = strip.rewas.settings
    settings.pack = "foley"
    settings.lock_seed, settings.seed = True, 7
    # The video of the clip is so small that its estimated energy is silent.
    settings.energy_source, settings.flat_db = "FLAT", -20.0
    return strip


def finish() -> None:
    pump_until(lambda: not board().is_busy)
    assert [line.problem for line in lines()] == [None] * len(lines())
    bpy.ops.rewas.clear_finished()


def takes_of(strip: Any) -> list[Any]:
    return part("blender.take_list").read_takes(strip)


def names(take: Any) -> list[str]:
    return [recording.name for recording in take.recordings]


def test_the_panels_show_the_settings_that_the_pack_uses(picture: Any) -> None:
    settings = picture.rewas.settings
    of_model = {"use_own_sampling", "control_strength", "negative_prompt"}
    of_library = {"tail", "room", "pitch_variation_cents", "timing_variation_s", "recording"}
    sections = [panel(f"REWAS_PT_{name}") for name in ("generate", "control", "settings")]
    library = [draw(section) for section in sections]
    drawn = {name for layout in library for name in layout.drawn}
    assert of_library <= drawn
    assert not of_model & drawn
    assert "Plays recordings, 48 kHz, CC0-1.0" in library[2].texts
    assert any(text.startswith("foley: CC0-1.0. Non-commercial use only.") for text in library[0].texts)
    settings.pack = ""
    model = [draw(section) for section in sections]
    drawn = {name for layout in model for name in layout.drawn}
    assert of_model <= drawn
    assert not of_library & drawn
    # A layer can be made with another pack, whose terms count as well.
    settings.ambience, settings.ambience_pack = "heavy rain", "foley"
    texts = draw(sections[0]).texts
    assert sum(text.startswith(("foley: CC0-1.0.", "untrained: Apache-2.0.")) for text in texts) == 2
    assert "tail" in draw(sections[2]).drawn
    drawn_layers = draw(panel("REWAS_PT_layers")).drawn
    assert {"ambience_pack", "ambience_recording"} <= set(drawn_layers)
    settings.ambience_pack = "no-such-pack"
    assert "The server has no usable pack no-such-pack." in draw(sections[0]).texts


def test_libraries_are_marked_in_the_list_of_packs(picture: Any) -> None:
    search = part("blender.pack_search").search_packs
    assert ("foley", "plays recordings, 48 kHz, CC0-1.0") in list(search(None, bpy.context, "FOL"))
    assert not any(name == "foley" for name, _ in search(None, bpy.context, "untrained"))


def test_a_new_prompt_begins_with_its_nearest_recordings(picture: Any) -> None:
    settings = picture.rewas.settings
    settings.recording = 2
    picture.rewas.prompt = "heavy rain"
    assert settings.recording == 0
    settings.ambience, settings.ambience_recording = "wind", 3
    settings.ambience = "rain"
    assert settings.ambience_recording == 0


@needs_sound
def test_the_next_recordings_are_performed_until_the_list_begins_again(
    served_scene: Any, picture: Any, tmp_path: Path
) -> None:
    scene, settings = served_scene, picture.rewas.settings
    settings.ambience, settings.ambience_pack = "wind", "untrained"
    with pytest.raises(RuntimeError, match="Generate sound for this strip first"):
        bpy.ops.rewas.another_recording()
    bpy.ops.rewas.generate()
    finish()
    (first,) = takes_of(picture)
    assert names(first) == ["hammer.wav"]
    assert (first.pack, first.pack_of("ambience").name, first.place) == ("foley", "untrained", 0)
    for sound in sounds_of(scene):
        sound.volume = 0.5

    seen = []
    for _ in range(3):
        assert bpy.ops.rewas.another_recording() == {"FINISHED"}
        finish()
        take = part("blender.take_list").active_take(picture)
        assert (take.seed, take.prompt, take.pack) == (first.seed, first.prompt, "foley")
        assert take.requested_energy == first.requested_energy
        assert take.stem("ambience") == first.stem("ambience")
        assert take.pack_of("ambience").name == "untrained"
        assert [sound.volume for sound in sounds_of(scene)] == [0.5, 0.5]
        seen.append((names(take), take.place, settings.recording))
    assert seen == [(["mallet.wav"], 1, 1), (["rain.wav"], 2, 2), (["hammer.wav"], 0, 3)]
    notes = [note for note in take.notes if "starts over" in note]
    assert notes == [
        "The foley library has 3 choices of recordings for “hammer on wood”, so the list starts over from the first."
    ]
    assert len(takes_of(picture)) == 4

    picture.rewas.active_take_index = 1
    part("blender.links").settle()
    path = str(tmp_path / "film.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    scene = bpy.context.scene
    picture = next(strip for strip in strips_of(scene.sequence_editor) if strip.type == "MOVIE")
    assert [names(take) for take in takes_of(picture)] == [
        ["hammer.wav"],
        ["mallet.wav"],
        ["rain.wav"],
        ["hammer.wav"],
    ]
    scene.sequence_editor.active_strip = picture
    layout = draw(panel("REWAS_PT_takes"))
    assert {"mallet on wood", "CC-BY-NC-4.0"} <= set(layout.texts)
    recordings = part("blender.recordings")
    mallet = takes_of(picture)[1].recordings[0]
    assert recordings.describe(mallet) == "mallet.wav\nmallet on wood\nLicence: CC-BY-NC-4.0\nCredit: M. Jones"
    assert recordings.credit_lines(scene) == ["mallet on wood, CC-BY-NC-4.0, M. Jones"]
    assert bpy.ops.rewas.copy_credits() == {"FINISHED"}

    ambience, primary = sounds_of(scene)
    assert primary["rewas_sound"]["recordings"] == "mallet on wood, CC-BY-NC-4.0, M. Jones"
    assert (primary["rewas_sound"]["pack"], ambience["rewas_sound"]["pack"]) == ("foley", "untrained")
    assert "recordings" not in ambience["rewas_sound"]
    scene.sequence_editor.active_strip = primary
    assert "mallet on wood" in draw(recordings.REWAS_PT_strip_recordings).texts
    scene.sequence_editor.active_strip = ambience
    assert not recordings.REWAS_PT_strip_recordings.poll(bpy.context)


@needs_sound
def test_the_ambience_is_from_a_library_and_the_primary_sound_from_a_model(served_scene: Any, picture: Any) -> None:
    settings = picture.rewas.settings
    settings.pack, settings.ambience, settings.ambience_pack = "", "heavy rain", "foley"
    settings.use_own_sampling, settings.num_inference_steps = True, 2
    bpy.ops.rewas.generate()
    finish()
    (take,) = takes_of(picture)
    assert [(recording.role, recording.name) for recording in take.recordings] == [("ambience", "rain.wav")]
    assert (take.pack, take.pack_of("ambience").name) == ("untrained", "foley")
    with pytest.raises(RuntimeError, match="was not made from recordings"):
        bpy.ops.rewas.another_recording()
    details = part("blender.take_drawing").details(take)
    assert ("Licence", "CC0-1.0 (ambience)") in details
    # The licence of the recording is that of its library.
    assert part("blender.recordings").credit_lines(served_scene) == ["heavy rain, CC0-1.0, the field team"]


@needs_sound
def test_another_recording_can_be_undone(served_scene: Any, picture: Any) -> None:
    bpy.ops.rewas.generate()
    finish()
    bpy.ops.ed.undo_push(message="generated")
    bpy.ops.rewas.another_recording()
    bpy.ops.ed.undo_push(message="asked")
    finish()
    scene = bpy.context.scene
    picture = next(strip for strip in strips_of(scene.sequence_editor) if strip.type == "MOVIE")
    assert names(part("blender.take_list").active_take(picture)) == ["mallet.wav"]
    for _ in range(10):
        if len(picture.rewas.takes) == 1 and picture.rewas.settings.recording == 0:
            break
        bpy.ops.ed.undo()
        scene = bpy.context.scene
        picture = next(strip for strip in strips_of(scene.sequence_editor) if strip.type == "MOVIE")
    assert (len(picture.rewas.takes), picture.rewas.settings.recording) == (1, 0)
    part("blender.links").settle()
    (sound,) = sounds_of(scene)
    assert sound.rewas.stem.take == picture.rewas.takes[0].uid


def test_long_lists_of_recordings_are_collapsed(scene: Any) -> None:
    recordings, takes = part("blender.recordings"), part("timeline.takes")
    used = [takes.UsedRecording("primary", f"{number}.wav") for number in range(30)]
    window = bpy.context.window_manager.rewas
    for shows_all, count, label in ((False, 4, "26 More"), (True, 30, "Show Less")):
        window.show_all_recordings = shows_all
        layout = Layout()
        recordings.draw_recordings(layout, bpy.context, used)
        assert layout.drawn.count("rewas.copy_credit") == count
        assert label in layout.texts
    window.show_all_recordings = False


def test_there_are_no_credits_without_recordings(scene: Any, ball: Path) -> None:
    add_movie(scene, ball)
    assert bpy.ops.rewas.copy_credits() == {"CANCELLED"}
