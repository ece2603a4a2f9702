"""Write the tables of docs/timeline-formats.md from the table of formats in the code.

Usage: python scripts/docs/write_formats_page.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rewas_server.otio.formats import FORMATS, FORMATS_EXTRA, Feature, TimelineFormat

PAGE = Path(__file__).resolve().parents[2] / "docs" / "timeline-formats.md"
BEGIN = "<!-- Written by scripts/docs/write_formats_page.py. Do not edit below. -->"
END = "<!-- End of the written part. -->"


def write_page(text: str) -> str:
    """Return the page with new tables. text: the page with the old ones."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n" + "\n".join(_tables()) + f"\n\n{END}{after}"


def _tables() -> Iterator[str]:
    yield "| Suffix | Format | Read | Write | Places a clip | Media paths | Needs |"
    yield "|---|---|---|---|---|---|---|"
    for one in FORMATS.values():
        needs = f"`{FORMATS_EXTRA}`" if one.package else one.needs or "–"
        cells = [f"`{one.suffix}`", one.title, _yes(one.reads), _yes(one.writes), *_written(one), needs]
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield "What is lost in a written file:"
    yield ""
    written = [one for one in FORMATS.values() if one.writes]
    yield f"| | {' | '.join(f'`{one.suffix}`' for one in written)} |"
    yield f"|---|{'---|' * len(written)}"
    for feature in Feature:
        cells = ["lost" if feature in one.loses else "kept" for one in written]
        if "lost" in cells:
            yield f"| {feature.value.capitalize()} | {' | '.join(cells)} |"
    yield ""
    for one in written:
        for note in one.notes:
            yield f"- `{one.suffix}`: {note}"


def _written(one: TimelineFormat) -> tuple[str, str]:
    if not one.writes:
        return "–", "–"
    if not one.media_paths:
        return one.placement.value, "contains its media"
    return one.placement.value, ", ".join(path.value for path in one.media_paths)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


if __name__ == "__main__":
    PAGE.write_text(write_page(PAGE.read_text("utf-8")), "utf-8")
