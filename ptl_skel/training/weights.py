"""Weights from files of PYSKL, MMAction2, torchvision and ptl_skel's own runs.

No code in a file is executed: tensors are read, everything else is ignored.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ptl_skel.errors import MissingFileError, UserError

RGB = 3
"""Input channels of networks for RGB videos."""

HEAD = "head.3."
"""Name of the linear layer in a classifier."""


def load_weights(classifier: nn.Module, path: Path, *, adapt: bool, class_names: Sequence[str] = (),
                 trained_on: Sequence[str] | None = None) -> list[str]:
    """Loads the weights of a published checkpoint, or of a run, into a classifier.

    Tensors and parameters must match one to one. With `adapt`, two of them may differ: a head for
    other classes is ignored, and a first convolution trained on RGB is adapted to other channels.
    Each of C channels gets the mean of the three, times 3 / C, so that grey inputs give the same
    outputs. A head for the same classes in another order is reordered.

    Args:
        classifier: As returned by `ptl_skel.training.module.classifier`.
        path: A checkpoint of PYSKL, MMAction2, torchvision or ``ptl-skel fit``.
        adapt: Whether the network will be trained further.
        class_names: Classes of the classifier.
        trained_on: Classes of the checkpoint; None if it does not name them.

    Returns:
        What was adapted, one sentence each.

    Raises:
        MissingFileError: There is no such file.
        UserError: It does not contain weights, or those of another network.
    """
    found = rename_tensors(read_tensors(path))
    wanted = classifier.state_dict()
    same_classes = trained_on is None or sorted(trained_on) == sorted(class_names)
    adapted = []
    if trained_on is not None and same_classes and list(trained_on) != list(class_names):
        rows = torch.tensor([list(trained_on).index(name) for name in class_names])
        found |= {name: value[rows] for name, value in found.items() if name.startswith(HEAD)}
        adapted.append("the head is reordered: the same classes come in another order")
    if adapt:
        adapted += _adapt(found, wanted, same_classes)
    elif not same_classes:
        raise UserError(f"{path} was trained on other classes: {', '.join(trained_on or ())}")
    problems = [
        _listed("lacks", sorted(set(wanted) - set(found))),
        _listed("has beyond them", sorted(set(found) - set(wanted))),
        _listed("has in another shape", [
            f"{name} {_shape(found[name])} instead of {_shape(wanted[name])}"
            for name in wanted if name in found and found[name].shape != wanted[name].shape]),
    ]
    if any(problems):
        raise UserError(f"{path} does not hold the weights of this network: it "
                        f"{'; it '.join(filter(None, problems))}")
    classifier.load_state_dict(found)
    return adapted


def rename_tensors(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names that a classifier of this package has for them."""
    names = [name.removeprefix("module.") for name in published]  # of DataParallel
    if any(name.startswith("classifier.") for name in names):  # a run of ptl_skel
        prefixes = {"classifier.": ""}
    elif any(name.startswith("backbone.") for name in names):  # PYSKL, MMAction2
        prefixes = {"cls_head.fc_cls.": HEAD, "cls_head.fc.": HEAD, "": ""}
    else:  # torchvision
        prefixes = {"fc.": HEAD, "": "backbone."}

    def renamed(name: str) -> str:
        for prefix, place in prefixes.items():
            if name.startswith(prefix):
                return place + name.removeprefix(prefix)
        return name

    return {renamed(name): tensor for name, tensor in zip(names, published.values(), strict=True)}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The state dict in a file, with its original names.

    Raises:
        MissingFileError: There is no such file.
        UserError: It is damaged, or does not contain a state dict.
    """
    if not path.is_file():
        raise MissingFileError(f"weights {path} do not exist")
    try:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:  # there are other objects among the tensors
            content = torch.load(path, map_location="cpu", weights_only=False,
                                 pickle_module=_TensorsOnly)
    except Exception as error:  # a damaged file can raise anything
        reason = str(error).splitlines() or [type(error).__name__]
        raise UserError(f"{path} holds no weights that can be read: {reason[0]}") from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        content = {}
    tensors = {name: value for name, value in content.items()
               if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{path} holds no state dict")
    return tensors


def _adapt(found: dict[str, Tensor], wanted: Mapping[str, Tensor], same_classes: bool) -> list[str]:
    """Adapts tensors to a network for fine-tuning, in place; returns what was adapted."""
    adapted = []
    head, place = found.get(f"{HEAD}weight"), wanted[f"{HEAD}weight"]
    if head is not None and (len(head) != len(place) or not same_classes):
        adapted.append(f"the head, for {len(head)}{'' if same_classes else ' other'} classes, is "
                       f"left out: {len(place)} are trained")
        found |= {name: value for name, value in wanted.items() if name.startswith(HEAD)}
    for name, value in found.items():
        place = wanted.get(name, value)
        if place.ndim == 5 and place.shape[1] != RGB and (
                value.shape == (len(place), RGB, *place.shape[2:])):
            channels = place.shape[1]
            found[name] = value.mean(1, keepdim=True).expand_as(place) * (RGB / channels)
            adapted.append(f"{name}, trained on RGB, is spread over {channels} channels")
    return adapted


def _listed(problem: str, names: list[str]) -> str:
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{problem} {shown}" if names else ""


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


class _Placeholder:
    """Stands for any object that is not a tensor, and does nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> _Placeholder:
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __call__(self, *args: object, **kwargs: object) -> _Placeholder:
        return self

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, value: object) -> None:
        """Ignores the value."""

    add = extend = append


class _TensorsOnly:
    """Replaces the module ``pickle`` in `torch.load`: unpickles only tensors and containers."""

    class Unpickler(pickle.Unpickler):
        """Finds functions that rebuild a tensor; anything else becomes a placeholder."""

        _known = {("collections", "OrderedDict"): OrderedDict} | {
            ("torch._utils", name): getattr(torch._utils, name)
            for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")}

        def find_class(self, module: str, name: str) -> Any:
            """See the class."""
            return self._known.get((module, name), _Placeholder)

    @classmethod
    def load(cls, file: Any, **options: Any) -> Any:
        """As `pickle.load`; files of torch before 1.6 begin with numbers that it reads."""
        return cls.Unpickler(file, **options).load()
