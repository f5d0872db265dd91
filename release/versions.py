"""Where Headway's version is written, and that it is the same everywhere.

``headway_api/version.py`` says what it is; every other place repeats it. A place is a file and a
pure function that gives the file's text as it has to be for a version. So there is one piece of
code that checks and that writes.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path("crds/src/headway_api/version.py")
_SOURCE = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_PROJECT = re.compile(r'^version = ".*"$', re.MULTILINE)
_CHART = re.compile(r"^(version|appVersion): .*$", re.MULTILINE)
_LOCKED = re.compile(r'^(name = "headway(?:-[a-z]+)?"\nversion = )".*"$', re.MULTILINE)
_REQUIREMENT = re.compile(r'"(headway(?:-[a-z]+)?(?:\[[a-z,]+\])?)(?:\s*[<>=!~][^"]*)?"')
_NO_REQUIREMENT = re.compile(r"\s*(?:name|module-name)\s*=")
_SHOWN = re.compile(
    r"\b(headway/(?:operator|trainer-base|trainer|cli):|headway(?:-[a-z]+)?(?:\[[a-z,]+\])?==)"
    r"\d+\.\d+\.\d+"
)


class VersionError(Exception):
    """The version cannot be read or set; the message is for a person."""


@dataclass(frozen=True)
class Place:
    """A file that repeats the version.

    Attributes:
        path: relative to the root.
        at: the file's text for a version, given the text that is there.
    """

    path: Path
    at: Callable[[str, str], str]


def current(root: Path) -> str:
    """The version, as its one source says.

    Raises:
        VersionError: it says nothing.
    """
    found = _SOURCE.search((root / SOURCE).read_text(encoding="utf-8"))
    if found is None:
        raise VersionError(f'{SOURCE} has no line __version__ = "..."')
    return found[1]


def members(root: Path) -> list[Path]:
    """The folders of the packages that are published, relative to the root."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return [Path(member) for member in project["tool"]["uv"]["workspace"]["members"]]


def drift(root: Path) -> list[str]:
    """Every line that says another version than the source, for a person."""
    version = current(root)
    return [
        f"{place.path}:{number}: {old.strip()!r} has to be {new.strip()!r}"
        for place, text in _texts(root)
        for number, (old, new) in enumerate(
            zip(text.splitlines(), place.at(text, version).splitlines(), strict=True), start=1
        )
        if old != new
    ]


def set_version(root: Path, version: str) -> list[Path]:
    """Write a version everywhere.

    Args:
        root: the project's folder.
        version: three numbers; spelled the same by Python packages, charts and images.

    Returns:
        The files that changed, relative to the root.

    Raises:
        VersionError: that is no version.
    """
    if not _VERSION.fullmatch(version):
        raise VersionError(
            f"{version!r} is no version of three numbers such as 0.2.0; others are spelled"
            " differently by Python packages and by charts"
        )
    source = Place(SOURCE, lambda text, to: _SOURCE.sub(f'__version__ = "{to}"', text))
    changed = []
    for place, text in [(source, (root / SOURCE).read_text(encoding="utf-8")), *_texts(root)]:
        new = place.at(text, version)
        if new != text:
            (root / place.path).write_text(new, encoding="utf-8")
            changed.append(place.path)
    return changed


def _texts(root: Path) -> Iterator[tuple[Place, str]]:
    for place in _places(root):
        yield place, (root / place.path).read_text(encoding="utf-8")


def _places(root: Path) -> Iterator[Place]:
    yield Place(Path("pyproject.toml"), _project)
    for member in members(root):
        yield Place(member / "pyproject.toml", _member)
    yield Place(Path("uv.lock"), lambda text, to: _LOCKED.sub(rf'\1"{to}"', text))
    yield Place(Path("helm/headway/Chart.yaml"), lambda text, to: _CHART.sub(rf"\1: {to}", text))
    for pattern in ("README.md", "docs/*.md", "examples/**/*"):
        for path in sorted(p for p in root.glob(pattern) if p.is_file()):
            yield Place(path.relative_to(root), lambda text, to: _SHOWN.sub(rf"\g<1>{to}", text))


def _project(text: str, version: str) -> str:
    return _PROJECT.sub(f'version = "{version}"', text, count=1)


def _member(text: str, version: str) -> str:
    """Its own version, and that of every package of ours that it requires."""
    lines = _project(text, version).splitlines(keepends=True)
    return "".join(
        line if _NO_REQUIREMENT.match(line) else _REQUIREMENT.sub(rf'"\1=={version}"', line)
        for line in lines
    )
