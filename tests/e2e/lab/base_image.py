"""What Headway's images stand on where no registry is reached: Debian and its Python.

Two of them, in buildah's store: one to run on, and one with Python's venv module to build with.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from commands import run, say, succeeds
from debian import file_system

BUILDAH = {"STORAGE_DRIVER": "overlay", "BUILDAH_ISOLATION": "chroot"}
"""How buildah works as root where there are no user namespaces."""
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class BaseImage:
    """An image of Debian with some packages.

    Attributes:
        name: as buildah knows it.
        packages: what is installed beside the essential ones.
    """

    name: str
    packages: tuple[str, ...]

    def ensure(self, scratch: Path) -> str:
        """The image's name, once buildah has it."""
        if succeeds(["buildah", "inspect", "--type", "image", self.name], env=BUILDAH):
            return self.name
        say(f"making {self.name} of Debian packages (a minute)")
        with file_system(scratch / "base", self.packages) as root:
            for unneeded in ("usr/share/doc", "usr/share/man", "usr/share/locale"):
                shutil.rmtree(root / unneeded, ignore_errors=True)
            container = run(["buildah", "from", "scratch"], env=BUILDAH).strip()
            try:
                run(["buildah", "copy", "--quiet", container, root, "/"], env=BUILDAH)
                run(["buildah", "config", "--env", _PATH, container], env=BUILDAH)
                run(["buildah", "commit", "--quiet", container, self.name], env=BUILDAH)
            finally:
                run(["buildah", "rm", container], env=BUILDAH)
        return self.name


_RUN = BaseImage("localhost/headway-lab/python:1", ("python3", "ca-certificates"))
_BUILD = BaseImage(
    "localhost/headway-lab/python-build:1", ("python3", "python3-venv", "ca-certificates")
)


def base_images(scratch: Path) -> list[str]:
    """Both, as words for ``images.py``."""
    return [f"--base={_RUN.ensure(scratch)}", f"--build-base={_BUILD.ensure(scratch)}"]
