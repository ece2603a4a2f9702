"""From an installed zip to the first sound, with mouse and keys. Each test continues where the one before stopped."""

from pathlib import Path

import numpy as np
import soundfile
from blender_window import HEIGHT_PX, WIDTH_PX, BlenderWindow
from make_sample_clip import CONTACTS_S, FRAME_RATE, FRAMES
from measure_demo_mix import matched_offsets_s

from rewas_engine.curves.onsets import detect_onsets

STEMS = "[strip for strip in strips() if strip.rewas.stem.owner]"
SERVER = "part('blender.shared_session').session().board.server"
JOBS = "list(part('blender.shared_session').session().board.jobs.values())"


def test_a_file_for_video_editing_is_opened(window: BlenderWindow) -> None:
    window.point(WIDTH_PX * 0.3, HEIGHT_PX * 0.5)
    window.press("Escape", "ctrl+n")  # the splash screen covers the menu
    window.click(*window.find_near("Video_Editing"))
    window.wait_until("sequencer_area()", "the template for video editing")
    window.press_over_timeline("ctrl+space")
    window.wait_until("rectangle('WINDOW')[3] > 500", "the timeline to fill the window")


def test_without_a_server_the_tab_shows_how_to_get_one(window: BlenderWindow) -> None:
    window.open_sidebar()
    window.open_tab("ReWaS")
    window.ask("watch_panels()")
    window.wait_until(f"{SERVER} and {SERVER}.problem", "the add-on to look for a server")
    window.find("rewas.install_server(")
    window.find("rewas.set_server_address(")
    window.picture("first-run")


def test_an_address_is_entered(window: BlenderWindow, server: str) -> None:
    window.press_button("rewas.set_server_address(")
    window.picture("enter-an-address", mouse_stays=True)
    window.fill_dialog("127.0.0.1:50071", server)
    window.wait_until(f"{SERVER} and {SERVER}.address == {server!r} and not {SERVER}.problem", "the server to answer")
    window.find("rewas.try_sample(")


def test_the_sample_clip_gets_its_sound(window: BlenderWindow) -> None:
    window.press_button("rewas.try_sample(")
    window.wait_until(f"[job for job in {JOBS} if job.state == 'running']", "the job to run")
    window.picture("first-job")
    window.wait_until(f"len({STEMS})", "the sound to arrive", within_s=55)
    picture, sound = window.ask(
        "[(strip.frame_final_start, strip.frame_final_end) for strip in "
        f"([strip for strip in strips() if strip.type == 'MOVIE'][0], {STEMS}[0])]"
    )
    assert picture == sound == [1, 1 + FRAMES]
    path = Path(window.ask(f"bpy.path.abspath({STEMS}[0].sound.filepath)"))
    waveform, rate_hz = soundfile.read(path, always_2d=True)
    assert len(waveform) == FRAMES / FRAME_RATE * rate_hz
    mono = waveform.mean(axis=1)
    assert 20 * np.log10(np.abs(mono).max()) > -30
    onsets_s, _ = detect_onsets(mono.astype(np.float32), rate_hz)
    late_s = matched_offsets_s(onsets_s, CONTACTS_S)
    assert len(late_s) >= 5, f"Only {len(late_s)} of {len(CONTACTS_S)} bounces are heard: {onsets_s}"
    window.wait_until(f"all(job.is_finished for job in {JOBS})", "the job to end")
    window.picture("first-sound")
