"""Thirty days of one busy site: drawn events as the collector would have queued them, in order of time.

Visitors without a name get another id every day, as the daily salt gives it to them; one session in seven belongs to
somebody who is signed in. Nothing here is a copy of a few rows: what compresses in the store compresses in life.
"""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate

import msgspec

from footfall.event import Event, encode, new_id
from footfall.tools.demo_world import COUNTRIES, HOURS

SITE = "bench"
FIRST_DAY = date(2024, 1, 15)
"""Two calendar months are touched, as they are by most thirty days."""
DAYS = 30

PATHS = 2_000
USERS = 60_000
BUSY_USERS = 250
NAMED_SHARE = 0.14
OTHER_EVENT_SHARE = 0.12
PAGES_WEIGHTS = (46, 18, 11, 8, 5, 4, 3, 2, 1.5, 1, 0.5)
"""How many events a session has, from one; the mean is 2.8."""
_SECOND_MS = 1_000
_GAP_S_MEAN = 55.0
_GAP_S_MAX = 1_500.0

_CLIENTS = (
    # weight, browser, version, os, version, device, screen
    (30, "Chrome", "126", "Windows", "10", "desktop", "1920x1080"),
    (12, "Chrome", "126", "macOS", "10.15", "desktop", "1440x900"),
    (9, "Edge", "126", "Windows", "10", "desktop", "2560x1440"),
    (7, "Safari", "17.4", "macOS", "10.15", "desktop", "1512x982"),
    (6, "Firefox", "127", "Windows", "10", "desktop", "1920x1080"),
    (2, "Firefox", "127", "Ubuntu", "", "desktop", "1920x1200"),
    (18, "Mobile Safari", "17.4", "iOS", "17.4", "mobile", "393x852"),
    (12, "Chrome Mobile", "126", "Android", "14", "mobile", "412x915"),
    (4, "Samsung Internet", "25", "Android", "14", "mobile", "384x854"),
)
_ARRIVALS = (
    # weight, referrer, source, channel, utm_source, utm_medium, utm_campaign
    (34, "", "", "Direct", "", "", ""),
    (28, "https://www.google.com/", "Google", "Organic Search", "", "", ""),
    (4, "https://www.bing.com/", "Bing", "Organic Search", "", "", ""),
    (4, "https://duckduckgo.com/", "DuckDuckGo", "Organic Search", "", "", ""),
    (5, "https://news.ycombinator.com/", "Hacker News", "Organic Social", "", "", ""),
    (4, "https://www.reddit.com/r/selfhosted/", "Reddit", "Organic Social", "", "", ""),
    (4, "https://github.com/", "GitHub", "Referral", "", "", ""),
    (6, "https://www.google.com/", "Google", "Paid Search", "google", "cpc", "brand"),
    (3, "", "newsletter", "Email", "newsletter", "email", "spring-release"),
)
_OTHERS = ("signup", "add to cart", "search", "download", "video play")


class _Session(msgspec.Struct, gc=False):
    """What all events of one session share, and what only its first one has."""

    common: dict[str, object]
    arrival: dict[str, object]


class _World:
    """The pools that everything is drawn from."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.paths = [
            f"/{('blog', 'products', 'docs', 'help')[n % 4]}/{self.draw.getrandbits(40):x}" for n in range(PATHS)
        ]
        self.path_weights = list(accumulate(1 / (n + 2) ** 0.9 for n in range(PATHS)))
        self.users = [self.draw.getrandbits(64) for _ in range(USERS)]
        self.countries = list(COUNTRIES.items())
        self.country_weights = list(accumulate(country.weight for _, country in self.countries))
        self.client_weights = list(accumulate(client[0] for client in _CLIENTS))
        self.arrival_weights = list(accumulate(arrival[0] for arrival in _ARRIVALS))
        self.page_weights = list(accumulate(PAGES_WEIGHTS))
        self.hour_weights = list(accumulate(HOURS))

    def session(self) -> _Session:
        draw = self.draw
        _, browser, version, system, system_version, device, screen = draw.choices(
            _CLIENTS, cum_weights=self.client_weights
        )[0]
        code, country = draw.choices(self.countries, cum_weights=self.country_weights)[0]
        common: dict[str, object] = {
            "browser": browser,
            "browser_version": version,
            "os": system,
            "os_version": system_version,
            "device": device,
            "screen": screen,
            "country": code,
            "language": country.language,
            "hostname": "bench.example",
        }
        if draw.random() < NAMED_SHARE:
            # The most faithful of them comes some 50 times a day, at 10 million events; nobody's session lasts a month.
            number = int(BUSY_USERS * (draw.paretovariate(0.8) - 1)) % USERS
            common |= {"user_id": f"user-{number}", "visitor_id": self.users[number]}
        else:
            common["visitor_id"] = draw.getrandbits(64)
        _, referrer, source, channel, utm_source, utm_medium, utm_campaign = draw.choices(
            _ARRIVALS, cum_weights=self.arrival_weights
        )[0]
        arrival: dict[str, object] = {"referrer": referrer, "source": source, "channel": channel}
        arrival |= {"utm_source": utm_source, "utm_medium": utm_medium, "utm_campaign": utm_campaign}
        return _Session(common, arrival)

    def moments(self, day_ms: int, events: int) -> list[tuple[int, int, _Session]]:
        """About *events* of one day, in order: when, the how-manieth of its session, and the session."""
        draw = self.draw
        found: list[tuple[int, int, _Session]] = []
        while len(found) < events:
            session = self.session()
            hour = draw.choices(range(24), cum_weights=self.hour_weights)[0]
            at_ms = day_ms + hour * 3_600_000 + draw.randrange(3_600_000)
            pages = draw.choices(range(len(PAGES_WEIGHTS)), cum_weights=self.page_weights)[0] + 1
            for number in range(pages):
                found.append((at_ms, number, session))
                at_ms += int(_SECOND_MS * min(_GAP_S_MAX, 0.5 + draw.expovariate(1 / _GAP_S_MEAN)))
        del found[events:]
        found.sort(key=lambda moment: moment[0])
        return found


_NOTHING: dict[str, object] = {}


def payloads(events: int, slice_events: int, seed: int = 15) -> Iterator[list[bytes]]:
    """*events* encoded events, in slices of at most so many."""
    world = _World(seed)
    start = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC)
    waiting: list[bytes] = []
    for number in range(DAYS):
        of_day = events * (number + 1) // DAYS - events * number // DAYS
        day_ms = int((start + timedelta(days=number)).timestamp() * 1000)
        moments = world.moments(day_ms, of_day)
        paths = world.draw.choices(world.paths, cum_weights=world.path_weights, k=len(moments))
        for (at_ms, nth, session), path in zip(moments, paths, strict=True):
            waiting.append(_encoded(world.draw, at_ms, nth, session, path))
            if len(waiting) == slice_events:
                yield waiting
                waiting = []
    if waiting:
        yield waiting


def _encoded(draw: random.Random, at_ms: int, nth: int, session: _Session, path: str) -> bytes:
    is_other = nth > 0 and draw.random() < OTHER_EVENT_SHARE / 0.64  # nearly two in three events are not the first
    name = draw.choice(_OTHERS) if is_other else "pageview"
    own = {"props": {"plan": draw.choice(("free", "team", "business"))}} if is_other else _NOTHING
    event = Event(
        id=new_id(),
        key=b"",
        site_id=SITE,
        name=name,
        occurred_at_ms=at_ms,
        received_at_ms=at_ms,
        path=path,
        title=f"About {path}",
        **session.common,  # type: ignore[arg-type]
        **(_NOTHING if nth else session.arrival),  # type: ignore[arg-type]
        **own,
    )
    return encode(event)
