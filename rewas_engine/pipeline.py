"""The engine: a loaded pack, and what it can do with a clip."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.checks import MAX_SEED, ControlName, check_integer, validate_prompt
from rewas_engine.conditioning.controls import measure_log_mel_texture
from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig, normalise
from rewas_engine.conditioning.windows import SoundWindow
from rewas_engine.curves.energy import EnergyCurve, FloatArray
from rewas_engine.curves.texture import TextureCurve
from rewas_engine.energy_estimation.estimator import ESTIMATION_MEMORY_REMEDY, EnergyEstimator
from rewas_engine.errors import PackError, SettingsError
from rewas_engine.exact_time import Seconds
from rewas_engine.generation.sampling_settings import SamplingSettings, resolve_settings
from rewas_engine.generation.synthesis import SoundGenerator
from rewas_engine.generation.vocoding import VOCODING_MEMORY_REMEDY
from rewas_engine.matching.embedding import JointScorer
from rewas_engine.matching.evidence import prompt_weight
from rewas_engine.matching.policy import ConflictCheck
from rewas_engine.matching.report import ConflictPolicy, ConflictReport
from rewas_engine.matching.selection import select_matcher
from rewas_engine.media.audio import read_audio
from rewas_engine.media.clip import VideoClip
from rewas_engine.media.frame_stream import FrameSequence, FrameStream
from rewas_engine.media.probe import ProbedClip, read_clip, read_clip_with_sound
from rewas_engine.packs.backbones.families import find_family
from rewas_engine.packs.description import PackDescription, PackInfo, find_pack, read_pack, verify_files
from rewas_engine.packs.loading import (
    LOADING_MEMORY_REMEDY,
    component_precision,
    load_components,
    load_with_memory_fallback,
)
from rewas_engine.requests.layers import Layer, check_gain, check_layers
from rewas_engine.requests.per_shot import validate_cuts
from rewas_engine.requests.plan import SoundRequest
from rewas_engine.requests.regeneration import Revision
from rewas_engine.requests.results import GenerationResult
from rewas_engine.requests.take_making import TakeGenerator
from rewas_engine.requests.validation import (
    MAX_TAKES,
    check_combination,
    check_curve_covers_clip,
    check_total_duration,
    resolve_output_rate_hz,
)
from rewas_engine.runtime.cache import DEFAULT_CACHE_BYTES, ContentCache
from rewas_engine.runtime.devices import resolve_device
from rewas_engine.runtime.execution import Execution
from rewas_engine.runtime.memory import raises_out_of_memory
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback, ProgressTracker


class ReWaS:
    """A pack, loaded: estimates energy from picture, makes sound from words and energy.

    pack: what the pack says of itself. device: "cpu" or "cuda:0".
    front_end: how it hears. sound: how it makes sound, with or without a clip. joint: how it holds words, pictures and
    sounds together, None where it cannot. matcher: what holds words against pictures, None where nothing can.
    The same seed, settings, pack, device and execution give the same samples: what is kept between calls is only what
    the same words, pictures and curves would come to again.
    """

    def __init__(
        self,
        description: PackDescription,
        device: str,
        execution: Execution | None = None,
        conflict_model: Path | None = None,
    ) -> None:
        self.pack: PackInfo = description.info
        self.device = device
        self.execution = execution or Execution()
        self._description = description
        self.front_end = AudioFrontEnd(MelConfig(**description.audio))
        self._components = load_components(description, device, self.execution)
        backbone = find_family(description.family).backbone(self._components, self.front_end.config, device)
        self._cache = cache = ContentCache(DEFAULT_CACHE_BYTES if self.execution.caching else 0)
        window, silence_nats = SoundWindow(**description.window), self.front_end.config.silence_nats
        batch = self.execution.effective_batch_size
        self.sound = SoundGenerator(backbone, self.front_end, window, device, batch_size=batch, cache=cache)
        self._sight = EnergyEstimator(self._components, description.picture, silence_nats, device, cache)
        self._components.offload()  # what was loaded only to see that all fits
        self.joint: JointScorer | None = None
        if "joint" in self._components:
            self.joint = JointScorer.from_pack(self._components, self.front_end.config.bins, self.pack.name, device)
        self.matcher = select_matcher(description, conflict_model, self.joint, device)

    @classmethod
    @raises_out_of_memory("loading a pack", LOADING_MEMORY_REMEDY)
    def from_pretrained(
        cls,
        pack: str | Path = "starter",
        *,
        device: str = "auto",
        execution: Execution | None = None,
        conflict_model: str | Path | None = None,
    ) -> ReWaS:
        """Load a pack by name or folder.

        device: "auto" takes the first CUDA device where there is one, else the CPU. execution: in which precision and
        with how much memory it runs; where memory runs out while it is loaded, it is tried again with low_memory.
        conflict_model: a folder on this machine with a CLIP model, which holds words against pictures in the place of
        what the pack has for it.
        Raises PackError where the pack is absent, damaged, or made for a newer version, or the CLIP model is,
        InsufficientMemoryError.
        """
        description = read_pack(find_pack(pack))
        verify_files(description)
        wanted, name = execution or Execution(), description.info.name
        matcher = None if conflict_model is None else Path(conflict_model)
        try:
            where = resolve_device(device)
            return load_with_memory_fallback(lambda chosen: cls(description, where, chosen, matcher), wanted, name)
        except (TypeError, ValueError) as error:
            raise PackError(
                f"The pack {description.info.name} is damaged: its settings do not fit ({error}).",
                "Install the pack again.",
            ) from error

    def forget(self) -> None:
        """Let go of what was kept of words, pictures and curves."""
        self._cache.clear()

    @property
    def weight_bytes(self) -> Mapping[str, int]:
        """What the weights of the components that are in memory take, by role."""
        return self._components.weight_bytes

    def read_clip(self, clip: VideoClip) -> ProbedClip:
        """The clip held against its media: duration filled in, range checked. Raises MediaError."""
        return read_clip(clip)

    def sampling_settings(
        self,
        num_steps: int | None = None,
        guidance_scale: float | None = None,
        control_strength: float = 1.0,
        control_part: tuple[float, float] = (0.0, 1.0),
        negative_prompt: str | None = None,
        control: ControlName = "energy",
        sampler: str | None = None,
    ) -> SamplingSettings:
        """Settings with the pack's defaults filled in. Raises SettingsError for one out of its range.

        sampler: one of `rewas_engine.models.sampler_names.SAMPLER_NAMES`; a pack may want other steps of ddim than of
        its own.
        control: what steers; a pack may have another default of guidance for onsets. Guidance leads away from a
        negative prompt: where there is one, the default guidance is at least MIN_NEGATIVE_GUIDANCE, and none at all is
        refused.
        """
        return resolve_settings(
            self._description.sampling,
            component_precision("denoiser", self._description, self.device, self.execution),
            num_steps,
            guidance_scale,
            control_strength,
            control_part,
            negative_prompt,
            control,
            sampler,
        )

    @raises_out_of_memory("encoding the video", ESTIMATION_MEMORY_REMEDY)
    def estimate_energy(
        self, clip: VideoClip, *, on_progress: ProgressCallback | None = None, cancel: CancelSignal | None = None
    ) -> EnergyCurve:
        """Energy of the sound that the picture calls for. Raises MediaError, Cancelled."""
        read, tracker = self.read_clip(clip), ProgressTracker(on_progress, cancel)
        return self._estimate_energy(self._open_frame_stream(read, tracker), tracker)

    def measure_energy(
        self, clip: VideoClip, *, on_progress: ProgressCallback | None = None, cancel: CancelSignal | None = None
    ) -> EnergyCurve:
        """Energy of the clip's own sound, normalised as training sounds are. Raises MediaError, Cancelled.

        The clip's media may also hold sound alone: a voice, or hands on a table, that perform what another clip lacks.
        """
        tracker = ProgressTracker(on_progress, cancel)
        sound = self._read_clip_audio(clip, tracker)
        with tracker.stage("energy"):
            return self.front_end.measure_energy(sound)

    def measure_texture(
        self, clip: VideoClip, *, on_progress: ProgressCallback | None = None, cancel: CancelSignal | None = None
    ) -> TextureCurve:
        """Spectral texture of the clip's own sound; its media may hold sound alone. Raises MediaError, Cancelled."""
        tracker = ProgressTracker(on_progress, cancel)
        sound = self._read_clip_audio(clip, tracker)
        with tracker.stage("energy"):
            return measure_log_mel_texture(self.front_end.encode(sound), self.front_end.config.frame_rate_hz)

    @raises_out_of_memory("encoding the video", ESTIMATION_MEMORY_REMEDY)
    def check_conflict(
        self,
        clip: VideoClip,
        prompt: str,
        *,
        on_progress: ProgressCallback | None = None,
        cancel: CancelSignal | None = None,
    ) -> ConflictReport:
        """Whether words and picture contradict each other, where there is something that can tell.

        Raises SettingsError, MediaError, Cancelled.
        """
        prompt, read, tracker = validate_prompt(prompt), self.read_clip(clip), ProgressTracker(on_progress, cancel)
        return self.conflict_check.check(prompt, read, lambda: self._read_frames(read, tracker), tracker)

    def score_text_sound(self, prompt: str, waveform: FloatArray) -> float:
        """How well a sound does what words say, 0 to 1: of several takes the one with the highest does it best.

        waveform: [samples] at the pack's rate; it may be of any loudness. 0.5 is undecided.
        Raises SettingsError for an empty prompt or sound, PackError where the pack has no joint space.
        """
        prompt = validate_prompt(prompt)
        if not waveform.size:
            raise SettingsError("The sound is empty.", "Give at least one sample.")
        if self.joint is None:
            raise PackError(
                f"The pack {self.pack.name} cannot compare words with sounds.", "Choose a pack with a joint space."
            )
        return self.joint.score_text_sound(prompt, self.front_end.encode(normalise(waveform))).probability

    @raises_out_of_memory("making the sound", VOCODING_MEMORY_REMEDY)
    @torch.inference_mode()
    def generate(
        self,
        clip: VideoClip,
        *,
        prompt: str,
        negative_prompt: str | None = None,
        energy: EnergyCurve | None = None,
        texture: TextureCurve | None = None,
        gain_db: float = 0.0,
        layers: Sequence[Layer] = (),
        takes: int = 1,
        seed: int = 0,
        num_steps: int | None = None,
        guidance_scale: float | None = None,
        control_strength: float = 1.0,
        control_part: tuple[float, float] = (0.0, 1.0),
        control: ControlName = "energy",
        sampler: str | None = None,
        loop: bool = False,
        cuts: Sequence[Seconds] = (),
        sample_rate_hz: int | None = None,
        revision: Revision | None = None,
        conflict: ConflictPolicy = "off",
        on_progress: ProgressCallback | None = None,
        cancel: CancelSignal | None = None,
    ) -> GenerationResult:
        """Sound for a clip of any length, exactly as long as the clip.

        prompt: what should be heard, 1 to 2000 characters. negative_prompt: what should not. energy: what it should
        follow; None estimates it from the picture. texture: which bands should stand out in it, for packs that
        understand texture; None leaves that to the words. It steers the primary sound alone, not the layers. gain_db:
        of its stem, -60 to 24. layers: more sounds, each a stem of its own; where one or their sum would clip, all are
        lowered alike. takes: 1 to 100, seeded `seed`, `seed` + 1, … They are ranked, the best first; one with faults is
        replaced once, by one with a seed after all of these.
        num_steps: 1 to 1000. sampler: see `sampling_settings`. guidance_scale: 0 to 20, 1 is none. control_strength: 0
        to 2, how strongly the energy steers. control_part: from where to where in the sampling it does, 0 being noise
        and 1 the end. control: "energy", or "onsets": then the primary sound follows the times and strengths of the
        energy's events and not its shape. loop: the end goes on with the beginning; the energy is then steady where
        none is given. cuts: seconds from the clip's start at each of which the primary sound begins anew, as
        `find_cuts` finds them; layers go on. sample_rate_hz: of the stems; None is the pack's own, or that of the sound
        that is revised.
        revision: a sound of this clip, of which a range is made again, or all of it to a degree; where no energy is
        given, to a degree below 1 it follows its own, else the picture's at the level of what stays. conflict: what is
        done where the picture contradicts the prompt: "off" does not look, "warn" tells, "soften" lets the prompt
        weigh less (`rewas_engine.matching.evidence.prompt_weight`), "refuse" raises ConflictError.
        Raises SettingsError, MediaError, InsufficientMemoryError, PackError for a policy that the pack cannot follow,
        Cancelled (within one sampling step).
        """
        prompt = validate_prompt(prompt)
        self.conflict_check.check_policy(conflict)
        settings = self.sampling_settings(
            num_steps, guidance_scale, control_strength, control_part, negative_prompt, control, sampler
        )
        check_gain(gain_db)
        check_layers(layers)
        check_combination(layers=layers, gain_db=gain_db, loop=loop, cuts=cuts, revision=revision)
        self._check_supported(control, *(() if texture is None else ("texture",)))
        rate_hz = resolve_output_rate_hz(sample_rate_hz, self.pack.sample_rate_hz, revision)
        check_integer("takes", takes, 1, MAX_TAKES)
        check_integer("seed", seed, 0, MAX_SEED - 2 * takes + 1)
        tracker = ProgressTracker(on_progress, cancel)
        read = self.read_clip(clip)
        check_total_duration(takes, 1 + len(layers), read.duration_s)
        cuts_s = validate_cuts(cuts, read.duration_s) if cuts else ()
        for curve in (layer.energy for layer in layers if isinstance(layer.energy, EnergyCurve)):
            check_curve_covers_clip(curve, read)
        if texture is not None:
            check_curve_covers_clip(texture, read, TextureCurve)
        earlier = None if revision is None else revision.earlier(read.duration_s, self.front_end)
        shown = functools.cache(lambda: self._read_frames(read, tracker))  # once, where it is needed first

        def estimated() -> EnergyCurve:
            # What words are held against too is read once and kept; else the picture passes by.
            kept = self.conflict_check.uses_estimator_frames(conflict)
            return self._estimate_energy(shown() if kept else self._open_frame_stream(read, tracker), tracker)

        request = SoundRequest(
            self.front_end, self.sound.window, settings, control, read.duration_s, rate_hz, revision, earlier, loop
        )
        energy = request.resolve_energy(energy, read, estimated)
        report = self.conflict_check.apply_policy(conflict, prompt, read, shown, tracker)
        shown.cache_clear()  # An hour of picture is not kept while sound is made.
        if report is not None and conflict == "soften":
            settings = replace(settings, prompt_weight=prompt_weight(report))
            request = replace(request, settings=settings)
        wanted = request.sound(prompt, energy, texture, cuts_s)
        behind = replace(request, control="energy")  # what is steady has no onsets
        beside = [(layer, behind.sound(layer.prompt, layer.resolve_energy(energy))) for layer in layers]
        maker = TakeGenerator(self.pack, self.front_end, self.sound, self.joint)
        return GenerationResult(
            read,
            self.pack,
            prompt,
            wanted.requested,
            maker.takes(wanted, seed, takes, tracker, beside, gain_db),
            settings.num_steps,
            settings.guidance_scale,
            settings.control_strength,
            settings.negative_prompt,
            settings.control_part,
            control,
            loop,
            cuts_s,
            conflict,
            report,
            settings.prompt_weight,
            dict(tracker.stage_times_s),
            settings.sampler,
            wanted.texture,
        )

    @property
    def conflict_check(self) -> ConflictCheck:
        """What holds prompts against pictures, and says which policies can be followed."""
        return ConflictCheck(self.matcher, self.pack.name)

    @property
    def picture_format(self) -> tuple[Fraction, int, int]:
        """Frame rate, width and height that the video encoder wants."""
        return self._sight.format

    def energy_of_frames(
        self, frames: NDArray[np.uint8], on_window: Callable[[int, int], object] | None = None
    ) -> FloatArray:
        """Energies [T] in nats of brightness [T, H, W], or colours [T, H, W, 3], in `picture_format`.

        on_window: called with finished and total windows.
        """
        return self._sight.estimate(frames, on_window).resample(self.picture_format[0], len(frames))

    def _estimate_energy(self, frames: FrameSequence, tracker: ProgressTracker) -> EnergyCurve:
        with tracker.stage("energy"):
            curve = self._sight.estimate(frames, lambda done, total: tracker.report("energy", done, total))
        if isinstance(frames, FrameStream):
            tracker.reassign_time("energy", "decode", frames.read_s)
        return curve

    def _read_clip_audio(self, clip: VideoClip, tracker: ProgressTracker) -> FloatArray:
        """The clip's own sound [samples] at the pack's rate, normalised as training sounds are."""
        read, origin_s = read_clip_with_sound(clip)
        with tracker.stage("decode"):
            sound = read_audio(
                read.path,
                start_s=read.start_s,
                duration_s=read.duration_s,
                sample_rate_hz=self.pack.sample_rate_hz,
                origin_s=origin_s,
                cancel=tracker.cancel,
            )
        return normalise(sound) if sound.any() else sound

    def _open_frame_stream(self, read: ProbedClip, tracker: ProgressTracker) -> FrameStream:
        """A long picture that is never there as a whole: what is decoded is looked at and forgotten."""
        with tracker.stage("decode"):
            return self._sight.stream_frames(read, tracker.cancel)

    def _read_frames(self, read: ProbedClip, tracker: ProgressTracker) -> NDArray[np.uint8]:
        with tracker.stage("decode"):
            return self._sight.read_frames(read, tracker.cancel)

    def _check_supported(self, *controls: str) -> None:
        """Raises SettingsError for a control that the pack lacks."""
        for control in controls:
            if control not in self.pack.controls:
                raise SettingsError(
                    f"The pack {self.pack.name} cannot be steered by {control}.",
                    f"It understands {', '.join(self.pack.controls)}.",
                )
