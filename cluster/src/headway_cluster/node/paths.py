"""Mount paths told as the real folders they stand for.

A process of the host has no file system of its own, so a volume cannot appear at its mount path.
Instead every text that is handed to the container (command, arguments, variables, working
directory) gets the real folder where the mount path stands as a whole path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

# What may not stand before or after for it to be this path: the rest of a longer name or path.
# A dot begins an extension ("/data.csv") unless it ends a sentence.
# A URL's path is somebody else's, but for the scheme of files.
_BEFORE = r"(?:(?<![\w./~-])|(?<=file://))"
_AFTER = r"(?![\w-]|\.\w)"


class PathTranslation:
    """Replaces mount paths by folders; the longest mount path wins."""

    def __init__(self, mounts: Mapping[str, Path]) -> None:
        """Take the folders by mount path. The root itself cannot be translated."""
        self._folders = {
            _plain(path): str(folder) for path, folder in mounts.items() if _plain(path)
        }
        paths = sorted(self._folders, key=len, reverse=True)
        self._pattern = (
            re.compile(f"{_BEFORE}({'|'.join(map(re.escape, paths))}){_AFTER}") if paths else None
        )

    def __call__(self, text: str) -> str:
        """The text with real folders.

        >>> PathTranslation({"/data": Path("/x/v1")})("--from=/data/a --to=/database")
        '--from=/x/v1/a --to=/database'
        """
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: self._folders[match[1]], text)

    def folder(self, path: str) -> str | None:
        """The folder of exactly this mount path."""
        return self._folders.get(_plain(path))


def _plain(path: str) -> str:
    return path.rstrip("/")
