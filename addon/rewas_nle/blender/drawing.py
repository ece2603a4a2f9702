"""Text in panels and preferences."""

from __future__ import annotations

import textwrap
from typing import Any

from ..core.messages import Problem

_MAX_LINES = 8
_CHARACTER_WIDTH_PX = 6.6


def draw_text(layout: Any, context: Any, text: str, icon: str = "") -> None:
    """Draw text on several lines, because a label cuts off what does not fit. icon: shown before the first line."""
    width_px = context.region.width / (context.preferences.system.ui_scale or 1.0) - 50
    column = layout.column(align=True)
    column.scale_y = 0.75
    characters = max(int(width_px / _CHARACTER_WIDTH_PX), 16)
    for number, part in enumerate(textwrap.wrap(text, characters)[:_MAX_LINES]):
        # An indent as wide as the icon lines up the lines below it.
        lines_icon = {"icon": icon if number == 0 else "BLANK1"} if icon else {}
        column.label(text=part, **lines_icon)


def draw_problem(layout: Any, context: Any, problem: Problem) -> None:
    """Draw a problem: what happened, and what to do about it."""
    draw_text(layout, context, problem.what)
    draw_text(layout, context, problem.remedy)
