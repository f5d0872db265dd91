"""Every rule of the resource, on a real API server: what is refused, and in which words."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from kubectl import Kubectl, operation

CRD = Path(__file__).parents[2] / "crds" / "trainingoperations.headway.dev.yaml"
STRATEGY = {"inline": {"name": "s", "indicators": [{"name": "rsi"}], "model": {"type": "mlp"}}}
TRAINING = {"strategy": STRATEGY, "symbols": ["AAPL"], "timeframes": ["1d"]}
DATA = {"symbols": ["AAPL"], "timeframes": ["1d"]}
WHY = "what runs cannot be changed: delete the operation, or make a new one"


@pytest.fixture
def resource(bare_kubectl) -> Kubectl:
    """A namespace of a cluster that knows the resource; Headway need not run."""
    bare_kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD))
    bare_kubectl.established()
    return bare_kubectl


def told(kubectl: Kubectl, manifest: dict[str, Any]) -> str:
    """Why the API server refuses an object; empty where it takes it. Nothing is made."""
    command = ("apply", "--dry-run=server", "-f", "-")
    done = kubectl.run(*command, stdin=json.dumps(manifest), check=False)
    return done.stderr if done.returncode else ""


def dummy(name="a", **spec: Any) -> dict[str, Any]:
    return operation(name, "Dummy", **{"dummy": {}, **spec})


def custom(**member: Any) -> dict[str, Any]:
    return operation("a", "Custom", custom=member)


def claim(**template: Any) -> dict[str, Any]:
    return dummy(storage={"claimTemplate": {"size": "1Gi", **template}})


ACCEPTED = {
    "the shortest": dummy(),
    "a training": operation("a", "Training", training=TRAINING),
    "a data load": operation("a", "DataLoad", dataLoad=DATA),
    "data of one day": operation(
        "a", "DataLoad", dataLoad={**DATA, "startDate": "2024-01-01", "endDate": "2024-01-01"}
    ),
    "an entrypoint": custom(entrypoint="package.module:Class.method", parameters={"a": None}),
    "a command": custom(command=["true"], args=["x"]),
    "args alone": custom(args=["x"]),
    "the longest name": dummy("a" * 45),
    "quantities": dummy(
        resources={"limits": {"cpu": 4, "memory": "1.5Gi", "example.com/gpu": "1"}},
        storage={"emptyDir": {"sizeLimit": "1e9"}},
    ),
    "a claim": claim(accessModes=["ReadWriteMany"]),
    "a path": dummy(
        checkpoint={"resumeFrom": "0a1b/a2..3"},
        storage={"existingClaim": {"claimName": "c", "subPath": "a/b..c"}},
    ),
    "a leap day": operation("a", "DataLoad", dataLoad={**DATA, "startDate": "2024-02-29"}),
}


def test_what_is_right_is_accepted(resource):
    refused = {name: why for name, m in ACCEPTED.items() if (why := told(resource, m))}
    assert refused == {}


def days(start: str, end: str) -> dict[str, Any]:
    return {"startDate": start, "endDate": end}


REFUSED = {
    "a name that is too long": (dummy("a" * 46), "the name must be at most 45 characters"),
    "a name that begins with a digit": (dummy("1a"), "begin with a letter"),
    "a name with a dot": (dummy("a.b"), "the name must be at most 45 characters of a-z, 0-9"),
    "no spec": ({**dummy(), "spec": None}, "spec"),
    "no member": (
        operation("a", "Dummy"),
        "type Dummy needs the member struct dummy, and none of training, dataLoad, custom",
    ),
    "another member": (
        operation("a", "Training", dummy={}),
        "type Training needs the member struct training",
    ),
    "two members": (
        operation("a", "DataLoad", dataLoad=DATA, dummy={}),
        "type DataLoad needs the member struct dataLoad, and none of training, dummy, custom",
    ),
    "a reason without a cancel": (
        dummy(cancelReason="why"),
        "cancelReason goes with cancel: true",
    ),
    "a strategy from nowhere": (
        operation("a", "Training", training={**TRAINING, "strategy": {}}),
        "set exactly one of inline and configMapKeyRef",
    ),
    "days in the wrong order": (
        operation("a", "Training", training={**TRAINING, **days("2024-02-01", "2024-01-01")}),
        "startDate must not be after endDate",
    ),
    "days of data in the wrong order": (
        operation("a", "DataLoad", dataLoad={**DATA, **days("2024-01-02", "2024-01-01")}),
        "startDate must not be after endDate",
    ),
    "a day that there is not": (
        operation("a", "DataLoad", dataLoad={**DATA, "startDate": "2023-02-29"}),
        "must be of type date",
    ),
    "an empty custom": (custom(), "set either entrypoint (with parameters) or command and args"),
    "entrypoint and command": (
        custom(entrypoint="a:b", command=["true"]),
        "set either entrypoint (with parameters) or command and args, not both",
    ),
    "parameters of a command": (
        custom(command=["true"], parameters={"a": 1}),
        "parameters go with entrypoint; a command takes args",
    ),
    "a closure": (custom(entrypoint="a:f.<locals>.g"), "spec.custom.entrypoint"),
    "two volumes": (
        dummy(storage={"emptyDir": {}, "existingClaim": {"claimName": "c"}}),
        "set exactly one of existingClaim, claimTemplate and emptyDir",
    ),
    "no volume": (dummy(storage={}), "set exactly one of existingClaim, claimTemplate"),
    "a size in words": (claim(size="big"), "spec.storage.claimTemplate.size"),
    "less than nothing": (claim(size="-1Gi"), "spec.storage.claimTemplate.size"),
    "an odd access mode": (claim(accessModes=["ReadWrite"]), 'supported values: "ReadWriteOnce"'),
    "resources in words": (
        dummy(resources={"limits": {"memory": "8 GB"}}),
        "spec.resources.limits.memory",
    ),
    "a way out of the workspace": (
        dummy(checkpoint={"resumeFrom": "a/../../b"}),
        "resumeFrom is a path in the workspace: it may not contain '..'",
    ),
    "a way out of the volume": (
        dummy(storage={"existingClaim": {"claimName": "c", "subPath": ".."}}),
        "subPath is a path in the volume: it may not contain '..'",
    ),
    "a path from the root": (dummy(checkpoint={"resumeFrom": "/a"}), "spec.checkpoint.resumeFrom"),
    "a queue that no label can name": (dummy(queueName="q" * 64), "spec.queueName"),
    "no workers": (dummy(workers=0), "greater than or equal to 1"),
    "a negative grace": (dummy(cancelGracePeriodSeconds=-1), "greater than or equal to 0"),
    "no time at all": (dummy(activeDeadlineSeconds=0), "greater than or equal to 1"),
    "a stall after a second": (dummy(progressDeadlineSeconds=1), "greater than or equal to 10"),
    "a negative retry": (dummy(retryPolicy={"limit": -1}), "greater than or equal to 0"),
    "keeping nothing": (dummy(checkpoint={"keep": 0}), "greater than or equal to 1"),
    "a place that there is not": (dummy(placement="Moon"), 'supported values: "Cluster", "Host"'),
    "an unknown field": (dummy(cancle=True), 'unknown field "spec.cancle"'),
}


def test_what_is_wrong_is_refused_in_words_that_say_why(resource):
    wrong = {}
    for name, (manifest, words) in REFUSED.items():
        said = told(resource, manifest)
        if words not in said:
            wrong[name] = said or "accepted"
    assert wrong == {}


FIXED: dict[str, tuple[Any, Any]] = {
    "image": ("a:1", "a:2"),
    "resources": ({"limits": {"cpu": 1}}, {"limits": {"cpu": 2}}),
    "workers": (1, 2),
    "placement": ("Cluster", "Host"),
    "queueName": ("a", "b"),
    "storage": ({"emptyDir": {}}, {"existingClaim": {"claimName": "c"}}),
    "checkpoint": ({"keep": 1}, {"keep": 2}),
    "podTemplate": ({"spec": {"nodeName": "a"}}, {"spec": {"nodeName": "b"}}),
    "custom": (
        {"entrypoint": "a:b", "parameters": {"deep": {"n": 1}}},
        {"entrypoint": "a:b", "parameters": {"deep": {"n": 2}}},
    ),
}
OPTIONAL = ("image", "resources", "queueName", "storage", "checkpoint", "podTemplate")


def test_what_runs_can_be_neither_changed_nor_added_nor_taken_away(resource):
    first = {name: before for name, (before, _) in FIXED.items()}
    # Suspended, so that nothing runs where Headway is installed.
    made = operation("fixed", "Custom", suspend=True, **first)
    bare = operation("bare", "Custom", suspend=True, custom=first["custom"])
    resource.apply_by_hand(made, bare)
    wrong = {}
    for name, (before, after) in FIXED.items():
        tries = {f"change {name}": (made, {name: after})}
        if name in OPTIONAL:
            tries[f"remove {name}"] = (made, {name: None})
            tries[f"add {name}"] = (bare, {name: before})
        for what, (of, change) in tries.items():
            said = told(resource, changed(of, **change))
            if f"{name} is immutable; {WHY}" not in said:
                wrong[what] = said or "accepted"
    assert wrong == {}
    another = changed(made, type="Dummy", custom=None, dummy={})
    assert f"type is immutable; {WHY}" in told(resource, another)


def changed(manifest: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """The manifest with other fields in its spec; None leaves one out."""
    out = copy.deepcopy(manifest)
    for name, value in spec.items():
        if value is None:
            out["spec"].pop(name, None)
        else:
            out["spec"][name] = value
    return out


def test_limits_and_switches_can_be_changed(resource):
    made = dummy("limits", suspend=True)
    resource.apply(made)
    for change in (
        {"cancelGracePeriodSeconds": 5},
        {"activeDeadlineSeconds": 50},
        {"progressDeadlineSeconds": 50},
        {"ttlSecondsAfterFinished": 0},
        {"retryPolicy": {"limit": 3}},
        {"suspend": None},
        {"cancel": True, "cancelReason": "why"},
    ):
        assert told(resource, changed(made, **change)) == ""


@pytest.mark.parametrize("cancel", ["false", "null"])
def test_a_cancel_is_for_good(resource, cancel):
    resource.apply(dummy("stopped", suspend=True, cancel=True))
    done = patched(resource, "stopped", f'{{"spec":{{"cancel":{cancel}}}}}')
    assert "a cancel cannot be taken back; make a new operation to run again" in done


def patched(kubectl: Kubectl, name: str, patch: str, *more: str) -> str:
    """Why a merge patch is refused; empty where it was taken."""
    command = ("patch", "trainop", name, "--type=merge", *more, "-p", patch)
    done = kubectl.run(*command, check=False)
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("final", ["Succeeded", "Failed", "Cancelled"])
def test_a_final_phase_stays_and_an_attempt_never_falls(resource, final):
    status = "--subresource=status"
    resource.apply(dummy("over", suspend=True))
    assert patched(resource, "over", '{"status":{"attempt":3}}', status) == ""
    for fallen in ('{"attempt":2}', '{"attempt":null}'):
        said = patched(resource, "over", f'{{"status":{fallen}}}', status)
        assert "status.attempt never falls" in said
    assert patched(resource, "over", f'{{"status":{{"phase":"{final}"}}}}', status) == ""
    other = "Failed" if final != "Failed" else "Succeeded"
    for change in ('{"phase":"Running"}', f'{{"phase":"{other}"}}', '{"phase":null}', "null"):
        said = patched(resource, "over", f'{{"status":{change}}}', status)
        assert "a final phase never changes" in said, (change, said)
