from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.datasets.ntu.bodies import choose_persons, split_by_id


class Scene:
    """Observations of bodies, frame by frame as a file has them."""

    def __init__(self, **bodies):
        seen = [(frame, name, joints) for name, (frames, places) in bodies.items()
                for frame, joints in zip(frames, places, strict=True)]
        seen.sort(key=lambda one: one[0])
        self.frame = np.array([frame for frame, _, _ in seen])
        self.names = [name for _, name, _ in seen]
        self.xyz = np.array([joints for _, _, joints in seen])

    def persons(self, ids=None):
        """For each person the name and the frame of what is taken, in order of time."""
        numbers = ids or {name: i for i, name in enumerate(dict.fromkeys(self.names))}
        bodies = split_by_id(np.array([numbers[name] for name in self.names]))
        return [sorted((int(self.frame[row]), self.names[row]) for row in rows)
                for rows in choose_persons(bodies, self.frame, self.xyz)]


def walk(first, last, *, step=0.05, width=0.5, height=1.7, start=0.0):
    """A body in frames ``first`` to ``last`` that moves aside by ``step`` metres a frame."""
    frames = range(first, last + 1)
    shape = np.stack((np.linspace(-width / 2, width / 2, 25), np.linspace(height, 0, 25),
                      np.full(25, 3.0)), 1)
    return frames, [shape + np.array((start + step * i, 0, 0)) for i in range(len(frames))]


def seen(name, first, last):
    return [(frame, name) for frame in range(first, last + 1)]


def test_one_body():
    assert Scene(a=walk(0, 19)).persons() == [seen("a", 0, 19)]


@pytest.mark.parametrize("one", [walk(0, 2), walk(0, 30, width=3, height=0.5)])
def test_a_single_body_counts_even_if_short_or_wide(one):
    assert len(Scene(a=one).persons()[0]) == len(one[0])


def test_two_bodies_the_one_that_moves_more_first():
    scene = Scene(a=walk(0, 19, step=0.02), b=walk(0, 19, step=0.05))
    assert scene.persons() == [seen("b", 0, 19), seen("a", 0, 19)]


@pytest.mark.parametrize(("frames", "persons"), [(11, 1), (12, 2)])
def test_a_ghost_is_seen_in_few_frames(frames, persons):
    scene = Scene(a=walk(0, 29), ghost=walk(5, 4 + frames, step=1))
    assert len(scene.persons()) == persons


def test_a_short_body_leaves_a_wide_one_alone():
    """Of two bodies, dropping the short one leaves a single one: it is not judged."""
    assert Scene(a=walk(0, 29, width=3), b=walk(0, 3)).persons() == [seen("a", 0, 29)]


def test_a_body_that_leaves_and_returns_under_a_new_id():
    scene = Scene(a=walk(0, 19), b=walk(24, 49))
    assert scene.persons() == [seen("a", 0, 19) + seen("b", 24, 49)]


def test_the_second_person_leaves_and_returns_under_a_new_id():
    scene = Scene(a=walk(0, 59), b=walk(0, 14), c=walk(20, 59, step=0.02))
    assert scene.persons() == [seen("a", 0, 59), seen("b", 0, 14) + seen("c", 20, 59)]


def test_three_bodies_of_which_one_is_furniture():
    scene = Scene(chair=walk(0, 29, step=1, width=1.2, height=0.9),
                  a=walk(0, 29, step=0.05), b=walk(0, 29, step=0.02))
    assert scene.persons() == [seen("a", 0, 29), seen("b", 0, 29)]


def test_of_three_persons_the_one_that_moves_least_is_dropped():
    scene = Scene(a=walk(0, 29, step=0.01), b=walk(0, 29, step=0.03), c=walk(0, 29, step=0.02))
    assert scene.persons() == [seen("b", 0, 29), seen("c", 0, 29)]


def test_ids_that_swap():
    """Bodies are followed by ID, so what stands under an ID is one person."""
    (frames, left), (_, right) = walk(0, 29, start=-1), walk(0, 29, step=0.02, start=1)
    scene = Scene(a=(frames, left[:15] + right[15:]), b=(frames, right[:15] + left[15:]))
    assert sorted(scene.persons()) == [seen("a", 0, 29), seen("b", 0, 29)]


def test_a_gap_inside_a_body_belongs_to_it():
    frames, places = walk(0, 49)
    kept = [i for i in frames if not 15 <= i < 35]
    scene = Scene(a=(kept, [places[i] for i in kept]), b=walk(18, 32, step=0.01))
    assert len(scene.persons()) == 2
    assert scene.persons()[1] == seen("b", 18, 32)


@pytest.mark.parametrize(("meets", "persons"), [(19, 2), (20, 1)])
def test_times_meet_when_they_share_a_frame(meets, persons):
    assert len(Scene(a=walk(0, 19), b=walk(meets, 39)).persons()) == persons


@pytest.mark.parametrize(("wide", "is_noise"), [(697, False), (698, True)])
def test_a_body_that_is_wide_too_often_is_noise(wide, is_noise):
    """The limit is 69.754 % of its frames; of 1000 frames 698 are more."""
    frames, places = walk(0, 999, step=0, width=0.5, height=1)
    wide_places = walk(0, 999, step=0, width=0.9, height=1)[1]
    scene = Scene(a=(frames, wide_places[:wide] + places[wide:]), b=walk(0, 999))
    assert len(scene.persons()) == (1 if is_noise else 2)


@pytest.mark.parametrize(("width", "is_noise"), [(0.79, False), (0.81, True)])
def test_wide_means_above_0_8_of_the_height(width, is_noise):
    scene = Scene(a=walk(0, 19, width=width, height=1), b=walk(0, 19))
    assert len(scene.persons()) == (1 if is_noise else 2)


def test_motion_is_that_of_the_frames_that_are_not_wide():
    frames, places = walk(0, 29, step=0)
    wide = walk(0, 29, step=0.5, width=2)[1]
    jumpy = frames, [w if i % 3 == 0 else p
                     for i, (p, w) in enumerate(zip(places, wide, strict=True))]
    scene = Scene(a=jumpy, b=walk(0, 29, step=0.02))
    assert scene.persons() == [seen("b", 0, 29), seen("a", 0, 29)]


def test_joints_that_are_not_finite_count_for_nothing():
    frames, places = walk(0, 29, step=0.05)
    for joints in places:
        joints[4] = (np.nan, 50, np.inf)
    scene = Scene(a=(frames, places), b=walk(0, 29, step=0.02))
    assert scene.persons() == [seen("a", 0, 29), seen("b", 0, 29)]
    nowhere = np.full((25, 3), np.nan)
    scene = Scene(a=(frames, [nowhere] * 30), b=walk(0, 29, step=0.02))
    assert scene.persons() == [seen("b", 0, 29), seen("a", 0, 29)]


def test_nobody_is_left():
    with pytest.raises(ValueError, match="several bodies, each seen in at most 11 frames"):
        Scene(a=walk(0, 5), b=walk(3, 10)).persons()
    with pytest.raises(ValueError, match="all bodies are wider than people"):
        Scene(a=walk(0, 20, width=3), b=walk(0, 20, width=3)).persons()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(12, 30), st.floats(0.001, 0.1)),
                min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_whatever_appears(bodies, random):
    """At most two persons, nobody in two places at once, and it is not the IDs that decide."""
    names = [f"body{i}" for i in range(len(bodies))]
    scene = Scene(**{name: walk(first, first + length - 1, step=step)
                     for name, (first, length, step) in zip(names, bodies, strict=True)})
    persons = scene.persons()
    assert 1 <= len(persons) <= 2
    taken = [one for person in persons for one in person]
    assert len(set(taken)) == len(taken)
    for person in persons:
        frames = [frame for frame, _ in person]
        assert len(set(frames)) == len(frames)
    whole = [name for name in names if any(name == one for _, one in taken)]
    assert len(taken) == sum(scene.names.count(name) for name in whole)
    ids = random.sample(range(2**56, 2**56 + 100), len(names))
    steps = [step for _, _, step in bodies]
    if len(set(steps)) == len(steps):
        assert scene.persons(dict(zip(names, ids, strict=True))) == persons
