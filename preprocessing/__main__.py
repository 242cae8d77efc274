"""``python -m preprocessing SOURCE ...`` and ``... check``: the same as the ``ptl-skel`` verbs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ptl_skel.command import run_command

from .commands import check, preprocess


def main(args: Sequence[str] | None = None) -> int:
    """Runs ``ptl-skel check`` if the first argument is ``check``, else ``ptl-skel preprocess``."""
    return run_command(lambda given: check(given[1:]) if given[:1] == ["check"]
                       else preprocess(given), args)


if __name__ == "__main__":
    sys.exit(main())
