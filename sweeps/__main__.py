"""``python -m sweeps run FILE`` is ``ptl-skel sweep FILE``, ``report`` is ``ptl-skel report``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ptl_skel.command import run_command
from ptl_skel.errors import UserError

from .commands import report, sweep

HELP = """usage: python -m sweeps COMMAND [options]

commands (`python -m sweeps COMMAND --help` lists the options of each):
  run      train every cell of a sweep file; the same as `ptl-skel sweep`
  report   compare runs by their records; the same as `ptl-skel report`
"""
COMMANDS = {"run": sweep, "report": report}


def main(args: Sequence[str] | None = None) -> None:
    """Runs a command and ends the process with its exit code, unless that is 0."""
    if code := run_command(_run, args):
        sys.exit(code)


def _run(args: Sequence[str]) -> int | None:
    if not args or args[0] in {"-h", "--help"}:
        print(HELP, end="")
        return None
    if args[0] not in COMMANDS:
        raise UserError(f"unknown command {args[0]!r}; `python -m sweeps --help` lists them")
    return COMMANDS[args[0]](args[1:])


if __name__ == "__main__":
    main()
