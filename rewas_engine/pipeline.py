"""The engine's main class: a loaded pack and its operations on clips."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.checks import check_seed, check_takes, validate_prompt
from rewas_engine.conditioning.controls import measure_log_mel_texture
from rewas_engine.conditioning.levels import normalise
from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.conditioning.windows import SoundWindow
from rewas_engine.curves.energy import EnergyCurve, FloatArray
from rewas_engine.curves.texture import TextureCurve
from rewas_engine.energy_estimation.estimator import ESTIMATION_MEMORY_REMEDY, EnergyEstimator, OnWindow, Tokens
from rewas_engine.errors import PackError, SettingsError
from rewas_engine.generation.options import Control, Output, Sampling
from rewas_engine.generation.sampling_settings import SamplingSettings, resolve_settings
from rewas_engine.generation.synthesis import SoundGenerator
from rewas_engine.generation.vocoding import VOCODING_MEMORY_REMEDY
from rewas_engine.matching.avh import AvhScorer, FrameSoundSpace, no_space_error, select_frame_sound_space
from rewas_engine.matching.embedding import JointScorer
from rewas_engine.matching.embedding_matcher import EmbeddingMatcher
from rewas_engine.matching.evidence import prompt_weight, suggest_for_sound
from rewas_engine.matching.familiarity import FamiliarityCheck
from rewas_engine.matching.joint_space_encoder import JointSpaceEncoder
from rewas_engine.matching.policy import ConflictCheck
from rewas_engine.matching.report import ConflictPolicy, ConflictReport, Familiarity, Suggestion
from rewas_engine.matching.selection import select_matcher
from rewas_engine.matching.sound_kinds import Character, SoundKinds
from rewas_engine.media.audio import read_audio
from rewas_engine.media.clip import VideoClip
from rewas_engine.media.frame_stream import FrameSequence, FrameStream
from rewas_engine.media.probe import ProbedClip, check_can_have_sound, read_clip, read_clip_with_sound
from rewas_engine.media.reference import ReferenceSound
from rewas_engine.media.stem import Stem
from rewas_engine.models.text import SentenceEncoder
from rewas_engine.packs.backbones.families import find_family
from rewas_engine.packs.description import PackDescription, PackInfo, find_pack, no_model_error, read_pack, verify_files
from rewas_engine.packs.loading import (
    LOADING_MEMORY_REMEDY,
    component_precision,
    load_components,
    load_with_memory_fallback,
)
from rewas_engine.recordings.library_pack import read_library_pack
from rewas_engine.recordings.options import PerformanceOptions
from rewas_engine.requests.layers import Layer, check_layers
from rewas_engine.requests.levels import apply_typical_level
from rewas_engine.requests.library_maker import LibraryMaker
from rewas_engine.requests.notes import (
    Note,
    recordings_repeat_note,
    spectrum_only_note,
    unknown_prompt_note,
    unknown_recording_note,
    unused_settings_note,
)
from rewas_engine.requests.plan import ResolvedEnergy, SoundPlan, SoundRequest
from rewas_engine.requests.references import MeasuredReference
from rewas_engine.requests.regeneration import Regenerate
from rewas_engine.requests.results import GenerationResult
from rewas_engine.requests.scoring import WordScorer, rank_by_avh
from rewas_engine.requests.sound_makers import ModelMaker, SoundMaker
from rewas_engine.requests.take_making import PlannedLayer, TakeGenerator
from rewas_engine.requests.validation import (
    check_combination,
    check_curve_covers_clip,
    check_total_duration,
    resolve_output_rate_hz,
    validate_cuts,
)
from rewas_engine.runtime.cache import DEFAULT_CACHE_BYTES, ContentCache
from rewas_engine.runtime.devices import resolve_device
from rewas_engine.runtime.execution import Execution
from rewas_engine.runtime.memory import raises_out_of_memory
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback, ProgressTracker

LONGEST_KEPT_S = 600
"""The encoded video of a longer clip is not kept for other prompts."""
T = TypeVar("T")


class ReWaS:
    """A loaded pack, which estimates energy from video and generates sound from a prompt and energy.

    The same seed, settings, pack, device and execution give the same samples. Caching between calls never changes
    them.

    Attributes:
        pack: Information about the pack.
        device: "cpu" or "cuda:0".
        execution: Precision and memory use.
        front_end: Turns waveforms into log-mels and energy.
        joint_scorer: Compares prompts, frames and sounds; None if the pack has no joint space.
        frame_sound_space: Compares frames and sounds for AVHScore; None if the pack has no joint space and no ImageBind
            is given.
        sound_kinds: Tells from a prompt how the energy of its sound behaves.
        matcher: Compares prompts with video for the conflict check; None if no model can.
    """

    def __init__(
        self,
        description: PackDescription,
        device: str,
        execution: Execution | None = None,
        conflict_model: Path | None = None,
        avh_model: Path | None = None,
    ) -> None:
        self.pack: PackInfo = description.info
        self.device = device
        self.execution = execution or Execution()
        self._description = description
        self.front_end = AudioFrontEnd(MelConfig(**description.audio))
        self._components = load_components(description, device, self.execution)
        self._cache = cache = ContentCache(DEFAULT_CACHE_BYTES if self.execution.caching else 0)
        self._window, silence_nats = SoundWindow(**description.window), self.front_end.config.silence_nats
        encoder = self._components.get("text_encoder", None)
        sentence_encoder = encoder if isinstance(encoder, SentenceEncoder) else None
        self._source: SoundGenerator | LibraryMaker
        if self.pack.is_library:
            library = read_library_pack(description.path)
            self._source = LibraryMaker(library, self.front_end, sentence_encoder or SentenceEncoder.default())
        else:
            self._source = self._build_sound_generator(cache)
        self._estimator = EnergyEstimator(self._components, description.picture, silence_nats, device, cache)
        self._components.offload()  # Loading them has shown that everything fits into memory.
        self.joint_scorer: JointScorer | None = None
        if "joint" in self._components:
            self.joint_scorer = JointScorer.from_pack(
                self._components, self.front_end.config.bins, self.pack.name, device
            )
        self.sound_kinds = SoundKinds(sentence_encoder)
        self._familiarity_check = (
            None if self.joint_scorer is None else FamiliarityCheck(self.joint_scorer, self.sound_kinds)
        )
        self.matcher = select_matcher(description, conflict_model, self.joint_scorer, device)
        self.frame_sound_space = select_frame_sound_space(avh_model, self.joint_space_encoder, device)

    def _build_sound_generator(self, cache: ContentCache) -> SoundGenerator:
        backbone = find_family(self._description.family).backbone
        return SoundGenerator(
            backbone(self._components, self.front_end.config, self.device),
            self.front_end,
            self._window,
            self.device,
            batch_size=self.execution.effective_batch_size,
            shares_batches=self.execution.shares_batches,
            cache=cache,
        )

    @property
    def sound_generator(self) -> SoundGenerator:
        """Generates sound with the model, with or without a clip. Raises PackError for a library of recordings."""
        if isinstance(self._source, LibraryMaker):
            raise no_model_error(self.pack.name)
        return self._source

    @property
    def library_maker(self) -> LibraryMaker:
        """Performs the recordings of a library, with or without a clip. Raises PackError for a model."""
        if not isinstance(self._source, LibraryMaker):
            raise PackError(
                f"The pack {self.pack.name} is a model and has no recordings.", "Choose a library of recordings."
            )
        return self._source

    @classmethod
    @raises_out_of_memory("loading a pack", LOADING_MEMORY_REMEDY)
    def from_pretrained(
        cls,
        pack: str | Path = "starter",
        *,
        device: str = "auto",
        execution: Execution | None = None,
        conflict_model: str | Path | None = None,
        avh_model: str | Path | None = None,
    ) -> ReWaS:
        """Load a pack.

        Args:
            pack: Name or folder of the pack.
            device: "cpu", "cuda", "cuda:0" or "auto", which is the first CUDA device or else the CPU.
            execution: Precision and memory use. If memory runs out while loading, low_memory is tried next.
            conflict_model: A local folder with a CLIP model that compares prompts with video instead of the joint space
                of the pack.
            avh_model: A local folder with ImageBind, which compares sounds with the video for AVHScore instead of the
                joint space of the pack.

        Raises:
            PackError: The pack or one of the models is missing, damaged or too new for this version.
            InsufficientMemoryError: The pack does not fit into memory.
        """
        description = read_pack(find_pack(pack))
        verify_files(description)
        wanted, name = execution or Execution(), description.info.name
        matcher = None if conflict_model is None else Path(conflict_model)
        space = None if avh_model is None else Path(avh_model)
        try:
            where = resolve_device(device)
            return load_with_memory_fallback(
                lambda chosen: cls(description, where, chosen, matcher, space), wanted, name
            )
        except (TypeError, ValueError) as error:
            raise PackError(
                f"The pack {description.info.name} is damaged: its settings do not fit ({error}).",
                "Install the pack again.",
            ) from error

    def clear_cache(self) -> None:
        """Release the cached embeddings of prompts, frames and curves."""
        self._cache.clear()

    @property
    def weight_bytes(self) -> Mapping[str, int]:
        """Size of the loaded weights in bytes, by component."""
        return self._components.weight_bytes

    def read_clip(self, clip: VideoClip) -> ProbedClip:
        """Probe the media of a clip, fill in its duration and check its range. Raises MediaError."""
        return read_clip(clip)

    def sampling_settings(self, sampling: Sampling | None = None, control: Control | None = None) -> SamplingSettings:
        """Fill in the defaults of the pack.

        Args:
            sampling: Settings of a request; None means all defaults.
            control: Control of a request. Its kind decides the default guidance scale; its strength, start and end are
                copied.

        Raises:
            SettingsError: A value is out of its range, or there is a negative prompt without guidance.
        """
        return resolve_settings(
            self._description.sampling,
            component_precision("denoiser", self._description, self.device, self.execution),
            sampling or Sampling(),
            control or Control(),
        )

    @raises_out_of_memory("encoding the video", ESTIMATION_MEMORY_REMEDY)
    def estimate_energy(
        self,
        clip: VideoClip,
        *,
        prompt: str = "",
        on_progress: ProgressCallback | None = None,
        cancel: CancelSignal | None = None,
    ) -> EnergyCurve:
        """Estimate the energy for the sound of a clip from its video.

        The energy is kept in the cache: as long as the file does not change, `generate` does not read the video again.
        With a pack that reads words, this holds for any prompt if the clip lasts up to ten minutes, and for the same
        prompt otherwise. Another thread may call this while a sound is generated.

        Args:
            clip: The clip.
            prompt: The sound whose energy is estimated. Packs whose estimator does not read words ignore it.
            on_progress: Called with the progress.
            cancel: Ends the work.

        Raises:
            MediaError: The media of the clip cannot be read.
            Cancelled: `cancel` was set.
        """
        tracker = ProgressTracker(on_progress, cancel)
        read = self._probe(clip, tracker)
        return self._estimate_energy(read, prompt, lambda: self._open_frame_stream(read, tracker), tracker)

    def measure_energy(
        self,
        clip: VideoClip,
        *,
        audio_track: int | None = None,
        on_progress: ProgressCallback | None = None,
        cancel: CancelSignal | None = None,
    ) -> EnergyCurve:
        """Measure the energy of the clip's own sound, in nats, at the level of the training sounds.

        The media may contain sound only, for example a voice that performs the sound of another clip. If a clip is
        slowed down, sped up or reversed, its sound is measured at the original speed, and the energy is then retimed
        to match the clip.

        Args:
            clip: The clip.
            audio_track: Number of the audio track, from 1; None is the first that is not silent in the clip.
            on_progress: Called with the progress.
            cancel: Ends the work.

        Raises:
            MediaError: The media or its sound cannot be read.
            Cancelled: `cancel` was set.
        """
        tracker = ProgressTracker(on_progress, cancel)
        read, sound = self._read_clip_audio(clip, audio_track, tracker)
        with tracker.stage("energy"):
            curve = self.front_end.measure_energy(sound)
            if read.speed == 1:
                return curve
            return EnergyCurve(curve.retime(read.speed, read.duration_s), curve.rate_hz, curve.source)

    def measure_texture(
        self,
        clip: VideoClip,
        *,
        audio_track: int | None = None,
        on_progress: ProgressCallback | None = None,
        cancel: CancelSignal | None = None,
    ) -> TextureCurve:
        """Measure the texture of the clip's own sound, in nats. The media may contain sound only.

        The texture of a clip at another speed is measured at the original speed and then retimed, like its energy.

        Args:
            clip: The clip.
            audio_track: Number of the audio track, from 1; None is the first that is not silent in the clip.
            on_progress: Called with the progress.
            cancel: Ends the work.

        Raises:
            MediaError: The media or its sound cannot be read.
            Cancelled: `cancel` was set.
        """
        tracker = ProgressTracker(on_progress, cancel)
        read, sound = self._read_clip_audio(clip, audio_track, tracker)
        with tracker.stage("energy"):
            curve = measure_log_mel_texture(self.front_end.encode(sound), self.front_end.config.frame_rate_hz)
            if read.speed == 1:
                return curve
            return TextureCurve(curve.retime(read.speed, read.duration_s), curve.rate_hz, curve.source)

    @raises_out_of_memory("encoding the video", ESTIMATION_MEMORY_REMEDY)
    def check_conflict(
        self,
        clip: VideoClip,
        prompt: str,
        *,
        on_progress: ProgressCallback | None = None,
        cancel: CancelSignal | None = None,
    ) -> ConflictReport:
        """Check whether a prompt contradicts the video of a clip. "unsupported" means that the pack cannot check it.

        Raises:
            SettingsError: The prompt is empty or too long.
            MediaError: The media cannot be read.
            Cancelled: `cancel` was set.
        """
        prompt, tracker = validate_prompt(prompt), ProgressTracker(on_progress, cancel)
        read = self._probe(clip, tracker)
        return self.conflict_check.check(prompt, read, lambda: self._read_frames(read, tracker), tracker)

    @raises_out_of_memory("encoding the video", ESTIMATION_MEMORY_REMEDY)
    def suggest_prompts(
        self, clip: VideoClip, *, on_progress: ProgressCallback | None = None, cancel: CancelSignal | None = None
    ) -> tuple[Suggestion, ...]:
        """Suggest prompts for a clip, best first; none if the pack knows nothing that matches the video.

        Raises:
            PackError: The pack cannot compare prompts with video.
            MediaError: The media cannot be read.
            Cancelled: `cancel` was set.
        """
        tracker = ProgressTracker(on_progress, cancel)
        read = self._probe(clip, tracker)
        return self.conflict_check.suggest(read, lambda: self._read_frames(read, tracker), tracker)

    @raises_out_of_memory("encoding the sound", ESTIMATION_MEMORY_REMEDY)
    def suggest_from_sound(
        self, clip: VideoClip, *, on_progress: ProgressCallback | None = None, cancel: CancelSignal | None = None
    ) -> tuple[Suggestion, ...]:
        """Suggest prompts that match the clip's own sound, best first; none for silence or an unknown sound.

        Raises:
            PackError: The pack has no joint space.
            MediaError: The media or its sound cannot be read.
            Cancelled: `cancel` was set.
        """
        if self.joint_scorer is None:
            raise PackError(
                f"The pack {self.pack.name} cannot compare prompts with sounds.", "Choose a pack with a joint space."
            )
        tracker = ProgressTracker(on_progress, cancel)
        _, sound = self._read_clip_audio(clip, None, tracker)
        if not sound.any():
            return ()
        with tracker.stage("conflict"):
            matcher = self._joint_matcher
            return suggest_for_sound(matcher.labels, matcher.score_sound(self.front_end.encode(sound)))

    @functools.cached_property
    def _joint_matcher(self) -> EmbeddingMatcher:
        """The matcher that uses the joint space, which `matcher` is unless there is a CLIP model."""
        assert self.joint_scorer is not None
        if isinstance(self.matcher, EmbeddingMatcher):
            return self.matcher
        return EmbeddingMatcher(self.joint_scorer, self.pack.name, self.frame_format[0])

    def score_text_sound(self, prompt: str, waveform: FloatArray) -> float:
        """Score how well a sound matches a prompt, from 0 to 1; 0.5 is undecided.

        Args:
            prompt: What the sound should be.
            waveform: [samples] at the sample rate of the front end, at any level.

        Raises:
            SettingsError: The prompt or the sound is empty.
            PackError: The pack has no joint space.
        """
        prompt = validate_prompt(prompt)
        if not waveform.size:
            raise SettingsError("The sound is empty.", "Give at least one sample.")
        if self.joint_scorer is None:
            raise PackError(
                f"The pack {self.pack.name} cannot compare prompts with sounds.", "Choose a pack with a joint space."
            )
        return self.joint_scorer.score_text_sound(prompt, self.front_end.encode(normalise(waveform))).probability

    @raises_out_of_memory("encoding the video", ESTIMATION_MEMORY_REMEDY)
    def measure_avh_score(
        self,
        clip: VideoClip,
        sound: Stem | None = None,
        *,
        audio_track: int | None = None,
        on_progress: ProgressCallback | None = None,
        cancel: CancelSignal | None = None,
    ) -> float | None:
        """Measure how well a sound fits the frames of a clip, by AVHScore: the mean cosine of each frame and the sound.

        Args:
            clip: The clip.
            sound: The sound. None is the clip's own sound, at its original speed.
            audio_track: Number of the audio track, from 1; None is the first that is not silent in the clip.
            on_progress: Called with the progress.
            cancel: Ends the work.

        Returns:
            -1 to 1; publications print it times 100. None if the sound is silent.

        Raises:
            PackError: The pack has no joint space, and no ImageBind is given.
            MediaError: The media or its sound cannot be read.
            Cancelled: `cancel` was set.
        """
        space, tracker = self._find_frame_sound_space(), ProgressTracker(on_progress, cancel)
        if sound is None:
            read, own = self._read_clip_audio(clip, audio_track, tracker)
            waveform, rate_hz = own, self.front_end.config.sample_rate_hz
        else:
            read, waveform, rate_hz = self._probe(clip, tracker), sound.waveform, sound.sample_rate_hz
        return AvhScorer.of_clip(space, read, tracker).score(waveform, rate_hz)

    @raises_out_of_memory("generating sound", VOCODING_MEMORY_REMEDY)
    @torch.inference_mode()
    def generate(
        self,
        clip: VideoClip,
        *,
        prompt: str,
        seed: int = 0,
        takes: int = 1,
        control: Control | None = None,
        sampling: Sampling | None = None,
        output: Output | None = None,
        performance: PerformanceOptions | None = None,
        layers: Sequence[Layer] = (),
        layer_packs: Mapping[str, ReWaS] | None = None,
        regenerate: Regenerate | None = None,
        conflict: ConflictPolicy = "off",
        on_progress: ProgressCallback | None = None,
        cancel: CancelSignal | None = None,
    ) -> GenerationResult:
        """Generate sound for a clip of any length, exactly as long as the clip.

        Args:
            clip: The video, or a range of it.
            prompt: What the sound should be, 1 to 2000 characters.
            seed: Seed of the first take, 0 or more. The same seed and settings give the same samples.
            takes: Number of takes, 1 to 100, with the seeds `seed`, `seed` + 1, … A take with faults is generated once
                more, with one of the seeds that follow.
            control: What the primary sound follows (energy, onsets, texture or another sound) and how strongly. None
                estimates the energy from the video.
            sampling: Number of steps, guidance, sampler and negative prompt. None means the defaults of the pack.
            output: Sample rate, gain, loop, cuts and order of the takes. None means a sound without cuts at the sample
                rate of the pack.
            performance: How a library performs its recordings. None means the defaults. Models do not use it.
            layers: Up to 8 additional sounds, each with its own stem. If a stem or their sum would clip, all stems are
                lowered equally.
            layer_packs: The loaded packs that layers name, by name.
            regenerate: An existing sound of this clip, to be regenerated in a range or as a whole. If no energy is
                given, a strength below 1 follows the energy of that sound, and a strength of 1 follows the energy
                estimated from the video, at the level of the kept part.
            conflict: What to do if the video contradicts the prompt. "off" does not check, "warn" reports it, "soften"
                reduces the weight of the prompt, "refuse" raises ConflictError.
            on_progress: Called with the progress of each step.
            cancel: A signal such as a threading.Event, which stops the work within one sampling step once it is set.

        Returns:
            The takes, the best first, and the settings that they were generated with.

        Raises:
            SettingsError: A setting is out of range, or settings exclude each other.
            MediaError: The media of the clip cannot be read.
            PackError: The pack cannot follow the conflict policy, or cannot rank takes by AVHScore.
            ConflictError: The video contradicts the prompt, and `conflict` is "refuse".
            InsufficientMemoryError: Out of memory, even at batch size 1.
            Cancelled: `cancel` was set.
        """
        control, output = control or Control(), output or Output()
        prompt = validate_prompt(prompt)
        self.conflict_check.check_policy(conflict)
        settings = self.sampling_settings(sampling, control)
        self._check_request(control, output, layers, regenerate)
        layer_makers = [self._find_layer_pack(layer, layer_packs or {}) for layer in layers]
        rate_hz = resolve_output_rate_hz(
            output.sample_rate_hz,
            self.pack.sample_rate_hz,
            None if regenerate is None else regenerate.stem.sample_rate_hz,
        )
        check_takes(takes)
        check_seed(seed, takes)
        space = self._find_frame_sound_space() if output.rank_by == "avh" else None
        tracker = ProgressTracker(on_progress, cancel)
        read = self._probe(clip, tracker)
        check_total_duration(takes, 1 + len(layers), read.duration_s)
        cuts_s = validate_cuts(output.cuts, read.duration_s)
        _check_curves(control, layers, read)
        source = None if regenerate is None else regenerate.inpaint_source(read.duration_s, self.front_end)
        likes = [(self, control.like), *((model, one.like) for one, model in zip(layers, layer_makers, strict=True))]
        reference, *layer_references = self._read_references(likes, tracker)
        frames = functools.cache(lambda: self._read_frames(read, tracker))  # read once, on first use

        def estimate_energy(words: str = prompt) -> EnergyCurve:
            def open_frames() -> FrameSequence:
                # Frames that the conflict check also needs are read once and kept; otherwise they are streamed.
                is_shared = self.conflict_check.uses_estimator_frames(conflict)
                return frames() if is_shared else self._open_frame_stream(read, tracker)

            return self._estimate_energy(read, words, open_frames, tracker)

        request = SoundRequest(
            front_end=self.front_end,
            window=self._window,
            settings=settings,
            control=control.kind,
            duration_s=read.duration_s,
            rate_hz=rate_hz,
            regenerate=regenerate,
            inpaint_source=source,
            is_loop=output.loop,
            level=output.level,
            follows_texture="texture" in self.pack.controls,
            performance=performance or PerformanceOptions(),
        )
        character = self._character(prompt, request.performance, reference)
        energy = request.resolve_energy(control.energy, control.edits, character, read, estimate_energy)

        def estimate_for_layer(words: str) -> EnergyCurve:
            of_layer = self._character(words, PerformanceOptions())
            return request.level_estimate(estimate_energy(words), of_layer, is_still=read.is_frozen)[0]

        layer_energies = [
            estimate_for_layer(layer.prompt) if layer.energy == "video" else layer.resolve_energy(energy.edited)
            for layer in layers
        ]
        report = self.conflict_check.apply_policy(conflict, prompt, read, frames, tracker)
        frames.cache_clear()  # Frames of a long clip must not stay in memory during generation.
        if report is not None and conflict == "soften":
            request = replace(request, settings=replace(settings, prompt_weight=prompt_weight(report)))
        plan = request.plan_sound(prompt, energy, character, control.texture, cuts_s, reference)
        planned_layers = [
            model._plan_layer(
                layer,
                request if model is self else model._own_request(request),
                layer_energy,
                layer_reference,
            )
            for layer, model, layer_energy, layer_reference in zip(
                layers, layer_makers, layer_energies, layer_references, strict=True
            )
        ]
        familiarity = self.check_familiarity(prompt)
        generator = self._take_generator(prompt, familiarity)
        avh_scorer = None if space is None else AvhScorer.of_clip(space, read, tracker)
        generated = generator.generate_takes(plan, seed, takes, tracker, planned_layers, output.gain_db)
        if avh_scorer is not None:
            generated = rank_by_avh(generated, avh_scorer)
        return GenerationResult(
            clip=read,
            pack=self.pack,
            prompt=prompt,
            takes=generated,
            settings=None if self.pack.is_library else request.settings,
            performance=self._performed(plan),
            control=control,
            output=output,
            requested_energy=plan.requested_energy,
            requested_texture=plan.requested_texture,
            cuts_s=cuts_s,
            conflict_policy=conflict,
            conflict=report,
            notes=(
                *energy.notes,
                *(
                    note
                    for model in dict.fromkeys(model for model, like in likes if like is not None)
                    for note in model._reference_notes()
                ),
                *self._unknown_prompt_notes(prompt, familiarity),
                *(
                    note
                    for planned, model in zip(planned_layers, layer_makers, strict=True)
                    if (model, planned.layer.prompt) != (self, prompt)
                    for note in model._unknown_prompt_notes(planned.layer.prompt, planned.familiarity)
                ),
                *self._repeat_notes(plan),
                *(
                    note
                    for planned, model in zip(planned_layers, layer_makers, strict=True)
                    for note in model._repeat_notes(planned.plan)
                ),
                *self._unused_setting_notes(sampling, control, performance, conflict),
                *(
                    unused_settings_note(
                        model.pack.name, [f"the performance settings of the layer {layer.name}"], is_library=False
                    )
                    for layer, model in zip(layers, layer_makers, strict=True)
                    if not model.pack.is_library and layer.performance not in (None, PerformanceOptions())
                ),
            ),
            familiarity=familiarity,
            timings_s=dict(tracker.stage_times_s),
        )

    def check_familiarity(self, prompt: str) -> Familiarity | None:
        """Return how well the pack knows a prompt; None if the pack has no joint space to measure this.

        A library knows a prompt if it has recordings with such words.
        """
        if isinstance(self._source, LibraryMaker):
            return self._source.familiarity(validate_prompt(prompt))
        return None if self._familiarity_check is None else self._familiarity_check.check(prompt)

    def apply_typical_level(self, energy: EnergyCurve, prompt: str) -> EnergyCurve:
        """Move an estimated energy to the typical level of a prompt, as `generate` does at the level "standard"."""
        character = self._character(prompt, PerformanceOptions())
        return apply_typical_level(energy, character, self.front_end.config.silence_nats)

    @property
    def conflict_check(self) -> ConflictCheck:
        """The conflict check, with the conflict policies that the pack supports."""
        return ConflictCheck(self.matcher, self.pack.name)

    @property
    def frame_format(self) -> tuple[Fraction, int, int]:
        """Frame rate, width and height of the frames that the video encoder reads."""
        return self._estimator.format

    @functools.cached_property
    def joint_space_encoder(self) -> JointSpaceEncoder | None:
        """The joint space as an encoder of texts, frames and sounds; None if the pack has none."""
        if self.joint_scorer is None:
            return None
        return JointSpaceEncoder(self.joint_scorer, self.front_end, self.pack, self.frame_format)

    def estimate_energy_from_frames(
        self, frames: NDArray[np.uint8], on_window: Callable[[int, int], object] | None = None, prompt: str = ""
    ) -> FloatArray:
        """Estimate energy from frames in memory.

        Args:
            frames: Brightness [T, H, W] or RGB [T, H, W, 3] in `frame_format`.
            on_window: Called with finished and total windows.
            prompt: The sound whose energy is estimated, for packs whose estimator reads words.

        Returns:
            [T] energy in nats, one value per frame.
        """
        return self._estimator.estimate(frames, on_window, self._embed_words(prompt)).resample(
            self.frame_format[0], len(frames)
        )

    @property
    def avh_encoder_name(self) -> str:
        """Name of the model that measures AVHScore. Raises PackError if there is none."""
        return self._find_frame_sound_space().name

    def _find_frame_sound_space(self) -> FrameSoundSpace:
        if self.frame_sound_space is None:
            raise no_space_error(self.pack.name)
        return self.frame_sound_space

    def _probe(self, clip: VideoClip, tracker: ProgressTracker) -> ProbedClip:
        with tracker.stage("decode"):
            return self.read_clip(clip)

    def _embed_words(self, prompt: str) -> torch.Tensor | None:
        """Embed a prompt [D] for the estimator; None if there is none, or if the estimator does not read words."""
        if not prompt.strip() or not self._estimator.uses_text:
            return None
        embedded: torch.Tensor = self._cache.get_or_compute(
            "words of energy", prompt, lambda: self._components["text_encoder"]([prompt])[0].float().cpu()
        )
        return embedded

    def _estimate_energy(
        self, read: ProbedClip, prompt: str, open_frames: Callable[[], FrameSequence], tracker: ProgressTracker
    ) -> EnergyCurve:
        """Estimate the energy of a clip for a prompt, or take it from the cache."""
        has_read, estimator = False, self._estimator
        # The state of the file before it is read: a change while it is read must not be missed.
        key = read.content_key()

        def read_video(use: Callable[[FrameSequence, OnWindow], T]) -> T:
            nonlocal has_read
            has_read, frames = True, open_frames()
            with tracker.stage("energy"):
                used = use(frames, lambda done, total: tracker.report("energy", done, total))
            if isinstance(frames, FrameStream):
                tracker.reassign_time("energy", "decode", frames.read_s)
            return used

        def estimate() -> tuple[FloatArray, Fraction]:
            text = self._embed_words(prompt)

            def estimate_frames(frames: FrameSequence, on_window: OnWindow) -> EnergyCurve:
                if read.is_frozen:
                    return estimator.estimate_steady(frames, text)
                return estimator.estimate(frames, on_window, text)

            def encode(frames: FrameSequence, on_window: OnWindow) -> Tokens:
                return estimator.encode(frames, on_window, is_steady=read.is_frozen)

            if estimator.uses_text and key is not None and read.duration_s <= LONGEST_KEPT_S:
                # For another prompt, the video is not read again.
                tokens = self._cache.get_or_compute("clip tokens", key, lambda: read_video(encode))
                curve = estimator.estimate_from_tokens(tokens, text)
            else:
                curve = read_video(estimate_frames)
            return curve.values, curve.rate_hz

        words = prompt.strip() if estimator.uses_text else ""
        values, rate_hz = (
            estimate() if key is None else self._cache.get_or_compute("clip energy", (key, words), estimate)
        )
        if not has_read:
            with tracker.stage("energy"):
                tracker.report("energy", 1, 1)
        return EnergyCurve(values, rate_hz, "picture")

    def _read_clip_audio(
        self, clip: VideoClip, audio_track: int | None, tracker: ProgressTracker
    ) -> tuple[ProbedClip, FloatArray]:
        """The clip, and its own sound [samples] at the original speed.

        The sound has the sample rate of the front end and the level of the training sounds.
        """
        with tracker.stage("decode"):
            check_can_have_sound(clip)
            read, origin_s = read_clip_with_sound(clip)
            begin_s, end_s = read.media_range_s
            sound = read_audio(
                read.path,
                start_s=begin_s,
                duration_s=end_s - begin_s,
                sample_rate_hz=self.front_end.config.sample_rate_hz,
                origin_s=origin_s,
                track=audio_track,
                cancel=tracker.cancel,
            )
        return read, normalise(sound) if sound.any() else sound

    def _read_references(
        self, likes: Sequence[tuple[ReWaS, ReferenceSound | None]], tracker: ProgressTracker
    ) -> list[MeasuredReference | None]:
        """Read the reference sound of each sound, at the rate of the pack that makes it."""

        @functools.cache
        def read(model: ReWaS, like: ReferenceSound) -> MeasuredReference:
            with tracker.stage("decode"):
                return MeasuredReference.read(like, model.front_end, tracker.cancel)

        return [None if like is None else read(model, like) for model, like in likes]

    def _reference_notes(self) -> tuple[Note, ...]:
        is_followed = self.pack.is_library or "texture" in self.pack.controls
        return () if is_followed else (spectrum_only_note(self.pack.name),)

    def _open_frame_stream(self, read: ProbedClip, tracker: ProgressTracker) -> FrameStream:
        """Open the frames of a clip as a stream, so that a long clip is never completely in memory."""
        with tracker.stage("decode"):
            return self._estimator.stream_frames(read, tracker.cancel)

    def _read_frames(self, read: ProbedClip, tracker: ProgressTracker) -> NDArray[np.uint8]:
        with tracker.stage("decode"):
            return self._estimator.read_frames(read, tracker.cancel)

    def _character(
        self, prompt: str, performance: PerformanceOptions, reference: MeasuredReference | None = None
    ) -> Character:
        by_words = self.sound_kinds.character(prompt)
        if isinstance(self._source, LibraryMaker):
            return self._source.character(prompt, performance.place, by_words, reference)
        return by_words

    def _take_generator(self, prompt: str, familiarity: Familiarity | None) -> TakeGenerator:
        known = frozenset({prompt} if familiarity is None or familiarity.is_known else ())
        # The joint space of a small pack cannot judge real recordings.
        scorer = WordScorer(None if self.pack.is_library else self.joint_scorer, self.front_end, known)
        maker: SoundMaker
        if isinstance(self._source, LibraryMaker):
            maker = self._source
        else:
            maker = ModelMaker(self.front_end, self._source, scorer)
        return TakeGenerator(self.pack, self.front_end, maker, scorer, known)

    def _find_layer_pack(self, layer: Layer, packs: Mapping[str, ReWaS]) -> ReWaS:
        """The loaded pack that makes a layer."""
        if layer.pack is None:
            return self
        if layer.pack not in packs:
            raise SettingsError(
                f"The layer {layer.name} names the pack {layer.pack}, which is not loaded.",
                "Load it, and pass it in layer_packs.",
            )
        return packs[layer.pack]

    def _own_request(self, request: SoundRequest) -> SoundRequest:
        """Adapt a request for another pack to this one, with the default sampling settings of this pack."""
        settings = self.sampling_settings()
        return replace(
            request,
            front_end=self.front_end,
            window=self._window,
            settings=settings,
            inpaint_source=None,
            follows_texture="texture" in self.pack.controls,
        )

    def _plan_layer(
        self, layer: Layer, request: SoundRequest, energy: EnergyCurve, reference: MeasuredReference | None
    ) -> PlannedLayer:
        """Plan a layer that this pack makes."""
        performance = layer.performance or PerformanceOptions()
        # A steady energy has no onsets.
        request = replace(request, control="energy", performance=performance)
        plan = request.plan_sound(
            layer.prompt,
            ResolvedEnergy.without_edits(energy),
            self._character(layer.prompt, performance, reference),
            reference=reference,
        )
        familiarity = self.check_familiarity(layer.prompt)
        return PlannedLayer(layer, plan, self._take_generator(layer.prompt, familiarity), familiarity)

    def _unknown_prompt_notes(self, prompt: str, found: Familiarity | None) -> tuple[Note, ...]:
        if found is None or found.is_known:
            return ()
        describe = unknown_recording_note if self.pack.is_library else unknown_prompt_note
        return (describe(self.pack.name, prompt, found),)

    def _performed(self, plan: SoundPlan) -> PerformanceOptions | None:
        """How the recordings of a library were performed, with a place within the list. None for a model."""
        if not isinstance(self._source, LibraryMaker):
            return None
        performance, count = plan.request.performance, self._source.choose_for(plan).count
        return performance if count is None else replace(performance, place=performance.place % count)

    def _repeat_notes(self, plan: SoundPlan) -> tuple[Note, ...]:
        count = self._source.choose_for(plan).count if isinstance(self._source, LibraryMaker) else None
        return () if count is None else (recordings_repeat_note(self.pack.name, plan.prompt, count),)

    def _unused_setting_notes(
        self,
        sampling: Sampling | None,
        control: Control,
        performance: PerformanceOptions | None,
        conflict: ConflictPolicy,
    ) -> tuple[Note, ...]:
        if self.pack.is_library:
            unused = {
                "sampling settings": sampling not in (None, Sampling()),
                "the strength and range of the control": (control.strength, control.start, control.end) != (1, 0, 1),
                "the conflict policy “soften”": conflict == "soften",
            }
        else:
            unused = {"performance settings": performance not in (None, PerformanceOptions())}
        names = [name for name, is_given in unused.items() if is_given]
        return (unused_settings_note(self.pack.name, names, is_library=self.pack.is_library),) if names else ()

    def _check_request(
        self, control: Control, output: Output, layers: Sequence[Layer], regenerate: Regenerate | None
    ) -> None:
        """Raise SettingsError if settings exclude each other or the pack does not support them."""
        check_layers(layers)
        check_combination(
            regenerates=regenerate is not None,
            loops=output.loop,
            has_cuts=bool(output.cuts),
            has_layers=bool(layers),
            gain_db=output.gain_db,
            has_texture=control.texture is not None,
            has_reference=control.like is not None,
        )
        for name in (control.kind, *(() if control.texture is None else ("texture",))):
            if name not in self.pack.controls:
                raise SettingsError(
                    f"The pack {self.pack.name} does not support the control {name}.",
                    f"It supports {', '.join(self.pack.controls)}.",
                )


def _check_curves(control: Control, layers: Sequence[Layer], read: ProbedClip) -> None:
    """Raise SettingsError if the energy of a layer or the texture is not as long as the clip."""
    for curve in (layer.energy for layer in layers if isinstance(layer.energy, EnergyCurve)):
        check_curve_covers_clip(curve, read)
    if control.texture is not None:
        check_curve_covers_clip(control.texture, read, TextureCurve)
