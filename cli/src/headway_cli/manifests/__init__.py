"""What ``headway install`` applies: the chart with its default values, rendered.

``headway.yaml`` is made by ``helm/manifests.py`` from ``helm/headway``; nobody edits it.
"""

from __future__ import annotations

from importlib.resources import files

FILE = "headway.yaml"


def text() -> str:
    """The manifests as YAML: CRD, namespace, roles and the controller, in this order."""
    return files(__package__).joinpath(FILE).read_text(encoding="utf-8")
