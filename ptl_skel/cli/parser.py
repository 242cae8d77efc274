"""What the command line accepts, and how it refuses the rest: jsonargparse with better manners."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NoReturn

import jsonargparse
from lightning.pytorch.cli import LightningArgumentParser

from ptl_skel.configs import shipped
from ptl_skel.errors import UserError


def _forget_arguments(parser_or_action: Any, previous: Any, value: Any) -> None:
    """Drops what was given for another class: a learning rate of SGD is none for AdamW."""
    if previous and "init_args" in previous and previous["class_path"] != value["class_path"]:
        previous["init_args"] = type(previous)()


# jsonargparse would keep the arguments that both classes have, and offers no choice.
jsonargparse._typehints.discard_init_args_on_class_path_change = _forget_arguments


def _in_a_sentence(message: str) -> str:
    """Jsonargparse takes a page to say that a value has none of several types."""
    page = re.search(r'Parser key "(.+?)":.*?Subtypes: \[(.+?)\]\n.*Given value: (.+)', message,
                     re.S)
    if page is None:
        return message
    name, types, value = page.groups()
    types = re.sub(r"typing\.Literal\[(.+?)\]|<class '(?:\w+\.)*(\w+)'>", r"\1\2", types)
    return f"`{name}` must be one of {types.replace('NoneType', 'null')}; got {value}"


class Parser(LightningArgumentParser):
    """A parser that says what is wrong, without a page of usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises the message as a `UserError`."""
        raise UserError(_in_a_sentence(message)) from ex

    def parse_string(self, content: str, *args: Any, **kwargs: Any) -> Any:
        """Parses a config; shipped files go by their short names inside it as well."""
        named = re.sub(r"(?<![\w./-])\w+/\w+\.yaml", lambda name: shipped(name[0]), content)
        return super().parse_string(named, *args, **kwargs)


def expanded(argument: str) -> str:
    """Shipped configs by their short name, e.g. ``backbone/reduced.yaml``, become paths."""
    name, separator, value = argument.partition("=")
    return f"{name}={shipped(value)}" if separator else shipped(argument)


def value_of(flag: str, arguments: Sequence[str]) -> str | None:
    """What a flag is given, as ``--flag value`` or ``--flag=value``; None without it."""
    for position, argument in enumerate(arguments):
        if argument == flag and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith(flag + "="):
            return argument.partition("=")[2]
    return None
