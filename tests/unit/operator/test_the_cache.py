"""What the controller remembers of what watches, reads and its own writes told it."""

from __future__ import annotations

import pytest
from headway_operator.applying import merge_patch, readable
from headway_operator.cache import Cache
from snapshots import NOW, UID, progress, raw_job, raw_operation, raw_pod, report

KEY = "team/run"


@pytest.fixture
def cache():
    return Cache(lambda: NOW)


def at_version(raw, version):
    raw["metadata"]["resourceVersion"] = str(version)
    return raw


def test_an_older_answer_never_replaces_a_newer_one(cache):
    cache.put_operation(at_version(raw_operation(status={"phase": "Running"}), 10))
    cache.put_operation(at_version(raw_operation(status={"phase": "Starting"}), 9))
    assert cache.snapshot(KEY).operation.status.phase == "Running"


def test_what_was_deleted_does_not_come_back_by_a_late_answer(cache):
    cache.put_operation(at_version(raw_operation(), 1))
    cache.drop_operation("team", "run", UID)
    cache.put_operation(at_version(raw_operation(), 2))
    assert cache.snapshot(KEY) is None
    cache.put_pod(raw_pod())
    cache.drop_pod(KEY, "run-a1-00001", "pod-1-1")
    cache.put_pod(at_version(raw_pod(), 5))
    assert not cache.pods_of(KEY)


def test_an_operation_made_anew_under_the_same_name_is_another_one(cache):
    cache.put_operation(at_version(raw_operation(), 10))
    again = at_version(raw_operation(), 3)
    again["metadata"]["uid"] = "another"
    assert cache.put_operation(again)
    cache.drop_operation("team", "run", UID)
    assert cache.uid_of(KEY) == "another"


@pytest.mark.parametrize(
    ("status", "matters"),
    [
        pytest.param({"progress": progress()}, True, id="the first progress of an attempt"),
        pytest.param({"phase": "Running"}, True, id="a phase"),
        pytest.param({"report": report("cancelled")}, True, id="a report"),
        pytest.param({"message": "hello"}, False, id="a message"),
        pytest.param({"history": [{"step": 1}]}, False, id="history"),
    ],
)
def test_a_change_of_the_status_matters_where_a_decision_could_hang_on_it(cache, status, matters):
    cache.put_operation(at_version(raw_operation(), 1))
    assert cache.put_operation(at_version(raw_operation(status=status), 2)) is matters


def test_further_progress_does_not_matter(cache):
    first = progress()
    cache.put_operation(at_version(raw_operation(status={"progress": first}), 1))
    later = {"progress": first | {"step": 2, "sequence": 2}}
    assert not cache.put_operation(at_version(raw_operation(status=later), 2))
    assert cache.snapshot(KEY).operation.status.progress.step == 2


def test_a_change_of_the_spec_matters(cache):
    cache.put_operation(at_version(raw_operation(), 1))
    changed = at_version(raw_operation(cancel=True), 2)
    changed["metadata"]["generation"] = 2
    assert cache.put_operation(changed)


def test_a_snapshot_has_the_job_of_the_attempt_and_the_pods_of_this_very_operation(cache):
    cache.put_operation(raw_operation(status={"attempt": 2}))
    cache.put_job(raw_job(1))
    cache.put_job(raw_job(2))
    cache.put_pod(raw_pod(attempt=2))
    foreign = raw_pod(number=9)
    foreign["metadata"]["labels"]["headway.dev/operation-uid"] = "another"
    cache.put_pod(foreign)
    snapshot = cache.snapshot(KEY)
    assert snapshot.job.attempt == 2
    assert [j.attempt for j in snapshot.stray_jobs] == [1]
    assert [p.attempt for p in snapshot.pods] == [2]


def test_operations_are_counted_by_phase(cache):
    cache.put_operation(raw_operation(status={"phase": "Running"}))
    assert list(cache.phases()) == [("team", "Dummy", "Running")]


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1, "b": 2}, {"a": 1}, {"b": None}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": 1, "y": 3}}, {"a": {"y": 3}}),
        ({"a": {"x": 1}}, {"a": {}}, {"a": {"x": None}}),
        ({"a": [1]}, {"a": [1, 2]}, {"a": [1, 2]}),
    ],
)
def test_a_write_says_only_what_changed(before, after, patch):
    assert merge_patch(before, after) == patch


def test_the_servers_words_are_told_in_terms_of_what_the_user_wrote():
    said = 'Job.batch "run-a1" is invalid: spec.template.spec.containers[0].image: Required value'
    assert readable(said) == "podTemplate.spec.containers[0].image: Required value"
