"""What all commands share: the terminal, the parser of plain options, outputs, exit codes."""

from __future__ import annotations

import argparse
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from ptl_skel.errors import UserError

console = Console()
"""The terminal that commands write to."""

DEBUG = "--debug"
"""Flag of every command: show the traceback of a user's mistake as well."""

FAILED = 1
"""Exit code of failed work, e.g. a sweep with failed trainings, and of bugs."""
MISTAKE = 2
"""Exit code of a user's mistake: the same command would fail again."""
INTERRUPTED = 128 + signal.SIGINT
"""Exit code after Ctrl-C."""


class CommandParser(argparse.ArgumentParser):
    """A parser that raises a `UserError` instead of printing a page of usage."""

    def error(self, message: str) -> NoReturn:
        """Raises the message as a `UserError`; explains options that take all that follows."""
        greedy = [flag for flag, action in self._option_string_actions.items()
                  if action.nargs in {"+", "*"}]
        wrong = re.fullmatch(r"argument (--\w+): invalid float value: (.+)", message)
        if wrong and wrong[1] in greedy:
            raise UserError(f"{wrong[1]} takes numbers, got {wrong[2]}; arguments that are not for "
                            f"{wrong[1]} come before it")
        missing = re.fullmatch(r"the following arguments are required: (\w+)", message)
        if missing and greedy:
            raise UserError(f"{missing[1]} is missing; give it before options that take several "
                            f"values ({', '.join(greedy)})")
        raise UserError(f"{message}; `{self.prog} --help` lists the options")

    def parse_with_data(self, args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """The options of this parser, and those of ``ptl-skel test`` that begin with ``--data.``.

        Raises:
            UserError: Any other option is unknown.
        """
        options, others = self.parse_known_args(args)
        for option in others:
            if option.startswith("-") and not option.startswith("--data."):
                raise UserError(f"unknown option {option}; `{self.prog} --help` lists them")
        return options, others

    def refuse_without_effect(self, options: argparse.Namespace, names: Sequence[str],
                              why: str) -> None:
        """Checks that options have their defaults, since others would have no effect.

        Args:
            options: The parsed options.
            names: The names of those that would have none.
            why: The end of the message, e.g. "without --out".

        Raises:
            UserError: One of them was given.
        """
        for name in names:
            if getattr(options, name) != self.get_default(name):
                raise UserError(f"--{name} has no effect {why}; leave it out")


@contextmanager
def writing(path: Path, flag: str = "--out ") -> Iterator[None]:
    """Creates the folder of an output, which the block writes.

    Args:
        path: The output.
        flag: The option that names it, for the message; it may be empty.

    Raises:
        UserError: It cannot be written, e.g. because the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except UserError:  # some of them are errors of the operating system as well
        raise
    except OSError as error:
        raise UserError(f"{flag}{path} cannot be written: {error.strerror or error}") from error


def run_command(command: Callable[[Sequence[str]], int | None],
                args: Sequence[str] | None = None) -> int:
    """Runs a command; a user's mistake is printed as a sentence, anything else keeps its traceback.

    Args:
        command: Takes the arguments without `DEBUG`; returns an exit code, None for 0.
        args: Its arguments; None for those of this process.

    Returns:
        The exit code: that of the command, `MISTAKE` or `INTERRUPTED`.
    """
    args = sys.argv[1:] if args is None else args
    try:
        return command([argument for argument in args if argument != DEBUG]) or 0
    except UserError as error:
        if DEBUG in args:
            traceback.print_exc()
        print(f"ptl-skel: {error}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        return INTERRUPTED
