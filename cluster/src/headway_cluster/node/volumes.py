"""Making a pod's volumes: folders below the pod's own, or folders of the host.

Files that come from the API (config maps, secrets, tokens, downward API) are written as kubelet
writes them: whole, through a new folder that a link is switched to, so that a reader never sees
half of an update.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway_cluster.node.environment import ConfigurationError, Facts
from headway_cluster.node.pods import Container, Pod
from headway_cluster.node.references import References
from headway_cluster.removing import discard

_DATA = "..data"
_DEFAULT_MODE = 0o644
_TOKEN_SECONDS = 3600
_REFRESH_SHARE = 0.8
"""A token is renewed when so much of its life has passed, as kubelet does."""


class VolumeError(Exception):
    """A volume cannot be made now; it is tried again. The message names volume and cause."""


@dataclass(frozen=True)
class Content:
    """Files of a volume.

    Attributes:
        files: content and mode by relative path.
        refresh_at: when they must be written anew; None: they stay good.
    """

    files: Mapping[str, tuple[bytes, int]]
    refresh_at: float | None = None


class Volumes:
    """The volumes of one pod, below ``root``."""

    def __init__(self, pod: Pod, root: Path, facts: Facts) -> None:
        self._pod = pod
        self._root = root
        self._facts = facts
        self._refresh_at: float | None = None
        self._ahead = 0.0

    @property
    def refresh_at(self) -> float | None:
        """When tokens must be renewed, in seconds since the epoch; None: never.

        By the clock as it is now: one that was set back meanwhile must not make it late.
        """
        if self._refresh_at is None:
            return None
        return self._refresh_at - max(self._ahead - _ahead(), 0.0)

    @refresh_at.setter
    def refresh_at(self, at: float | None) -> None:
        self._refresh_at, self._ahead = at, _ahead()

    def make(self, references: References) -> dict[str, Path]:
        """Make every volume; returns their folders by name.

        Raises:
            VolumeError: one cannot be made now.
        """
        folders = {}
        refreshes: list[float] = []
        for name, volume in self._pod.volumes.items():
            try:
                folders[name] = self._make(name, volume, references, refreshes)
            except ConfigurationError as error:
                raise VolumeError(
                    f'MountVolume.SetUp failed for volume "{name}" : {error}'
                ) from error
            except OSError as error:
                raise VolumeError(
                    f'MountVolume.SetUp failed for volume "{name}" : {error.strerror}:'
                    f" {error.filename}"
                ) from error
        self.refresh_at = min(refreshes, default=None)
        return folders

    def refresh(self, references: References) -> None:
        """Write the volumes anew that hold a token."""
        refreshes: list[float] = []
        for name, volume in self._pod.volumes.items():
            if _has_token(volume):
                self._make(name, volume, references, refreshes)
        self.refresh_at = min(refreshes, default=None)

    def remove(self) -> None:
        """Delete what was made; folders of the host and of claims are not touched."""
        discard(self._root)

    def _make(
        self, name: str, volume: Mapping[str, Any], references: References, refreshes: list[float]
    ) -> Path:
        folder = self._root / name
        if "hostPath" in volume:
            return _host_path(volume["hostPath"])
        if "persistentVolumeClaim" in volume:
            return _claim(volume["persistentVolumeClaim"]["claimName"], references)
        if "emptyDir" in volume:
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        try:
            content = self._content(volume, references)
        except ConfigurationError:
            if _has_token(volume) or not (folder / _DATA).exists():
                raise
            return folder  # it was made when the pod started, and stays as it was then
        if content.refresh_at is not None:
            refreshes.append(content.refresh_at)
        write_atomically(folder, content.files)
        return folder

    def _content(self, volume: Mapping[str, Any], references: References) -> Content:
        mode = _default_mode(volume)
        files: dict[str, tuple[bytes, int]] = {}
        refresh: float | None = None
        for source in _sources(volume):
            if token := source.get("serviceAccountToken"):
                seconds = int(token.get("expirationSeconds") or _TOKEN_SECONDS)
                text, lives = references.token(token.get("audience") or "", seconds)
                again = time.time() + lives * _REFRESH_SHARE
                refresh = again if refresh is None else min(refresh, again)
                files[token["path"]] = (text.encode(), 0o600)
            elif config_map := source.get("configMap"):
                found = references.config_map_files(config_map["name"])
                files |= _selected("configmap", config_map, config_map["name"], found, mode)
            elif secret := source.get("secret"):
                secret_name = secret.get("secretName") or secret.get("name") or ""
                found = references.secret_files(secret_name)
                files |= _selected("secret", secret, secret_name, found, mode)
            elif (downward := source.get("downwardAPI")) is not None:
                files |= self._downward(downward, mode)
        return Content(files, refresh)

    def _downward(self, source: Mapping[str, Any], mode: int) -> dict[str, tuple[bytes, int]]:
        files = {}
        for item in source.get("items") or ():
            if field := item.get("fieldRef"):
                text = self._facts.field(field["fieldPath"])
            else:
                reference = item["resourceFieldRef"]
                container = _named(self._pod, reference.get("containerName") or "")
                text = self._facts.resource(
                    container, reference["resource"], str(reference.get("divisor") or "0")
                )
            files[item["path"]] = (text.encode(), int(item.get("mode") or mode))
        return files


def _ahead() -> float:
    """How far the time of day is ahead of the clock that is never set."""
    return time.time() - time.monotonic()


def _sources(volume: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "projected" in volume:
        return list(volume["projected"].get("sources") or ())
    return [volume]


def _has_token(volume: Mapping[str, Any]) -> bool:
    return any("serviceAccountToken" in one for one in _sources(volume))


def _default_mode(volume: Mapping[str, Any]) -> int:
    for kind in ("projected", "configMap", "secret", "downwardAPI"):
        if kind in volume:
            mode = volume[kind].get("defaultMode")
            return _DEFAULT_MODE if mode is None else int(mode)
    return _DEFAULT_MODE


def _selected(
    label: str,
    source: Mapping[str, Any],
    name: str,
    found: Mapping[str, bytes] | None,
    mode: int,
) -> dict[str, tuple[bytes, int]]:
    optional = bool(source.get("optional"))
    if found is None:
        if optional:
            return {}
        raise ConfigurationError(f'{label} "{name}" not found')
    items = source.get("items")
    if not items:
        return {key: (value, mode) for key, value in found.items()}
    files = {}
    for item in items:
        if item["key"] in found:
            own = item.get("mode")
            files[item["path"]] = (found[item["key"]], mode if own is None else int(own))
        elif not optional:
            raise ConfigurationError(f'{label} "{name}" has no key "{item["key"]}"')
    return files


def _host_path(source: Mapping[str, Any]) -> Path:
    path = Path(source["path"])
    kind = source.get("type") or ""
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.touch(exist_ok=True)
    checks = {
        "Directory": path.is_dir,
        "File": path.is_file,
        "Socket": path.is_socket,
        "CharDevice": path.is_char_device,
        "BlockDevice": path.is_block_device,
    }
    if not checks.get(kind, lambda: True)():
        raise ConfigurationError(f"hostPath type check failed: {path} is not a {kind}")
    return path


def _claim(name: str, references: References) -> Path:
    claim = references.claim(name)
    if claim is None:
        raise ConfigurationError(f'persistentvolumeclaim "{name}" not found')
    if (claim.get("status") or {}).get("phase") != "Bound":
        raise ConfigurationError(f'persistentvolumeclaim "{name}" is not bound yet')
    volume_name = claim["spec"]["volumeName"]
    volume = references.volume(volume_name)
    if volume is None:
        raise ConfigurationError(f'persistentvolume "{volume_name}" not found')
    for kind in ("local", "hostPath"):
        if source := volume["spec"].get(kind):
            path = Path(source["path"])
            if not path.exists():
                raise ConfigurationError(
                    f'persistentvolume "{volume_name}": {path} does not exist on this node'
                )
            return path
    raise ConfigurationError(
        f'persistentvolume "{volume_name}" is neither local nor hostPath;'
        " this node mounts no others"
    )


def _named(pod: Pod, name: str) -> Container:
    for container in pod.containers:
        if container.name == name:
            return container
    raise ConfigurationError(f'there is no container "{name}"')


def mounted(container: Container, folders: Mapping[str, Path], expand: Any) -> dict[str, Path]:
    """The folder behind each mount path of a container.

    Args:
        container: the container.
        folders: the pod's volumes by name.
        expand: replaces ``$(NAME)`` in a ``subPathExpr``.

    Raises:
        ConfigurationError: a ``subPath`` leads out of its volume.
    """
    mounts = {}
    for mount in container.mounts:
        folder = folders[mount.volume]
        below = expand(mount.sub_path_expr) if mount.sub_path_expr else mount.sub_path
        if below:
            target = folder / below
            if not target.resolve().is_relative_to(folder.resolve()):
                raise ConfigurationError(f'subPath "{below}" leads out of volume "{mount.volume}"')
            if not target.exists():
                target.mkdir(parents=True)
            folder = target
        mounts[mount.path] = folder
    return mounts


def write_atomically(folder: Path, files: Mapping[str, tuple[bytes, int]]) -> None:
    """Write files so that readers see all of the old ones or all of the new ones.

    The files are in a folder of their own; ``..data`` is a link to it, and what readers open are
    links through that. Switching the one link switches them all; where it is, they are all there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / _DATA
    old = folder / data.readlink() if data.is_symlink() else None
    if old is not None and _same(old, files):
        return
    new = folder / f"..{time.time_ns()}"
    try:
        _write(new, files)
    except OSError:
        discard(new)
        raise
    for top in {path.split("/", 1)[0] for path in files}:
        visible = folder / top
        if not visible.is_symlink():
            visible.symlink_to(f"{_DATA}/{top}")
    link = folder / f"{_DATA}.new"
    link.unlink(missing_ok=True)
    link.symlink_to(new.name)
    link.replace(data)
    for visible in folder.iterdir():
        if visible.is_symlink() and not visible.exists():
            visible.unlink()
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _write(new: Path, files: Mapping[str, tuple[bytes, int]]) -> None:
    for path, (content, mode) in files.items():
        file = new / path
        if not file.resolve().is_relative_to(new.resolve()):
            raise ConfigurationError(f'path "{path}" leads out of its volume')
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_bytes(content)
        # The pod's processes run as the agent's own user, who must be able to read in any case.
        file.chmod(mode | 0o400)
    new.mkdir(exist_ok=True)


def _same(folder: Path, files: Mapping[str, tuple[bytes, int]]) -> bool:
    present = {
        str(file.relative_to(folder)): (file.read_bytes(), file.stat().st_mode & 0o777)
        for file in folder.rglob("*")
        if file.is_file()
    }
    return present == {path: (content, mode | 0o400) for path, (content, mode) in files.items()}
