"""Whatever goes wrong in a round, the pod keeps somebody who looks after it."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time

import pytest
from headway_cluster.node.rounds import Rounds
from waiting import eventually


class Turns:
    """Turns that answer one after the other; an exception is raised."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.taken = 0

    def __call__(self):
        self.taken += 1
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def rounds():
    made = []

    def make(turns, stories=()):
        one = Rounds("ns/pod", stories, turns, lambda: False)
        made.append(one)
        return one

    yield make
    for one in made:
        one.end()
        one.rouse()


def taken(turns, count):
    eventually(lambda: turns.taken >= count, within=20, why=f"{count} rounds", every=0.01)


def test_a_time_that_is_months_away_is_slept_for_like_any_other(rounds):
    turns = Turns(time.time() + 100 * 24 * 3600)
    one = rounds(turns)
    one.rouse()
    taken(turns, 1)
    one.rouse()
    taken(turns, 2)


def test_a_round_that_fails_is_taken_again(rounds):
    turns = Turns(OSError("the disk is full"), OSError("still"), None)
    rounds(turns).rouse()
    taken(turns, 3)


def test_a_run_that_cannot_be_looked_at_ends_no_rounds(rounds):
    class Unreadable:
        silent = True
        state = None

        @property
        def under_way(self):
            raise OSError("the disk is full")

    turns = Turns()
    rounds(turns, [Unreadable()]).rouse()
    taken(turns, 3)


def test_a_run_that_cannot_be_listened_to_is_looked_at_now_and_then(rounds):
    class Deaf:
        def state(self):
            return "it runs"

        def open_events(self):
            raise OSError(errno.EMFILE, "Too many open files")

    class Story:
        silent = False
        state = "it runs"
        under_way = Deaf()

    turns = Turns()
    rounds(turns, [Story()]).rouse()
    taken(turns, 3)


def test_where_there_was_no_room_for_a_thread_the_next_news_find_one(rounds, monkeypatch):
    turns = Turns()
    one = rounds(turns)

    def no_room(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_room)
        with pytest.raises(RuntimeError):
            one.rouse()
    one.rouse()
    taken(turns, 1)


def test_where_there_was_no_descriptor_left_the_next_news_find_one(rounds, monkeypatch):
    turns = Turns()
    one = rounds(turns)

    def no_more():
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pipe", no_more)
        with contextlib.suppress(OSError):
            one.rouse()
        time.sleep(0.1)
    one.rouse()
    taken(turns, 1)
