"""Stages in threads: order, drops, errors, Ctrl-C; nothing hangs."""

import _thread
import functools
import itertools
import os
import sys
import threading
import time

import pytest

from ptl_skel.live.pipeline import Pipeline, Stage


def run(source, *works, newest=False, close=lambda: None):
    stages = [Stage(str(place), work) for place, work in enumerate(works)]
    pipeline = Pipeline(source, stages, newest=newest, close=close)
    pipeline.run()
    return pipeline


@pytest.fixture(autouse=True)
def no_threads_are_left():
    before = threading.active_count()
    yield
    until = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_all_items_pass_in_order_where_none_may_be_dropped():
    seen = []

    def slow(item):
        time.sleep(0.002)
        seen.append(item)

    pipeline = run(range(50), lambda item: item + 1, lambda item: item * 2, slow)
    assert seen == [2 * (item + 1) for item in range(50)]
    assert pipeline.dropped == [0, 0]
    assert all(len(stage.seconds) == 50 for stage in pipeline.stages)


def test_the_newest_item_wins_and_drops_are_counted():
    seen = []

    def source():
        for item in range(60):
            time.sleep(0.002)
            yield item

    def slow(item):
        time.sleep(0.02)
        seen.append(item)

    pipeline = run(source(), lambda item: item, slow, newest=True)
    assert seen == sorted(seen)
    assert seen[-1] == 59
    assert len(seen) < 40
    assert pipeline.dropped == [60 - len(seen)]


def test_stages_overlap():
    def wait(item):
        time.sleep(0.02)
        return item

    started = time.monotonic()
    run(range(20), wait, wait, wait)
    assert time.monotonic() - started < 0.9  # one after the other it would take 1.2 s


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_error_in_a_stage_ends_all_and_is_raised(place):
    def work(item, own):
        if own == place and item == 5:
            raise ZeroDivisionError("in a stage")
        return item

    with pytest.raises(ZeroDivisionError, match="in a stage"):
        run(itertools.count(), *(functools.partial(work, own=own) for own in range(3)))


def test_an_error_of_the_source_lets_the_others_finish():
    seen = []

    def source():
        yield from range(10)
        raise OSError("the cable was pulled")

    def slow(item):
        time.sleep(0.01)
        seen.append(item)

    with pytest.raises(OSError, match="cable"):
        run(source(), lambda item: item, slow)
    assert seen == list(range(10))


def test_ctrl_c_closes_the_source_and_finishes_what_was_read():
    seen, read, closed = [], [], threading.Event()

    def source():
        for item in iter(lambda: len(read), -1):
            if closed.is_set():
                return
            read.append(item)
            if item == 10:
                threading.Timer(0.05, _thread.interrupt_main).start()
            time.sleep(0.005)
            yield item

    def slow(item):
        time.sleep(0.01)
        seen.append(item)

    with pytest.raises(KeyboardInterrupt):
        run(source(), lambda item: item, slow, close=closed.set)
    assert closed.is_set()
    assert len(read) - 2 <= len(seen) <= len(read)  # one may have been read, but not handed on
    assert seen == list(range(len(seen)))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux assigns threads to cores")
class TestCores:
    @staticmethod
    def cores_of_stages(monkeypatch, available, *, own_core):
        own = sorted(os.sched_getaffinity(0))
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(available))
        assigned = {}
        monkeypatch.setattr(os, "sched_setaffinity",
                            lambda thread, cores: assigned.update({thread: cores}))
        threads = {}

        def work(name, item):
            threads[name] = threading.get_native_id()
            return item

        stages = [Stage(name, functools.partial(work, name), own_core=own_core and name == "pose")
                  for name in ("decode", "pose", "recognise")]
        Pipeline(range(3), stages, newest=False, close=lambda: None).run()
        monkeypatch.undo()
        assert sorted(os.sched_getaffinity(0)) == own
        return [assigned.get(threads[stage.name]) for stage in stages]

    def test_of_two_cores_a_stage_may_have_one(self, monkeypatch):
        assert self.cores_of_stages(monkeypatch, [3, 5], own_core=True) == [{5}, {3}, {5}]

    @pytest.mark.parametrize(("available", "own_core"), [
        ([3, 5], False), ([3], True), ([0, 1, 2], True)])
    def test_otherwise_the_system_places_them(self, monkeypatch, available, own_core):
        assert self.cores_of_stages(monkeypatch, available, own_core=own_core) == [None] * 3
