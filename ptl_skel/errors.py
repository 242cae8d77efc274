"""Errors that are printed as a sentence, without a traceback."""

from __future__ import annotations


class UserError(ValueError):
    """A user's mistake; the message is a sentence that says what is wrong and what to do.

    The command line prints the message and exits with code 2. Any other exception is a bug, here or
    in the user's own code, and keeps its traceback.
    """


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder that the user named does not exist."""
