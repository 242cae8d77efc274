import collections
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from preprocessing.core import pickles

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
USES_TMP_PATH = settings(suppress_health_check=[HealthCheck.function_scoped_fixture],
                         deadline=None)


def dump(path: Path, value, protocol=4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@USES_TMP_PATH
@given(array=arrays.arrays(
    st.sampled_from(["f2", "f4", "f8", ">f4", "i1", "u2", "i8", "?", "U3", "S2"]),
    arrays.array_shapes(min_dims=0, min_side=0)),
    protocol=st.sampled_from(PROTOCOLS), fortran=st.booleans())
def test_arrays_come_back_as_they_were(tmp_path, array, protocol, fortran):
    array = np.asfortranarray(array) if fortran else array
    loaded = pickles.load(dump(tmp_path / "a.pkl", {"a": [array, array.T]}, protocol))["a"]
    for one, other in zip(loaded, (array, array.T), strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_containers_and_numbers_come_back_as_they_were(tmp_path, protocol):
    value = {"tuple": (1, 2.5, None, True), "list": ["text", b"bytes \xff", -10**30],
             "set": {1, 2}, "frozenset": frozenset({3}), "number": np.float32(1.5),
             "name": np.str_("x"), "ordered": collections.OrderedDict(b=1, a=2)}
    assert pickles.load(dump(tmp_path / "a.pkl", value, protocol)) == value


@pytest.mark.parametrize("protocol", [0, 2])
def test_pickles_of_numpy_1_load(tmp_path, protocol):
    raw = pickle.dumps([np.arange(3), np.float64(2)], protocol)
    path = tmp_path / "a.pkl"
    path.write_bytes(raw.replace(b"numpy._core", b"numpy.core"))
    array, number = pickles.load(path)
    assert array.tolist() == [0, 1, 2]
    assert number == 2


def test_pickles_of_python_2_load(tmp_path):
    # pickle.dumps({'keypoint': numpy.array([1.5], 'f4')}, 2) in Python 2.7
    (tmp_path / "a.pkl").write_bytes(
        b"\x80\x02}U\x08keypointcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
        b"U\x01b\x87R(K\x01K\x01\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff"
        b"\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x04\x00\x00\xc0?tbs.")
    assert pickles.load(tmp_path / "a.pkl")["keypoint"].tolist() == [1.5]


class Runs:
    """Runs a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"annotations": [{"keypoint": x}]}])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path, protocol, wrap):
    marker = tmp_path / "executed"
    for evil in (Runs(os.system, f"touch {marker}"), Runs(os.mkdir, str(marker)),
                 Runs(eval, f"open({str(marker)!r}, 'w')"), Runs(getattr, marker, "touch")):
        with pytest.raises(ValueError, match=r"evil\.pkl cannot be loaded .*only NumPy arrays"):
            pickles.load(dump(tmp_path / "evil.pkl", wrap(evil), protocol))
    assert not marker.exists()


@pytest.mark.parametrize("value", [Path("x"), np.array([{}]), np.dtype("f4,i2"), print, object(),
                                   np.zeros(2, "f4,i2"), np.datetime64("2020-01-01")])
def test_other_types_are_refused(tmp_path, value):
    with pytest.raises(ValueError, match="cannot be loaded"):
        pickles.load(dump(tmp_path / "a.pkl", [value]))


def test_an_array_cannot_claim_memory_that_the_pickle_does_not_hold(tmp_path):
    array = np.arange(4, dtype=np.uint16)
    function, arguments, (version, _, dtype, order, data) = array.__reduce__()

    class Claims:
        def __init__(self, *state):
            self.state = state

        def __reduce__(self):
            return function, arguments, self.state

    for shape, kind, raw in (((10**9,), dtype, data), ((-1, 3), dtype, data),
                             ((1,), np.dtype(object), data), ((1,), dtype, [object])):
        path = tmp_path / "a.pkl"
        path.write_bytes(pickle.dumps(Claims(version, shape, kind, order, raw), 2))
        with pytest.raises(ValueError, match="cannot be loaded"):
            pickles.load(path)


@USES_TMP_PATH
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_pickle_is_refused(tmp_path, share):
    raw = pickle.dumps({"annotations": [{"keypoint": np.zeros((1, 2, 3, 2)), "label": 1}]})
    path = tmp_path / "a.pkl"
    path.write_bytes(raw[:int(share * len(raw))])
    with pytest.raises(ValueError, match=r"a\.pkl cannot be loaded as a pickle"):
        pickles.load(path)


@USES_TMP_PATH
@given(raw=st.binary(max_size=200))
def test_any_bytes_load_or_are_refused(tmp_path, raw):
    path = tmp_path / "a.pkl"
    path.write_bytes(raw)
    try:
        pickles.load(path)
    except ValueError:
        return


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        pickles.load(tmp_path / "none.pkl")
