"""The short form of the benchmark `fuzz`: mutated inputs are refused, or read rightly."""

import warnings
from dataclasses import replace

import pytest
from fuzz import fuzz, read, try_input
from fuzz_compare import compare
from fuzz_inputs import formats

FORMATS = formats()


@pytest.mark.parametrize("name", FORMATS)
def test_mutated_inputs_are_refused_or_read_rightly(name, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fuzz(name, FORMATS[name], range(60), 0, tmp_path / "failures")
    assert found["failed"] == 0, "\n".join(map(str, (tmp_path / "failures").iterdir()))
    assert 0 < found["read"] < 60


@pytest.mark.parametrize("name", FORMATS)
def test_unchanged_inputs_are_read_rightly(name, tmp_path):
    given = FORMATS[name]
    path = tmp_path / given.name
    path.write_bytes(given.dump(given.content) if given.dump else given.content.encode())
    assert try_input(given, path) == "read"


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_read_wrongly_is_noticed(name, tmp_path):
    """Axes, joints, frames and scores that are exchanged or changed, in every format."""
    given = FORMATS[name]
    path = tmp_path / given.name
    path.write_bytes(given.dump(given.content) if given.dump else given.content.encode())
    header, clips = read(given, path)
    parsed = given.parse(path)
    for clip in clips:
        keypoints, scores = clip.keypoints, clip.scores
        wrong = [replace(clip, keypoints=keypoints[..., ::-1]),
                 replace(clip, keypoints=keypoints[:, :, ::-1]),
                 replace(clip, keypoints=keypoints + 1), replace(clip, scores=scores / 2),
                 replace(clip, id=f"{clip.id}s")]
        if keypoints.shape[1] > 1:
            wrong.append(replace(clip, keypoints=keypoints[:, ::-1], scores=scores[:, ::-1]))
            if not parsed[clip.id].chosen:
                wrong.append(replace(clip, keypoints=keypoints[:, 1:], scores=scores[:, 1:]))
        if parsed[clip.id].label is not None and len(header.class_names) > 1:
            wrong.append(replace(clip, label=(clip.label + 1) % len(header.class_names)))
        unnoticed = [i for i, one in enumerate(wrong) if not compare([one], header, parsed)]
        assert not unnoticed


def test_a_file_that_is_read_wrongly_fails(tmp_path):
    given = FORMATS["COCO results"]
    path = tmp_path / given.name
    path.write_bytes(given.dump(given.content))
    header, (clip,) = read(given, path)
    parsed = given.parse(path)
    assert compare([clip], header, parsed) == ""
    moved, hidden = clip.keypoints.copy(), clip.scores.copy()
    moved[0, 1, 3, 0] += 0.1
    hidden[0, 1, 3] = 0
    for wrong in (replace(clip, keypoints=moved), replace(clip, scores=hidden),
                  replace(clip, keypoints=clip.keypoints[:, ::-1]),
                  replace(clip, keypoints=clip.keypoints[:, :2], scores=clip.scores[:, :2]),
                  replace(clip, keypoints=clip.keypoints[..., ::-1]), replace(clip, id="two")):
        assert compare([wrong], header, parsed)
