"""What each table of the papers contains: its columns, the part of a clip, the rows, and the published figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

from rewas_engine.errors import SettingsError

Condition = Literal["picture", "sound", "no-text", "other-text", "no-energy", "onsets"]
"""How a pack makes the sound of a row."""
CONDITIONS: Mapping[Condition, str] = MappingProxyType(
    {
        "picture": "energy from the picture",
        "sound": "energy from the original sound",
        "no-text": "no text",
        "other-text": "text of another clip",
        "no-energy": "no energy",
        "onsets": "onsets from the picture",
    }
)


@dataclass(frozen=True)
class Column:
    """A measure in a table.

    Attributes:
        key: Name in the JSON report.
        label: Heading.
        about: What it measures, as a sentence without its end.
        higher_is_better: Whether a higher value is better.
        decimals: Decimals that papers print.
        needs_encoder: Whether an encoder computes it.
        needs_prompt: Whether clips without a prompt are left out.
        of_video: Whether it measures the video of a row.
        scale: Factor of the printed value.
        original: Whether it has a meaning for the original sounds themselves.
    """

    key: str
    label: str
    about: str
    higher_is_better: bool
    decimals: int = 2
    needs_encoder: bool = False
    needs_prompt: bool = False
    of_video: bool = False
    scale: float = 1.0
    original: bool = True

    @property
    def head(self) -> str:
        """Heading with an arrow to better values."""
        return f"{self.label} {'↑' if self.higher_is_better else '↓'}"


COLUMNS: Mapping[str, Column] = MappingProxyType(
    {
        column.key: column
        for column in (
            Column(
                "fd",
                "FD",
                "Fréchet distance between the features of the original and the measured sounds",
                False,
                needs_encoder=True,
                original=False,
            ),
            Column(
                "fad",
                "FAD",
                "Fréchet distance between VGGish features of the original and the measured sounds",
                False,
                needs_encoder=True,
                original=False,
            ),
            Column(
                "mkl",
                "MKL",
                "mean Kullback-Leibler divergence of the classes of the measured from those of the original sound",
                False,
                needs_encoder=True,
                original=False,
            ),
            Column("is", "IS", "inception score of the classes of the sounds", True, needs_encoder=True),
            Column("clap", "CLAP", "mean cosine of prompt and sound", True, 4, needs_encoder=True, needs_prompt=True),
            Column(
                "energy_mae",
                "energy MAE",
                "mean absolute difference of the energies of the original and the measured sound, in nats",
                False,
                4,
                original=False,
            ),
            Column(
                "av_align",
                "AV-Align",
                "intersection over union of the peaks of optical flow and the onsets of the sound",
                True,
                4,
            ),
            Column(
                "onset_acc",
                "Acc",
                "share of clips with as many onsets as the original sound, in percent",
                True,
                scale=100.0,
                original=False,
            ),
            Column(
                "onset_ap",
                "AP",
                "average precision of the onsets against those of the original sound, in percent",
                True,
                scale=100.0,
                original=False,
            ),
            Column(
                "fvd",
                "FVD",
                "Fréchet distance between the features of the original and the measured videos",
                False,
                needs_encoder=True,
                of_video=True,
                original=False,
            ),
            Column(
                "kvd",
                "KVD",
                "kernel distance between the features of the original and the measured videos",
                False,
                needs_encoder=True,
                of_video=True,
                original=False,
            ),
            Column(
                "clipsim",
                "CLIPSIM",
                "mean cosine of text and frames, times 100",
                True,
                needs_encoder=True,
                needs_prompt=True,
                scale=100.0,
            ),
            Column(
                "avhscore",
                "AVHScore",
                "mean cosine of frames and sound, times 100",
                True,
                needs_encoder=True,
                scale=100.0,
            ),
        )
    }
)


PUBLISHED_KINDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "fd": ("panns", "passt"),
        "fad": ("vggish",),
        "mkl": ("panns", "passt"),
        "is": ("panns", "passt"),
        "clap": ("clap",),
        "fvd": ("i3d",),
        "kvd": ("i3d",),
        "clipsim": ("clip",),
        "avhscore": ("imagebind",),
    }
)
"""Column -> kinds of encoders that publications use for it. Values of others cannot be compared with published ones."""


@dataclass(frozen=True)
class QuotedRow:
    """A row of a paper. values: in the order of the preset's columns, as printed."""

    label: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Preset:
    """A table of a paper.

    Attributes:
        name: Name on the command line.
        title: Heading.
        source: Where the quoted rows were published.
        quoted_on: What the quoted rows were measured on.
        columns: Keys of COLUMNS.
        conditions: Rows of a pack.
        quoted: Rows of the paper.
        start_s: Start of the measured part within a clip; earlier if the clip is too short.
        duration_s: Length of the measured part; shorter if the clip is.
        remark: What to know when comparing with the quoted rows.
    """

    name: str
    title: str
    source: str
    quoted_on: str
    columns: tuple[str, ...]
    conditions: tuple[Condition, ...]
    quoted: tuple[QuotedRow, ...]
    start_s: Fraction
    duration_s: Fraction
    remark: str = ""

    def __post_init__(self) -> None:
        assert all(len(row.values) == len(self.columns) for row in self.quoted), self.name

    @property
    def measures_video(self) -> bool:
        """Whether a column measures the video of a row."""
        return any(COLUMNS[key].of_video for key in self.columns)


_REWAS = "Jeong, Kim, Chun and Lee: Read, Watch and Scream! (AAAI 2025, arXiv 2407.05551)"
_REPRODUCTION = "a report that reproduces ReWaS and adds onset control"
_TAVGBENCH = "Mao et al.: TAVGBench (arXiv 2404.14381)"
_ENERGY_REMARK = (
    "The papers do not state how they normalise the energy. Here it is the mean log-mel in nats, after all sounds are "
    "scaled to the same peak, so the values are larger."
)
_TAVG_COLUMNS = ("fvd", "kvd", "clipsim", "fad", "avhscore")
_TAVG_REMARK = (
    "FVD and KVD compare the videos of a row with the original ones. A pack keeps the original pictures, so they "
    "are not measured for it."
)

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            Preset(
                "rewas-table2",
                "ReWaS, table 2: sound from video on VGGSound",
                _REWAS,
                "3000 clips of VGGSound, 5 s each",
                ("fd", "fad", "mkl", "clap", "energy_mae", "av_align"),
                ("picture",),
                (
                    QuotedRow("SpecVQGAN", ("26.63", "5.57", "3.30", "0.1336", "0.1422", "0.2851")),
                    QuotedRow("Im2wav", ("16.87", "5.94", "2.53", "0.4001", "0.1310", "0.2763")),
                    QuotedRow("Diff-Foley", ("21.96", "6.46", "3.15", "0.4010", "0.1571", "0.2059")),
                    QuotedRow("Seeing and Hearing", ("20.72", "6.58", "2.34", "0.5805", "0.1668", "0.1858")),
                    QuotedRow("ReWaS", ("15.24", "2.16", "2.78", "0.4353", "0.1149", "0.3008")),
                ),
                Fraction(2),
                Fraction(5),
                _ENERGY_REMARK,
            ),
            Preset(
                "rewas-table3",
                "ReWaS, table 3: onsets on Greatest Hits",
                _REWAS,
                "Greatest Hits, 2 s each",
                ("onset_acc", "onset_ap", "energy_mae"),
                ("picture",),
                (
                    QuotedRow("CondFoleyGen", ("23.94", "60.24", "0.1520")),
                    QuotedRow("ReWaS", ("19.15", "63.28", "0.1398")),
                ),
                Fraction(0),
                Fraction(2),
                _ENERGY_REMARK,
            ),
            Preset(
                "rewas-table5",
                "ReWaS, table 5: where the energy comes from",
                _REWAS,
                "3000 clips of VGGSound, 5 s each",
                ("fd", "fad", "mkl", "clap", "energy_mae"),
                ("picture", "sound"),
                (
                    QuotedRow("ReWaS, energy from the picture", ("15.24", "2.16", "2.78", "0.4353", "0.1149")),
                    QuotedRow("ReWaS, energy from the original sound", ("13.93", "2.65", "2.15", "0.4497", "0.1195")),
                    QuotedRow("ReWaS on Make-An-Audio", ("13.89", "10.91", "2.93", "0.4237", "0.1368")),
                ),
                Fraction(2),
                Fraction(5),
                _ENERGY_REMARK,
            ),
            Preset(
                "rewas-table6",
                "ReWaS, table 6: what text and energy contribute",
                _REWAS,
                "3000 clips of VGGSound, 5 s each",
                ("clap", "av_align"),
                ("picture", "no-text", "other-text", "no-energy"),
                (
                    QuotedRow("ReWaS", ("0.44", "0.30")),
                    QuotedRow("ReWaS, no text", ("0.236", "0.273")),
                    QuotedRow("ReWaS, text of another clip", ("0.237", "0.272")),
                    QuotedRow("ReWaS, no energy", ("0.52", "0.10")),
                ),
                Fraction(2),
                Fraction(5),
            ),
            Preset(
                "reproduction",
                "Reproduction of ReWaS: control by onsets or by energy",
                _REPRODUCTION,
                "Greatest Hits",
                ("fd", "is", "mkl", "onset_acc", "onset_ap", "energy_mae"),
                ("picture", "onsets"),
                (
                    QuotedRow("energy control", ("36.70", "4.85", "3.92", "19.15", "63.28", "2.93")),
                    QuotedRow("onset control", ("39.96", "3.09", "7.02", "21.81", "65.88", "3.64")),
                ),
                Fraction(0),
                Fraction(5),
            ),
            Preset(
                "tavgbench",
                "TAVGBench: audible video from text",
                _TAVGBENCH,
                "3000 clips of TAVGBench",
                _TAVG_COLUMNS,
                ("picture",),
                (
                    QuotedRow("AnimateDiff + AudioLDM", ("777.54", "70.04", "22.49", "1.62", "10.17")),
                    QuotedRow("AnimateDiff + Diff-Foley", ("777.54", "70.04", "22.49", "1.81", "12.28")),
                    QuotedRow("AudioLDM + TempoTokens", ("1624.81", "88.61", "14.87", "2.12", "6.38")),
                    QuotedRow("TAVDiffusion", ("516.56", "45.76", "25.44", "1.38", "23.35")),
                    QuotedRow("TAVDiffusion without both", ("687.23", "66.21", "23.02", "1.58", "14.59")),
                    QuotedRow("TAVDiffusion, alignment loss only", ("614.28", "59.23", "23.89", "1.46", "18.69")),
                    QuotedRow("TAVDiffusion, cross-attention only", ("589.71", "51.44", "24.68", "1.51", "19.88")),
                ),
                Fraction(0),
                Fraction(10),
                _TAVG_REMARK,
            ),
            Preset(
                "favdbench",
                "FAVDBench: audible video from text, without training on it",
                _TAVGBENCH,
                "1000 clips of FAVDBench",
                _TAVG_COLUMNS,
                ("picture",),
                (
                    QuotedRow("AnimateDiff + AudioLDM", ("867.58", "115.81", "22.11", "1.67", "12.13")),
                    QuotedRow("AnimateDiff + Diff-Foley", ("867.58", "115.81", "22.11", "1.89", "15.07")),
                    QuotedRow("AudioLDM + TempoTokens", ("2640.96", "591.43", "15.16", "2.29", "6.12")),
                    QuotedRow("TAVDiffusion", ("776.25", "104.26", "24.18", "1.46", "29.06")),
                    QuotedRow("TAVDiffusion without both", ("843.19", "112.07", "22.58", "1.62", "14.67")),
                    QuotedRow("TAVDiffusion, alignment loss only", ("819.54", "109.21", "22.64", "1.54", "19.76")),
                    QuotedRow("TAVDiffusion, cross-attention only", ("791.57", "106.95", "23.98", "1.51", "20.59")),
                ),
                Fraction(0),
                Fraction(10),
                _TAVG_REMARK,
            ),
        )
    }
)


def find_preset(name: str) -> Preset:
    """Return the preset of a name. Raises SettingsError if there is none."""
    if name not in PRESETS:
        raise SettingsError(f"There is no preset {name!r}.", f"Choose from {', '.join(PRESETS)}.")
    return PRESETS[name]
