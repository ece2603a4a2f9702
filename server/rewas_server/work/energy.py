"""Taking the energy of one clip: from the request to the curve, its edits and its events."""

from __future__ import annotations

from rewas_api.v1 import rewas_pb2
from rewas_engine import Cancelled, EnergyCurve, apply_edits, find_cuts, find_events
from rewas_engine.media.probe import read_clip, read_clip_with_sound
from rewas_engine.runtime.progress import CancelSignal
from rewas_server.work.context import MonotonicProgress, WorkContext, name_clip_in_media_errors, video_clip
from rewas_server.work.energy_requests import energy_work_spec
from rewas_server.work.translation import (
    clip_message,
    curve_message,
    durations,
    event_message,
    loaded_pack_message,
    rational,
    texture_message,
)


def compute_energy(
    work: rewas_pb2.EnergyWork, context: WorkContext, progress: MonotonicProgress, cancel: CancelSignal
) -> rewas_pb2.EnergyResult:
    """Take the energy of one clip, edit it and find its events; what is given takes no model."""
    clip = video_clip(work.clip_otio_json, work.uploaded_media, context)
    asked = energy_work_spec(work, clip.name)
    from_audio = work.source == rewas_pb2.ENERGY_SOURCE_AUDIO
    model = None if asked.given is not None else context.engine(work.pack or context.default_pack)
    with name_clip_in_media_errors(clip):
        curve = asked.of_clip(clip)
        if model is not None:
            measure = model.measure_energy if from_audio else model.estimate_energy
            curve = measure(clip, on_progress=progress.part(0, 1), cancel=cancel)
        assert curve is not None
        # What performs an energy may be sound alone.
        read = read_clip_with_sound(clip)[0] if from_audio else read_clip(clip)
        cuts_s = find_cuts(clip, on_progress=progress.part(1, 1), cancel=cancel) if work.find_cuts else ()
        texture = model.measure_texture(clip, cancel=cancel) if model is not None and work.measure_texture else None
    if cancel.is_set():
        raise Cancelled
    changed: EnergyCurve = apply_edits(curve, asked.edits)
    progress.finish_stage()
    return rewas_pb2.EnergyResult(
        cuts_s=[rational(cut_s) for cut_s in cuts_s],
        clip=clip_message(read),
        energy=curve_message(changed),
        pack=None if model is None else loaded_pack_message(model),
        timings=durations(progress.timings_s),
        texture=None if texture is None else texture_message(texture),
        events=[event_message(event) for event in find_events(changed)],
        unedited_energy=curve_message(curve) if asked.edits else None,
    )
