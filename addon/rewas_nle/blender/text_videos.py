# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns text strips into movie strips with sound: asks the server for a video, and places it when it arrives."""

from __future__ import annotations

from typing import Any

from ..core.messages import Problem
from ..core.video_question import VideoAnswer, VideoQuestion
from ..timeline.placement import NoFreeChannelError, Span, find_channel_pair
from ..timeline.strips import Refusal
from . import compat
from .arrivals import push_undo
from .placement import find_strip
from .preferences import stems_folder
from .questions import Asked, ask_for_file, note_problem
from .strip_reading import scene_rate
from .take_list import stored_path

KIND = "video"
LOWEST_PIXELS, HIGHEST_PIXELS = 32, 1024
"""The contract's limits of the height of a video."""
SEED_PROPERTY = "rewas_video_seed"
"""ID property of a generated movie strip. A text, because ID properties hold 32-bit integers."""


def start_video(scene: Any, strip: Any) -> Refusal | None:
    """Ask the server for a video of what a text strip says. Returns the reason if that is not possible."""
    prompt = " ".join(strip.text.split())
    if not prompt:
        return Refusal(f'The text strip "{strip.name}" is empty.', "Write what should be seen and heard.")
    render = scene.render
    height = render.resolution_y * render.resolution_percentage // 100
    height = min(max(height, LOWEST_PIXELS), HIGHEST_PIXELS)
    ask_for_file(KIND, scene, strip, VideoQuestion(prompt, scene_rate(scene), height, stems_folder()))
    return None


def place_video(asked: Asked, answer: VideoAnswer) -> None:
    """Put a video and its sound where the text strip is, and hide the text. The file stays if that is not possible."""
    question = asked.request.question
    assert isinstance(question, VideoQuestion)
    found = find_strip(asked.address)
    if found is None:
        return
    scene, text = found
    if scene_rate(scene) != question.frame_rate:
        what = f'The frame rate of the scene "{scene.name}" changed after the video for "{text.name}" was requested.'
        note_problem(KIND, text, Problem(what, "Restore the frame rate, or generate again."))
        return
    try:
        _place(scene, text, question.prompt, answer)
    except NoFreeChannelError:
        what = f'No channels are free for the video of "{text.name}". It is in {answer.path}.'
        note_problem(KIND, text, Problem(what, "Free or unlock two channels, then generate again."))
    except RuntimeError as error:
        what = f"Blender cannot load the video {answer.path} ({str(error).strip().removeprefix('Error: ')})."
        note_problem(KIND, text, Problem(what, "Use a Blender build with video and audio, or generate again."))
    else:
        push_undo(f'ReWaS: video of "{text.name}"')


def _place(scene: Any, text: Any, prompt: str, answer: VideoAnswer) -> None:
    holder = compat.holder_of(scene.sequence_editor, text)
    strips = compat.strips_of(holder)
    start_frame = compat.left_handle(text)
    end_frame = start_frame + answer.frames
    spans = [Span(*values) for values in compat.read_spans(strips)]
    channels = list(holder.channels)
    picture_channel, sound_channel = find_channel_pair(
        text.channel,
        start_frame=start_frame,
        end_frame=end_frame,
        occupied=spans,
        locked=[number for number, channel in enumerate(channels) if number and channel.lock],
    )
    path = stored_path(answer.path)
    movie = strips.new_movie(text.name, path, picture_channel, start_frame)
    try:
        sound = strips.new_sound(f"{text.name} sound", path, sound_channel, start_frame)
    except RuntimeError:
        strips.remove(movie)
        raise
    for strip, channel in ((movie, picture_channel), (sound, sound_channel)):
        # The sound of an MP4 file can be a little longer than its picture.
        compat.set_handles(strip, start_frame, end_frame)
        strip.channel = channel
    compat.show_waveform(sound)
    movie.rewas.prompt = prompt
    movie[SEED_PROPERTY] = str(answer.seed)
    movie.select = sound.select = True
    text.select = False
    text.mute = True
    scene.sequence_editor.active_strip = movie
