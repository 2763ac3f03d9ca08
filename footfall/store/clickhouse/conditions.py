"""Filters -> SQL: one expression for each operator; every value and every key is a parameter."""

from collections.abc import Callable

from footfall.query.query import All, AnyDimension, Compare, Filter, HasDone, Not, Operator


class Values:
    """The values of a statement, each under a name of its own."""

    def __init__(self) -> None:
        self.params: dict[str, str | int] = {}

    def text(self, value: str) -> str:
        """The placeholder for *value*."""
        return self._placeholder(value, "String")

    def number(self, value: int) -> str:
        """The placeholder for a whole number."""
        return self._placeholder(value, "Int64")

    def _placeholder(self, value: str | int, kind: str) -> str:
        for name, known in self.params.items():
            if known == value and name.endswith(kind[0]):
                return f"{{{name}:{kind}}}"
        name = f"v{len(self.params)}{kind[0]}"
        self.params[name] = value
        return f"{{{name}:{kind}}}"


def condition(
    part: Filter, column: Callable[[AnyDimension], str], has_done: Callable[[HasDone], str], values: Values
) -> str:
    """*part* as an expression; *column* and *has_done* say how what it speaks of is called where it is asked."""
    if isinstance(part, Compare):
        return _compare(part, column(part.dimension), values)
    if isinstance(part, HasDone):
        return has_done(part)
    if isinstance(part, Not):
        return f"(NOT {condition(part.part, column, has_done, values)})"
    word = " AND " if isinstance(part, All) else " OR "
    return f"({word.join(condition(each, column, has_done, values) for each in part.parts)})"


def _compare(part: Compare, column: str, values: Values) -> str:
    column = f"toString({column})"
    if part.operator in {Operator.MATCHES, Operator.MATCHES_NOT}:
        patterns = part.values if part.case_sensitive else tuple(f"(?i){pattern}" for pattern in part.values)
        said = " OR ".join(f"match({column}, {values.text(pattern)})" for pattern in patterns)
    else:
        if not part.case_sensitive:
            column = f"lowerUTF8({column})"
        wanted = part.values if part.case_sensitive else tuple(value.lower() for value in part.values)
        if part.operator in {Operator.IS, Operator.IS_NOT}:
            said = f"{column} IN ({', '.join(map(values.text, wanted))})"
        else:
            said = " OR ".join(f"position({column}, {values.text(value)}) > 0" for value in wanted)
    return f"(NOT ({said}))" if part.operator.is_negative else f"({said})"
