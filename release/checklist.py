"""The release checklist: what a machine can prove, and what is left to a person."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import packages
import versions

_E2E = (sys.executable, "tests/e2e/run.py")
"""Not ``make e2e``: make has one exit code for everything that went wrong."""
_COULD_NOT_RUN = 77
"""How that ends where the machine cannot carry it."""


class Verdict(Enum):
    """How a step ended."""

    PASSED = "passed"
    FAILED = "FAILED"
    NOT_RUN = "NOT RUN"


@dataclass(frozen=True)
class Finding:
    """What a step found.

    Attributes:
        verdict: how it ended.
        told: why, for a person; empty where nothing is to be said.
    """

    verdict: Verdict
    told: str = ""


@dataclass(frozen=True)
class Step:
    """One line of the checklist.

    Attributes:
        name: as it is chosen on the command line.
        promise: what is true once it has passed.
        look: finds out, in the project's folder.
    """

    name: str
    promise: str
    look: Callable[[Path], Finding]


def _clean(root: Path) -> Finding:
    changed = _output(root, "git", "status", "--porcelain")
    return _unless(f"not committed:\n{changed}" if changed else "")


def _untagged(root: Path) -> Finding:
    tag = f"v{versions.current(root)}"
    there = _output(root, "git", "tag", "--list", tag)
    return _unless(f"the tag {tag} exists: set the next version" if there else "")


def _agreed(root: Path) -> Finding:
    return _unless("\n".join(versions.drift(root)))


def _told_of(root: Path) -> Finding:
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    return _unless(missing_in(text, versions.current(root)))


def missing_in(changelog: str, version: str) -> str:
    """What the changelog lacks for a release; empty where it lacks nothing."""
    sections = dict(
        re.findall(r"^## (\S+)[^\n]*\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    )
    if "\n- " not in sections.get(version, ""):
        return f"CHANGELOG.md has no entries under `## {version}`"
    if "\n- " in sections.get("Unreleased", ""):
        return f"CHANGELOG.md still has entries under `## Unreleased`: move them to `## {version}`"
    return ""


def _command(*command: str) -> Callable[[Path], Finding]:
    """A step that is a command: passed where it ends with 0."""

    def look(root: Path) -> Finding:
        code = subprocess.run(command, cwd=root, stdout=sys.stderr, check=False).returncode
        if code == _COULD_NOT_RUN:
            return Finding(Verdict.NOT_RUN, f"`{' '.join(command)}` cannot run on this machine")
        return _unless(f"`{' '.join(command)}` ended with {code}" if code else "")

    return look


def _locked(root: Path) -> Finding:
    return _command(packages.uv(root), "lock", "--check", "--quiet")(root)


STEPS = (
    Step("clean", "everything is committed", _clean),
    Step("tag", "this version has not been released", _untagged),
    Step("versions", "packages, pins, lock file, chart and documents say one version", _agreed),
    Step("lock", "the lock file is what the packages ask for", _locked),
    Step("changelog", "the changelog tells of this version", _told_of),
    Step("lint", "format, types, import directions, generated files", _command("make", "lint")),
    Step("tests", "unit and integration tests, the wheels among them", _command("make", "test")),
    Step("dist", "wheels, source distributions and chart are in dist/", _command("make", "dist")),
    Step("images", "the images are in build/images/", _command("make", "images")),
    Step("e2e", "all of it in containers on real nodes", _command(*_E2E)),
)


def to_a_person(version: str) -> tuple[str, ...]:
    """What no step can prove or may do."""
    return (
        "Read the changelog as a user would: what has to be done on an upgrade?",
        "Look at `headway demo` and at the README on a machine that has never seen Headway.",
        "See that the package names are yours on the index that you publish to.",
        f'git tag --sign v{version} --message "Headway {version}" && git push origin v{version}',
        "uv publish dist/*.whl dist/*.tar.gz",
        "push the images (docs/images.md), and note their digests in the release",
        f"helm push dist/headway-{version}.tgz oci://REGISTRY/charts",
        "Install the published release once: docs/install.md, every row of the table.",
    )


def check(root: Path, steps: Iterable[Step], chosen: Collection[str]) -> int:
    """Go through the checklist and print it.

    Args:
        root: the project's folder.
        steps: the checklist.
        chosen: names of the steps to run; the others are reported as not run.

    Returns:
        0 where every step has passed, else 1.
    """
    found = []
    for step in steps:
        if step.name not in chosen:
            found.append((step, Finding(Verdict.NOT_RUN, "not asked for")))
            continue
        sys.stderr.write(f"== {step.name} ==\n")
        found.append((step, _looked(step, root)))
    version = versions.current(root)
    ready = all(finding.verdict is Verdict.PASSED for _, finding in found)
    lines = [f"Headway {version}: {'ready' if ready else 'NOT ready'} to be released", ""]
    for step, finding in found:
        lines.append(f"  {finding.verdict.value:8} {step.name:10} {step.promise}")
        lines += [f"{'':20} {line}" for line in finding.told.splitlines()]
    lines += ["", "Left to a person:"] + [f"  [ ] {task}" for task in to_a_person(version)]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if ready else 1


def _looked(step: Step, root: Path) -> Finding:
    try:
        return step.look(root)
    except (versions.VersionError, packages.PackageError) as error:
        return Finding(Verdict.FAILED, str(error))


def _unless(wrong: str) -> Finding:
    return Finding(Verdict.FAILED, wrong) if wrong else Finding(Verdict.PASSED)


def _output(root: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.rstrip()
