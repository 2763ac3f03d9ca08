"""Questions -> answers, through whatever reads a table `events` in SQL: the door of a store, or a copy of events."""

from typing import Protocol

from footfall.query.events import EventsQuery, Form, Page
from footfall.query.query import Query
from footfall.query.sequence import Sequence as SequenceQuestion
from footfall.store.base import Table
from footfall.store.clickhouse.compile import compile_query
from footfall.store.clickhouse.door import Params, Rows
from footfall.store.clickhouse.events import FORMATS, compile_events, place_of
from footfall.store.clickhouse.sequences import compile_sequence
from footfall.store.clickhouse.spans import Cover


class Reader(Protocol):
    """The part of a Door that only reads."""

    async def select(self, sql: str, params: Params | None = None) -> Rows:
        """The rows of a question."""
        ...

    async def encoded(self, sql: str, format_name: str, params: Params | None = None) -> bytes:
        """The answer to a question in ClickHouse's format of that name."""
        ...


async def rows(reader: Reader, query: Query, cover: Cover | None = None) -> Table:
    """See Store. *cover*: what the reader keeps of the sessions in the query's range."""
    question = compile_query(query, cover)
    answer = await reader.select(question.sql, question.params)
    total = None
    if query.with_total:
        counted = await reader.select(question.total_sql, question.params) if question.total_sql else [[1]]
        total = int(counted[0][0])
    return Table(columns=question.columns, rows=question.read(answer), total=total)


async def page(reader: Reader, query: EventsQuery) -> Page:
    """See Store."""
    asked = compile_events(query)
    (end,) = await reader.select(asked.end_sql, asked.params)
    count, place = int(end[0]), place_of(end)
    if count == 0 and query.form is not Form.PARQUET:
        return Page(b"", 0, None)
    params = asked.params | {"last_ms": place.at_ms, "last_id": place.id.hex()}
    body = await reader.encoded(asked.body_sql, FORMATS[query.form], params)
    return Page(body, count, place if count == query.limit else None)


async def sequences(reader: Reader, question: SequenceQuestion) -> Table:
    """See Store."""
    asked = compile_sequence(question)
    return Table(asked.columns, asked.read(await reader.select(asked.sql, asked.params)))
