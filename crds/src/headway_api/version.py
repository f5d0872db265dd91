"""The version of Headway, the same for every package, image and chart."""

__version__ = "0.1.0"
