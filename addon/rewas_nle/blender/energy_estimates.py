# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the server for the energy of strips, and draws the answers as keys."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import replace
from typing import Any

from ..core.energy_question import EnergyAnswer, EnergyQuestion
from ..core.sound_settings import SoundSettings
from ..timeline.energy_keys import shift_keys
from ..timeline.strips import Refusal, SelectedClip, StripSnapshot
from .arrivals import push_undo
from .energy_curves import has_keys, note_estimate, write_keys
from .placement import find_strip
from .preferences import preferences
from .questions import Asked, ask
from .sound_properties import read_energy
from .user_activity import is_user_busy

KIND = "energy"
_arrived: deque[tuple[Asked, EnergyAnswer]] = deque()
_drawn_names: list[str] = []
"""Names of the strips whose energy has been drawn since the last undo step."""
_notes: dict[tuple[str, str], tuple[str, ...]] = {}


def kind_of(layer: str = "") -> str:
    """Return the kind of the question about the energy of a layer, or of the primary sound."""
    return f"{KIND} {layer}" if layer else KIND


def start_estimate(scene: Any, strip: Any, source: str, layer: str = "") -> Generator[None, None, Refusal | None]:
    """Ask the server for the energy of a strip, in slices. Returns the reason if that is not possible.

    source: where it comes from, as in `energy_source`: "PICTURE", "OWN_SOUND" or "OTHER_SOUND". layer: name of the
    layer that will follow it, or "" for the primary sound.
    """

    def build(scene: Any, strip: Any, snapshot: StripSnapshot, clip: SelectedClip) -> EnergyQuestion | Refusal:
        energy = read_energy(scene, strip, clip, source)
        if isinstance(energy, Refusal):
            return energy
        chosen = strip.rewas.settings
        pack = chosen.pack.strip() or preferences().pack.strip() or None
        if not layer:
            settings = SoundSettings(pack=pack, energy=energy, level=chosen.level.lower())
            return EnergyQuestion(settings, clip.source_duration_s)
        # The edits are those of the primary sound.
        settings = SoundSettings(pack=pack, energy=replace(energy, edits=()), level=chosen.level.lower())
        prompt = chosen.layers[layer].prompt.strip() if layer in chosen.layers else ""
        return EnergyQuestion(settings, clip.source_duration_s, layer, prompt)

    _notes.pop((strip.rewas.uid, layer), None)
    return ask(kind_of(layer), scene, strip, build)


def notes_of(strip: Any, layer: str = "") -> tuple[str, ...]:
    """Return the notes of the server on the last estimate for a strip or one of its layers."""
    return _notes.get((strip.rewas.uid, layer), ())


def is_outdated(scene: Any, strip: Any, layer: str = "") -> bool:
    """Return whether a drawn curve was estimated for a prompt that has changed since."""
    settings = strip.rewas.settings
    owner, prompt = (settings.layers[layer], settings.layers[layer].prompt) if layer else (settings, strip.rewas.prompt)
    estimate = owner.estimate
    return bool(estimate.is_for_prompt) and estimate.prompt != prompt.strip() and has_keys(scene, strip, layer)


def add_estimate(asked: Asked, answer: EnergyAnswer) -> None:
    """Draw an estimated energy soon."""
    _arrived.append((asked, answer))


def is_waiting() -> bool:
    """Return whether an energy waits to be drawn, or its undo step waits to be pushed."""
    return bool(_arrived or _drawn_names)


def draw_next() -> None:
    """Draw the energy of one strip, or push the undo step of the last ones. Each takes milliseconds in a large file.

    Does nothing while the user is busy: the Graph Editor may be moving keys.
    """
    if not is_waiting() or is_user_busy():
        return
    if not _arrived:
        names = list(dict.fromkeys(_drawn_names))
        push_undo(f'ReWaS: energy of "{names[0]}"' if len(names) == 1 else f"ReWaS: energy of {len(names)} strips")
        _drawn_names.clear()
        return
    asked, answer = _arrived.popleft()
    found = find_strip(asked.address)
    if found is None or not answer.keys:
        return
    scene, strip = found
    question = asked.request.question
    assert isinstance(question, EnergyQuestion)
    assert asked.request.clip is not None
    layer, prompt = question.layer, question.prompt_for(asked.request.clip)
    if layer and layer not in strip.rewas.settings.layers:
        return
    write_keys(scene, strip, shift_keys(answer.keys, float(asked.lead_in_s)), layer)
    settings = strip.rewas.settings
    note_estimate(settings.layers[layer] if layer else settings, prompt if answer.is_for_prompt else None)
    if not layer:
        # The edits are now part of the curve.
        settings.energy_edits = ""
    _notes[strip.rewas.uid, layer] = answer.notes
    _drawn_names.append(strip.name)


def forget_estimates() -> None:
    """Forget everything, because another file was opened."""
    _arrived.clear()
    _drawn_names.clear()
    _notes.clear()
