"""Segments from predictions over time, by hand."""

import csv
import io
import json

import numpy as np
import pytest

from ptl_skel.errors import UserError
from ptl_skel.live.labels import Labels, Threshold
from ptl_skel.live.people import FramePredictions
from ptl_skel.live.segments import Rules, Segment, Tracks, find_segments, to_csv, to_json
from ptl_skel.live.timeline import draw_timeline, format_time

NAMES = ["run", "jump"]


def predictions(*runs, every=1.0):
    """Times and probabilities of predictions from pairs: probability of run, number of them."""
    run = np.concatenate([[value] * count for value, count in runs])
    return every * np.arange(len(run)), np.stack([run, 1 - run], 1)


def found(times, probabilities, seen=None, **rules):
    rules = Rules(Threshold(0.6), **{"gap": 0, "shortest": 0, **rules})
    return [(each.label, each.start, each.end) for each in find_segments(
        times, probabilities, seen or (times[0], times[-1]), NAMES, rules)]


def test_a_segment_extends_to_the_middle_between_two_predictions():
    assert found(*predictions((0.9, 3), (0.1, 2))) == [("run", 0, 2.5), ("jump", 2.5, 4)]


def test_the_first_and_last_segments_extend_to_when_the_person_was_seen():
    assert found(*predictions((0.9, 3)), seen=(-1, 5)) == [("run", -1, 5)]


def test_a_label_starts_above_the_threshold_and_is_kept_a_little_below_it():
    assert found(*predictions((0.55, 3))) == []
    assert found(*predictions((0.9, 2), (0.5, 3))) == [("run", 0, 4)]  # 0.5 is above 0.7 * 0.6
    assert found(*predictions((0.9, 2), (0.55, 1), (0.9, 2), (0.1, 1))) == [
        ("run", 0, 4.5), ("jump", 4.5, 5)]


def test_short_segments_are_dropped_and_their_neighbours_merged():
    times, probabilities = predictions((0.9, 4), (0.1, 1), (0.9, 4))
    assert len(found(times, probabilities)) == 3
    assert found(times, probabilities, shortest=1.5) == [("run", 0, 3.5), ("run", 4.5, 8)]
    assert found(times, probabilities, shortest=1.5, gap=1) == [("run", 0, 8)]


def test_the_probability_is_the_mean_over_the_segment():
    times, probabilities = predictions((0.9, 1), (0.7, 1))
    segment, = find_segments(times, probabilities, (0, 1), NAMES, Rules(Threshold(0.6)))
    assert segment.probability == pytest.approx(0.8)


def test_a_prediction_for_the_last_seconds_counts_for_their_middle():
    tracks = Tracks(span=4)
    numbers = np.array([7])
    for time in range(11):
        run = 0.9 if time < 6 else 0.1
        tracks.add(time, FramePredictions(numbers, {7: np.array([run, 1 - run])}, time > 0))
    run, jump = tracks.segments(NAMES, Rules(Threshold(0.6)))
    assert (run.person, run.start, run.label) == (7, 0, "run")
    assert run.end == jump.start == 3.5  # predictions at 5 and 6 s are for 1 to 5 and 2 to 6 s
    assert jump.end == 10


def test_each_person_has_own_segments_and_a_scene_has_no_number():
    tracks = Tracks(span=0)
    sure = np.array([0.9, 0.1])
    for time in range(4):
        tracks.add(time, FramePredictions(np.array([0, -1, 3]), {0: sure, 3: sure[::-1]}, True))
    assert {(each.person, each.label) for each in tracks.segments(NAMES, Rules(Threshold()))} == {
        (0, "run"), (3, "jump")}
    scene = Tracks(span=0)
    for time in range(4):
        scene.add(time, FramePredictions(np.array([0, 3]), {None: sure}, True))
    assert [each.person for each in scene.segments(NAMES, Rules(Threshold()))] == [None]


@pytest.mark.parametrize("span", [4, 0])  # 0: a causal network
@pytest.mark.parametrize("who", [3, None])
def test_a_segment_ends_where_the_person_leaves_or_the_scene_is_empty(who, span):
    tracks = Tracks(span)
    for time in np.arange(0, 80, 0.5):
        numbers = np.array([] if 10 <= time < 70 else [3], np.int64)
        known = not 11 <= time < 70  # a person who is hidden for a second is not forgotten yet
        probabilities = {who: np.array([0.9, 0.1])} if known else {}
        tracks.add(time, FramePredictions(numbers, probabilities, True))

    def spans(gap):
        return [(each.person, each.label, each.start, each.end)
                for each in tracks.segments(NAMES, Rules(Threshold(), gap=gap))]

    assert spans(0.5) == [(who, "run", 0, 9.5), (who, "run", 70, 79.5)]
    assert spans(61) == [(who, "run", 0, 79.5)]


@pytest.mark.parametrize("who", [3, None])
def test_a_prediction_that_comes_after_a_short_stay_counts(who):
    tracks = Tracks(span=0)
    for time in np.arange(0, 3, 0.25):
        numbers = np.array([3] if time < 1 else [], np.int64)
        probabilities = {who: np.array([0.9, 0.1])} if 1 <= time < 2 else {}
        tracks.add(time, FramePredictions(numbers, probabilities, True))
    segments = tracks.segments(NAMES, Rules(Threshold(), shortest=0))
    assert [(each.start, each.end) for each in segments] == [(0, 0.75) if who == 3 else (1, 1)]


def test_csv_and_json_hold_the_same():
    segments = [Segment(0, 1.25, 3.5, "run", 0.75), Segment(None, 2.0, 4.0, "a, b", 0.5)]
    rows = list(csv.DictReader(io.StringIO(to_csv(segments))))
    assert rows[0] == {"person": "0", "start": "1.25", "end": "3.5", "label": "run",
                       "probability": "0.75"}
    assert (rows[1]["person"], rows[1]["label"]) == ("", "a, b")
    held = json.loads(to_json(segments, video="x.mp4"))
    assert held["video"] == "x.mp4"
    assert held["segments"][1] == {"person": None, "start": 2.0, "end": 4.0, "label": "a, b",
                                   "probability": 0.5}


def test_the_timeline_has_a_row_for_each_person(tmp_path):
    segments = [Segment(0, 1.25, 3.5, "run", 0.75), Segment(4, 2.0, 4.0, "jump", 0.5)]
    figure = draw_timeline(segments, 5, "x.mp4")
    assert [each.get_text() for each in figure.axes[0].get_yticklabels()] == ["person 0",
                                                                             "person 4"]
    draw_timeline([], 0, "nobody").savefig(tmp_path / "nobody.png")


@pytest.mark.parametrize(("seconds", "longest", "text"), [
    (2.5, 10, "2.5 s"), (2, 10, "2.0 s"), (75, 600, "1:15"), (3725, 7200, "1:02:05")])
def test_format_time(seconds, longest, text):
    assert format_time(seconds, longest) == text


@pytest.mark.parametrize(("rules", "named"), [({"gap": -1}, "--gap"),
                                              ({"shortest": float("nan")}, "--shortest")])
def test_rules_that_are_out_of_range_are_rejected(rules, named):
    with pytest.raises(UserError, match=named):
        Rules(Threshold(), **rules)


def update(labels, time, run, who=0):
    return labels.update(time, {who: np.array([run, 1 - run], np.float32)})


def test_there_are_events_only_when_a_label_changes_or_a_person_leaves():
    labels = Labels(NAMES, Threshold(0.6), smoothing=0)
    assert update(labels, 0, 0.55) == []  # unknown from the beginning
    event, = update(labels, 1, 0.9)
    assert event == {"time": 1, "person": 0, "event": "label", "label": "run", "probability": 0.9}
    assert update(labels, 2, 0.8) == []
    assert update(labels, 3, 0.1)[0]["label"] == "jump"
    assert labels.show()[0].earlier == ("run",)
    event, = labels.update(4, {})
    assert (event["event"], event["label"], event["person"]) == ("left", None, 0)
    assert labels.show() == {}


def test_earlier_labels_do_not_repeat_each_other_or_the_current_one():
    labels = Labels(NAMES, Threshold(0.8), smoothing=0)
    shown = []
    for time, run in enumerate([0.9, 0.5, 0.9, 0.5, 0.1, 0.5]):
        update(labels, time, run)
        label = labels.show()[0]
        shown.append((label.name, *label.earlier))
    assert shown == [("run",), (None, "run"), ("run",), (None, "run"), ("jump", "run"),
                     (None, "jump", "run")]


def test_smoothing_delays_a_change():
    times = np.arange(0, 3, 0.1)
    changed = {}
    for smoothing in (0, 0.5):
        labels = Labels(NAMES, Threshold(0.6), smoothing)
        events = [event for time in times
                  for event in update(labels, time, 0.95 if time < 1 else 0)]
        changed[smoothing] = events[-1]["time"]
        assert [event["label"] for event in events if event["label"]] == NAMES
    assert changed[0] == 1
    assert 1.3 < changed[0.5] < 1.7  # (1 - exp(-t / 0.5)) passes 0.6 at about half a second
