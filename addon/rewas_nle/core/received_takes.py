# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns the stems of a job into takes of the strip that they were generated for."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from ..timeline.strips import SelectedClip
from ..timeline.takes import Stem, Take
from .messages import StemsReceived
from .plain_json import to_plain
from .sound_settings import KeptSounds, SoundSettings


def build_takes(clip: SelectedClip, received: StemsReceived, chosen: SoundSettings | None = None) -> tuple[Take, ...]:
    """Return the takes of a job, best first. A job's takes always have the same identifiers.

    clip: the strip as it was when the job was sent. The sound belongs to the frames that it showed then. chosen:
    settings of the request. A regenerated take keeps the stems that were not regenerated.
    """
    info = received.generation_info
    settings = json.loads(info.settings_json) if info.settings_json else {}
    settings |= {
        "num_inference_steps": info.num_inference_steps,
        "guidance_scale": info.guidance_scale,
        "control_strength": info.control_strength,
    }
    kept = KeptSounds() if chosen is None else chosen.kept
    if chosen is not None:
        settings["chosen"] = to_plain(replace(chosen, regenerate=None, kept=KeptSounds()))
    return tuple(
        Take(
            id=hashlib.blake2b(f"{received.job_id} {take.number}".encode(), digest_size=16).hexdigest(),
            scene_rate=clip.rate,
            lead_in_frames=clip.start_frame - clip.content_start_frame,
            frames=clip.frames,
            stems=(
                *(Stem(stem.role, stem.path, stem.sample_rate_hz, stem.channels, stem.samples) for stem in take.stems),
                *kept.stems,
            ),
            media=clip.source_path,
            source_start_s=clip.source_start_s,
            source_duration_s=clip.source_duration_s,
            prompt=clip.prompt,
            seed=take.seed,
            settings=settings,
            pack=info.pack,
            pack_version=info.pack_version,
            licence=info.licence,
            energy_mae_nats=take.energy_mae_nats,
            energy_correlation=take.energy_correlation,
            score=take.score,
            text_score=take.text_score,
            avh_score=take.avh_score,
            faults=take.faults,
            requested_energy=received.requested_energy,
            output_energy=take.output_energy,
            notes=received.notes,
            job_id=received.job_id,
            recordings=tuple(dict.fromkeys((*take.recordings, *kept.recordings))),
            layer_packs=(*take.layer_packs, *(pack for pack in kept.packs if pack.name != info.pack)),
        )
        for take in received.takes
    )
