# SPDX-License-Identifier: GPL-3.0-or-later
"""The sound settings of a strip, as Blender saves, undoes and copies them with the strip."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy

from ..core.sound_settings import (
    AMBIENCE_ROLE,
    STANDARD_ENERGIES,
    EnergyChoice,
    LayerChoice,
    PerformanceChoice,
    SoundSettings,
)
from ..timeline.cuts import cuts_at_frames
from ..timeline.energy_keys import DB_PER_NAT, LOUDEST_DB, SILENCE_DB, EnergyKey, cut_keys
from ..timeline.names import layer_role
from ..timeline.strips import Refusal, SelectedClip
from . import compat
from .energy_curves import note_estimate, read_keys, rename_layer
from .pack_search import search_packs
from .shared_session import session

_MAX_SEED = 2**31 - 1
_MAX_PLACE = 10**6
_PLACE = (
    "Which recordings of the library to perform. 0 uses those nearest to the prompt, 1 the next ones, and so on. "
    "After the last recordings, the list starts again"
)
_LAYER_PACK = (
    "The model pack or library that makes this sound. Leave empty to use the same pack as for the primary sound"
)
DEFAULT_PITCH_VARIATION_CENTS = 20.0
_random = random.SystemRandom()


def _get_role(layer: Any) -> str:
    return str(layer.name)


def _set_role(layer: Any, role: str) -> None:
    owner = layer.id_data
    if isinstance(owner, bpy.types.Scene):
        rename_layer(owner, layer, layer_role(role))
    else:
        layer.name = layer_role(role)


def _layer_prompt_changed(layer: Any, context: Any) -> None:
    """Perform the recordings nearest to the new prompt."""
    layer.recording = 0


def _ambience_changed(settings: Any, context: Any) -> None:
    """Perform the recordings nearest to the new ambience."""
    settings.ambience_recording = 0


class RewasEstimate(bpy.types.PropertyGroup):
    """What a drawn curve was estimated for."""

    is_for_prompt: bpy.props.BoolProperty(
        name="For Prompt", description="Whether the curve was estimated for a prompt, by a pack that reads words"
    )
    prompt: bpy.props.StringProperty(name="Prompt", description="The prompt for which the curve was estimated")


class RewasLayer(bpy.types.PropertyGroup):
    """A further sound of a strip. Its name is the role of its stem."""

    role: bpy.props.StringProperty(
        name="Name",
        description="Name of the layer and of its channel: lower-case letters, digits, hyphens and underscores",
        get=_get_role,
        set=_set_role,
        options={"SKIP_SAVE"},
    )
    prompt: bpy.props.StringProperty(
        name="Prompt",
        description="The sound of this layer, for example: distant traffic",
        options=set(),
        update=_layer_prompt_changed,
    )
    gain_db: bpy.props.FloatProperty(
        name="Gain", description="Gain of this layer, in decibels", min=-60.0, max=24.0, precision=1, options=set()
    )
    energy: bpy.props.EnumProperty(
        name="Energy",
        description="How the level of this layer changes over time",
        items=[
            ("STEADY", "Steady", "Stays at one level"),
            ("FOLLOWING", "Following", "Rises and falls with the primary sound, as if in the distance"),
            ("FLAT", "Flat", "Stays at the level that you choose"),
            ("DRAWN", "Drawn Curve", "A curve of keyframes, which you can edit in the Graph Editor"),
            ("VIDEO", "Picture", "Follows the motion in the picture, as estimated for the prompt of this layer"),
        ],
        options=set(),
    )
    flat_db: bpy.props.FloatProperty(
        name="Level",
        description="Level of this layer in decibels. -40 is about that of steady rain, -100 is silence",
        default=-40.0,
        min=SILENCE_DB,
        max=LOUDEST_DB,
        soft_max=-10.0,
        precision=1,
        options=set(),
    )
    energy_db: bpy.props.FloatProperty(
        name="Energy",
        description="Level of this layer over time, in decibels. -100 is silence",
        default=-40.0,
        min=SILENCE_DB,
        max=LOUDEST_DB,
        precision=1,
    )
    estimate: bpy.props.PointerProperty(
        type=RewasEstimate, name="Estimate", description="What the drawn curve of this layer was estimated for"
    )
    pack: bpy.props.StringProperty(
        name="Pack", description=_LAYER_PACK, search=search_packs, search_options={"SUGGESTION"}, options=set()
    )
    recording: bpy.props.IntProperty(name="Recording", description=_PLACE, min=0, max=_MAX_PLACE, options=set())
    sounds_like: bpy.props.StringProperty(
        name="Sounds Like",
        description="A sound or movie file that this layer should resemble. Leave empty for none",
        subtype="FILE_PATH",
        options=compat.BLEND_RELATIVE,
    )


class RewasSoundSettings(bpy.types.PropertyGroup):
    """What to generate for a strip besides its prompt, and how."""

    negative_prompt: bpy.props.StringProperty(
        name="Avoid",
        description="Sounds to avoid, for example: music, speech. Needs a guidance scale other than 1",
        options=set(),
    )
    pack: bpy.props.StringProperty(
        name="Pack",
        description="The model pack that generates the sound, or the library whose recordings are performed. Leave "
        "empty to use the pack in the preferences",
        search=search_packs,
        search_options={"SUGGESTION"},
        options=set(),
    )
    ambience: bpy.props.StringProperty(
        name="Ambience",
        description="A steady background in its own stem, for example: a quiet street. Leave empty for none",
        options=set(),
        update=_ambience_changed,
    )
    ambience_gain_db: bpy.props.FloatProperty(
        name="Ambience Gain",
        description="Gain of the ambience, in decibels",
        min=-60.0,
        max=24.0,
        precision=1,
        options=set(),
    )
    ambience_pack: bpy.props.StringProperty(
        name="Ambience Pack",
        description=_LAYER_PACK,
        search=search_packs,
        search_options={"SUGGESTION"},
        options=set(),
    )
    ambience_recording: bpy.props.IntProperty(
        name="Ambience Recording", description=_PLACE, min=0, max=_MAX_PLACE, options=set()
    )
    layers: bpy.props.CollectionProperty(
        type=RewasLayer, name="Layers", description="Further sounds, each with its own stem", options=set()
    )
    active_layer_index: bpy.props.IntProperty(
        name="Active Layer", description="The layer whose settings are shown", options={"SKIP_SAVE"}
    )

    energy_source: bpy.props.EnumProperty(
        name="Follow",
        description="What the level of the sound follows",
        items=[
            ("PICTURE", "Picture", "The motion in the picture"),
            ("OWN_SOUND", "Own Sound", "The level of the sound in the strip's own media, such as production audio"),
            ("OTHER_SOUND", "Another Sound", "The level of another sound, such as one that you performed yourself"),
            ("FLAT", "Flat", "One level throughout"),
            ("DRAWN", "Drawn Curve", "A curve that you draw, or edit as keyframes in the Graph Editor"),
        ],
        options=set(),
    )
    energy_sound: bpy.props.StringProperty(
        name="Sound",
        description="The sound file whose level the sound follows from the start of the strip",
        subtype="FILE_PATH",
        options=compat.BLEND_RELATIVE,
    )
    energy_sound_start_s: bpy.props.FloatProperty(
        name="Offset",
        description="Time in the sound file at which the strip starts, in seconds",
        min=0.0,
        precision=3,
        options=set(),
    )
    energy_audio_track: bpy.props.IntProperty(
        name="Audio Track",
        description="Number of the audio track of the file. 0 is the first track that is not silent",
        min=0,
        max=100,
        options=set(),
    )
    use_texture: bpy.props.BoolProperty(
        name="Match Timbre",
        description="Also follow how bright or dark that sound is over time. The pack must support it",
        options=set(),
    )
    sounds_like: bpy.props.StringProperty(
        name="Sounds Like",
        description="A sound or movie file that the sound should resemble in spectrum and timbre. Leave empty for none",
        subtype="FILE_PATH",
        options=compat.BLEND_RELATIVE,
    )
    flat_db: bpy.props.FloatProperty(
        name="Level",
        description="Level of the sound in decibels. -40 is about that of steady rain, -100 is silence",
        default=-40.0,
        min=-100.0,
        max=20.0,
        soft_max=-10.0,
        precision=1,
        options=set(),
    )
    estimate: bpy.props.PointerProperty(
        type=RewasEstimate, name="Estimate", description="What the drawn curve was estimated for"
    )
    energy_edits: bpy.props.StringProperty(
        name="Edits",
        description="Changes to the energy, separated by semicolons, for example: smooth 0.2; mute events 2 3; "
        "boost event 1 by 1.5",
        options=set(),
    )
    control: bpy.props.EnumProperty(
        name="Control",
        description="What steers the sound",
        items=[
            ("ENERGY", "Level", "The level over time"),
            ("ONSETS", "Onsets", "Only the times and strengths of the events; the sound decays in its own way"),
        ],
        options=set(),
    )
    control_strength: bpy.props.FloatProperty(
        name="Strength",
        description="How strongly the sound is steered. 0 ignores the control, 1 is the strength that the model was "
        "trained with",
        default=1.0,
        min=0.0,
        max=2.0,
        precision=2,
        options=set(),
    )
    control_start: bpy.props.FloatProperty(
        name="Start",
        description="Fraction of the sampling steps at which the control starts",
        min=0.0,
        max=0.99,
        precision=2,
        options=set(),
    )
    control_end: bpy.props.FloatProperty(
        name="End",
        description="Fraction of the sampling steps at which the control ends",
        default=1.0,
        min=0.01,
        max=1.0,
        precision=2,
        options=set(),
    )

    lock_seed: bpy.props.BoolProperty(
        name="Lock Seed",
        description="Use the same seed each time you generate. The same seed and settings give the same sound",
        options=set(),
    )
    seed: bpy.props.IntProperty(
        name="Seed",
        description="Seed of the first take. While it is not locked, each press of Generate uses a new one",
        default=1,
        min=0,
        options=set(),
    )
    takes: bpy.props.IntProperty(
        name="Takes",
        description="How many versions to generate. The best one is placed; the others are in the list of takes",
        default=1,
        min=1,
        max=100,
        soft_max=16,
        options=set(),
    )
    use_own_sampling: bpy.props.BoolProperty(
        name="Custom Sampling",
        description="Use the steps, guidance and sampler below instead of the pack's defaults",
        default=False,
        options=set(),
    )
    num_inference_steps: bpy.props.IntProperty(
        name="Steps",
        description="Number of sampling steps. More steps take longer and may sound cleaner",
        default=25,
        min=1,
        max=1000,
        soft_max=200,
        options=set(),
    )
    guidance_scale: bpy.props.FloatProperty(
        name="Guidance",
        description="How closely the sound follows the prompt. 1 turns guidance off",
        default=3.0,
        min=0.0,
        max=20.0,
        soft_max=10.0,
        precision=1,
        options=set(),
    )
    sampler: bpy.props.EnumProperty(
        name="Sampler",
        description="Method that computes each step from the one before",
        items=[
            ("DEFAULT", "Pack's Default", "The sampler that the pack recommends"),
            ("DDIM", "DDIM", "Plain and exact, needs many steps"),
            ("DPM++", "DPM-Solver++", "Good quality in few steps"),
            ("DPM++-SDE", "DPM-Solver++ SDE", "Like DPM-Solver++, with new noise at each step"),
            ("UNIPC", "UniPC", "Good quality in very few steps"),
        ],
        options=set(),
    )

    recording: bpy.props.IntProperty(name="Recording", description=_PLACE, min=0, max=_MAX_PLACE, options=set())
    tail: bpy.props.EnumProperty(
        name="Tail",
        description="How the recordings of a library decay after each event",
        items=[
            ("CURVE", "Follows Energy", "The decay follows the energy"),
            ("NATURAL", "As Recorded", "Each sound decays as it was recorded"),
        ],
        options=set(),
    )
    room: bpy.props.EnumProperty(
        name="Room",
        description="Whether recorded events keep the decay of their room. Steady sounds always keep it",
        items=[
            ("IN", "As Recorded", "The decay of the room is kept"),
            ("OUT", "Dry", "The decay of the room is reduced"),
        ],
        options=set(),
    )
    pitch_variation_cents: bpy.props.FloatProperty(
        name="Pitch Variation",
        description="Largest random pitch change of each recorded event, in cents. A semitone is 100 cents",
        default=DEFAULT_PITCH_VARIATION_CENTS,
        min=0.0,
        max=1200.0,
        soft_max=200.0,
        precision=0,
        options=set(),
    )
    timing_variation_s: bpy.props.FloatProperty(
        name="Timing Variation",
        description="Largest random time shift of each recorded event, in seconds. 0 keeps every event in sync",
        min=0.0,
        max=0.1,
        precision=3,
        step=0.1,
        options=set(),
    )

    cuts: bpy.props.EnumProperty(
        name="New Sound",
        description="Where the primary sound starts afresh. Ambience and layers continue",
        items=[
            ("NONE", "Never", "One sound for the whole strip"),
            ("FOUND", "At Cuts", "At every cut found in the picture"),
            ("MARKERS", "At Markers", "At every timeline marker within the strip"),
        ],
        options=set(),
    )
    loop: bpy.props.BoolProperty(
        name="Loop", description="Join the end of the sound to its beginning, so that it can be repeated", options=set()
    )
    conflict_policy: bpy.props.EnumProperty(
        name="On Conflict",
        description="What happens if the prompt contradicts the picture",
        items=[
            ("OFF", "Ignore", "Do not compare the prompt with the picture"),
            ("WARN", "Warn", "Add a note to the take"),
            ("SOFTEN", "Soften", "Add a note to the take, and give the prompt less weight"),
            ("REFUSE", "Refuse", "Generate nothing"),
        ],
        options=set(),
    )
    level: bpy.props.EnumProperty(
        name="Level",
        description="How loud the sound is",
        items=[
            ("STANDARD", "Standard", "-23 LUFS, or a true peak of -6 dBTP for struck sounds"),
            ("RAW", "As Generated", "The level that follows from the energy and the model"),
        ],
        options=set(),
    )
    rank_by: bpy.props.EnumProperty(
        name="Best Take",
        description="Which of several takes comes first. Takes with faults come last",
        items=[
            ("SCORE", "Follows Request", "The take that follows its energy and its prompt best"),
            ("AVH", "Fits Picture", "The take whose sound fits the frames best (AVHScore)"),
        ],
        options=set(),
    )
    gain_db: bpy.props.FloatProperty(
        name="Gain",
        description="Gain of the primary sound, in decibels. All stems are lowered together if they would clip",
        min=-60.0,
        max=24.0,
        precision=1,
        options=set(),
    )
    mix: bpy.props.BoolProperty(
        name="Mix Stem", description="Also deliver the sum of all stems, as a stem named mix", options=set()
    )
    sample_rate: bpy.props.EnumProperty(
        name="Sample Rate",
        description="Sample rate of the sound files",
        items=[
            (rate, f"{int(rate) / 1000:g} kHz", f"{rate} samples per second")
            for rate in ("16000", "22050", "44100", "48000", "96000")
        ],
        default="48000",
        options=set(),
    )
    range_strength: bpy.props.FloatProperty(
        name="Range Strength",
        description="How much regenerating changes the sound. 1 generates a new sound that fits its surroundings, "
        "lower values keep more of the existing one",
        default=1.0,
        min=0.01,
        max=1.0,
        precision=2,
        options=set(),
    )


GROUPS = (RewasEstimate, RewasLayer, RewasSoundSettings)

SETTING_SETS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "PROMPT": ("Prompt", "Prompt, and the sounds to avoid", ("negative_prompt",)),
    "LAYERS": (
        "Ambience and Layers",
        "Ambience and layers",
        ("ambience", "ambience_gain_db", "ambience_pack", "ambience_recording", "layers"),
    ),
    "CONTROL": (
        "Control",
        "What steers the sound, and how strongly",
        (
            "energy_source",
            "energy_sound",
            "energy_sound_start_s",
            "energy_audio_track",
            "use_texture",
            "sounds_like",
            "flat_db",
            "energy_edits",
            "control",
            "control_strength",
            "control_start",
            "control_end",
        ),
    ),
    "SEED": ("Seed and Takes", "Seed, its lock, and the number of takes", ("lock_seed", "seed", "takes")),
    "SHAPE": ("Cuts and Loop", "Where the sound starts afresh, and whether it loops", ("cuts", "loop")),
    "SAMPLING": (
        "Pack and Sampling",
        "Model pack, steps, guidance and sampler",
        ("pack", "use_own_sampling", "num_inference_steps", "guidance_scale", "sampler"),
    ),
    "RECORDINGS": (
        "Recordings",
        "How a library performs its recordings",
        ("recording", "tail", "room", "pitch_variation_cents", "timing_variation_s"),
    ),
    "OUTPUT": (
        "Output",
        "Level, gain, mix, sample rate and order of the takes",
        ("level", "gain_db", "mix", "sample_rate", "range_strength", "rank_by"),
    ),
    "CHECK": ("Conflict", "What happens if the prompt contradicts the picture", ("conflict_policy",)),
}
"""Settings that are copied together: name, description and properties by identifier."""


def copy_settings(source: Any, target: Any, sets: Sequence[str] = tuple(SETTING_SETS)) -> None:
    """Copy sets of settings from one RewasSoundSettings to another."""
    if "CONTROL" in sets:
        note_estimate(target, None)  # A copied curve belongs to another picture.
    for name in (name for chosen in sets for name in SETTING_SETS[chosen][2]):
        if name == "layers":
            target.layers.clear()
            for layer in source.layers:
                copy = target.layers.add()
                for item in ("name", "prompt", "gain_db", "energy", "flat_db", "pack", "recording", "sounds_like"):
                    setattr(copy, item, getattr(layer, item))
        else:
            setattr(target, name, getattr(source, name))


def read_settings(
    scene: Any, strip: Any, clip: SelectedClip, default_pack: str, *, draws_seed: bool = True
) -> SoundSettings | Refusal:
    """Return the settings of a strip for a request, or why they cannot be used.

    Args:
        scene: The scene with the strip.
        strip: The strip.
        clip: What the strip shows.
        default_pack: Name of the pack if the strip names none; "" for the server's default.
        draws_seed: Whether a seed that is not locked is replaced by a new random one. Otherwise it is left out.
    """
    chosen = strip.rewas.settings
    if not chosen.lock_seed and draws_seed:
        chosen.seed = _random.randint(0, _MAX_SEED)
    energy = read_energy(scene, strip, clip, chosen.energy_source)
    if isinstance(energy, Refusal):
        return energy
    layers = _read_layers(scene, strip, clip)
    if isinstance(layers, Refusal):
        return layers
    like = _read_like(strip.name, chosen.sounds_like)
    if isinstance(like, Refusal):
        return like
    own_sampling = chosen.use_own_sampling
    settings = SoundSettings(
        pack=chosen.pack.strip() or default_pack or None,
        seed=chosen.seed if draws_seed or chosen.lock_seed else None,
        takes=chosen.takes,
        negative_prompt=chosen.negative_prompt.strip() or None,
        layers=layers,
        energy=energy,
        control=chosen.control.lower(),
        control_strength=chosen.control_strength,
        num_inference_steps=chosen.num_inference_steps if own_sampling else None,
        guidance_scale=chosen.guidance_scale if own_sampling else None,
        sampler=chosen.sampler.lower() if own_sampling and chosen.sampler != "DEFAULT" else None,
        conflict_policy=chosen.conflict_policy.lower() if chosen.conflict_policy != "OFF" else None,
        loop=chosen.loop or None,
        gain_db=chosen.gain_db or None,
        mix=chosen.mix or None,
        sample_rate_hz=int(chosen.sample_rate),
        level=chosen.level.lower(),
        rank_by=chosen.rank_by.lower() if chosen.rank_by != "SCORE" else None,
        performance=_performance(chosen, chosen.recording),
        like=like,
    )
    if (chosen.control_start, chosen.control_end) != (0.0, 1.0):
        # Blender stores single precision.
        start, end = round(chosen.control_start, 6), round(chosen.control_end, 6)
        settings = replace(settings, control_start=start, control_end=end)
    if chosen.cuts == "FOUND":
        settings = replace(settings, new_sound_at_cuts=True)
    elif chosen.cuts == "MARKERS":
        settings = replace(settings, cuts_s=cuts_at_frames([marker.frame for marker in scene.timeline_markers], clip))
    server = session().board.server
    pack = server.pack(settings.pack or "") if server is not None else None
    return settings if pack is None else settings.used_by(is_library=pack.is_library)


def _performance(chosen: Any, place: int) -> PerformanceChoice:
    """Return how the recordings of a primary sound or of a layer are performed."""
    # Blender stores single precision.
    pitch_variation_cents, timing_variation_s = (
        round(value, 6) for value in (chosen.pitch_variation_cents, chosen.timing_variation_s)
    )
    return PerformanceChoice(
        place=place or None,
        tail=chosen.tail.lower() if chosen.tail != "CURVE" else None,
        pitch_variation_cents=pitch_variation_cents if pitch_variation_cents != DEFAULT_PITCH_VARIATION_CENTS else None,
        timing_variation_s=timing_variation_s or None,
        room=chosen.room.lower() if chosen.room != "IN" else None,
    )


def _read_layers(scene: Any, strip: Any, clip: SelectedClip) -> tuple[LayerChoice, ...] | Refusal:
    chosen = strip.rewas.settings
    layers = []
    if chosen.ambience.strip():
        layers.append(
            LayerChoice(
                AMBIENCE_ROLE,
                chosen.ambience.strip(),
                round(chosen.ambience_gain_db, 3),
                pack=chosen.ambience_pack.strip() or None,
                performance=_performance(chosen, chosen.ambience_recording),
            )
        )
    for layer in chosen.layers:
        choice = LayerChoice(
            layer.name,
            layer.prompt.strip(),
            round(layer.gain_db, 3),
            layer.energy.lower(),
            pack=layer.pack.strip() or None,
            performance=_performance(chosen, layer.recording),
        )
        if choice.energy == "flat":
            choice = replace(choice, flat_nats=layer.flat_db / DB_PER_NAT)
        if choice.energy == "drawn":
            choice = replace(choice, keys=drawn_keys(scene, strip, clip, layer.name))
            if not choice.keys:
                return Refusal(
                    f'The layer {layer.name} of the strip "{strip.name}" follows a drawn curve, but has none.',
                    "Under Ambience and Layers, estimate its energy, or choose another energy.",
                )
        like = _read_like(strip.name, layer.sounds_like, layer.name)
        if isinstance(like, Refusal):
            return like
        choice = replace(choice, like=like)
        layers.append(choice)
    return tuple(layers)


def _read_like(strip_name: str, chosen: str, layer: str = "") -> str | Refusal | None:
    """Return the absolute path of a sound to resemble, None if none is chosen, or why it cannot be used.

    Args:
        strip_name: Name of the strip, for the refusal.
        chosen: The path in the field.
        layer: Name of the layer; "" for the primary sound.
    """
    if not chosen:
        return None
    path = Path(bpy.path.abspath(chosen)).absolute()
    if path.is_file():
        return str(path)
    whose = f'The layer {layer} of the strip "{strip_name}"' if layer else f'The sound of the strip "{strip_name}"'
    where = "Ambience and Layers" if layer else "Control"
    return Refusal(f"{whose} should resemble {path}, which is missing.", f"Choose a sound file under {where}.")


def drawn_keys(scene: Any, strip: Any, clip: SelectedClip, layer: str = "") -> tuple[EnergyKey, ...]:
    """Return the drawn energy of a strip or of one of its layers over a clip of its media, or no keys if there is none.

    The times are in seconds from the start of the clip.
    """
    keys = read_keys(scene, strip, layer)
    lead_in_s = (clip.start_frame - clip.content_start_frame) / clip.rate
    return cut_keys(keys, lead_in_s, clip.source_duration_s) if keys else ()


def read_energy(scene: Any, strip: Any, clip: SelectedClip, chosen_source: str) -> EnergyChoice | Refusal:
    """Return what the sound of a strip follows, or why that cannot be used. chosen_source: as in `energy_source`."""
    chosen = strip.rewas.settings
    edits = tuple(edit.strip() for edit in chosen.energy_edits.split(";") if edit.strip())
    source = chosen_source.lower()
    energy = EnergyChoice(source=source, edits=edits)
    if source == "flat":
        return replace(energy, flat_nats=chosen.flat_db / DB_PER_NAT)
    if source == "drawn":
        keys = drawn_keys(scene, strip, clip)
        if not keys:
            return Refusal(
                f'The strip "{strip.name}" follows a drawn curve, but has none.',
                "Under Control, estimate its energy, or let it follow the picture.",
            )
        return replace(energy, keys=keys)
    if energy.is_measured:
        # If there is a sound to resemble, the texture comes from it.
        use_texture = chosen.use_texture and not chosen.sounds_like
        energy = replace(energy, use_texture=use_texture, audio_track=chosen.energy_audio_track or None)
    if source == "own_sound" and clip.proxy is not None:
        what = f'The strip "{strip.name}" {clip.proxy.reason}, so its own sound does not fit its picture.'
        return Refusal(what, "Under Control, let the sound follow something else, such as the picture.")
    if source != "other_sound":
        return energy
    path = Path(bpy.path.abspath(chosen.energy_sound)).absolute() if chosen.energy_sound else None
    if path is None or not path.is_file():
        return Refusal(
            f'The strip "{strip.name}" follows another sound, but {"no file is chosen" if path is None else path}'
            f"{'' if path is None else ' is missing'}.",
            "Choose a sound file under Control.",
        )
    return replace(
        energy,
        sound=str(path),
        sound_start_s=Fraction(round(chosen.energy_sound_start_s * 1000), 1000),
        sound_duration_s=compat.sound_duration_s(path),
    )


def write_settings(chosen: Any, settings: SoundSettings) -> None:
    """Set the properties of a strip to settings that were read from one. Drawn curves and ranges are left out."""
    chosen.pack = settings.pack or ""
    chosen.takes = settings.takes
    chosen.negative_prompt = settings.negative_prompt or ""
    _write_layers(chosen, settings.layers)
    _write_energy(chosen, settings.energy)
    chosen.control = (settings.control or "energy").upper()
    chosen.control_strength = _or(settings.control_strength, 1.0)
    chosen.control_start, chosen.control_end = _or(settings.control_start, 0.0), _or(settings.control_end, 1.0)
    chosen.use_own_sampling = settings.num_inference_steps is not None
    if settings.num_inference_steps is not None:
        chosen.num_inference_steps = settings.num_inference_steps
    if settings.guidance_scale is not None:
        chosen.guidance_scale = settings.guidance_scale
    chosen.sampler = (settings.sampler or "default").upper()
    chosen.conflict_policy = (settings.conflict_policy or "off").upper()
    chosen.loop = bool(settings.loop)
    chosen.cuts = "FOUND" if settings.new_sound_at_cuts else "MARKERS" if settings.cuts_s else "NONE"
    chosen.gain_db = settings.gain_db or 0.0
    chosen.mix = bool(settings.mix)
    chosen.sample_rate = str(settings.sample_rate_hz or 48000)
    chosen.level = (settings.level or "standard").upper()
    chosen.rank_by = (settings.rank_by or "score").upper()
    chosen.sounds_like = settings.like or ""
    # The sounds of a strip share these settings, except the place. A model ignores them, but its layers may not.
    performances = (settings.performance, *(layer.performance for layer in settings.layers))
    shared = next((each for each in performances if replace(each, place=None) != PerformanceChoice()), performances[0])
    _write_performance(chosen, replace(shared, place=settings.performance.place))


def _write_performance(chosen: Any, performance: PerformanceChoice) -> None:
    chosen.recording = performance.place or 0
    chosen.tail = (performance.tail or "curve").upper()
    chosen.room = (performance.room or "in").upper()
    chosen.pitch_variation_cents = _or(performance.pitch_variation_cents, DEFAULT_PITCH_VARIATION_CENTS)
    chosen.timing_variation_s = performance.timing_variation_s or 0.0


def write_metadata(strip: Any, metadata: Mapping[str, Any]) -> None:
    """Set the prompt and settings of a strip to the ReWaS metadata of a clip. Values that are not valid are skipped."""
    # The prompt comes first, because it resets the recording.
    _set_valid(strip.rewas, "prompt", metadata.get("prompt"))
    chosen = strip.rewas.settings
    for name in ("takes", "negative_prompt", "pack", "control_strength", "control_start", "control_end"):
        _set_valid(chosen, name, metadata.get(name))
    for name in ("num_inference_steps", "guidance_scale"):
        chosen.use_own_sampling |= _set_valid(chosen, name, metadata.get(name))
    for name in ("loop", "mix", "gain_db"):
        _set_valid(chosen, name, metadata.get(name))
    _set_valid(chosen, "sounds_like", metadata.get("like"))
    for name in ("control", "sampler", "conflict_policy", "level", "rank_by"):
        value = metadata.get(name)
        _set_valid(chosen, name, value.upper() if isinstance(value, str) else None)
    if isinstance(metadata.get("sample_rate_hz"), int | float):
        _set_valid(chosen, "sample_rate", str(int(metadata["sample_rate_hz"])))
    seed = metadata.get("seed")
    if isinstance(seed, int | float) and 0 <= seed <= _MAX_SEED:
        chosen.seed, chosen.lock_seed = int(seed), True
    if metadata.get("new_sound_at_cuts") is True:
        chosen.cuts = "FOUND"
    performance = metadata.get("performance")
    if isinstance(performance, dict):
        _set_valid(chosen, "recording", performance.get("place"))
        for name in ("pitch_variation_cents", "timing_variation_s"):
            _set_valid(chosen, name, performance.get(name))
        for name in ("tail", "room"):
            value = performance.get(name)
            _set_valid(chosen, name, value.upper() if isinstance(value, str) else None)
    layers = metadata.get("layers")
    found = [_layer_from(each) for each in layers] if isinstance(layers, list) else []
    _write_layers(chosen, [layer for layer in found if layer is not None])


def _layer_from(values: Any) -> LayerChoice | None:
    if not isinstance(values, dict) or not isinstance(values.get("name"), str):
        return None
    gain_db = values.get("gain_db")
    gain_db = float(gain_db) if isinstance(gain_db, int | float) else 0.0
    energy = values.get("energy")
    energy = energy if energy in STANDARD_ENERGIES else "steady"
    pack, performance, like = (values.get(name) for name in ("pack", "performance", "like"))
    place = performance.get("place") if isinstance(performance, dict) else None
    return LayerChoice(
        layer_role(values["name"]),
        str(values.get("prompt", "")),
        gain_db,
        energy,
        pack=pack if isinstance(pack, str) else None,
        like=like if isinstance(like, str) and like else None,
        performance=PerformanceChoice(place=place if isinstance(place, int) and 0 <= place <= _MAX_PLACE else None),
    )


def _set_valid(owner: Any, name: str, value: Any) -> bool:
    if value is None:
        return False
    try:
        setattr(owner, name, value)
    except (TypeError, ValueError):
        return False
    return True


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _write_layers(chosen: Any, layers: Sequence[LayerChoice]) -> None:
    chosen.ambience, chosen.ambience_gain_db = "", 0.0
    chosen.ambience_pack, chosen.ambience_recording = "", 0
    chosen.layers.clear()
    for layer in layers:
        place = layer.performance.place or 0
        if layer.name == AMBIENCE_ROLE and not layer.like:
            chosen.ambience, chosen.ambience_gain_db = layer.prompt, layer.gain_db
            chosen.ambience_pack, chosen.ambience_recording = layer.pack or "", place
        else:
            item = chosen.layers.add()
            item.name, item.prompt, item.gain_db = layer.name, layer.prompt, layer.gain_db
            item.pack, item.recording = layer.pack or "", place
            item.energy, item.sounds_like = layer.energy.upper(), layer.like or ""
            if layer.energy == "flat":
                item.flat_db = layer.flat_nats * DB_PER_NAT


def _write_energy(chosen: Any, energy: EnergyChoice) -> None:
    sources = {item.identifier for item in chosen.bl_rna.properties["energy_source"].enum_items}
    chosen.energy_source = energy.source.upper() if energy.source.upper() in sources else "PICTURE"
    chosen.energy_edits = "; ".join(energy.edits)
    note_estimate(chosen, None)
    chosen.use_texture = energy.use_texture
    chosen.energy_audio_track = energy.audio_track or 0
    if energy.source == "flat":
        chosen.flat_db = energy.flat_nats * DB_PER_NAT
    if energy.source == "other_sound":
        chosen.energy_sound, chosen.energy_sound_start_s = energy.sound, float(energy.sound_start_s)
