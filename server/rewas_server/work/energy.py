"""Computes the energy of a clip: from the request to the curve, its edits and its events."""

from __future__ import annotations

from rewas_api.v1 import rewas_pb2
from rewas_engine import Cancelled, EnergyCurve, Note, TextureCurve, apply_edits, find_cuts, find_events
from rewas_engine.media.probe import read_clip, read_clip_with_sound, select_audio_track
from rewas_engine.requests.notes import audio_track_note, retimed_sound_note, still_picture_note
from rewas_engine.runtime.progress import CancelSignal
from rewas_server.work.context import MonotonicProgress, WorkContext, name_clip_in_media_errors
from rewas_server.work.requests import EnergyRequest
from rewas_server.work.translation import (
    clip_message,
    curve_message,
    durations,
    event_message,
    loaded_pack_message,
    note_message,
    rational,
    texture_message,
)


def compute_energy(
    request: EnergyRequest, context: WorkContext, progress: MonotonicProgress, cancel: CancelSignal
) -> rewas_pb2.EnergyResult:
    """Estimate or measure the energy of a clip, or use a given one; then edit it and find its events.

    A given energy needs no model.
    """
    clip, spec = request.video_clip(context.locate_media), request.energy
    model = None if spec.given is not None else context.engine(request.pack or context.default_pack)
    notes: list[Note] = []
    texture: TextureCurve | None = None
    with name_clip_in_media_errors(clip):
        curve = spec.resolve_unedited(clip)
        if model is not None:
            on_progress = progress.part(0, 1)
            if request.from_audio:
                track = select_audio_track(clip, request.audio_track, cancel=cancel)
                notes = [] if track.count <= 1 else [audio_track_note(clip.name, track)]
                if clip.speed != 1:
                    notes.append(retimed_sound_note(clip.name, clip.speed))
                curve = model.measure_energy(clip, audio_track=track.number, on_progress=on_progress, cancel=cancel)
                if request.measure_texture:
                    texture = model.measure_texture(clip, audio_track=track.number, cancel=cancel)
            else:
                prompt = request.prompt or ""
                curve = model.estimate_energy(clip, prompt=prompt, on_progress=on_progress, cancel=cancel)
                if request.has_typical_level:
                    curve = model.apply_typical_level(curve, prompt)
        assert curve is not None
        # Media without video can be a source of energy too.
        read = read_clip_with_sound(clip)[0] if request.from_audio else read_clip(clip)
        if model is not None and not request.from_audio and read.is_frozen:
            notes.append(still_picture_note())
        cuts_s = find_cuts(clip, on_progress=progress.part(1, 1), cancel=cancel) if request.find_cuts else ()
    if cancel.is_set():
        raise Cancelled
    edited_curve: EnergyCurve = apply_edits(curve, spec.edits)
    progress.finish_stage()
    return rewas_pb2.EnergyResult(
        cuts_s=[rational(cut_s) for cut_s in cuts_s],
        clip=clip_message(read),
        energy=curve_message(edited_curve),
        pack=None if model is None else loaded_pack_message(model),
        timings=durations(progress.timings_s),
        texture=None if texture is None else texture_message(texture),
        events=[event_message(event) for event in find_events(edited_curve)],
        unedited_energy=curve_message(curve) if spec.edits else None,
        notes=[note_message(note) for note in notes],
    )
