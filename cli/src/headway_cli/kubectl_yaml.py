"""YAML as kubectl reads it: a date is text, and no key stands twice."""

from __future__ import annotations

from typing import Any

import yaml

_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML has it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} stands here a second time", key.start_mark
                )
            seen.add((key.tag, str(key.value)))
        return super().construct_mapping(node, deep)


def documents(text: str) -> list[Any]:
    """Every document of a text; empty ones are None.

    Raises:
        yaml.YAMLError: it is no YAML, or a mapping has a key twice.
    """
    return list(yaml.load_all(text, _Loader))


def document(text: str) -> Any:
    """The one document of a text.

    Raises:
        yaml.YAMLError: it is no YAML, has a key twice, or holds several documents.
    """
    return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
