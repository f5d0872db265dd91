"""Releases of Headway: one version everywhere, what is published, and the checklist.

python release versions              is the version the same everywhere? (make lint)
python release set-version 0.2.0     write it everywhere
python release dist                  wheels, source distributions and chart, into dist/
python release check                 the checklist: what has passed, what is left to a person
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import checklist
import packages
import versions

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run the command; returns the exit code (1: not as it should be, 2: cannot be done)."""
    parser = argparse.ArgumentParser(prog="release", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("versions", help="say where another version than version.py's is written")
    setting = commands.add_parser("set-version", help="write a version everywhere")
    setting.add_argument("version", help="three numbers, such as 0.2.0")
    dist = commands.add_parser("dist", help="build wheels, source distributions and the chart")
    dist.add_argument("--to", type=Path, default=ROOT / "dist", help="folder, emptied first")
    names = [step.name for step in checklist.STEPS]
    check = commands.add_parser("check", help="go through the release checklist")
    check.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(names)}: all")
    chosen = parser.parse_args()
    try:
        match chosen.command:
            case "versions":
                return _versions()
            case "set-version":
                return _set_version(chosen.version)
            case "dist":
                for path in packages.build(ROOT, chosen.to.resolve()):
                    sys.stdout.write(f"{path.name}\n")
                return 0
            case _:
                if wrong := sorted(set(chosen.steps) - set(names)):
                    parser.error(f"there is no step {wrong[0]!r}: choose from {', '.join(names)}")
                return checklist.check(ROOT, checklist.STEPS, chosen.steps or names)
    except (versions.VersionError, packages.PackageError) as error:
        sys.stderr.write(f"release: {error}\n")
        return 2


def _versions() -> int:
    problems = versions.drift(ROOT)
    if problems:
        version = versions.current(ROOT)
        problems.append(f"{versions.SOURCE} says {version}: `python release set-version {version}`")
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


def _set_version(version: str) -> int:
    for path in versions.set_version(ROOT, version):
        sys.stdout.write(f"{path}\n")
    sys.stdout.write(
        f"now: make manifests, and write `## {version}` into CHANGELOG.md in place of Unreleased\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
