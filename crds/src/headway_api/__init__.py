"""The TrainingOperation resource of Headway.

The package has two halves. This half is light: names, labels, environment variables and limits,
written with the standard library alone, so that a trainer can import it in a millisecond. The other
half, :mod:`headway_api.models` and :mod:`headway_api.crd`, needs pydantic (``headway-api[models]``)
and is the only source of truth for the schema.
"""

from headway_api.version import __version__

__all__ = ["__version__"]
