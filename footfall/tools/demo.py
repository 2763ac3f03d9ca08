"""`footfall demo`: realistic sample data, sent through the real HTTP API.

Everything is drawn from random numbers that depend on seed, site, amount per day and calendar day alone. So a second
run sends the same events with the same ids, and a run on another day the same past and what has come since.
"""

import asyncio
import math
import random
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate, islice
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import httpx
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from footfall.errors import Fault, Forbidden, Invalid, Unavailable
from footfall.tools import demo_world as world

DAYS_MAX = 3_650
EVENTS_MAX = 100_000_000
EVENTS_PER_BATCH = 1_000
EVENTS_PER_SESSION = 6
"""About; how many people there are follows from it."""
PATIENCE_S = 300.0
"""How long a server may answer 429 or 503 to one batch before the demo gives up."""
PAUSE_MAX_S = 60.0
REJECTED_SHOWN_MAX = 5

T = TypeVar("T")
DemoEvent = dict[str, Any]


class Person(NamedTuple):
    """One visitor, the same in every session."""

    number: int
    country: world.Country
    zone: ZoneInfo
    ip: str
    user_agent: str
    screen: str
    is_known: bool
    """Signed in, so that events carry a user id."""


class Sent(msgspec.Struct):
    """What became of a demo."""

    events: int = 0
    accepted: int = 0
    rejected: int = 0
    first_errors: list[str] = msgspec.field(default_factory=list)
    waits: int = 0
    """Times the server said 429 or 503."""
    took_s: float = 0.0


class _Choice:
    """Weighted choice from a table, prepared once."""

    def __init__(self, weights: Sequence[float], values: Sequence[Any]) -> None:
        self._values = values
        self._cumulative = list(accumulate(weights))

    def of(self, dice: random.Random) -> Any:  # noqa: ANN401 - a table holds what it holds
        return dice.choices(self._values, cum_weights=self._cumulative)[0]


_COUNTRIES = _Choice([country.weight for country in world.COUNTRIES.values()], list(world.COUNTRIES.values()))
_DEVICES = _Choice([device[0] for device in world.DEVICES], world.DEVICES)
_ARRIVALS = _Choice([arrival[0] for arrival in world.ARRIVALS], world.ARRIVALS)
_LANDINGS = _Choice([landing[0] for landing in world.LANDINGS], [landing[1] for landing in world.LANDINGS])
_HOURS = _Choice(world.HOURS, range(24))
_NEXT = {page: _Choice([link[0] for link in links], [link[1] for link in links]) for page, links in world.NEXT.items()}


def demo_events(days: int, events: int, seed: int, now: datetime, site_id: str = "demo") -> Iterator[DemoEvent]:
    """About *events* bodies for `POST /api/events` over the *days* that end at *now* (aware), in order of time a day.

    The last day is the UTC day of *now*, up to that instant. Raises Invalid for numbers out of bounds.
    """
    if not 1 <= days <= DAYS_MAX:
        raise Invalid(Fault("days", f"must be 1 to {DAYS_MAX}"))
    if not 1 <= events <= EVENTS_MAX:
        raise Invalid(Fault("events", f"must be 1 to {EVENTS_MAX}"))
    per_day = max(1, round(events / days))
    today = now.astimezone(UTC).date()
    now_ms = int(now.timestamp() * 1_000)
    for ago in range(days - 1, -1, -1):
        for event in _day(today - timedelta(days=ago), per_day, seed, site_id):
            if event["timestamp"] > now_ms:
                break
            yield event


def _day(day: date, per_day: int, seed: int, site_id: str) -> list[DemoEvent]:
    """All events of one UTC day, in order."""
    dice = random.Random(f"{seed}/{site_id}/{per_day}/{day}")  # noqa: S311 - sample data
    season = 1 + 0.06 * math.sin(day.toordinal() / 29)
    wanted = max(1, round(per_day * world.WEEKDAYS[day.weekday()] * season))
    people = max(20, per_day * 8 // EVENTS_PER_SESSION)
    end_ms = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1_000) + 86_400_000
    events: list[DemoEvent] = []
    while len(events) < wanted:
        # The cube makes a few people come often and most of them once.
        person = _person(int(people * dice.random() ** 3) if dice.random() < 0.5 else dice.randrange(people * 20), seed)
        session = _session(person, _start(person, day, dice), dice)
        events += [event for event in session if event["timestamp"] < end_ms]
    del events[wanted:]
    events.sort(key=lambda event: event["timestamp"])
    for number, event in enumerate(events):
        event["site_id"] = site_id
        event["event_id"] = f"demo-{seed}-{per_day}-{day:%Y%m%d}-{number}"
    return events


def _person(number: int, seed: int) -> Person:
    dice = random.Random(f"{seed}/person/{number}")  # noqa: S311 - sample data
    country: world.Country = _COUNTRIES.of(dice)
    _, screen, user_agent = _DEVICES.of(dice)
    ip = f"{country.address_prefix}.{dice.randrange(256)}.{dice.randrange(1, 255)}"
    return Person(number, country, ZoneInfo(country.zone), ip, user_agent, screen, dice.random() < 0.18)


def _start(person: Person, day: date, dice: random.Random) -> int:
    """When a session of that UTC day begins: at a likely hour of the person's own clock."""
    own = datetime(day.year, day.month, day.day, _HOURS.of(dice), dice.randrange(60), tzinfo=person.zone)
    in_day_ms = int(own.timestamp() * 1_000) % 86_400_000 + dice.randrange(60_000)
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1_000) + in_day_ms


class _Session:
    """One visit, as it is being walked."""

    def __init__(self, person: Person, at_ms: int, dice: random.Random) -> None:
        self.person = person
        self.at_ms = at_ms
        self.dice = dice
        self.is_known = person.is_known
        self.events: list[DemoEvent] = []

    def add(self, event_type: str, path: str, **more: Any) -> None:  # noqa: ANN401 - fields of a body
        event: DemoEvent = {
            "event_type": event_type,
            "path": path,
            "timestamp": self.at_ms,
            "ip": self.person.ip,
            "user_agent": self.person.user_agent,
            "screen": self.person.screen,
            "language": self.person.country.language,
            **more,
        }
        if self.is_known:
            event["user_id"] = f"user-{self.person.number}"
        self.events.append(event)

    def wait(self, low_s: float, high_s: float) -> None:
        self.at_ms += int(self.dice.triangular(low_s, high_s, low_s + (high_s - low_s) / 4) * 1_000)


def _session(person: Person, at_ms: int, dice: random.Random) -> list[DemoEvent]:
    """One session's events: pages along plausible links, and what people do on them."""
    walk = _Session(person, at_ms, dice)
    _, referrer, query, landing = _ARRIVALS.of(dice)
    page: str = landing or _LANDINGS.of(dice)
    cart: list[str] = []
    for step in range(30):
        url = f"https://{world.HOSTNAME}{page}"
        walk.add(
            "pageview",
            f"{url}?{query}" if query and step == 0 else url,
            title=world.TITLES[page],
            **({"referrer": referrer} if referrer else {}),
        )
        _acts(walk, page, url, cart)
        # Half of those who land leave again; whoever goes on tends to go on.
        if dice.random() < (0.42 if step == 0 else 0.22):
            break
        referrer = url
        page = _NEXT[page].of(dice)
        walk.wait(1, 8)
    return walk.events


def _acts(walk: _Session, page: str, url: str, cart: list[str]) -> None:
    """What somebody does on *page*; *cart* is what lies in it."""
    dice = walk.dice
    walk.wait(3, 110)
    if dice.random() < 0.45:
        depth = dice.choice((25, 50, 75, 90, 100))
        walk.add("scroll", url, props={"depth": depth}, interactive=False)
    if page in world.PRICES and dice.random() < 0.3:
        cart.append(page)
        walk.wait(2, 20)
        walk.add("add_to_cart", url, props={"product": world.TITLES[page], "price": world.PRICES[page]})
    elif page == "/signup" and not walk.is_known and dice.random() < 0.55:
        walk.wait(10, 60)
        walk.is_known = True
        walk.add("signup", url, props={"plan": dice.choice(("free", "free", "team", "business"))})
    elif page == "/checkout" and cart and dice.random() < 0.7:
        walk.wait(20, 90)
        amount = round(sum(world.PRICES[product] for product in cart), 2)
        walk.add("purchase", url, props={"items": len(cart)}, revenue={"amount": amount, "currency": "EUR"})
        cart.clear()
    elif page.startswith("/docs") and dice.random() < 0.15:
        walk.add("outbound_link", url, props={"url": "https://github.com/"})


async def send_demo(
    url: str,
    *,
    days: int = 30,
    events: int = 20_000,
    seed: int = 1,
    site_id: str = "demo",
    key: str | None = None,
    now: datetime | None = None,
    console: Console | None = None,
    patience_s: float = PATIENCE_S,
) -> Sent:
    """Send demo_events to the server at *url*; with a *console* that is a terminal, a progress bar runs on it.

    429 and 503 are waited out, as long as Retry-After says. Raises Unavailable when nothing listens there, or it stays
    busy for *patience_s*; Forbidden where the server wants a key with the ingest scope.
    """
    sent = Sent()
    started_s = time.monotonic()
    source = demo_events(days, events, seed, now or datetime.now(UTC), site_id)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    is_shown = console is not None and console.is_terminal
    columns = (TextColumn("Sending"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console or Console(stderr=True), disable=not is_shown) as progress:
        bar = progress.add_task("", total=events)
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as http:
            while batch := list(islice(source, EVENTS_PER_BATCH)):
                answer = await _post(http, batch, sent, patience_s)
                sent.events += len(batch)
                sent.accepted += answer["accepted"]
                sent.rejected += len(answer["rejected"])
                for refused in answer["rejected"][: REJECTED_SHOWN_MAX - len(sent.first_errors)]:
                    sent.first_errors.append(str(refused["errors"]))
                progress.update(bar, completed=sent.events)
        progress.update(bar, total=sent.events)
    sent.took_s = time.monotonic() - started_s
    return sent


async def _post(http: httpx.AsyncClient, batch: list[DemoEvent], sent: Sent, patience_s: float) -> dict[str, Any]:
    """One batch, sent until it is answered for good."""
    waited_s = 0.0
    while True:
        try:
            answer = await http.post("/api/events", json=batch)
        except httpx.TransportError as error:
            raise Unavailable(f"nothing answers at {http.base_url}: {error or type(error).__name__}") from error
        if answer.status_code not in (429, 503):
            break
        pause_s = min(_retry_after_s(answer), PAUSE_MAX_S)
        if waited_s + pause_s > patience_s:
            raise Unavailable(
                f"{http.base_url} answered {answer.status_code} for {waited_s:.0f} seconds: {answer.text}"
            )
        sent.waits += 1
        waited_s += pause_s
        await asyncio.sleep(pause_s)
    if answer.status_code in (401, 403):
        raise Forbidden(
            f"{http.base_url} wants a key with the ingest scope (footfall keys create demo --scope ingest): "
            f"{answer.text}"
        )
    if answer.status_code != 202:
        raise Unavailable(f"{http.base_url} answered {answer.status_code}: {answer.text[:500]}")
    body: dict[str, Any] = answer.json()
    return body


def _retry_after_s(answer: httpx.Response) -> float:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else 1.0
