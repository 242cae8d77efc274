"""``python -m ptl_skel``, the same as ``ptl-skel``: every verb in one place."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from ptl_skel.errors import UserError

LIGHTNING = {
    "fit": "train a model, then test it",
    "validate": "validate a checkpoint",
    "test": "test a checkpoint",
    "predict": "write class probabilities of all clips of a keypoint file",
}
OTHERS = {
    "profile": "parameters, GMACs and latency of backbones",
    "ensemble": "the mean of what several runs predict, e.g. of joints and limbs",
    "show": "picture of a clip: skeleton and heatmaps",
}
HELP = f"""usage: ptl-skel VERB [options]

Skeleton-based action recognition with factorised 3D-CNNs.

verbs (`ptl-skel VERB --help` lists the options of each):
{chr(10).join(f"  {verb:<10} {what}" for verb, what in {**LIGHTNING, **OTHERS}.items())}

before and after:
  python -m preprocessing   make a keypoint file from data, or check one
  python -m sweeps          run what a sweep file asks for, and compare runs
"""


def main(args: Sequence[str] | None = None) -> None:
    """Runs a verb; a user's mistake ends in a sentence and exit code 2."""
    arguments = list(sys.argv[1:] if args is None else args)
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(HELP, end="")
        return
    verb, *rest = arguments
    try:
        if verb in LIGHTNING:
            from ptl_skel.cli.lightning import run

            run(verb, rest)
        elif verb == "profile":
            from ptl_skel.cli.profile import main as profile

            profile(rest)
        elif verb == "ensemble":
            from ptl_skel.cli.ensemble import main as ensemble

            ensemble(rest)
        elif verb == "show":
            from ptl_skel.show.clip import main as show

            show(rest)
        else:
            raise UserError(f"unknown verb {verb!r}; `ptl-skel --help` lists them")
    except UserError as error:
        print(f"ptl-skel: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
