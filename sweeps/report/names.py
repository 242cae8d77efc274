"""Common settings of the runs of an arm, and names of arms by the settings that differ."""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import yaml

from ptl_skel.configs import CONFIGS

Settings = dict[str, Any]
"""Values by dotted key. A class is the value of its key, and its arguments carry its name:
``model.optimizer`` is ``torch.optim.SGD``, ``model.optimizer(torch.optim.SGD).lr`` is 0.4."""

IGNORED = frozenset({
    "seed_everything", "run_dir", "wandb", "test_after_fit", "verbose",
    "data.protocol",  # see `sweeps.report.reading`: a fold, or rejected
    "data.class_names", "data.num_workers", "data.in_memory", "data.on_device",
    "data.live_score", *(f"data.live_score.{name}" for name in ("frame_rate", "stride", "memory")),
    *(f"trainer.{name}" for name in (
        "accelerator", "strategy", "logger", "enable_checkpointing", "enable_progress_bar",
        "enable_model_summary", "enable_autolog_hparams", "log_every_n_steps",
        "num_sanity_val_steps", "profiler", "default_root_dir")),
})
"""Keys of a config that differ between the seeds of an arm, or do not affect what is learned."""

BACKBONE, CAMERA = "model.backbone", "data.camera"
SHIPPED = {BACKBONE: "backbone", "data.representation": "representation", CAMERA: "camera"}
"""Keys whose values have their own name, and the folder of configs that defines it."""


def settings_of(config: Mapping[str, Any]) -> Settings:
    """The settings of a config that affect what is learned and how it is tested.

    Settings of the data that a record lacks were added after it, with defaults that keep what was
    done before.
    """
    settings = {key: value for key, value in _flatten(_to_plain(config)) if key not in IGNORED}
    if "data" in config:
        settings |= {key: value for key, value in _data_defaults().items() if key not in settings}
    if "data.file" in settings:  # the same file may have another path on another machine
        settings["data.file"] = PurePath(str(settings["data.file"])).name
    return settings


def name_arms(arms: Sequence[Settings], files: Sequence[str | None] = (),
              ) -> list[tuple[str, str]]:
    """Name of each arm, and further differences between them in words.

    The name is the backbone if that is unique for each arm, else all differing settings. A backbone
    that is not shipped is named after its file.

    Args:
        arms: Settings of each arm.
        files: File of the backbone of each arm, None if not known.
    """
    named, differing = _differing(_with_files(arms, files) if files else arms)
    backbone = [key for key in differing if key.startswith(BACKBONE)]
    for keys in (backbone, differing):
        names = [_describe(arm, keys) or str(arm.get(BACKBONE)) for arm in named]
        if len(set(names)) == len(names):
            rest = [key for key in differing if key not in keys]
            return [(name, _describe(arm, rest)) for name, arm in zip(names, named, strict=True)]
    return [(name if names.count(name) == 1 else f"{name} #{number}", "")
            for number, name in enumerate(names, 1)]


def _with_files(arms: Sequence[Settings], files: Sequence[str | None]) -> list[Settings]:
    """The arms, with custom backbones by the names of their files if these are unambiguous."""
    shipped = {name for name, _ in _shipped(SHIPPED[BACKBONE], BACKBONE)}
    stems = [None if file is None else PurePath(file).stem.replace(".", "_") for file in files]
    parts = [_part(arm, BACKBONE) for arm in arms]
    contents: dict[str, list[Settings]] = {}
    for stem, part in zip(stems, parts, strict=True):
        if stem is not None and part not in contents.setdefault(stem, []):
            contents[stem].append(part)
    return [arm if stem is None or stem in shipped or len(contents[stem]) > 1
            else {key: stem if key == BACKBONE else value for key, value in arm.items()
                  if key not in part or key == BACKBONE}
            for arm, stem, part in zip(arms, stems, parts, strict=True)]


def _differing(arms: Sequence[Settings]) -> tuple[list[Settings], list[str]]:
    """The arms by names of shipped configs, and the keys in which they differ."""
    exact = {name for arm in arms for key, kind in SHIPPED.items()
             for name, shipped in _shipped(kind, key)
             if not _departures(_part(arm, key), shipped)}
    named = [_named(arm, exact) for arm in arms]
    keys = list(dict.fromkeys(key for arm in named for key in arm))
    columns: dict[str, str] = {}  # by its values in the arms, so that no difference is named twice
    for key in keys:
        values = [json.dumps(arm.get(key)) for arm in named if _applies(key, arm)]
        if len(set(values)) > 1:
            columns.setdefault(json.dumps([arm.get(key) for arm in named]), key)
    differing = list(columns.values())
    for key in SHIPPED:  # differences from a shipped config are named together with it
        if key not in differing and any(one.startswith(f"{key}.") for one in differing):
            differing.insert(0, key)
    return named, differing or [key for key in keys if key.startswith(BACKBONE)]


def _describe(arm: Settings, keys: Sequence[str]) -> str:
    return " ".join(_describe_one(key, arm[key], keys) for key in keys if key in arm)


def _to_plain(value: Any) -> Any:
    """Numbers as floats, tuples as lists, so that different notations are equal."""
    return json.loads(json.dumps(value, default=str), parse_int=float)


def _flatten(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if key == CAMERA and isinstance(value, dict):  # it has only arguments, no class
        value = {"class_path": "Camera", "init_args": value}
    if isinstance(value, dict) and "class_path" in value:
        name = value["class_path"]
        yield key, name
        for arguments in ("init_args", "dict_kwargs"):
            for argument, inner in (value.get(arguments) or {}).items():
                yield from _flatten(inner, f"{key}({name}).{argument}")
    elif isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flatten(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        parts = [list(_flatten(item, key)) for item in value]
        yield key, [part[0][1] for part in parts]
        for part in parts:
            yield from part[1:]
    else:
        yield key, value


def _applies(key: str, arm: Settings) -> bool:
    """Whether an arm could have the key: arguments of a class do not apply to another one."""
    owner, bracket, _ = key.rpartition(")")
    if not bracket:
        return True
    parent, _, name = owner.rpartition("(")
    value = arm.get(parent)
    return value == name or (isinstance(value, list) and name in value)


def _part(arm: Settings, key: str) -> Settings:
    """A class and its arguments."""
    return {name: value for name, value in arm.items()
            if name == key or name.startswith(f"{key}(")}


def _named(arm: Settings, exact: Collection[str]) -> Settings:
    """The settings with names of shipped configs, preceded by the differences from them.

    The closest one gives its name. Those in `exact`, which are arms themselves, count as closer by
    one difference, so that a grid around an arm is named after that arm.
    """
    named: Settings = {}
    for key, kind in SHIPPED.items():
        own = _part(arm, key)
        distances = [(len(departures) + (name not in exact), name not in exact, name, departures)
                     for name, shipped in _shipped(kind, key) if shipped[key] == own.get(key)
                     for departures in [_departures(_relevant(key, own, shipped), shipped)]]
        if distances:
            *_, named[key], departures = min(distances, key=lambda distance: distance[:3])
            named |= {f"{key}.{_last_part(name)}": value for name, value in departures.items()}
        else:
            named |= own
    parts = {name for key in SHIPPED for name in _part(arm, key)}
    return named | {name: value for name, value in arm.items() if name not in parts}


@functools.cache
def _data_defaults() -> Settings:
    """The default settings of the data, without classes and their arguments."""
    base = _to_plain(yaml.safe_load((CONFIGS / "base.yaml").read_text("utf-8")))
    return {key: value for key, value in _flatten({"data": base["data"]})
            if key not in IGNORED and not key.startswith(tuple(SHIPPED))}


@functools.cache
def _shipped(kind: str, key: str) -> list[tuple[str, Settings]]:
    return [(path.stem, dict(_flatten(_to_plain(yaml.safe_load(path.read_text("utf-8"))), key)))
            for path in sorted((CONFIGS / kind).glob("*.yaml"))]


def _relevant(key: str, own: Settings, shipped: Settings) -> Settings:
    """Without the arguments of a camera that a shipped one omits, as it does not need them."""
    return own if key != CAMERA else {name: own[name] for name in own if name in shipped}


def _departures(own: Settings, shipped: Settings) -> Settings:
    """The differences from a shipped config.

    A switch that the arm lacks was added after its record, and was off.
    """
    keys = dict.fromkeys([*own, *(key for key in shipped if _applies(key, own)
                                  and not (key not in own and shipped[key] is False))])
    return {key: own.get(key) for key in keys
            if key not in own or key not in shipped or own[key] != shipped[key]}


def _describe_one(key: str, value: Any, keys: Sequence[str]) -> str:
    if key in SHIPPED and value is not None:
        return str(value).rpartition(".")[2]
    last = _last_part(key)
    name = last if sum(_last_part(other) == last for other in keys) == 1 else key
    return f"{name}={_format(value)}"


def _last_part(key: str) -> str:
    return key.rpartition(".")[2]


def _format(value: Any, inner: bool = False) -> str:
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, list):
        items = ",".join(_format(item, inner=True) for item in value)
        return f"[{items}]" if inner else items
    if isinstance(value, str):
        return value.rpartition(".")[2] if value.count(".") > 1 else value
    return json.dumps(value)
