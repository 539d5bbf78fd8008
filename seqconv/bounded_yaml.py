"""YAML of unknown origin as plain data: no tags, no objects, and no more than any file of ours holds.

Ten short lines in which each has ten aliases of the one before stand for ten thousand million values. PyYAML reads them
in no time, and whatever then goes over the data never ends. So an alias counts here as all that it stands for.
"""

from __future__ import annotations

from typing import Any

import yaml

LARGEST = 1 << 21
"""Bytes of a file."""
MOST = 100_000
"""Values and keys, those behind an alias as often as it stands there."""
DEEPEST = 64
"""Levels of lists and mappings in each other."""
LONGEST_NUMBER = 100
"""Characters; arithmetic with a number of a million digits takes minutes."""


def load(content: bytes) -> Any:
    """The plain data in a YAML document.

    Raises:
        ValueError: no YAML, or more of it than is read, with the line.
    """
    if len(content) > LARGEST:
        raise ValueError(f"{len(content):,} bytes are more than the {LARGEST:,} that are read")
    try:
        return yaml.load(content.decode(), _Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    # What only looks like a date or a number makes its constructor raise something of its own.
    except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"a value that is not what its form or tag says: {error}") from None


class _Loader(yaml.SafeLoader):
    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._count = 0
        self._entries: dict[int, int] = {}  # by the id of a node, which the tree of nodes keeps alive

    def compose_node(self, parent: Any, index: int) -> Any:
        """Called by PyYAML for every value and key, for those inside a collection before it is done itself."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        self._depth, self._count = self._depth + 1, self._count + 1
        if self._depth > DEEPEST:
            raise _refused(event, f"it nests deeper than {DEEPEST} levels")
        node: Any = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._entries:
                raise _refused(event, "an alias of what it stands in")
        else:
            self._entries[id(node)] = 1 + sum(self._entries[id(part)] for part in _parts(node))
        if max(self._count, self._entries[id(node)]) > MOST:
            raise _refused(event, f"more than {MOST:,} values and keys, an alias counted as all that it stands for")
        is_number = isinstance(node, yaml.ScalarNode) and node.tag.endswith((":int", ":float"))
        if is_number and len(node.value) > LONGEST_NUMBER:
            raise _refused(event, f"a number of more than {LONGEST_NUMBER} characters")
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Called by PyYAML once for every mapping; what `<<` merges into it may be said again."""
        own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        seen: dict[Any, None] = {}
        for key in own:
            value: Any = self.construct_object(key, deep=True)
            if value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value[:100]} again", problem_mark=key.start_mark)
            seen[value] = None
        return mapping


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _refused(event: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
