"""Help pages: options in panels at the terminal's own width, followed by examples that can be copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """A command whose epilog is a list of examples, one per line."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _hide_flag_types(self.get_params(ctx))
        examples, self.epilog = self.epilog, None
        try:
            super().format_help(ctx, formatter)
        finally:
            self.epilog = examples
        _print_examples(examples)


class Group(TyperGroup):
    """A group of commands whose epilog is a list of examples, one per line."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _hide_flag_types(self.get_params(ctx))
        examples, self.epilog = self.epilog, None
        try:
            super().format_help(ctx, formatter)
        finally:
            self.epilog = examples
        _print_examples(examples)


def _hide_flag_types(params: Sequence[Any]) -> None:
    """Show flags without a value: typer would print <bool> next to each."""
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""


def _print_examples(examples: str | None) -> None:
    """Print examples without breaking their lines, so that each can be copied as it is."""
    if not examples:
        return
    console = Console(soft_wrap=True, highlight=False)
    console.print(" Examples", style="bold")
    for line in examples.splitlines():
        console.print(f"   {line}", markup=False)
    console.print()
