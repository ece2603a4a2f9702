"""Format an evaluation as a Markdown page: figures with targets, tables, plots and methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rewas_engine.evaluation.figures import TARGETS, Evaluation, Figure, Section, Trained
from rewas_engine.evaluation.realism import SOURCES

_FRECHET = ("real", "made", "noise")
"""Sources with Fréchet distances."""

Plots = Mapping[str, Sequence[tuple[str, str]]]
"""Section -> file name and caption of each plot."""

_HOW = """## How it was measured

- **Clips.** The test split of the synthetic world: scenes with held-out seeds, without ambience.
  Prompts are phrases for the class without modifiers; the noise of a clip is the same in every condition. Figures of
  the picture use only classes with a picture. If other classes are measured too, the main figures are repeated for the
  classes with a picture.
- **Energy.** Mean of the log-mel over its bins, 100 values per second. Pearson correlation and mean absolute difference
  in nats of requested and produced energy, clip by clip; a constant curve counts as correlation 0. *Without control*:
  the same prompt and noise with the adapter switched off; for a library, a constant energy of the same mean.
- **Libraries.** The words of the prompt choose the recordings, which are performed at 48 kHz to follow the energy. The
  mel is that of the performed sound. The energy for onsets alone rises at each onset and then falls.
- **Prompts.** A classifier that was trained separately on real clips recognises the class. *Another class's energy*:
  the energy of a clip of another class, each used once. *Unseen paraphrases*: phrases that training has not used.
- **Vocoder.** Mean absolute difference of real log-mels and those of their vocoded sound. Griffin-Lim: 48 iterations on
  magnitudes inverted from the mel. *Ripple*: how much the power depends on the position within a hop,
  relative to the surrounding level. Noise with a ripple buzzes, which a mel spectrogram does not show.
- **Onsets.** Struck classes with strikes far enough apart to be counted (no rolls, no background noise); events are the
  only control. F1 with one-to-one partners within ±0.05 s; Greatest Hits: partners within ±0.1 s, against the onsets of
  the real sound.
- **Texture.** Mean absolute difference of produced and requested bands, in nats, where the clip is audible.
- **Ablation.** Every fourth clip, the same prompt and noise with each control, all after the vocoder, compared with the
  clip's own sound; onsets by the Greatest Hits protocol on struck classes. *real* is that sound itself.
- **Energy from video.** Clips of the world at 15 to 60 frames per second whose energy varies by at least 0.25 nats
  (standard deviation); the variation of the estimate on the others is reported separately. Motion without sound:
  correlation of the estimate with the frame difference; an estimate that varies by less than 0.1 nats counts as 0.
- **AV-Align.** Peaks of optical flow and onsets of the sound, intersection over union within a frame.
- **Joint space.** Scenes of the test split, drawn from all classes with a picture; about as many for each class
  without a picture, of which only the sound is used. Right against shuffled: the partner of any other clip, including
  the same class; against another class's: without the same class. Exact areas under the ROC curve over all pairs.
- **Real clips.** Correlation with the energy of the clip's own sound, up to where it ends in digital silence, at the
  pack's video rate, at zero lag and at the best lag within ±0.2 s. *Chance*: the 95th percentile for the pack's curve,
  shifted circularly by random times. *Optical flow*: the 95th percentile of the magnitude of Farnebäck's flow minus its
  median vector, as a smoothed logarithm. Absolute errors are those of the pack's curve at the typical level of the
  prompt. F1 compares the events of a curve with the onsets of the clip's sound, with one-to-one partners within
  ±0.08 s. Differences are paired clip by clip, with percentile intervals from 10,000 bootstrap resamples.
- **Realism.** Cosine distance of aiSFX embeddings to the nearest real recording of the same kind. The pack gets the
  energy of each recording with the name of the kind, and its sound is compared with the other recordings. *Nearness*:
  mean distance of real recordings from other real ones, divided by that of the pack's sounds; 0.5 is twice as far.
  Intervals resample kinds, and sounds within them. *At the sample rate of the pack*: all sounds with the same
  bandwidth. Recordings of a kind often have one author, so that they are more alike than others. Fréchet distances
  depend on the number of sounds, so they are given between halves of the same size.
"""


def markdown(evaluation: Evaluation, plots: Plots) -> str:
    """Write the page, with links to plots in the same folder."""
    pack, setting = evaluation.pack, evaluation.setting
    head = f"""# {pack["name"]} {pack["version"]}: evaluation

{setting["clips"]} clips of the {setting["split"]} split, {setting["clips_per_class"]} per class; {_method(setting)}, on
{setting["device"]}. The pack's controls:
{", ".join(pack["controls"])}.
The targets are those of packs trained on a {evaluation.trained.upper()}.

{_verdict(evaluation)}
"""
    parts = [head]
    for section in evaluation.sections:
        parts.append(f"## {section.title}\n\n{_figure_table(section.figures, evaluation.trained)}")
        parts += [table for table in _tables(section) if table]
        parts += [f"![{caption}]({name})\n" for name, caption in plots.get(section.name, ())]
    return "\n".join([*parts, _HOW])


def _method(setting: Mapping[str, Any]) -> str:
    """Say how the sounds were made."""
    if setting["num_steps"] is None:
        return f"performed from recordings, with video and prompts read by the pack {setting['lender']}"
    scales = f"{setting['guidance_scale']:g} ({setting['onsets_guidance_scale']:g} with onsets alone)"
    return f"{setting['num_steps']} steps, guidance scale {scales}"


def _verdict(evaluation: Evaluation) -> str:
    """List the missed targets, and count the measured ones."""
    passed = [(figure.label, figure.passed(evaluation.trained)) for figure in evaluation.figures().values()]
    missed = [label for label, verdict in passed if verdict is False]
    measured = f"{sum(verdict is not None for _, verdict in passed)} of {len(TARGETS)} targets are measured"
    if not missed:
        return f"{measured}; all of them are met."
    return "\n".join([f"{measured}. Missed:\n", *(f"- {label}" for label in missed)])


def format_value(figure: Figure) -> str:
    """Format a figure with its unit, or the reason why it has no value."""
    if figure.value is None:
        return figure.note or "not measured"
    number = f"{figure.value:.1f}" if figure.unit == "points" else f"{figure.value:.3f}"
    return f"{number} {figure.unit}".rstrip()


def clips_of(figure: Figure, setting: Mapping[str, Any]) -> str:
    """Say on which clips a figure was measured: "synthetic", or how many real ones of which split."""
    if figure.value is None:
        return ""
    if figure.key.startswith("real_clips"):
        splits = setting.get("real", {})
        return ", ".join(f"{count} real, {split}" for split, count in splits.items()) or "real"
    return "real recordings" if figure.key.startswith("realism") else "synthetic"


def format_target(figure: Figure, trained: Trained) -> str:
    """Format the target of a figure; "" if it has none."""
    target = figure.target
    return "" if target is None else f"{'≥' if target.at_least else '≤'} {target.value(trained):g}"


def format_verdict(figure: Figure, trained: Trained) -> str:
    return {True: "pass", False: "miss", None: ""}[figure.passed(trained)]


def _figure_table(figures: Sequence[Figure], trained: Trained) -> str:
    rows = [
        [
            figure.label,
            format_value(figure),
            format_target(figure, trained),
            format_verdict(figure, trained),
            figure.note if figure.value is not None else "",
        ]
        for figure in figures
    ]
    return table(["figure", "value", "target", "", "note"], rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines) + "\n"


def _tables(section: Section) -> list[str]:
    details = section.details
    if section.name == "real":
        return [
            _splits(details.get("splits", {})),
            _lead_table(details.get("leads", [])),
            _kind_table(details.get("by_kind", [])),
            _real_table(details.get("clips", [])),
            _unread(details.get("unread", {})),
        ]
    if section.name == "realism":
        return [_realism_table(details.get("kinds", [])), _unread(details.get("unread", {}))]
    if section.name == "ablation" and details:
        return [_ablation_table(details["table"])]
    if section.name == "words" and details:
        return [_by_class(details["by_class"]), _mistakes(details["confused_most"])]
    columns = {name: values for name, values in details.items() if name.endswith("_by_class")}
    if section.name == "onsets" and details:
        columns = {f"F1, {name}": values for name, values in details["f1_by_class"].items()}
    return [_by_class(columns)] if columns else []


def _by_class(columns: Mapping[str, Mapping[str, float]]) -> str:
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    heads = ["class", *(name.removesuffix("_by_class").replace("_", " ") for name in columns)]
    rows = [
        [name.replace("_", " "), *(f"{column[name]:.2f}" if name in column else "" for column in columns.values())]
        for name in names
    ]
    return table(heads, rows)


def _mistakes(confused: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    rows = [
        [condition, row["asked"].replace("_", " "), row["heard"].replace("_", " "), str(row["clips"])]
        for condition, mistakes in confused.items()
        for row in mistakes
    ]
    return table(["condition", "prompted class", "judged class", "clips"], rows) if rows else ""


def _splits(splits: Mapping[str, int]) -> str:
    """Which clips were measured: development clips, on which decisions may depend, or held-out ones."""
    return f"Clips: {', '.join(f'{count} {split}' for split, count in splits.items())}.\n" if splits else ""


def _lead_table(leads: Sequence[Mapping[str, Any]]) -> str:
    if not leads:
        return ""
    rows = [
        [
            lead["figure"],
            lead["baseline"],
            f"{lead['mean']:+.3f}",
            f"{lead['low']:+.3f} to {lead['high']:+.3f}",
            str(lead["clips"]),
        ]
        for lead in leads
    ]
    return table(["figure", "baseline", "pack minus baseline", "95 % interval", "clips"], rows)


def _kind_table(kinds: Sequence[Mapping[str, Any]]) -> str:
    if not kinds:
        return ""
    names = [name for name in kinds[0] if name not in ("kind", "clips", "near_silent")]
    heads = ["kind", "clips", *(name.replace("_", " ") for name in names), "near silent"]
    rows = [
        [kind["kind"], str(kind["clips"]), *(f"{kind[name]:.3f}" for name in names), str(kind["near_silent"])]
        for kind in kinds
    ]
    return table(heads, rows)


def _real_table(clips: Sequence[Mapping[str, Any]]) -> str:
    if not clips:
        return ""

    def pair(found: Mapping[str, float | None]) -> str:
        return " / ".join("–" if found[name] is None else f"{found[name]:.2f}" for name in ("zero_lag", "best_lag"))

    methods = [name for name in ("picture", "frame_difference", "log_difference", "flow") if name in clips[0]]
    rows = [
        [
            clip["name"],
            clip.get("heard", ""),
            f"{clip['seconds']:g}",
            *(pair(clip[method]) for method in methods),
            f"{clip['chance']:.2f}",
            f"{clip['error_nats']:.2f}",
            f"{clip['constant_error_nats']:.2f}",
            "near silent" if clip["near_silent"] else "",
        ]
        for clip in clips
    ]
    labels = {"picture": "pack, zero / best lag", "log_difference": "smoothed log difference", "flow": "optical flow"}
    heads = [
        *("clip", "heard", "s"),
        *(labels.get(method, method.replace("_", " ")) for method in methods),
        *("chance", "error (nats)", "constant (nats)", ""),
    ]
    return table(heads, rows)


def _ablation_table(rows: Mapping[str, Mapping[str, float | None]]) -> str:
    heads = ["control", "energy error", "onset accuracy", "onset AP", "texture error", "right class"]
    cells = [
        [name.replace("_", " "), *("–" if value is None else f"{value:.3f}" for value in row.values())]
        for name, row in rows.items()
    ]
    return table(heads, cells)


def _realism_table(kinds: Sequence[Mapping[str, Any]]) -> str:
    if not kinds:
        return ""

    def near(found: Sequence[float] | None) -> str:
        return "–" if found is None else f"{found[0]:.2f} ({found[1]:.2f} to {found[2]:.2f})"

    def distance(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    rows = [
        [
            kind["kind"],
            str(kind["recordings"]),
            *(distance(kind["distances"].get(source)) for source in SOURCES),
            *(near(kind["nearness"].get(source)) for source in ("made", "world")),
            *("–" if kind["frechet"][source] is None else f"{kind['frechet'][source]:.0f}" for source in _FRECHET),
        ]
        for kind in kinds
    ]
    heads = ["kind", "recordings", *(f"distance: {label[0].lower()}{label[1:]}" for label in SOURCES.values())]
    heads += ["nearness of the pack", "nearness of the world", *(f"Fréchet: {source}" for source in _FRECHET)]
    return table(heads, rows)


def _unread(unread: Mapping[str, str]) -> str:
    lines = [f"- {name}: {why}" for name, why in unread.items()]
    return "\n".join(["Left out because they could not be read:\n", *lines, ""]) if lines else ""
