"""Query: one question to a store, as data.

The tables here are the whole vocabulary: a store's adapter has one expression for each member, and no caller ever
hands it anything else, so nothing from a request can become part of a statement. What the words mean to a reader is
in docs/query.md.
"""

from datetime import datetime
from enum import StrEnum
from typing import TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from footfall.query.definitions import WeekStart

SESSION_GAP_MS = 30 * 60 * 1000
"""A longer gap between two events of a visitor ends a session; exactly this long does not."""


class Scope(StrEnum):
    """What a metric or a dimension speaks of."""

    EVENT = "event"
    SESSION = "session"
    PAGE = "page"
    """One page within one session."""
    TIME = "time"


class Kind(StrEnum):
    """What sort of figure a metric is."""

    COUNT = "count"
    """A whole number: nothing is 0."""
    RATIO = "ratio"
    """A mean, or per cent: nothing is null."""
    MONEY = "money"
    """An amount in each currency: nothing is null."""


class Metric(StrEnum):
    """What is counted: the name, of what, what sort of figure, and what it means to a reader.

    A new one is a member here and an expression in each store's table; the descriptions, the orders that are possible
    and the property tests follow from this.
    """

    scope: Scope
    kind: Kind
    meaning: str

    def __new__(cls, name: str, scope: Scope, kind: Kind, meaning: str) -> "Metric":
        """One row of the table."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.scope, member.kind, member.meaning = scope, kind, meaning
        return member

    PAGEVIEWS = "pageviews", Scope.EVENT, Kind.COUNT, "pageviews"
    VISITORS = "visitors", Scope.EVENT, Kind.COUNT, "distinct visitors, exact"
    EVENTS = "events", Scope.EVENT, Kind.COUNT, "events, pageviews among them"
    VISITS = "visits", Scope.SESSION, Kind.COUNT, "sessions"
    VIEWS_PER_VISIT = "views_per_visit", Scope.SESSION, Kind.RATIO, "pageviews of the whole session, mean"
    BOUNCE_RATE = (
        "bounce_rate",
        Scope.SESSION,
        Kind.RATIO,
        "per cent of the sessions that have one pageview and no other interactive event",
    )
    VISIT_DURATION = (
        "visit_duration",
        Scope.SESSION,
        Kind.RATIO,
        "seconds from the first to the last event, mean, bounces included",
    )
    TOTAL_REVENUE = "total_revenue", Scope.EVENT, Kind.MONEY, "the sum in each currency"
    AVERAGE_REVENUE = (
        "average_revenue",
        Scope.EVENT,
        Kind.MONEY,
        "the mean of the events with revenue, in each currency",
    )
    NEW_VISITORS = "new_visitors", Scope.EVENT, Kind.COUNT, "visitors without an event before the range"
    RETURNING_VISITORS = "returning_visitors", Scope.EVENT, Kind.COUNT, "visitors with an event before the range"
    SCROLL_DEPTH = (
        "scroll_depth",
        Scope.PAGE,
        Kind.RATIO,
        "per cent of the page's height, the deepest that was reported of a page in a session, mean",
    )
    TIME_ON_PAGE = "time_on_page", Scope.PAGE, Kind.RATIO, "seconds on a page in a session, mean"
    EXIT_RATE = "exit_rate", Scope.PAGE, Kind.RATIO, "per cent of the pageviews that are the last of their session"

    @property
    def is_count(self) -> bool:
        """Is nothing 0 (True), or unknown and so null (False)?"""
        return self.kind is Kind.COUNT

    @property
    def is_money(self) -> bool:
        """Is it an amount in each currency?"""
        return self.kind is Kind.MONEY


class Dimension(StrEnum):
    """What rows are grouped by."""

    PAGE = "event:page"
    NAME = "event:name"
    HOSTNAME = "event:hostname"
    ENTRY_PAGE = "visit:entry_page"
    ENTRY_HOSTNAME = "visit:entry_page_hostname"
    EXIT_PAGE = "visit:exit_page"
    EXIT_HOSTNAME = "visit:exit_page_hostname"
    SOURCE = "visit:source"
    CHANNEL = "visit:channel"
    REFERRER = "visit:referrer"
    UTM_SOURCE = "visit:utm_source"
    UTM_MEDIUM = "visit:utm_medium"
    UTM_CAMPAIGN = "visit:utm_campaign"
    UTM_CONTENT = "visit:utm_content"
    UTM_TERM = "visit:utm_term"
    COUNTRY = "visit:country"
    REGION = "visit:region"
    CITY = "visit:city"
    BROWSER = "visit:browser"
    BROWSER_VERSION = "visit:browser_version"
    OS = "visit:os"
    OS_VERSION = "visit:os_version"
    DEVICE = "visit:device"
    LANGUAGE = "visit:language"
    SCREEN = "visit:screen"
    MINUTE = "time:minute"
    HOUR = "time:hour"
    DAY = "time:day"
    WEEK = "time:week"
    MONTH = "time:month"
    QUARTER = "time:quarter"
    YEAR = "time:year"
    DAY_OF_WEEK = "time:day_of_week"
    HOUR_OF_DAY = "time:hour_of_day"

    @property
    def scope(self) -> Scope:
        """Whose it is: an event's own, its session's, or the clock's."""
        return {"event": Scope.EVENT, "visit": Scope.SESSION, "time": Scope.TIME}[self.value.partition(":")[0]]


class Taken(StrEnum):
    """Which event of a session says what a dimension of the session is."""

    FIRST = "first"
    ENTRY = "entry"
    """The first pageview."""
    EXIT = "exit"
    """The last pageview."""


FIELDS: dict[Dimension, tuple[str, Taken | None]] = {
    Dimension.PAGE: ("path", None),
    Dimension.NAME: ("name", None),
    Dimension.HOSTNAME: ("hostname", None),
    Dimension.ENTRY_PAGE: ("path", Taken.ENTRY),
    Dimension.ENTRY_HOSTNAME: ("hostname", Taken.ENTRY),
    Dimension.EXIT_PAGE: ("path", Taken.EXIT),
    Dimension.EXIT_HOSTNAME: ("hostname", Taken.EXIT),
} | {
    dimension: (dimension.value.removeprefix("visit:"), Taken.FIRST)
    for dimension in Dimension
    if dimension.scope is Scope.SESSION and not dimension.value.startswith(("visit:entry_", "visit:exit_"))
}
"""The Event's field behind a dimension, and of which event of a session; None: of every event its own."""


class Prop(msgspec.Struct, frozen=True):
    """The dimension `event:props:KEY`: one of the sender's own properties; empty where an event has none."""

    key: str

    @property
    def scope(self) -> Scope:
        """An event's own."""
        return Scope.EVENT

    def __str__(self) -> str:
        return f"event:props:{self.key}"


class Goals(msgspec.Struct, frozen=True):
    """The dimension `event:goal`: a row for each goal that an event meets, so that it may be in several, or in none."""

    goals: "tuple[tuple[str, Filter], ...]"
    """Each goal's name, ascending, and the condition on events alone that is the goal."""

    @property
    def scope(self) -> Scope:
        """An event's own."""
        return Scope.EVENT

    def __str__(self) -> str:
        return "event:goal"


AnyDimension: TypeAlias = Dimension | Prop | Goals


class Operator(StrEnum):
    """How a value is compared. Each is met by any one of its values; each `not` is met where its twin is not."""

    IS = "is"
    IS_NOT = "is_not"
    CONTAINS = "contains"
    CONTAINS_NOT = "contains_not"
    MATCHES = "matches"
    MATCHES_NOT = "matches_not"

    @property
    def is_negative(self) -> bool:
        """Is it one of the `not`s?"""
        return self.value.endswith("_not")


class Compare(msgspec.Struct, frozen=True):
    """A dimension of an event, or of its session, against values."""

    operator: Operator
    dimension: Dimension | Prop
    """Not one of time."""
    values: tuple[str, ...]
    case_sensitive: bool = True


class All(msgspec.Struct, frozen=True):
    """Met where every part is; without parts, by everything."""

    parts: "tuple[Filter, ...]"


class Some(msgspec.Struct, frozen=True):
    """Met where a part is; without parts, by nothing."""

    parts: "tuple[Filter, ...]"


class Not(msgspec.Struct, frozen=True):
    """Met where its part is not."""

    part: "Filter"


class HasDone(msgspec.Struct, frozen=True):
    """Met by every event of a session that has an event which meets *part*."""

    part: "Filter"
    """Of events' own dimensions only."""


Filter: TypeAlias = Compare | All | Some | Not | HasDone
"""A condition on an event and its session. Metrics of events count the events that meet it, metrics of sessions count
the sessions that have such an event."""


def scopes(condition: Filter) -> frozenset[Scope]:
    """What has to be known to judge *condition*: the event, its session, or both."""
    if isinstance(condition, Compare):
        return frozenset({condition.dimension.scope})
    if isinstance(condition, HasDone):
        return frozenset({Scope.SESSION})
    parts = (condition.part,) if isinstance(condition, Not) else condition.parts
    return frozenset().union(*(scopes(part) for part in parts)) or frozenset({Scope.EVENT})


class Direction(StrEnum):
    """Which end comes first."""

    ASC = "asc"
    DESC = "desc"


class Range(msgspec.Struct, frozen=True):
    """The span [start, end), two aware instants, read in *zone*."""

    start: datetime
    end: datetime
    zone: ZoneInfo
    week_start: WeekStart = WeekStart.MONDAY


class Query(msgspec.Struct, frozen=True):
    """*metrics* of one site over one range, for each group of *dimensions*."""

    site_id: str
    range: Range
    metrics: tuple[Metric, ...]
    dimensions: tuple[AnyDimension, ...] = ()
    order_by: tuple[tuple[Metric | AnyDimension, Direction], ...] = ()
    """Null comes last, whatever the direction."""
    limit: int | None = None
    filter: Filter | None = None
    offset: int = 0
    with_total: bool = False
    """Also say how many rows there are without limit and offset."""
    counts_reports: bool = False
    """Reports of engagement count as any event does. Only for metrics of events, without dimensions and filter."""
