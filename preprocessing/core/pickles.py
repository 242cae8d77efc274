"""Loads untrusted pickles: only arrays and plain containers, nothing that could run code.

NumPy's own ``__setstate__`` trusts a pickle about the memory of an array, so it is not called
either: stand-ins collect the description of an array, and `load` builds it from checked bytes.
"""

from __future__ import annotations

import collections
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ptl_skel.errors import MissingFileError, UserError

_KINDS = "biufSU"  # booleans, integers, floats, strings
_VERSION, _DTYPE_VERSION = 1, 3  # of the descriptions of arrays and their types


class _Dtype:
    """Stands in for ``numpy.dtype``."""

    def __init__(self, code: str, *_: Any) -> None:
        self.dtype = np.dtype(str(code))
        if self.dtype.kind not in _KINDS:
            raise pickle.UnpicklingError(f"arrays of type {code} are not loaded")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[0] != _DTYPE_VERSION or state[1] not in {"<", ">", "|", "="}:
            raise pickle.UnpicklingError("the type of an array is damaged")
        if state[1] == ">":
            self.dtype = self.dtype.newbyteorder(">")


class _Array:
    """Stands in for ``numpy.ndarray`` and functions that create one."""

    def __init__(self, *_: Any) -> None:
        self.array: NDArray[Any] = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        version, shape, dtype, is_fortran, data = state
        if version != _VERSION:
            raise pickle.UnpicklingError(f"arrays of the version {version} are not known")
        self.array = _array(data, dtype, shape, "F" if is_fortran else "C")


def _array(data: Any, dtype: _Dtype, shape: tuple[int, ...], order: Any) -> NDArray[Any]:
    if isinstance(data, str):  # bytes of a Python 2 pickle
        data = data.encode("latin1")
    array: NDArray[Any] = np.frombuffer(data, dtype.dtype)
    return array.reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: _Dtype, data: bytes) -> Any:
    return _array(data, dtype, (1,), "C")[0]


def _encode(text: str, _: str) -> bytes:
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,  # bytes, in protocols below 3
    ("collections", "OrderedDict"): collections.OrderedDict,
    **{(module, name): kind for module in ("builtins", "__builtin__")
       for name, kind in (("set", set), ("frozenset", frozenset), ("bytes", _no_bytes))},
    **{(f"numpy.{core}.{module}", name): function for core in ("core", "_core")
       for module, name, function in (("multiarray", "_reconstruct", _Array),
                                      ("multiarray", "scalar", _scalar),
                                      ("numeric", "_frombuffer", _array))},
}


class _ObjectDtype(_Dtype):
    """Stands in for ``numpy.dtype``, including that of objects."""

    def __init__(self, code: str, *_: Any) -> None:
        if str(code).startswith("O"):
            self.dtype = np.dtype(object)
        else:
            super().__init__(code)


class _ObjectArray(_Array):
    """Stands in for an array; one of objects becomes a list, or the object if there is only one."""

    content: Any = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, _, data = state
        if dtype.dtype != object:
            super().__setstate__(state)
            self.content = self.array
        elif isinstance(data, list) and (not shape or tuple(shape) == (len(data),)):
            self.content = data if shape else data[0]
        else:
            raise pickle.UnpicklingError("arrays of objects with several axes are not loaded")


_ALLOWED_WITH_OBJECTS = {key: _ObjectArray if made is _Array else
                         _ObjectDtype if made is _Dtype else made
                         for key, made in _ALLOWED.items()}


class _Unpickler(pickle.Unpickler):
    allowed = _ALLOWED

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}; only NumPy arrays and "
                                         "plain containers are loaded")
        return self.allowed[module, name]


class _ObjectUnpickler(_Unpickler):
    allowed = _ALLOWED_WITH_OBJECTS


def load(path: Path) -> Any:
    """The content of a pickle of NumPy arrays, numbers, strings and plain containers.

    Raises:
        MissingFileError: There is no such file.
        UserError: The file is not a pickle, is damaged, or contains anything else.
    """
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist, or is not a file; give a .pkl file")
    try:
        with path.open("rb") as file:
            return _finished(_Unpickler(file, encoding="latin1").load())
    except Exception as error:  # a damaged pickle can raise anything
        raise UserError(f"{path} cannot be loaded as a pickle: "
                        f"{error or type(error).__name__}") from error


def load_objects(stream: IO[bytes]) -> Any:
    """The content of an array of objects, as pickled by `numpy.save`: a list, or an object.

    Raises:
        pickle.UnpicklingError: It contains anything besides arrays, plain containers, numbers and
        strings.
        Exception: Any exception, if the pickle is damaged.
    """
    return _finished(_ObjectUnpickler(stream, encoding="latin1").load())


def _finished(loaded: Any) -> Any:
    """The loaded containers with arrays in place of their stand-ins."""
    if isinstance(loaded, _ObjectArray):
        return _finished(loaded.content)
    if isinstance(loaded, _Array):
        return loaded.array
    if isinstance(loaded, dict):
        return {key: _finished(value) for key, value in loaded.items()}
    if isinstance(loaded, list | tuple):
        return type(loaded)(_finished(value) for value in loaded)
    return loaded
