# SPDX-License-Identifier: GPL-3.0-or-later
"""Generates the sound that a take lacks since its strip was extended, and only that.

The server regenerates one range of one stem at a time, so each missing range of each stem is a job. Each job starts
when the one before has arrived; the last one yields the new take.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from ..timeline.missing import FillStep, fill_steps, offset_s, prompt_of
from ..timeline.strips import Refusal, SelectedClip
from ..timeline.takes import MIX_ROLE, PRIMARY_ROLE, Stem, Take
from .contract import UserProblemError
from .messages import Problem, StemsReceived
from .records import JobRecord
from .sound_fitting import fit_sound
from .sound_settings import Completion, EnergyChoice, KeptSounds, LayerChoice, Regeneration, SoundSettings


def plan_completion(
    take: Take, clip: SelectedClip, settings: SoundSettings
) -> tuple[SelectedClip, SoundSettings] | Refusal:
    """Return the first step of completing a take, as a clip and settings.

    clip: what the strip shows now. settings: of the strip. If the take has no sound for any frame of the clip, all of
    it is generated.
    """
    # A proxy shows one range of its strip, so each range has its own.
    if (take.media != clip.path and clip.proxy is None) or take.scene_rate != clip.rate:
        return Refusal(
            f'The media or the frame rate of the strip "{clip.name}" has changed since {take.label} was generated.',
            "Generate a new take.",
        )
    # The mix of the old stems lacks the new sound.
    take = replace(take, stems=tuple(stem for stem in take.stems if stem.role != MIX_ROLE))
    steps = fill_steps(take, clip)
    clip = replace(clip, prompt=take.prompt)
    if not steps:
        starts_s, ends_s = offset_s(take, clip), offset_s(take, clip) + take.frames / clip.rate
        if starts_s <= 0 and clip.frames / clip.rate <= ends_s:
            return Refusal(f'{take.label} already covers the whole strip "{clip.name}".', "Extend the strip first.")
        return clip, settings
    chosen = replace(
        settings,
        # The rest of the sound uses the same recordings.
        performance=replace(settings.performance, place=take.place or None),
        seed=None,
        takes=1,
        layers=(),
        loop=None,
        new_sound_at_cuts=None,
        cuts_s=(),
        gain_db=None,
        mix=None,
        sample_rate_hz=None,
    )
    kept = KeptSounds(take.stems, take.recordings)
    return clip, _settings_of(steps, take, clip, chosen, kept, settings.layers, is_fitted=False)


def next_step(record: JobRecord) -> JobRecord | None:
    """Return the record of the step after one that has arrived, or None if that was the last one."""
    existing, received = record.settings.regenerate, record.received
    if existing is None or existing.completion is None or received is None or not existing.completion.then:
        return None
    take = Take.from_json(existing.completion.base)
    steps = existing.completion.then
    return replace(
        record,
        # A step that was started before a crash is not started again.
        key=hashlib.blake2b(f"{record.key} {len(steps)}".encode(), digest_size=16).hexdigest(),
        settings=_settings_of(
            steps,
            take,
            record.clip,
            replace(record.settings, pack=existing.completion.pack, performance=existing.completion.performance),
            _sounds_after(record.settings.kept, existing.completion, received),
            existing.completion.layers,
            is_fitted=steps[0].role == existing.completion.role,
        ),
        job_id="",
        request="",
        submission=0,
        received=None,
        is_placed=False,
        problem=None,
    )


def complete_takes(record: JobRecord, takes: Sequence[Take]) -> tuple[Take, ...]:
    """Return the takes of a job. That of the last step of a completion has all stems, and the settings of the take."""
    existing, received = record.settings.regenerate, record.received
    if existing is None or existing.completion is None or received is None:
        return tuple(takes)
    base = Take.from_json(existing.completion.base)
    sounds = _sounds_after(record.settings.kept, existing.completion, received)
    # The last step may be that of a layer, with another pack.
    if existing.completion.role != PRIMARY_ROLE:
        takes = [replace(take, pack=base.pack, pack_version=base.pack_version, licence=base.licence) for take in takes]
    return tuple(
        replace(
            take,
            stems=sounds.stems,
            recordings=sounds.recordings,
            layer_packs=base.layer_packs,
            settings=base.settings,
            requested_energy=None,
            output_energy=None,
        )
        for take in takes[:1]
    )


def fit_existing_sound(record: JobRecord) -> None:
    """Write the existing sound as the server needs it. Call it in a thread. Raises UserProblemError."""
    existing = record.settings.regenerate
    completion = existing.completion if existing is not None else None
    if existing is None or completion is None or completion.source is None or existing.sound.exists():
        return
    try:
        fit_sound(
            completion.source,
            existing.sound,
            offset_s=completion.offset_s,
            duration_s=record.clip.source_duration_s,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserProblemError(
            Problem(f'The sound file "{completion.source.name}" cannot be used ({reason}).', "Generate a new take.")
        ) from None


def remove_fitted_sound(record: JobRecord) -> None:
    """Delete the file that `fit_existing_sound` wrote, once the step has arrived."""
    existing = record.settings.regenerate
    if existing is not None and existing.completion is not None and existing.completion.source is not None:
        existing.sound.unlink(missing_ok=True)


def _settings_of(
    steps: Sequence[FillStep],
    take: Take,
    clip: SelectedClip,
    settings: SoundSettings,
    sounds: KeptSounds,
    layers: Sequence[LayerChoice],
    *,
    is_fitted: bool,
) -> SoundSettings:
    step = steps[0]
    stem = next(stem for stem in sounds.stems if stem.role == step.role)
    layer = next((layer for layer in layers if layer.name == step.role), None)
    offset = offset_s(take, clip)
    sound = stem.path
    reach_s = Fraction(stem.samples, stem.sample_rate_hz)
    if not is_fitted:
        origin = f"{stem.path}\0{offset}\0{clip.source_duration_s}".encode()
        digest = hashlib.blake2b(origin, digest_size=4).hexdigest()
        sound = stem.path.with_name(f"{stem.path.stem}-{digest}-fitted.wav")
        reach_s += offset
    start_s = step.start_s
    if start_s > 0:
        # The range must not begin after the last sample of the existing sound.
        start_s = Fraction(math.floor(min(start_s, reach_s) * stem.sample_rate_hz) - 1, stem.sample_rate_hz)
    completion = Completion(
        role=step.role,
        prompt=prompt_of(take, step.role),
        source=None if is_fitted else stem.path,
        offset_s=offset,
        then=tuple(steps[1:]),
        base=replace(take, requested_energy=None, output_energy=None).to_json(),
        layers=tuple(layers),
        pack=settings.pack,
        performance=settings.performance,
    )
    return replace(
        settings,
        energy=settings.energy if step.role == PRIMARY_ROLE else _layer_energy(layer),
        pack=layer.pack or settings.pack if layer is not None else settings.pack,
        performance=layer.performance if layer is not None else settings.performance,
        like=settings.like if layer is None else layer.like,
        regenerate=Regeneration(
            sound=sound,
            start_s=max(start_s, Fraction(0)),
            end_s=step.end_s,
            completion=completion,
        ),
        kept=replace(sounds, stems=tuple(other for other in sounds.stems if other.role != step.role)),
    )


def _layer_energy(layer: LayerChoice | None) -> EnergyChoice:
    """Return the energy of a layer as that of the sound to generate."""
    if layer is not None and layer.energy == "drawn":
        return EnergyChoice("drawn", keys=layer.keys)
    if layer is not None and layer.energy == "video":
        return EnergyChoice()
    if layer is not None and layer.energy == "flat":
        return EnergyChoice("flat", flat_nats=layer.flat_nats)
    # The level is that of the existing sound.
    return EnergyChoice("flat")


def _sounds_after(kept: KeptSounds, completion: Completion, received: StemsReceived) -> KeptSounds:
    """Return the stems of the take after a step, in the order of the take, and the recordings in them."""
    take = received.takes[0]
    (stem,) = (stem for stem in take.stems if stem.role == PRIMARY_ROLE)
    made = Stem(completion.role, stem.path, stem.sample_rate_hz, stem.channels, stem.samples)
    stems = {stem.role: stem for stem in (*kept.stems, made)}
    used = (replace(recording, role=completion.role) for recording in take.recordings)
    return KeptSounds(
        tuple(stems[role] for role in Take.from_json(completion.base).roles if role in stems),
        tuple(dict.fromkeys((*kept.recordings, *used))),
    )
