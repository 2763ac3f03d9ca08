"""EventsQuery: one page of a site's events themselves, as data; and the columns by which they are known outside.

The columns are a promise: docs/export.md explains them, none is renamed or changes its meaning, new ones come last.
"""

from enum import StrEnum

import msgspec

from footfall.errors import Fault, Invalid
from footfall.query.query import FIELDS, Compare, Dimension, Filter, HasDone, Not, Range, Taken


class Form(StrEnum):
    """How a page is encoded."""

    CSV = "csv"
    """RFC 4180 without a line of names: text in quotes, nothing known is an empty cell, props as a JSON object."""
    NDJSON = "ndjson"
    """One JSON object a line; nothing known is "", or null for revenue."""
    PARQUET = "parquet"
    """One whole file, with the columns also where there is no event; props as a map, times as timestamps."""


class Column(StrEnum):
    """What can be read of an event. Times are UTC, to the millisecond."""

    EVENT_ID = "event_id"
    """32 hexadecimal digits, ours."""
    SITE_ID = "site_id"
    NAME = "name"
    OCCURRED_AT = "occurred_at"
    RECEIVED_AT = "received_at"
    VISITOR_ID = "visitor_id"
    """16 hexadecimal digits."""
    USER_ID = "user_id"
    HOSTNAME = "hostname"
    PATH = "path"
    TITLE = "title"
    REFERRER = "referrer"
    SOURCE = "source"
    CHANNEL = "channel"
    UTM_SOURCE = "utm_source"
    UTM_MEDIUM = "utm_medium"
    UTM_CAMPAIGN = "utm_campaign"
    UTM_CONTENT = "utm_content"
    UTM_TERM = "utm_term"
    CLICK_ID = "click_id"
    BROWSER = "browser"
    BROWSER_VERSION = "browser_version"
    OS = "os"
    OS_VERSION = "os_version"
    DEVICE = "device"
    COUNTRY = "country"
    REGION = "region"
    CITY = "city"
    LANGUAGE = "language"
    SCREEN = "screen"
    PROPS = "props"
    REVENUE = "revenue"
    CURRENCY = "currency"
    INTERACTIVE = "interactive"
    IMPORT_ID = "import_id"


class Order(StrEnum):
    """By which of an event's two times, and then by its id."""

    OCCURRED = "occurred"
    RECEIVED = "received"


class Place(msgspec.Struct, frozen=True, order=True):
    """Where an event stands in an order."""

    at_ms: int
    id: bytes


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The first *limit* events of a site after a place, in an order, of those that are meant."""

    site_id: str
    range: Range
    """In which they occurred."""
    received_from_ms: int = 0
    received_before_ms: int
    """So that what is read page by page has an end, however many events come meanwhile."""
    columns: tuple[Column, ...]
    form: Form
    order: Order = Order.OCCURRED
    after: Place | None = None
    limit: int
    filter: Filter | None = None
    """What `of_events` lets through: attributes of visits in it are the event's own."""


class Page(msgspec.Struct, frozen=True):
    """One page."""

    body: bytes
    count: int
    """How many events; one that is stored at this very moment may be in the body and not counted."""
    last: Place | None
    """Where to go on; None: this is all."""


def of_events(condition: Filter | None) -> Filter | None:
    """*condition*, if a single event can meet it. Raises Invalid (field `filters`) for what needs its session."""
    if condition is not None and (said := _needs_session(condition)):
        raise Invalid(Fault("filters", f"{said}; raw events are filtered by what they are themselves"))
    return condition


def _needs_session(part: Filter) -> str:
    if isinstance(part, HasDone):
        return "can not hold has_done or has_not_done"
    if isinstance(part, Compare):
        taken = FIELDS[part.dimension][1] if isinstance(part.dimension, Dimension) else None
        return f"can not hold {part.dimension}, which is of a visit" if taken in {Taken.ENTRY, Taken.EXIT} else ""
    parts = (part.part,) if isinstance(part, Not) else part.parts
    return next(filter(None, map(_needs_session, parts)), "")
