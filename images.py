"""Builds Headway's images with what is there: docker, podman or buildah. ``make images`` calls it.

    python images.py                          all of them, into build/images/*.tar
    python images.py operator trainer-base    some of them
    python images.py --base IMAGE             on another base (see the Dockerfile)

Every image is left in the engine's own store under ``<prefix>/<target>:<version>``, and as an
archive that ``kind load image-archive``, ``docker load`` and ``ctr images import`` take.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headway_api.version import __version__

ROOT = Path(__file__).resolve().parent
ARCHIVES = ROOT / "build" / "images"
TARGETS = ("operator", "trainer-base", "trainer", "cli")
ENGINES = ("docker", "podman", "buildah")


class BuildError(Exception):
    """An image cannot be built; the message is for a person."""


@dataclass(frozen=True)
class Engine:
    """One of the programs that build images.

    Attributes:
        name: docker, podman or buildah.
    """

    name: str

    def build(self, target: str, image: str, arguments: Sequence[str], certificates: Path) -> None:
        """Build a target of the Dockerfile.

        Args:
            target: its name.
            image: repository and tag.
            arguments: further words of the build command.
            certificates: whom to trust on the way to the package index.
        """
        own = ["--layers"] if self.name == "buildah" else []
        secret = f"id=ca,src={certificates}"
        self._run(
            "build", *own, "--target", target, "--tag", image, "--secret", secret, *arguments, "."
        )

    def save(self, image: str, archive: Path) -> None:
        """Write an image into an archive."""
        made = archive.with_suffix(".part")
        made.unlink(missing_ok=True)
        if self.name == "buildah":
            self._run("push", "--quiet", image, f"docker-archive:{made}:{image}")
        else:
            kind = ["--format", "docker-archive"] if self.name == "podman" else []
            self._run("save", *kind, "--output", str(made), image)
        made.replace(archive)

    def _run(self, *words: str) -> None:
        env = {**os.environ, "DOCKER_BUILDKIT": "1"}
        try:
            done = subprocess.run([self.name, *words], cwd=ROOT, env=env, check=False)
        except FileNotFoundError:
            raise BuildError(f"{self.name} was not found on PATH") from None
        if done.returncode:
            raise BuildError(f"{self.name} {words[0]} failed with exit code {done.returncode}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="images.py", description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--engine", choices=ENGINES, help="the first that works, unless given")
    parser.add_argument("--base", help="image that they stand on; it has python3, 3.11 or later")
    parser.add_argument("--build-base", help="image that builds them; the base unless given")
    parser.add_argument("--prefix", default="headway", help="repository below which they are named")
    parser.add_argument("--no-archives", action="store_true", help="leave them in the engine only")
    chosen = parser.parse_args(arguments)
    wrong = sorted(set(chosen.targets) - set(TARGETS))
    if wrong:
        parser.error(f"there is no target {wrong[0]!r}: choose from {', '.join(TARGETS)}")
    try:
        engine = Engine(chosen.engine or _found())
        for target in chosen.targets or TARGETS:
            image = f"{chosen.prefix}/{target}:{__version__}"
            _say(f"== {image}, by {engine.name} ==")
            engine.build(target, image, _arguments(chosen), _certificates())
            if not chosen.no_archives:
                ARCHIVES.mkdir(parents=True, exist_ok=True)
                engine.save(image, ARCHIVES / f"{target}.tar")
    except BuildError as error:
        _say(f"images.py: {error}")
        return 1
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _arguments(chosen: argparse.Namespace) -> list[str]:
    labels = {"title": "headway", "version": __version__, "licenses": "Apache-2.0"}
    if revision := _revision():
        labels["revision"] = revision
    words = []
    for key, value in labels.items():
        words += ["--label", f"org.opencontainers.image.{key}={value}"]
    lock = hashlib.sha256((ROOT / "uv.lock").read_bytes()).hexdigest()
    words += ["--build-arg", f"LOCK={lock}"]
    if chosen.base:
        words += ["--build-arg", f"BASE={chosen.base}"]
    if chosen.build_base:
        words += ["--build-arg", f"BUILD_BASE={chosen.build_base}"]
    return words


def _found() -> str:
    """The first engine that works here."""
    for name in ENGINES:
        # A docker command without its engine is no engine.
        asks = "version" if name == "docker" else "--version"
        if shutil.which(name) and not subprocess.run([name, asks], capture_output=True).returncode:
            return name
    raise BuildError(f"images need one of {', '.join(ENGINES)}, and none of them works here")


def _certificates() -> Path:
    """This machine's certificate authorities: a company's own are among them."""
    paths = ssl.get_default_verify_paths()
    for file in (os.environ.get("SSL_CERT_FILE"), paths.cafile, paths.openssl_cafile):
        if file and Path(file).is_file():
            return Path(file)
    raise BuildError("no certificate authorities found: name their file in SSL_CERT_FILE")


def _revision() -> str | None:
    if shutil.which("git") is None:
        return None
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None


if __name__ == "__main__":
    sys.exit(main())
