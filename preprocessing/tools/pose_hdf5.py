"""HDF5 files of pose tools for animals and persons: DeepLabCut, and SLEAP's analysis export."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..core.files import MAX_BYTES, to_numbers
from ..core.pickles import load_objects
from ..core.plausibility import check_axes
from ..core.source import Unusable
from .columns import read_header
from .poses import Floats, Poses


def read_hdf5(path: Path) -> Poses:
    """The persons in such a file.

    Raises:
        Unusable: It is damaged, or not from these tools.
    """
    try:
        with h5py.File(path) as file:
            if "tracks" in file and "node_names" in file:
                return _read_sleap(file)
            table = next((group["table"] for group in file.values()
                          if isinstance(group, h5py.Group) and "table" in group), None)
            if table is not None:
                return _read_deeplabcut(table)
            if "pred_points" in file or "instances" in file:
                raise Unusable("it is a project of SLEAP; export it with `sleap-convert --format "
                               "analysis`, or as CSV")
            raise Unusable("it is not an HDF5 file of DeepLabCut or of SLEAP's analysis export; it "
                           f"holds {', '.join(list(file)[:5]) or 'nothing'}")
    except Unusable:
        raise
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:  # damaged files
        raise Unusable(f"it cannot be read as an HDF5 file ({error})") from error


def _read_sleap(file: h5py.File) -> Poses:
    """``tracks`` is (persons, 2, joints, frames), or as in its attribute ``dims``."""
    tracks = _arranged(file["tracks"], ("track", "xy", "node", "frame"),
                       ("track", "frame", "node", "xy"))
    persons, frames, joints, axes = tracks.shape
    if axes != 2:
        raise Unusable(f"`tracks` have the shape {file['tracks'].shape}, expected (persons, 2, "
                       "joints, frames)")
    if frames == axes:  # x and y may be in the place of two tracks; there can be many tracks
        check_axes(persons, frames)
    names = _texts(file["node_names"])
    if len(names) != joints:
        raise Unusable(f"it names {len(names)} joints, but `tracks` have {joints}")
    scores = np.ones((persons, frames, joints))
    if "point_scores" in file:  # if it is damaged, `file.get` would not report it
        scores = np.nan_to_num(_arranged(file["point_scores"], ("track", "node", "frame"),
                                         ("track", "frame", "node")))
        if scores.shape != tracks.shape[:3]:
            raise Unusable(f"`point_scores` have the shape {scores.shape}, expected "
                           f"{tracks.shape[:3]}")
    return Poses(tracks.reshape(-1, joints, 2), scores.reshape(-1, joints),
                 np.tile(np.arange(frames), persons), np.repeat(np.arange(persons), frames),
                 np.arange(frames), joint_names=tuple(names))


def _arranged(stored: Any, axes: Sequence[str], wanted: Sequence[str]) -> Floats:
    """The values of an array with its axes in an order.

    Args:
        stored: The array.
        axes: Its axes if it does not name them; sleap-io does, and can store others.
        wanted: The requested order.
    """
    values = _values(stored)
    named = stored.attrs.get("dims")
    try:
        axes = axes if named is None else json.loads(named)
        return np.asarray(values).transpose([axes.index(axis) for axis in wanted])
    except (ValueError, TypeError, AttributeError) as error:
        raise Unusable(f"`{stored.name}` has the shape {values.shape} and the axes "
                       f"{named or axes}, expected ({', '.join(axes)})") from error


def _read_deeplabcut(table: h5py.Dataset) -> Poses:
    """A table of PyTables, as pandas writes it: the column names are stored with it as a pickle."""
    try:
        names = load_objects(io.BytesIO(bytes(table.attrs["values_block_0_kind"])))
    except (pickle.UnpicklingError, EOFError, KeyError) as error:
        raise Unusable(f"the names of its columns cannot be read ({error}); save the table as CSV"
                       ) from error
    if (table.dtype.names is None or "values_block_0" not in table.dtype.names
            or not isinstance(names, list)
            or not all(isinstance(name, tuple) and len(name) in {3, 4} for name in names)):
        raise Unusable("it is not a table of DeepLabCut; save it as CSV")
    if table.nbytes > MAX_BYTES:
        raise Unusable(f"it has {table.nbytes:,} bytes, more than the {MAX_BYTES:,} that a clip "
                       "can take")
    rows = table[()]
    values = to_numbers(rows["values_block_0"], "a line")
    several = len(names[0]) == 4
    header = [["scorer", *(str(name[0]) for name in names)],
              *([["individuals", *(str(name[1]) for name in names)]] if several else []),
              ["bodyparts", *(str(name[-2]) for name in names)],
              ["coords", *(str(name[-1]) for name in names)]]
    columns = read_header(header)
    blocks = []
    for of_person in columns.places:
        places = np.array(of_person)  # (V, 4), counted with the column of frames
        block = np.where(places >= 0, values[:, places - 1], np.nan)
        blocks.append(block)
    joined = np.concatenate(blocks)
    given = to_numbers(rows["index"], "the column of frames")
    if not (given == np.floor(given)).all():
        raise Unusable("the column of frames must hold integers")
    frames = given.astype(np.int64)
    scores = np.where(np.isnan(joined[..., 3]), 1, joined[..., 3])
    persons = len(blocks)
    has_z = all(joint[2] >= 0 for of_person in columns.places for joint in of_person)
    return Poses(joined[..., : 2 + has_z], scores, np.tile(frames, persons),
                 np.repeat(np.arange(persons), len(frames)), frames, joint_names=columns.joints)


def _texts(stored: Any) -> list[str]:
    if not isinstance(stored, h5py.Dataset) or stored.nbytes > MAX_BYTES:
        return []
    return [name.decode(errors="replace") if isinstance(name, bytes) else str(name)
            for name in np.ravel(np.asarray(stored[()])).tolist()]


def _values(stored: Any) -> Any:
    if not isinstance(stored, h5py.Dataset) or stored.nbytes > MAX_BYTES:
        raise Unusable("an array in it is missing or too large for a clip")
    return to_numbers(stored[()], f"`{stored.name}`")
