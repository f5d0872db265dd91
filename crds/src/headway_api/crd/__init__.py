"""Rendering of the CustomResourceDefinition from the models."""
