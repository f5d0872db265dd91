"""One version, written in many places."""

from __future__ import annotations

import difflib
import re
import shutil
import tomllib
from pathlib import Path

import pytest
import versions
import yaml

ROOT = Path(__file__).resolve().parents[3]
NEW = "9.8.7"
PARTS = ("README.md", "pyproject.toml", "uv.lock", "helm/headway/Chart.yaml", "docs", "examples")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Every file that says the version."""
    members = [f"{member}/pyproject.toml" for member in versions.members(ROOT)]
    for part in (*PARTS, *members, str(versions.SOURCE)):
        source, target = ROOT / part, tmp_path / part
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    return tmp_path


def project(root: Path, member: Path) -> dict:
    return tomllib.loads((root / member / "pyproject.toml").read_text())["project"]


def requirements(found: dict) -> list[str]:
    return sum(found.get("optional-dependencies", {}).values(), found["dependencies"])


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_project_says_one_version():
    assert versions.drift(ROOT) == []


def test_a_new_version_reaches_every_place(copy):
    versions.set_version(copy, NEW)
    assert versions.drift(copy) == []
    assert versions.current(copy) == NEW
    names = set()
    for member in versions.members(copy):
        found = project(copy, member)
        names.add(found["name"])
        assert found["version"] == NEW
    for member in versions.members(copy):
        ours = [
            r for r in requirements(project(copy, member)) if re.match(r"[\w-]+", r)[0] in names
        ]
        assert [r for r in ours if not r.endswith(f"=={NEW}")] == []
    chart = yaml.safe_load((copy / "helm/headway/Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (NEW, NEW)
    locked = tomllib.loads((copy / "uv.lock").read_text())["package"]
    assert {p["version"] for p in locked if p["name"] in {*names, "headway-workspace"}} == {NEW}
    assert f"headway/trainer:{NEW}" in (copy / "docs/install.md").read_text()


def test_what_others_wrote_keeps_its_version(copy):
    versions.set_version(copy, NEW)
    before, after = ((r / "uv.lock").read_text().splitlines() for r in (ROOT, copy))
    changed = [line for line in difflib.unified_diff(before, after, n=1) if line[:2] == "+v"]
    assert len(changed) == len(versions.members(copy)) + 1
    for member in versions.members(copy):
        old, new = requirements(project(ROOT, member)), requirements(project(copy, member))
        assert [r for r in old if not r.startswith("headway")] == [
            r for r in new if not r.startswith("headway")
        ]


def test_the_version_that_is_there_changes_nothing(copy):
    assert versions.set_version(copy, versions.current(copy)) == []


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("pyproject.toml", 'version = "{}"', 'version = "7.7.7"'),
        ("operator/pyproject.toml", 'version = "{}"', 'version = "7.7.7"'),
        ("operator/pyproject.toml", "headway-api[models]=={}", "headway-api[models]==7.7.7"),
        ("cli/pyproject.toml", '"headway-cluster=={}"', '"headway-cluster"'),
        ("trainer_image/pyproject.toml", "headway-api=={}", "headway-api>={}"),
        ("helm/headway/Chart.yaml", "appVersion: {}", "appVersion: 7.7.7"),
        ("uv.lock", 'name = "headway-api"\nversion = "{}"', 'name = "headway-api"\nversion = "7"'),
        ("docs/install.md", "headway/trainer:{}", "headway/trainer:7.7.7"),
    ],
)
def test_one_place_left_behind_is_told(copy, file, old, new):
    version = versions.current(copy)
    edit(copy / file, old.format(version), new.format(version))
    [told] = versions.drift(copy)
    assert told.startswith(f"{file}:")


@pytest.mark.parametrize("wrong", ["1", "1.2", "1.2.3rc1", "1.2.3-rc.1", "v1.2.3", "", "1.2.3\n"])
def test_what_packages_and_charts_spell_differently_is_refused(copy, wrong):
    with pytest.raises(versions.VersionError, match="three numbers"):
        versions.set_version(copy, wrong)
    assert versions.drift(copy) == []
