"""`rewas generate`: sound for one clip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewas_cli.commands.completion import complete_from
from rewas_cli.commands.shared_options import (
    ENERGY_PANEL,
    LAYERS_PANEL,
    OUTPUT_PANEL,
    PROMPT_PANEL,
    REGENERATE_PANEL,
    AudioTrackOption,
    AvhModelOption,
    ClipArgument,
    CompileOption,
    ConflictModelOption,
    ConflictOption,
    ControlStrengthOption,
    DeviceOption,
    DurationOption,
    EditOption,
    GuidanceOption,
    JsonOption,
    LevelOption,
    LikeOption,
    LowMemoryOption,
    PackOption,
    PitchVariationOption,
    PlotOption,
    PrecisionOption,
    RecordingOption,
    RoomOption,
    SampleRateOption,
    SamplerOption,
    SeedOption,
    ServerOption,
    SpeedOption,
    StartOption,
    StepsOption,
    TailOption,
    TakesOption,
    TextureEditOnlyOption,
    TimingVariationOption,
    build_execution,
    parse_control,
)
from rewas_cli.console import Printer, cancel_on_ctrl_c, progress_bar, protect_stdout

if TYPE_CHECKING:
    from rewas_cli.commands.energy_options import EnergyOptions, EnergyResolver
    from rewas_cli.commands.layer_options import LayerOptions
    from rewas_cli.commands.texture_options import TextureOptions
    from rewas_cli.runner import Outcome

EXAMPLES = """\
rewas generate shot.mp4 --prompt "a hammer knocking on wood" --output stems/
rewas generate shot.mp4 --prompt "footsteps on gravel" --ambience "wind in the trees" --takes 4 --mix
rewas generate shot.mp4 --prompt "a hammer" --energy hands.wav --edit "mute event 3"
rewas generate shot.mp4 --prompt "heavy rain" --like rain-on-tin.wav
rewas generate shot.mp4 --prompt "footsteps" --pack foley --recording 1 --ambience wind --layer-pack ambience=starter
rewas generate shot.mp4 --prompt "a drum" --control onsets --steps 25 --sampler dpm++
rewas generate shot.mp4 --prompt "water drops" --start 3 --duration 4 --speed 0.25
rewas generate door.mp4 --prompt "a door creaks" --regenerate take.wav --range 1-2
"""


def generate(
    clip: ClipArgument,
    prompt: Annotated[
        str,
        typer.Option(
            "--prompt", "-p", metavar="TEXT", help="The sound to generate, as text.", rich_help_panel=PROMPT_PANEL
        ),
    ],
    negative_prompt: Annotated[
        str | None,
        typer.Option(
            "--negative-prompt",
            metavar="TEXT",
            help="The sound to avoid, as text.",
            rich_help_panel=PROMPT_PANEL,
        ),
    ] = None,
    start: StartOption = None,
    duration: DurationOption = None,
    speed: SpeedOption = None,
    energy: Annotated[
        str | None,
        typer.Option(
            "--energy",
            metavar="SOURCE",
            help="The energy that the sound follows: video (estimated from the video, by default), audio (the clip's "
            "own sound), flat or flat:NATS, a curve file (.csv), or a sound file to imitate.",
            rich_help_panel=ENERGY_PANEL,
        ),
    ] = None,
    audio_track: AudioTrackOption = None,
    edits: EditOption = None,
    texture: Annotated[
        str | None,
        typer.Option(
            "--texture",
            metavar="SOURCE",
            help="Which frequency bands stand out: audio (as in the clip's own sound), a sound file, flat, tilt:NATS "
            "(bright above 0, dark below), or a texture file (.csv). By default, the prompt decides.",
            rich_help_panel=ENERGY_PANEL,
        ),
    ] = None,
    texture_edits: TextureEditOnlyOption = None,
    like: LikeOption = None,
    control: Annotated[
        str | None,
        typer.Option(
            metavar="energy|onsets",
            help="Follow the shape of the energy curve (energy, by default), or only the times and strengths of its "
            "events (onsets).",
            autocompletion=complete_from("energy", "onsets"),
            rich_help_panel=ENERGY_PANEL,
        ),
    ] = None,
    control_strength: ControlStrengthOption = None,
    control_start: Annotated[
        float | None,
        typer.Option(
            "--control-start",
            metavar="X",
            help="Fraction of the sampling after which the energy starts to steer, 0 to 1; 0 by default.",
            rich_help_panel=ENERGY_PANEL,
        ),
    ] = None,
    control_end: Annotated[
        float | None,
        typer.Option(
            "--control-end",
            metavar="X",
            help="Fraction of the sampling after which the energy stops steering, 0 to 1; 1 by default.",
            rich_help_panel=ENERGY_PANEL,
        ),
    ] = None,
    cuts: Annotated[
        str | None,
        typer.Option(
            "--cuts",
            metavar="ignore|new-sound|TIMES",
            help="Start a new sound at each cut in the video (new-sound), or at given times such as 1.5,4. ignore by "
            "default.",
            autocompletion=complete_from("ignore", "new-sound"),
            rich_help_panel=ENERGY_PANEL,
        ),
    ] = None,
    loop: Annotated[
        bool,
        typer.Option("--loop", help="Generate a sound whose end joins its beginning.", rich_help_panel=ENERGY_PANEL),
    ] = False,
    ambience: Annotated[
        str | None,
        typer.Option(
            "--ambience",
            metavar="TEXT",
            help="The background sound, as text. It gets its own stem.",
            rich_help_panel=LAYERS_PANEL,
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            metavar="NAME=TEXT",
            help="Another sound, on a stem with this name; can be repeated.",
            rich_help_panel=LAYERS_PANEL,
        ),
    ] = None,
    gain: Annotated[
        list[str] | None,
        typer.Option(
            "--gain",
            metavar="NAME=DB",
            help="Gain of a stem, such as primary=-3 or ambience=-12; can be repeated.",
            rich_help_panel=LAYERS_PANEL,
        ),
    ] = None,
    following: Annotated[
        list[str] | None,
        typer.Option(
            "--following",
            metavar="NAME",
            help="A layer whose energy follows that of the primary sound instead of staying constant. Can be repeated.",
            rich_help_panel=LAYERS_PANEL,
        ),
    ] = None,
    layer_energy: Annotated[
        list[str] | None,
        typer.Option(
            "--layer-energy",
            metavar="NAME=SOURCE",
            help="The energy that this layer follows, with the sources of --energy: crowd=crowd.csv, "
            "ambience=flat:-7. Can be repeated.",
            rich_help_panel=LAYERS_PANEL,
        ),
    ] = None,
    layer_edit: Annotated[
        list[str] | None,
        typer.Option(
            "--layer-edit",
            metavar="NAME=EDIT",
            help="Edit the energy of a layer, with the edits of --edit: crowd=fade in 0.5. Can be repeated.",
            rich_help_panel=LAYERS_PANEL,
        ),
    ] = None,
    layer_like: Annotated[
        list[str] | None,
        typer.Option(
            "--layer-like",
            metavar="NAME=SOUND",
            help="A sound that this layer should resemble: ambience=street.wav. Can be repeated.",
            rich_help_panel=LAYERS_PANEL,
        ),
    ] = None,
    layer_pack: Annotated[
        list[str] | None,
        typer.Option(
            "--layer-pack",
            metavar="NAME=PACK",
            help="The pack of this layer: ambience=starter. By default, that of the primary sound. Can be repeated.",
            rich_help_panel=LAYERS_PANEL,
        ),
    ] = None,
    layer_recording: Annotated[
        list[str] | None,
        typer.Option(
            "--layer-recording",
            metavar="NAME=N",
            help="Which recordings a library performs for this layer, like --recording: ambience=1. Can be repeated.",
            rich_help_panel=LAYERS_PANEL,
        ),
    ] = None,
    mix: Annotated[
        bool, typer.Option("--mix", help="Also write the sum of all stems.", rich_help_panel=LAYERS_PANEL)
    ] = False,
    recording: RecordingOption = None,
    tail: TailOption = None,
    room: RoomOption = None,
    pitch_variation: PitchVariationOption = None,
    timing_variation: TimingVariationOption = None,
    seed: SeedOption = None,
    takes: TakesOption = None,
    num_steps: StepsOption = None,
    sampler: SamplerOption = None,
    guidance_scale: GuidanceOption = None,
    regenerate: Annotated[
        Path | None,
        typer.Option(
            "--regenerate",
            metavar="FILE",
            help="A sound of this clip (WAV or FLAC) to regenerate, in --range or as a variation with --strength.",
            rich_help_panel=REGENERATE_PANEL,
        ),
    ] = None,
    time_range: Annotated[
        str | None,
        typer.Option(
            "--range",
            metavar="FROM-TO",
            help="Regenerate only this range (1.5-3, 1:02-1:05, 4-) and keep every sample outside it.",
            rich_help_panel=REGENERATE_PANEL,
        ),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            "--strength",
            metavar="X",
            help="How much may change, above 0 and up to 1. 1 starts from pure noise; 1 by default.",
            rich_help_panel=REGENERATE_PANEL,
        ),
    ] = None,
    conflict: ConflictOption = None,
    conflict_model: ConflictModelOption = None,
    rank_by: Annotated[
        str | None,
        typer.Option(
            "--rank-by",
            metavar="score|avh",
            help="The order of the takes. score: by how well each follows its energy and its prompt. avh: by AVHScore, "
            "how well its sound fits the frames. score by default.",
            autocompletion=complete_from("score", "avh"),
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    avh_model: AvhModelOption = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            file_okay=False,
            help="The folder for the stems.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = Path(),
    sample_rate: SampleRateOption = None,
    level: LevelOption = None,
    plot: PlotOption = None,
    as_json: JsonOption = False,
    pack: PackOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = None,
    compiled: CompileOption = False,
    low_memory: LowMemoryOption = False,
    server: ServerOption = None,
) -> None:
    """Generate sound for a clip: one 24-bit Broadcast WAV for each stem of each take."""
    from rewas_api.clip_settings import ClipSettings
    from rewas_api.performance_settings import PerformanceSettings
    from rewas_api.v1 import rewas_pb2
    from rewas_cli.commands.cut_options import CutOptions
    from rewas_cli.commands.energy_options import ClipRange, EnergyOptions, EnergyResolver
    from rewas_cli.commands.layer_options import LayerOptions, find_reference_sound
    from rewas_cli.commands.regenerate_options import regenerate_message
    from rewas_cli.commands.texture_options import TextureOptions, TextureResolver
    from rewas_cli.reports import sound_lines
    from rewas_cli.runner import find_media_file, open_runner, uploaded_media
    from rewas_server.files.output_paths import check_folder_writable
    from rewas_server.work.requests import name_clip_in_settings_errors, parse_request
    from rewas_server.work.translation import texture_message

    with protect_stdout(), cancel_on_ctrl_c() as cancel:
        check_folder_writable(output)
        choice = EnergyOptions.from_options(energy, edits)
        execution = build_execution(precision, compiled, low_memory, server, device)
        at_cuts = CutOptions.from_text(cuts)
        texture_choice = TextureOptions.from_options(texture, texture_edits)
        _check_texture(texture_choice, control_strength, like)
        regeneration = regenerate_message(regenerate, time_range, strength)
        media = find_media_file(clip)
        with name_clip_in_settings_errors(f'The clip "{media.name}"'):
            layer_options = LayerOptions.from_options(
                ambience, layer, gain, following, layer_energy, layer_edit, layer_like, layer_pack, layer_recording
            )
            settings = ClipSettings(
                prompt=prompt,
                pack=pack,
                seed=seed,
                takes=takes,
                num_inference_steps=num_steps,
                guidance_scale=guidance_scale,
                control_strength=control_strength,
                sample_rate_hz=sample_rate,
                negative_prompt=negative_prompt,
                control_start=control_start,
                control_end=control_end,
                control=parse_control(control),
                loop=loop or None,
                layers=layer_options.layers,
                gain_db=layer_options.gain_db,
                mix=mix or None,
                sampler=sampler,
                new_sound_at_cuts=at_cuts.detect or None,
                conflict_policy=conflict,
                level=level,
                rank_by=rank_by,
                like=None if like is None else str(find_reference_sound(like)),
                performance=PerformanceSettings(recording, tail, pitch_variation, timing_variation, room),
            )
        _check_audio_track(audio_track, choice, texture_choice, layer_options)
        if plot is not None:
            input_files = [*choice.input_files, *layer_options.input_files]
            input_files += () if texture_choice is None else texture_choice.input_files
            _check_plotting(plot, [path for path in (media, like, regenerate, *input_files) if path], output)
        chosen = ClipRange(media, start, duration, speed)
        sound = rewas_pb2.SoundWork(clip_otio_json=chosen.otio_json, settings=settings.to_proto())
        parse_request(rewas_pb2.SubmitJobRequest(sound=sound))  # before any media is read
        with (
            open_runner(server, execution, conflict_model, device, avh_model) as runner,
            progress_bar(media.name) as on_progress,
        ):
            resolver = EnergyResolver(runner, chosen, pack, on_progress, cancel, audio_track=audio_track)
            values = resolver.resolve_values(choice)
            bands = None if texture_choice is None else TextureResolver(resolver).resolve(texture_choice).texture
            sounds = [*map(Path, settings.references), *(() if regenerate is None else (regenerate.absolute(),))]
            work = rewas_pb2.SoundWork(
                clip_otio_json=chosen.otio_json,
                settings=settings.to_proto(),
                energy=values.message(choice.edit_texts),
                uploaded_media={
                    url: sha256
                    for path in (media, *sounds)
                    for url, sha256 in uploaded_media(runner, path, cancel).items()
                },
                regenerate=regeneration,
                cuts_s=at_cuts.to_messages(),
                texture=None if bands is None else texture_message(bands),
                layer_energies={
                    name: resolver.resolve_layer(source, layer_options.prompts[name], level)
                    for name, source in layer_options.energies.items()
                },
            )
            outcome = runner.run(work, output.absolute(), on_progress, cancel)
        credits_file = _write_credits(outcome, output.absolute())
        report = _sound_report(outcome, media, choice, texture_choice, resolver, credits_file)
        lines = sound_lines(report)
        if plot is not None:
            from rewas_cli.plots.curves import plot_sound

            plot_sound(report, plot)
            lines.append(f"plot: {plot}")
    Printer(as_json).result(report, lines)


def _check_texture(texture: TextureOptions | None, control_strength: float | None, like: Path | None) -> None:
    from rewas_engine import SettingsError
    from rewas_engine.requests.validation import check_combination

    check_combination(has_texture=texture is not None, has_reference=like is not None)
    if texture is not None and control_strength == 0:
        raise SettingsError(
            "--texture has no effect at a control strength of 0.",
            "Use a --control-strength above 0, or omit --texture.",
        )


def _check_audio_track(
    number: int | None, energy: EnergyOptions, texture: TextureOptions | None, layers: LayerOptions
) -> None:
    from rewas_cli.commands.energy_options import check_audio_track

    origins = [energy.origin, *(source.origin for source in layers.energies.values())]
    origins += [] if texture is None else [texture.origin]
    check_audio_track(number, origins, "Use --energy audio or --texture audio")


def _write_credits(outcome: Outcome, folder: Path) -> Path | None:
    """Write the recordings of the stems to credits.csv beside them. Returns the file; None without recordings."""
    from rewas_api.v1 import rewas_pb2
    from rewas_server.delivery.credits import update_credits
    from rewas_server.work.stem_provenance import recordings_by_role

    assert isinstance(outcome.result, rewas_pb2.SoundResult)
    used = {}
    for take in outcome.result.takes:
        recordings = recordings_by_role(take)
        for stem in take.stems:
            used[outcome.stem_paths[stem.artifact.name].name] = recordings.get(stem.role, ())
    return update_credits(folder, used)


def _sound_report(
    outcome: Outcome,
    media: Path,
    energy: EnergyOptions,
    texture: TextureOptions | None,
    resolver: EnergyResolver,
    credits_file: Path | None,
) -> dict[str, Any]:
    """Return the report of a result with the edits as they were typed, and the notes on its energies."""
    from rewas_api.v1 import rewas_pb2
    from rewas_cli.reports import note_reports, sound_report

    assert isinstance(outcome.result, rewas_pb2.SoundResult)
    report = sound_report(outcome.result, media, outcome.stem_paths)
    report["credits"] = None if credits_file is None else str(credits_file)
    report["energy"]["edits"] = energy.edit_texts
    report["notes"] = note_reports(resolver.notes) + report["notes"]
    if texture is not None:
        report["texture"]["edits"] = [str(edit) for edit in texture.edits]
    return report


def _check_plotting(plot: Path, input_files: list[Path], output: Path) -> None:
    """Raise EngineError before the work if the plot could not be written afterwards."""
    from rewas_cli.plots.curves import check_plotting

    check_plotting(plot, read=input_files, created_folder=output)
