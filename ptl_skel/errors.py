"""The one error that becomes a sentence."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake of the user; the message says what is wrong and what to do, in a sentence.

    The command line prints the message and exits with code 2. Any other exception is a bug, here
    or in code of the user's own, and keeps its traceback.
    """


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder that the user named does not exist."""
