"""The `rewas` command.

Exit codes: 0 where all went well, 1 where the work failed or no server answered, 2 where what was asked for cannot be
right (options, media, timeline, pack) or is refused as asked (words that the picture contradicts), 130 where Ctrl-C
stopped it. Results go to standard output; progress, notes and errors to standard error. With --json, standard output
holds exactly one object: the result, or {"error": {"what", "remedy", "kind"}}.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rewas_cli.startup import exit_on_ctrl_c, limit_thread_spinning


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and end the process with its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    exit_on_ctrl_c(as_json="--json" in arguments)
    limit_thread_spinning()
    sys.exit(run(arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code; everything that is to be said has then been said."""
    # Here and not above: a tenth of a second passes, in which Ctrl-C may be pressed already.
    from rewas_cli import app as command_line

    return command_line.run(arguments)


if __name__ == "__main__":
    main()
