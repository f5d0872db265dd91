"""Container images without a build engine: archives as ``docker save`` writes them.

Enough to make what a user would make with a Dockerfile of two lines: an image that adds files to
another one, and an image of a few programs of this machine.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Image:
    """An image in an archive file.

    Attributes:
        name: repository and tag.
        archive: the file.
    """

    name: str
    archive: Path


@dataclass(frozen=True)
class Layer:
    """Files of one layer: path inside the image to content. Executable where the mode says so."""

    files: Mapping[str, bytes]
    mode: int = 0o755
    folders: Sequence[str] = field(default_factory=tuple)
    """Folders that everybody may write."""

    def tar(self) -> bytes:
        """The layer as an uncompressed tar, the same bytes every time."""
        memory = io.BytesIO()
        with tarfile.open(fileobj=memory, mode="w") as tar:
            for folder in self.folders:
                entry = tarfile.TarInfo(folder.strip("/"))
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
                tar.addfile(entry)
            for path, content in sorted(self.files.items()):
                entry = tarfile.TarInfo(path.strip("/"))
                entry.size, entry.mode = len(content), self.mode
                tar.addfile(entry, io.BytesIO(content))
        return memory.getvalue()


def derived(base: Path, made: Path, name: str, layer: Layer, **config: Any) -> Image:
    """An image that adds a layer to the one in the archive ``base``: FROM and COPY.

    Args:
        base: an archive with one image.
        made: the archive to write.
        name: name of the new image.
        layer: what is added.
        config: fields of the image's configuration, such as ``User`` and ``Cmd``; an ``Env``, a
            mapping, is added to the base's.
    """
    with tarfile.open(base) as source:
        [entry] = json.load(_member(source, "manifest.json"))
        described = json.load(_member(source, entry["Config"]))
        run = {**(described.get("config") or {})}
        if env := config.pop("Env", {}):
            kept = [v for v in run.get("Env") or () if v.partition("=")[0] not in env]
            run["Env"] = [*kept, *(f"{key}={value}" for key, value in env.items())]
        described["config"] = {**run, **config}
        with tarfile.open(made, "w") as target:
            layers = []
            for number, path in enumerate(entry["Layers"]):
                member = source.getmember(path)
                while member.issym() or member.islnk():  # layers may be links to one another
                    folder = Path(member.name).parent if member.issym() else Path()
                    member = source.getmember(_normal(folder / member.linkname))
                content = source.extractfile(member)
                assert content is not None, path
                layers.append(f"{number}.tar")
                copied = tarfile.TarInfo(layers[-1])
                copied.size = member.size
                target.addfile(copied, content)
            _finish(target, described, layers, layer, name)
    return Image(name, made)


def of_programs(made: Path, name: str, programs: Sequence[str], **config: Any) -> Image:
    """An image of a few programs of this machine and the libraries they need, and nothing else."""
    files: dict[str, bytes] = {}
    for program in programs:
        found = shutil.which(program)
        assert found, f"there is no program {program} on this machine"
        files[f"usr/bin/{program}"] = Path(found).read_bytes()
        listed = subprocess.run(["ldd", found], capture_output=True, text=True, check=False)
        for word in listed.stdout.split():
            if word.startswith("/"):
                files[word] = Path(word).read_bytes()
    machine = platform.machine()
    described = {
        "architecture": _ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": {"Env": ["PATH=/usr/bin"], **config},
        "rootfs": {"type": "layers", "diff_ids": []},
    }
    with tarfile.open(made, "w") as target:
        _finish(target, described, [], Layer(files, folders=("tmp",)), name)
    return Image(name, made)


def _finish(
    target: tarfile.TarFile,
    described: dict[str, Any],
    layers: list[str],
    layer: Layer,
    name: str,
) -> None:
    content = layer.tar()
    layers = [*layers, f"{len(layers)}.tar"]
    _add(target, layers[-1], content)
    described["rootfs"]["diff_ids"].append(f"sha256:{hashlib.sha256(content).hexdigest()}")
    described.setdefault("history", []).append({"created_by": "the tests"})
    config = json.dumps(described).encode()
    file = f"{hashlib.sha256(config).hexdigest()}.json"
    _add(target, file, config)
    manifest = [{"Config": file, "RepoTags": [name], "Layers": layers}]
    _add(target, "manifest.json", json.dumps(manifest).encode())


def _add(target: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    target.addfile(entry, io.BytesIO(content))


def _member(archive: tarfile.TarFile, name: str) -> io.BufferedReader:
    found = archive.extractfile(name)
    assert found is not None, name
    return found  # type: ignore[return-value]


def _normal(path: Path) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)
