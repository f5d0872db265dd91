"""The ``headway`` command: run, watch and stop training jobs on Kubernetes.

Start-up is kept cheap on purpose: this package, :mod:`headway_cli.main` and the modules of
:mod:`headway_cli.commands` import nothing but the standard library and Typer at the top; Rich,
pydantic and the Kubernetes client are imported inside the functions that need them.
"""

from headway_api.version import __version__

__all__ = ["__version__"]
