"""`rewas generate`: sound for one clip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewas_cli.commands.shared_options import (
    ClipArgument,
    CompileOption,
    ConflictModelOption,
    DurationOption,
    EditOption,
    JsonOption,
    LowMemoryOption,
    PackOption,
    PlotOption,
    PrecisionOption,
    SamplerOption,
    ServerOption,
    StartOption,
    StepsOption,
    TextureEditOnlyOption,
    build_execution,
    parse_control,
)
from rewas_cli.console import Printer, cancel_on_ctrl_c, progress_bar, protect_stdout


def generate(
    clip: ClipArgument,
    prompt: Annotated[str, typer.Option("--prompt", "-p", metavar="TEXT", help="What should be heard.")],
    negative: Annotated[
        str | None, typer.Option("--negative", metavar="TEXT", help="What should not be heard.")
    ] = None,
    ambience: Annotated[
        str | None,
        typer.Option("--ambience", metavar="TEXT", help="What should be heard behind it: a stem of its own."),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option("--layer", metavar="NAME=TEXT", help="Another sound on a stem of that name; may be given again."),
    ] = None,
    gain: Annotated[
        list[str] | None,
        typer.Option("--gain", metavar="NAME=DB", help="Of a stem: primary=-3, ambience=-12; may be given again."),
    ] = None,
    following: Annotated[
        list[str] | None,
        typer.Option("--following", metavar="NAME", help="Let this layer swell with the sound; else it is steady."),
    ] = None,
    layer_energy: Annotated[
        list[str] | None,
        typer.Option(
            "--layer-energy",
            metavar="NAME=SOURCE",
            help="What this layer follows, from a source as of --energy: crowd=crowd.csv, ambience=flat:-7.",
        ),
    ] = None,
    layer_edit: Annotated[
        list[str] | None,
        typer.Option(
            "--layer-edit",
            metavar="NAME=EDIT",
            help="Change what this layer follows, as --edit does: crowd=fade in 0.5; may be given several times.",
        ),
    ] = None,
    mix: Annotated[bool, typer.Option("--mix", help="Write the sum of all stems too.")] = False,
    start: StartOption = None,
    duration: DurationOption = None,
    energy: Annotated[
        str | None,
        typer.Option(
            "--energy",
            metavar="SOURCE",
            help="What the sound follows: video (the picture, by default), audio (the clip's own sound), flat or "
            "flat:NATS, a curve file (.csv), or a sound file that performs it.",
        ),
    ] = None,
    edits: EditOption = None,
    texture: Annotated[
        str | None,
        typer.Option(
            "--texture",
            metavar="SOURCE",
            help="Which bands stand out: audio (as in the clip's own sound), a sound file, flat, tilt:NATS (bright "
            "above 0, dark below), or a texture file (.csv). Left to the words by default.",
        ),
    ] = None,
    texture_edits: TextureEditOnlyOption = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", file_okay=False, help="Folder for the stems.")
    ] = Path(),
    pack: PackOption = None,
    seed: Annotated[int | None, typer.Option(help="The first take's seed; drawn and reported when not given.")] = None,
    takes: Annotated[
        int | None, typer.Option(help="How many takes, 1 to 100, the best first; each has a seed of its own.")
    ] = None,
    num_steps: StepsOption = None,
    sampler: SamplerOption = None,
    guidance_scale: Annotated[float | None, typer.Option(help="How strictly the prompt is followed, 0 to 20.")] = None,
    control: Annotated[
        str | None,
        typer.Option(metavar="energy|onset", help="Follow the energy's shape (by default), or its events' times."),
    ] = None,
    control_strength: Annotated[
        float | None,
        typer.Option("--strength", "--control-strength", help="How strongly the energy steers, 0 to 2."),
    ] = None,
    control_from: Annotated[
        float | None, typer.Option(help="From where on in the sampling the energy steers, 0 to 1; 0 by default.")
    ] = None,
    control_until: Annotated[
        float | None, typer.Option(help="Until where in the sampling it does, up to 1; 1 by default.")
    ] = None,
    again: Annotated[
        Path | None,
        typer.Option(
            "--again", metavar="FILE", help="A sound of this clip that is made again: in --range, or to --degree."
        ),
    ] = None,
    time_range: Annotated[
        str | None,
        typer.Option("--range", metavar="FROM-TO", help="Of --again: make only this again (1.5-3, 1:02-1:05, 4-)."),
    ] = None,
    degree: Annotated[
        float | None, typer.Option(help="Of --again: 1 makes it anew, less keeps so much of the old; 1 by default.")
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Make a sound whose end goes on with its beginning.")] = False,
    cuts: Annotated[
        str | None,
        typer.Option(
            "--cuts",
            metavar="ignore|new-sound|TIMES",
            help="Begin a new sound at each cut of the picture (new-sound), or at times as 1.5,4; ignore by default.",
        ),
    ] = None,
    conflict: Annotated[
        str | None,
        typer.Option(
            metavar="off|warn|soften|refuse",
            help="Where the picture contradicts the prompt: do not look (by default), tell, let the prompt weigh less, "
            "or make nothing.",
        ),
    ] = None,
    conflict_model: ConflictModelOption = None,
    sample_rate: Annotated[
        int | None, typer.Option("--sample-rate", metavar="HZ", help="Of the stems: 16000 … 96000; 48000 by default.")
    ] = None,
    plot: PlotOption = None,
    precision: PrecisionOption = None,
    compiled: CompileOption = False,
    low_memory: LowMemoryOption = False,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make sound for a clip: one 24-bit Broadcast WAV for each stem of each take."""
    from rewas_api.clip_settings import ClipSettings
    from rewas_api.v1 import rewas_pb2
    from rewas_cli.commands.cut_options import CutOptions
    from rewas_cli.commands.energy_options import ChosenClip, EnergyOptions, EnergyResolver
    from rewas_cli.commands.layer_options import LayerOptions
    from rewas_cli.commands.regenerate_options import regenerate_message
    from rewas_cli.commands.texture_options import TextureOptions, TextureResolver
    from rewas_cli.reports import sound_lines, sound_report
    from rewas_cli.runner import find_media_file, open_runner, uploaded_media
    from rewas_engine import SettingsError
    from rewas_server.files.output_paths import check_folder_writable
    from rewas_server.otio.clips import parse_clip
    from rewas_server.work.context import read_clip_settings, settings_of
    from rewas_server.work.translation import texture_message

    with protect_stdout(), cancel_on_ctrl_c() as cancel:
        check_folder_writable(output)
        choice = EnergyOptions.parsed(energy, edits)
        execution = build_execution(precision, compiled, low_memory, server)
        at_cuts = CutOptions.parsed(cuts)
        texture_choice = TextureOptions.parsed(texture, texture_edits)
        if texture_choice is not None and control_strength == 0:
            raise SettingsError(
                "A texture is to be followed with a strength of 0, at which nothing steers.",
                "Give a --strength above 0, or leave --texture out.",
            )
        regenerate = regenerate_message(again, time_range, degree)
        media = find_media_file(clip)
        with settings_of(f'The clip "{media.name}"'):
            beside = LayerOptions.parsed(ambience, layer, gain, following, layer_energy, layer_edit)
            settings = ClipSettings(
                prompt=prompt,
                pack=pack,
                seed=seed,
                takes=takes,
                num_inference_steps=num_steps,
                guidance_scale=guidance_scale,
                control_strength=control_strength,
                sample_rate_hz=sample_rate,
                negative_prompt=negative,
                control_start=control_from,
                control_end=control_until,
                control=parse_control(control),
                loop=loop or None,
                layers=beside.layers,
                gain_db=beside.gain_db,
                mix=mix or None,
                sampler=sampler,
                new_sound_at_cuts=at_cuts.found or None,
                conflict_policy=conflict,
            )
        if plot is not None:
            from rewas_cli.plots.curves import check_plotting

            sources = (choice, texture_choice, *beside.energies.values())
            read = [path for source in sources if source is not None for path in source.read]
            check_plotting(plot, read=(media, *([] if again is None else [again]), *read), created_folder=output)
        chosen = ChosenClip(media, start, duration)
        read_clip_settings(parse_clip(chosen.otio_json), settings.to_proto())
        with open_runner(server, execution, conflict_model) as runner, progress_bar(media.name) as on_progress:
            taker = EnergyResolver(runner, chosen, pack, on_progress, cancel)
            given = taker.given(choice)
            bands = None if texture_choice is None else TextureResolver(taker).taken(texture_choice).texture
            uploaded = uploaded_media(runner, media, cancel)
            if again is not None:
                uploaded |= uploaded_media(runner, again.absolute(), cancel)
            work = rewas_pb2.SoundWork(
                clip_otio_json=chosen.otio_json,
                settings=settings.to_proto(),
                energy=given.message(choice.edit_words),
                uploaded_media=uploaded,
                regenerate=regenerate,
                cuts_s=at_cuts.messages(),
                texture=None if bands is None else texture_message(bands),
                layer_energies={name: taker.resolve_layer(source) for name, source in beside.energies.items()},
            )
            outcome = runner.run(work, output.absolute(), on_progress, cancel)
        assert isinstance(outcome.result, rewas_pb2.SoundResult)
        report = sound_report(outcome.result, media, outcome.stem_paths)
        report["energy"]["edits"] = choice.edit_words
        if texture_choice is not None:
            report["texture"]["edits"] = [str(edit) for edit in texture_choice.edits]
        lines = sound_lines(report)
        if plot is not None:
            from rewas_cli.plots.curves import plot_sound

            plot_sound(report, plot)
            lines.append(f"plot: {plot}")
    Printer(as_json).result(report, lines)
