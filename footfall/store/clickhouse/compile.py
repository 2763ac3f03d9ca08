"""Query -> SQL: the statement with its order and limit, and how its rows are read; nothing from a request inside it."""
# ruff: noqa: S608 - what is put together here are constants, numbers and placeholders

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from footfall.query.query import AnyDimension, Direction, Metric, Query
from footfall.store.clickhouse.figures import READERS, is_something
from footfall.store.clickhouse.plan import Plan
from footfall.store.clickhouse.spans import Cover


class Question(msgspec.Struct, frozen=True):
    """A statement, its parameters, and how its rows are read."""

    sql: str
    params: dict[str, str | int]
    columns: tuple[str, ...]
    readers: tuple[Callable[[Any], object] | None, ...]
    """For each column: what makes the value that is meant of the engine's, or None where they are the same."""
    total_sql: str | None = None
    """The statement that counts the rows without limit, where their number is asked for."""

    def read(self, rows: Sequence[Sequence[Any]]) -> list[tuple[object, ...]]:
        """The rows with buckets by name and money by currency."""
        if not any(self.readers):
            return [tuple(row) for row in rows]
        return [
            tuple(value if read is None else read(value) for value, read in zip(row, self.readers, strict=True))
            for row in rows
        ]


def compile_query(query: Query, cover: Cover | None = None) -> Question:
    """The statement for *query*. Rows whose metrics are all nothing are left out, but for the one without dimensions.

    What is ordered by a metric only is ordered by the dimensions within it, so that a limit cuts one way. *cover*: what
    is kept of the sessions in its range. Raises Invalid where time would be cut into too many buckets.
    """
    plan = Plan(query, cover)
    sql = plan.groups()
    kept = [is_something(metric, f"m{i}") for i, metric in enumerate(query.metrics)]
    counted = None
    if query.dimensions:
        sql += f" HAVING {' OR '.join(kept)}"
        counted = f"SELECT count() FROM ({sql})" if query.with_total else None
    aliases: dict[Metric | AnyDimension, str] = {dimension: f"d{i}" for i, dimension in enumerate(query.dimensions)}
    aliases |= {metric: f"m{i}" for i, metric in enumerate(query.metrics)}
    ordered = {by for by, _ in query.order_by}
    if query.order_by or query.limit is not None:
        order = [f"{aliases[by]} {'DESC' if way is Direction.DESC else 'ASC'} NULLS LAST" for by, way in query.order_by]
        order += [aliases[dimension] for dimension in query.dimensions if dimension not in ordered]
        sql += f" ORDER BY {', '.join(order)}" if order else ""
    if query.limit is not None:
        sql += f" LIMIT {plan.values.number(query.limit)}"
        sql += f" OFFSET {plan.values.number(query.offset)}" if query.offset else ""
    return Question(
        sql=sql,
        params=plan.values.params,
        columns=tuple(str(name) for name in (*query.dimensions, *query.metrics)),
        readers=(*plan.dimension_readers(), *(READERS.get(metric) for metric in query.metrics)),
        total_sql=counted,
    )
