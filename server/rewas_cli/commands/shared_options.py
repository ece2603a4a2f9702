"""What the commands share on the command line: options, times, and the clip they speak of."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import opentimelineio as otio

    from rewas_engine import Execution

ClipArgument = Annotated[Path, typer.Argument(metavar="CLIP", help="The video file.", show_default=False)]
StartOption = Annotated[
    str | None, typer.Option("--start", metavar="TIME", help="Where to begin: seconds (3.5) or minutes (1:03.5).")
]
DurationOption = Annotated[
    str | None, typer.Option("--duration", metavar="TIME", help="How long: seconds or minutes; else to the end.")
]
PackOption = Annotated[
    str | None, typer.Option("--pack", metavar="NAME", help="The model pack, by name; here also a pack's folder.")
]
ServerOption = Annotated[
    str | None, typer.Option("--server", metavar="HOST:PORT", help="Work on this server instead of in this process.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on standard output.")]
TrainingConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", dir_okay=False, help="Settings that differ (TOML).")
]
TrainingStageOption = Annotated[
    list[str] | None,
    typer.Option(
        "--stage",
        metavar="NAME",
        help="Run this stage only; give it once for each. There are corpus, words, codec, base, adapter, vocoder, "
        "picture, joint, pack. Default: all.",
    ),
]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", dir_okay=False, help="Draw the energy into this PNG file.")
]
ConflictModelOption = Annotated[
    Path | None,
    typer.Option(
        "--conflict-model",
        metavar="FOLDER",
        file_okay=False,
        help="A CLIP model on this machine (a transformers folder, safetensors) that holds words against the picture.",
    ),
]

SamplerOption = Annotated[
    str | None,
    typer.Option(
        "--sampler",
        metavar="NAME",
        help="ddim, dpm++, dpm++-sde or unipc; the pack's own by default. ddim on a converted pack is the release's.",
    ),
]
StepsOption = Annotated[
    int | None, typer.Option("--steps", "--num-steps", help="Sampling steps, 1 to 1000; the pack's own by default.")
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="NAME",
        help="Of the large networks: auto, float32, bfloat16 or float16; the pack's own by default.",
    ),
]
CompileOption = Annotated[
    bool, typer.Option("--compile", help="Compile the denoiser first (torch.compile): minutes, then faster steps.")
]
LowMemoryOption = Annotated[
    bool, typer.Option("--low-memory", help="Keep in memory only what is being used: slower, fits into 4 GB.")
]

EditOption = Annotated[
    list[str] | None,
    typer.Option(
        "--edit",
        metavar="EDIT",
        help='Change the energy: "scale 1.2", "gate -8", "mute event 3", …; may be given several times.',
    ),
]

_TEXTURE_EDIT_HELP = 'Change the texture: "brighter 1.5", "raise low -1", "smooth 0.3", …; may be given several times.'
TextureEditOption = Annotated[list[str] | None, typer.Option("--edit", metavar="EDIT", help=_TEXTURE_EDIT_HELP)]
TextureEditOnlyOption = Annotated[
    list[str] | None, typer.Option("--texture-edit", metavar="EDIT", help=_TEXTURE_EDIT_HELP)
]

_TIME_PATTERN = re.compile(r"(?:(?:(?P<hours>\d+):)?(?P<minutes>\d+):)?(?P<seconds>\d+(?:\.\d*)?|\.\d+)")


def build_execution(precision: str | None, compiled: bool, low_memory: bool, server: str | None = None) -> Execution:
    """How packs are to be run. Raises typer.BadParameter where that is a server's affair, SettingsError."""
    from rewas_engine import Execution

    chosen = Execution(precision=precision, compiled=compiled, low_memory=low_memory)
    if server is not None and chosen != Execution():
        raise typer.BadParameter("How packs are run is decided where the server is started (rewas serve).")
    return chosen


def parse_control(name: str | None) -> str | None:
    """What --control says, as settings call it. Raises ProblemError (SETTINGS) for what it does not know."""
    from rewas_api.errors import ProblemError, ProblemKind

    known = {None: None, "energy": "energy", "onset": "onsets", "onsets": "onsets"}
    if name not in known:
        raise ProblemError(
            f"--control of the clip is {name[:60] if name else name!r}.", "Give energy or onset.", ProblemKind.SETTINGS
        )
    return known[name]


def seconds(text: str, option: str) -> Fraction:
    """A time on the command line in seconds, exactly as written: "3.5", "1:03.5" or "0:01:03.5".

    Raises typer.BadParameter for anything else.
    """
    match = _TIME_PATTERN.fullmatch(text.strip(), 0)
    if match is None or not text.isascii():
        raise typer.BadParameter(
            f"{text!r} is not a time; write seconds as 3.5, or minutes as 1:03.5.", param_hint=option
        )
    hours, minutes = int(match["hours"] or 0), int(match["minutes"] or 0)
    return hours * 3600 + minutes * 60 + Fraction(match["seconds"])


def otio_clip(media: Path, start: str | None, duration: str | None) -> otio.schema.Clip:
    """The part of a media file that the command line names, as it travels.

    Raises typer.BadParameter for a time that is none, ProblemError and MediaError for media that cannot be read.
    """
    import opentimelineio as otio

    if start is None and duration is None:
        reference = otio.schema.ExternalReference(target_url=str(media))
        return otio.schema.Clip(name=media.name, media_reference=reference)
    start_s = seconds(start, "--start") if start is not None else Fraction(0)
    duration_s = seconds(duration, "--duration") if duration is not None else _remaining_duration_s(media, start_s)
    return otio_range(media, start_s, duration_s)


def otio_range(media: Path, start_s: Fraction, duration_s: Fraction) -> otio.schema.Clip:
    """A part of a media file as it travels, exact whatever its times are."""
    import opentimelineio as otio

    reference = otio.schema.ExternalReference(target_url=str(media))
    source_range = otio.opentime.TimeRange(_exact_time(start_s), _exact_time(duration_s))
    return otio.schema.Clip(name=media.name, media_reference=reference, source_range=source_range)


def _exact_time(value_s: Fraction) -> otio.opentime.RationalTime:
    """Numerator over denominator: the one pair of value and rate in which any fraction of a second is exact."""
    import opentimelineio as otio

    return otio.opentime.RationalTime(value_s.numerator, value_s.denominator)


def _remaining_duration_s(media: Path, start_s: Fraction) -> Fraction:
    from rewas_engine import MediaError
    from rewas_engine.media.video import probe_video

    duration_s = probe_video(media).duration_s
    if start_s >= duration_s:
        raise MediaError(
            f"{media.name} is {float(duration_s):g} s long, and the clip would start at {float(start_s):g} s.",
            "Choose an earlier start.",
        )
    return duration_s - start_s
