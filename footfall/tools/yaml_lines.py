"""YAML -> values, strictly, and the line of each: a fault in a file is found by its line."""

import re
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import msgspec
import yaml

from footfall.errors import Fault, Invalid
from footfall.query.reading import refuse

DEPTH_MAX: Final = 40
_WORDS: Final = {"true": True, "false": False, "null": None, "~": None, "": None}
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?[0-9]{1,18}\.[0-9]{1,18}", re.ASCII)


class Lines(msgspec.Struct, frozen=True):
    """Where everything stands: path, such as goals[0].event, -> line, from 1."""

    by_path: dict[str, int]

    def placed(self, faults: Sequence[Fault]) -> list[Fault]:
        """The faults, in the order of the file, each with its line."""
        found = sorted(((self._line(fault.field), fault) for fault in faults), key=lambda pair: pair[0])
        return [Fault(f"line {line}: {fault.field}", fault.message) for line, fault in found]

    def _line(self, path: str) -> int:
        """Of the path, or of what is nearest above it."""
        while path and path not in self.by_path:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.by_path.get(path, 1)


def read_yaml(text: bytes) -> tuple[Any, Lines]:
    """The one value in *text*, of objects, lists, texts, numbers, true, false and null, and its lines.

    Plain words are those of YAML 1.2, so that a country NO is no `false` and a date is a text. Raises Invalid for what
    is no YAML, and for keys that are given twice and aliases.
    """
    lines: dict[str, int] = {}
    try:
        node = yaml.compose(text, Loader=_Loader)
        return (None if node is None else _value(node, "", lines)), Lines(lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        refuse(f"line {1 if mark is None else mark.line + 1}", f"is not YAML: {error.problem or error.context}")
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        refuse("file", f"is not YAML: {error}"[:300])


class _Loader(yaml.SafeLoader):
    """Composes nodes and makes no values; refuses aliases, of which a small file makes a huge value."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not taken", problem_mark=self.get_mark())
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {DEPTH_MAX}", problem_mark=self.get_mark())
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _value(node: yaml.Node, path: str, lines: dict[str, int]) -> Any:  # noqa: ANN401 - any value
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return [_value(each, f"{path}[{place}]", lines) for place, each in enumerate(node.value)]
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            _refuse_at(key_node, "a key must be a text")
        key = str(key_node.value)
        if key in found:
            _refuse_at(key_node, f"the key {key[:64]!r} is given twice")
        below = f"{path}.{key}" if path else key
        lines[below] = key_node.start_mark.line + 1
        found[key] = _value(value_node, below, lines)
    return found


def _scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    text = str(node.value)
    if node.style is not None:
        return text
    if text.lower() in _WORDS and text in {text.lower(), text.capitalize(), text.upper()}:
        return _WORDS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _refuse_at(node: yaml.Node, message: str) -> NoReturn:
    raise Invalid(Fault(f"line {node.start_mark.line + 1}", message))
