"""What Argo CD, Flux and kstatus make of runs, by their own code, over objects of real runs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from gitops_judges import FLUX, KIT, UPSTREAM, Verdict, actions, judge
from headway_api.vocabulary import Phase

SAMPLES = sorted((UPSTREAM / "testdata").glob("*.yaml"))
HEALTH_TESTS = yaml.safe_load((UPSTREAM / "health_test.yaml").read_text())["tests"]
KSTATUS = {
    "Healthy": "Current",
    "Progressing": "InProgress",
    "Degraded": "Failed",
    "Suspended": "InProgress",
}


@pytest.fixture(scope="module")
def samples() -> dict[str, dict[str, Any]]:
    return {file.stem: yaml.safe_load(file.read_text()) for file in SAMPLES}


@pytest.fixture(scope="module")
def verdicts(samples) -> dict[str, Verdict]:
    return dict(zip(samples, judge(samples.values()), strict=True))


@pytest.mark.parametrize("case", HEALTH_TESTS, ids=lambda case: case["inputPath"])
def test_argo_cd_sees_what_its_own_test_file_says(verdicts, case):
    told = verdicts[case["inputPath"].removeprefix("testdata/").removesuffix(".yaml")]
    assert told.argo == case["healthStatus"]["status"]
    assert told.argo_message == case["healthStatus"]["message"]


def test_every_sample_is_in_argo_cds_test_file():
    assert sorted(f"testdata/{f.name}" for f in SAMPLES) == sorted(
        case["inputPath"] for case in HEALTH_TESTS
    )


@pytest.mark.parametrize("name", [file.stem for file in SAMPLES])
def test_flux_and_kstatus_agree_with_argo_cd(verdicts, name):
    told = verdicts[name]
    assert told.flux == told.kstatus == KSTATUS[told.argo]


@pytest.mark.parametrize("name", ["failed", "cancelled"])
def test_kstatus_carries_the_message_of_a_bad_end(samples, verdicts, name):
    assert verdicts[name].kstatus_message == samples[name]["status"]["message"] != ""


@pytest.mark.parametrize("name", ["succeeded", "failed", "cancelled"])
def test_an_end_counts_only_for_the_generation_that_it_is_about(samples, name):
    newer = copy.deepcopy(samples[name])
    newer["metadata"]["generation"] += 1
    [told] = judge([newer])
    assert (told.argo, told.flux, told.kstatus) == ("Progressing", "InProgress", "InProgress")


ENDS = {"Succeeded": "Healthy", "Failed": "Degraded", "Cancelled": "Degraded"}


@pytest.mark.parametrize("phase", [*Phase, "Somewhere"])
def test_every_phase_is_judged_and_one_of_a_later_version_is_on_its_way(samples, phase):
    argo = {**ENDS, "Suspended": "Suspended"}.get(phase, "Progressing")
    # The sample whose conditions are those of such a phase: kstatus reads nothing else.
    sample = phase.lower() if phase in ENDS else "running"
    found = copy.deepcopy(samples[sample])
    found["status"]["phase"] = phase
    [told] = judge([found])
    assert (told.argo, told.flux, told.kstatus) == (argo, KSTATUS[argo], KSTATUS[argo])


def test_without_the_status_that_the_api_server_gives_only_argo_cd_would_wait(samples):
    assert samples["unseen"]["status"] == {"observedGeneration": 0}
    [told] = judge([{k: v for k, v in samples["unseen"].items() if k != "status"}])
    assert (told.argo, told.flux, told.kstatus) == ("Progressing", "Error", "Current")


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("unseen", {"cancel", "suspend"}),
        ("running", {"cancel", "suspend"}),
        ("suspended", {"cancel", "resume"}),
        ("cancel-unseen", set()),
        ("cancelling", set()),
        ("succeeded", set()),
        ("failed", set()),
        ("cancelled", set()),
    ],
)
def test_argo_cd_offers_what_can_be_done(verdicts, name, offered):
    assert verdicts[name].offered == offered


@pytest.mark.parametrize(
    ("name", "action", "changes"),
    [
        ("running", "cancel", {"cancel": True, "cancelReason": "cancelled from Argo CD"}),
        ("running", "suspend", {"suspend": True}),
        ("suspended", "resume", {"suspend": None}),
    ],
)
def test_an_action_changes_nothing_but_its_switch(samples, verdicts, name, action, changes):
    before, after = samples[name], verdicts[name].after[action]
    wanted = {**before["spec"], **changes}
    assert after["spec"] == {k: v for k, v in wanted.items() if v is not None}
    assert after["metadata"] == before["metadata"]


def test_argocd_cm_carries_the_same_scripts():
    data = yaml.safe_load((KIT / "argocd" / "argocd-cm.yaml").read_text())["data"]
    where = "resource.customizations.{}.headway.dev_TrainingOperation"
    told = yaml.safe_load(data[where.format("actions")])
    assert data[where.format("health")] == (UPSTREAM / "health.lua").read_text()
    assert told["discovery.lua"] == (UPSTREAM / "actions" / "discovery.lua").read_text()
    scripts = {action["name"]: action["action.lua"] for action in told["definitions"]}
    assert scripts == {name: file.read_text() for name, file in actions().items()}


def test_the_flux_kustomization_prunes_and_never_forces():
    spec = yaml.safe_load(FLUX.read_text())["spec"]
    assert spec["prune"] is True
    assert spec["force"] is False
    assert (KIT.parent / spec["path"]).is_dir()
