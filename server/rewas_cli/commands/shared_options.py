"""Options that several commands share, and the parsing of times and clips.

The same option has the same name in every command. `--output` names a command's main result: a folder (DIR) where the
command writes several files, one file (FILE) where it writes a curve or a timeline.
"""

from __future__ import annotations

import re
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewas_cli.commands.completion import complete_from, complete_pack, complete_sampler

if TYPE_CHECKING:
    import opentimelineio as otio

    from rewas_engine import Execution

PROMPT_PANEL = "Prompt"
CLIP_PANEL = "Clip"
ENERGY_PANEL = "Energy and texture"
LAYERS_PANEL = "Layers"
RECORDINGS_PANEL = "Recordings of a library"
SAMPLING_PANEL = "Sampling"
REGENERATE_PANEL = "Regenerate an existing sound"
DESCRIPTION_PANEL = "Models that describe clips"
CONFLICT_PANEL = "Conflict check"
DATA_PANEL = "Training data"
TRAINING_PANEL = "Training"
OUTPUT_PANEL = "Output"
MODEL_PANEL = "Model"


class LayoutOption(StrEnum):
    """The layout of a data set on disk."""

    FOLDER = "folder"
    VGGSOUND = "vggsound"
    GREATEST_HITS = "greatest-hits"
    TAVGBENCH = "tavgbench"
    FAVDBENCH = "favdbench"


ClipArgument = Annotated[Path, typer.Argument(metavar="CLIP", help="The video file.", show_default=False)]
StartOption = Annotated[
    str | None,
    typer.Option(
        "--start",
        metavar="TIME",
        help="Start of the clip in the file: seconds (3.5) or minutes (1:03.5).",
        rich_help_panel=CLIP_PANEL,
    ),
]
DurationOption = Annotated[
    str | None,
    typer.Option(
        "--duration",
        metavar="TIME",
        help="Length of the clip: seconds or minutes; to the end of the file by default.",
        rich_help_panel=CLIP_PANEL,
    ),
]
SpeedOption = Annotated[
    str | None,
    typer.Option(
        "--speed",
        metavar="X",
        help="How fast the clip plays: 0.5 or 50% is half speed, 0 a freeze frame, and -1 backwards from --start. "
        "Requires --duration, the length of the clip as it is shown.",
        rich_help_panel=CLIP_PANEL,
    ),
]
_PACK_HELP = "The model pack: the name of an installed pack, or a folder."
PackOption = Annotated[
    str | None,
    typer.Option(
        "--pack",
        metavar="NAME",
        help=f"{_PACK_HELP} The starter pack by default.",
        autocompletion=complete_pack,
        rich_help_panel=MODEL_PANEL,
    ),
]
MeasuredPackOption = Annotated[
    str,
    typer.Option("--pack", metavar="NAME", help=_PACK_HELP, autocompletion=complete_pack, rich_help_panel=MODEL_PANEL),
]
RequiredPackOption = Annotated[
    str, typer.Option("--pack", metavar="NAME", help=_PACK_HELP, autocompletion=complete_pack)
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME",
        help="Where the model runs: cpu, cuda:0, or auto (the first GPU, or the CPU if there is none).",
        autocompletion=complete_from("auto", "cpu", "cuda:0"),
        rich_help_panel=MODEL_PANEL,
    ),
]
TrainingDeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="Where the training runs: cpu, cuda:0 or auto. From --config by default.",
        autocompletion=complete_from("auto", "cpu", "cuda:0"),
        rich_help_panel=TRAINING_PANEL,
    ),
]
ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="HOST:PORT",
        help="Run the work on this server instead of in this process.",
        rich_help_panel=MODEL_PANEL,
    ),
]
LocalServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="HOST:PORT",
        help="The server's address. By default, this computer and the port that rewas config show prints.",
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print exactly one JSON object to standard output.", rich_help_panel=OUTPUT_PANEL),
]
TrainingConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        dir_okay=False,
        help="A TOML file with the settings that differ from the defaults.",
        rich_help_panel=TRAINING_PANEL,
    ),
]
ConfigFileOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        dir_okay=False,
        help="The TOML file with the server's settings. By default, the path that rewas config path prints.",
        rich_help_panel="Server",
    ),
]
TrainingStageOption = Annotated[
    list[str] | None,
    typer.Option(
        "--stage",
        metavar="NAME",
        help="Run only this stage; can be repeated. Stages: corpus, words, codec, base, adapter, vocoder, picture, "
        "joint, pack. All by default.",
        rich_help_panel=TRAINING_PANEL,
    ),
]
PlotOption = Annotated[
    Path | None,
    typer.Option(
        "--plot",
        metavar="FILE",
        dir_okay=False,
        help="Draw the energy to this PNG file.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
ConflictModelOption = Annotated[
    Path | None,
    typer.Option(
        "--conflict-model",
        metavar="DIR",
        file_okay=False,
        help="A CLIP model that compares the prompt with the video: a transformers folder with safetensors weights.",
        rich_help_panel=CONFLICT_PANEL,
    ),
]
AvhModelOption = Annotated[
    Path | None,
    typer.Option(
        "--avh-model",
        metavar="DIR",
        file_okay=False,
        help="A folder with ImageBind, which measures the AVHScore instead of the joint space of the pack.",
        rich_help_panel=CONFLICT_PANEL,
    ),
]
PictureModelOption = Annotated[
    Path | None,
    typer.Option(
        "--picture-model",
        metavar="DIR",
        file_okay=False,
        help="An image-to-text model that describes clips, such as BLIP-2; by default, the labels that the pack knows.",
        rich_help_panel=DESCRIPTION_PANEL,
    ),
]
SoundModelOption = Annotated[
    Path | None,
    typer.Option(
        "--sound-model",
        metavar="DIR",
        file_okay=False,
        help="An audio-to-text model that describes sounds; by default, the labels that the pack knows.",
        rich_help_panel=DESCRIPTION_PANEL,
    ),
]
LanguageModelOption = Annotated[
    Path | None,
    typer.Option(
        "--language-model",
        metavar="DIR",
        file_okay=False,
        help="A language model that writes the sentences; by default, captions are put into fixed phrases.",
        rich_help_panel=DESCRIPTION_PANEL,
    ),
]
ConflictOption = Annotated[
    str | None,
    typer.Option(
        "--conflict",
        metavar="off|warn|soften|refuse",
        help="If the prompt contradicts the video: do not check (off), report it (warn), give the prompt less weight "
        "(soften), or generate nothing (refuse). off by default.",
        autocompletion=complete_from("off", "warn", "soften", "refuse"),
        rich_help_panel=CONFLICT_PANEL,
    ),
]

SamplerOption = Annotated[
    str | None,
    typer.Option(
        "--sampler",
        metavar="NAME",
        help="ddim, dpm++, dpm++-sde or unipc; the pack's own by default. On a converted pack, ddim is what the "
        "release uses.",
        autocompletion=complete_sampler,
        rich_help_panel=SAMPLING_PANEL,
    ),
]
StepsOption = Annotated[
    int | None,
    typer.Option(
        "--steps",
        metavar="N",
        help="Number of inference steps, 1 to 1000; the pack's own by default.",
        rich_help_panel=SAMPLING_PANEL,
    ),
]
GuidanceOption = Annotated[
    float | None,
    typer.Option(
        "--guidance-scale",
        metavar="X",
        help="How strongly the prompt guides the sound, 0 to 20; the pack's own by default.",
        rich_help_panel=SAMPLING_PANEL,
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed",
        metavar="N",
        help="Seed of the first take. By default, a random seed, which the result reports.",
        rich_help_panel=SAMPLING_PANEL,
    ),
]
TakesOption = Annotated[
    int | None,
    typer.Option(
        "--takes",
        metavar="N",
        help="Number of takes, 1 to 100, the best first. Each has its own seed. 1 by default.",
        rich_help_panel=SAMPLING_PANEL,
    ),
]
ControlStrengthOption = Annotated[
    float | None,
    typer.Option(
        "--control-strength",
        metavar="X",
        help="How strongly the energy steers the sound, 0 to 2; 1 by default.",
        rich_help_panel=ENERGY_PANEL,
    ),
]
SampleRateOption = Annotated[
    int | None,
    typer.Option(
        "--sample-rate",
        metavar="HZ",
        help="Sample rate of the stems, 16000 to 96000; 48000 by default.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
LevelOption = Annotated[
    str | None,
    typer.Option(
        "--level",
        metavar="standard|raw",
        help="How loud the stems are. standard: -23 LUFS, or a true peak of -6 dBTP for struck sounds. raw: as loud as "
        "the energy and the model make them. standard by default.",
        autocompletion=complete_from("standard", "raw"),
        rich_help_panel=OUTPUT_PANEL,
    ),
]
LikeOption = Annotated[
    Path | None,
    typer.Option(
        "--like",
        metavar="SOUND",
        dir_okay=False,
        help="A sound file or a video that the sound should resemble in spectrum and texture.",
        rich_help_panel=ENERGY_PANEL,
    ),
]
RECORDING_HELP = (
    "Which recordings a library performs: 0 for those nearest to the prompt (by default), 1 for the next ones."
)
TAIL_HELP = "Whether tails of strikes follow the energy (curve, by default) or decay as recorded (natural)."
complete_tail = complete_from("curve", "natural")
RecordingOption = Annotated[
    int | None,
    typer.Option("--recording", metavar="N", help=RECORDING_HELP, rich_help_panel=RECORDINGS_PANEL),
]
TailOption = Annotated[
    str | None,
    typer.Option(
        "--tail",
        metavar="curve|natural",
        help=TAIL_HELP,
        autocompletion=complete_tail,
        rich_help_panel=RECORDINGS_PANEL,
    ),
]
RoomOption = Annotated[
    str | None,
    typer.Option(
        "--room",
        metavar="in|out",
        help="Whether strikes keep the decay of the recorded room (in, by default), or it is lowered (out).",
        autocompletion=complete_from("in", "out"),
        rich_help_panel=RECORDINGS_PANEL,
    ),
]
PitchVariationOption = Annotated[
    float | None,
    typer.Option(
        "--pitch-variation",
        metavar="CENTS",
        help="Largest random change of the pitch of a strike, 0 to 1200 cents; 20 by default.",
        rich_help_panel=RECORDINGS_PANEL,
    ),
]
TimingVariationOption = Annotated[
    float | None,
    typer.Option(
        "--timing-variation",
        metavar="SECONDS",
        help="Largest random displacement of a strike, 0 to 0.1 seconds; 0 by default.",
        rich_help_panel=RECORDINGS_PANEL,
    ),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="NAME",
        help="Precision of the large networks: auto, float32, bfloat16 or float16; the pack's own by default.",
        autocompletion=complete_from("auto", "float32", "bfloat16", "float16"),
        rich_help_panel=MODEL_PANEL,
    ),
]
CompileOption = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Compile the denoiser first (torch.compile): takes minutes, then each step is faster.",
        rich_help_panel=MODEL_PANEL,
    ),
]
LowMemoryOption = Annotated[
    bool,
    typer.Option(
        "--low-memory",
        help="Keep only the running network in memory: slower, but fits into 4 GB.",
        rich_help_panel=MODEL_PANEL,
    ),
]

EditOption = Annotated[
    list[str] | None,
    typer.Option(
        "--edit",
        metavar="EDIT",
        help='Edit the energy: "scale 1.2", "gate -8", "mute event 3", …; can be repeated.',
        rich_help_panel=ENERGY_PANEL,
    ),
]

AudioTrackOption = Annotated[
    int | None,
    typer.Option(
        "--audio-track",
        metavar="N",
        min=1,
        help="Audio track of the clip to measure, from 1; by default, the first that is not silent.",
        rich_help_panel=ENERGY_PANEL,
    ),
]

_TEXTURE_EDIT_HELP = 'Edit the texture: "brighter 1.5", "raise low -1", "smooth 0.3", …; can be repeated.'
TextureEditOption = Annotated[
    list[str] | None,
    typer.Option("--edit", metavar="EDIT", help=_TEXTURE_EDIT_HELP, rich_help_panel=ENERGY_PANEL),
]
TextureEditOnlyOption = Annotated[
    list[str] | None,
    typer.Option("--texture-edit", metavar="EDIT", help=_TEXTURE_EDIT_HELP, rich_help_panel=ENERGY_PANEL),
]

_TIME_PATTERN = re.compile(r"(?:(?:(?P<hours>\d+):)?(?P<minutes>\d+):)?(?P<seconds>\d+(?:\.\d*)?|\.\d+)")


def build_execution(
    precision: str | None, compiled: bool, low_memory: bool, server: str | None = None, device: str = "auto"
) -> Execution:
    """Return how packs are run in this process.

    Raises:
        typer.BadParameter: an option for this process is given together with a server.
        SettingsError: the options contradict each other.
    """
    from rewas_engine import Execution

    execution = Execution(precision=precision, compiled=compiled, low_memory=low_memory)
    if server is not None and (execution != Execution() or device != "auto"):
        raise typer.BadParameter(
            "--device, --precision, --compile and --low-memory have no effect with --server: "
            "set them where the server is started (rewas serve)."
        )
    return execution


def parse_control(name: str | None) -> str | None:
    """Return the value of --control. Raises ProblemError (SETTINGS) for an unknown one."""
    from rewas_api.errors import ProblemError, ProblemKind

    if name not in (None, "energy", "onsets"):
        raise ProblemError(
            f"--control of the clip is {name[:60] if name else name!r}.", "Use energy or onsets.", ProblemKind.SETTINGS
        )
    return name


def parse_time_s(text: str, option: str) -> Fraction:
    """Return a typed time in seconds, exactly: "3.5", "1:03.5" or "0:01:03.5".

    Raises typer.BadParameter for anything else.
    """
    match = _TIME_PATTERN.fullmatch(text.strip(), 0)
    if match is None or not text.isascii():
        raise typer.BadParameter(
            f"{text!r} is not a time; write seconds as 3.5, or minutes as 1:03.5.", param_hint=option
        )
    hours, minutes = int(match["hours"] or 0), int(match["minutes"] or 0)
    return hours * 3600 + minutes * 60 + Fraction(match["seconds"])


def parse_speed(text: str | None, duration: str | None) -> Fraction:
    """Return the speed that an option such as "0.5", "50%" or "1/3" states; 1 without the option.

    Raises typer.BadParameter for any other text, and for a speed without a duration. Raises SettingsError for an
    impossible speed.
    """
    from rewas_engine.media.clip import exact_speed

    if text is None:
        return Fraction(1)
    is_percent = text.strip().endswith("%")
    try:
        typed = Fraction(text.strip().removesuffix("%").strip() if text.isascii() and "_" not in text else "")
    except (ValueError, ZeroDivisionError):
        raise typer.BadParameter(
            f"{text[:40]!r} is not a speed; write it as 0.5, 50% or -1.", param_hint="--speed"
        ) from None
    speed = exact_speed(typed / 100 if is_percent else typed, "The speed of the clip")
    if speed != 1 and duration is None:
        raise typer.BadParameter(
            "Give the length of the clip as it is shown as well, for example --duration 2.5.", param_hint="--speed"
        )
    return speed


def otio_clip(media: Path, start: str | None, duration: str | None, speed: Fraction = Fraction(1)) -> otio.schema.Clip:
    """Return the typed range of a media file as an OTIO clip.

    speed: how fast it plays. Raises typer.BadParameter for an invalid time, ProblemError and MediaError for media that
    cannot be read.
    """
    import opentimelineio as otio

    if start is None and duration is None:
        reference = otio.schema.ExternalReference(target_url=str(media))
        return otio.schema.Clip(name=media.name, media_reference=reference)
    start_s = parse_time_s(start, "--start") if start is not None else Fraction(0)
    duration_s = parse_time_s(duration, "--duration") if duration is not None else _remaining_duration_s(media, start_s)
    # A clip that plays backwards begins at the end of the range that it shows.
    clip = otio_range(media, start_s + min(Fraction(0), duration_s * speed), duration_s)
    if speed == 0:
        clip.effects.append(otio.schema.FreezeFrame())
    elif speed != 1:
        clip.effects.append(otio.schema.LinearTimeWarp(time_scalar=float(speed)))
    return clip


def otio_range(media: Path, start_s: Fraction, duration_s: Fraction) -> otio.schema.Clip:
    """Return a range of a media file as an OTIO clip, with exact times."""
    import opentimelineio as otio

    reference = otio.schema.ExternalReference(target_url=str(media))
    source_range = otio.opentime.TimeRange(_exact_time(start_s), _exact_time(duration_s))
    return otio.schema.Clip(name=media.name, media_reference=reference, source_range=source_range)


def _exact_time(value_s: Fraction) -> otio.opentime.RationalTime:
    """Return numerator over denominator, the value and rate that are exact for any fraction of a second."""
    import opentimelineio as otio

    return otio.opentime.RationalTime(value_s.numerator, value_s.denominator)


def _remaining_duration_s(media: Path, start_s: Fraction) -> Fraction:
    from rewas_engine import MediaError, VideoClip
    from rewas_engine.media.probe import read_clip
    from rewas_engine.media.video import probe_video

    duration_s = probe_video(media).duration_s
    if start_s >= duration_s:
        raise MediaError(
            f"{media.name} is {float(duration_s):g} s long, and the clip would start at {float(start_s):g} s.",
            "Choose an earlier start.",
        )
    return read_clip(VideoClip(media, start=start_s)).duration_s
