"""The world of `footfall demo`: a small shop for software, its pages, and who comes from where.

Weights are relative. Addresses are blocks of large providers in each country, completed with numbers; nobody is meant.
"""

from typing import NamedTuple


class Country(NamedTuple):
    """Where visitors live."""

    weight: int
    address_prefix: str
    """The first half of an IPv4 address that the built-in database places there."""
    zone: str
    language: str


COUNTRIES: dict[str, Country] = {
    "US": Country(30, "160.130", "America/New_York", "en-US"),
    "GB": Country(11, "51.104", "Europe/London", "en-GB"),
    "DE": Country(12, "160.100", "Europe/Berlin", "de-DE"),
    "FR": Country(9, "147.127", "Europe/Paris", "fr-FR"),
    "IN": Country(8, "117.215", "Asia/Kolkata", "en-IN"),
    "JP": Country(5, "153.173", "Asia/Tokyo", "ja-JP"),
    "BR": Country(5, "177.191", "America/Sao_Paulo", "pt-BR"),
    "CA": Country(5, "68.150", "America/Vancouver", "en-CA"),
    "AU": Country(4, "121.90", "Australia/Sydney", "en-AU"),
    "NL": Country(4, "94.171", "Europe/Amsterdam", "nl-NL"),
    "ES": Country(3, "212.128", "Europe/Madrid", "es-ES"),
    "IT": Country(3, "188.13", "Europe/Rome", "it-IT"),
    "PL": Country(3, "83.238", "Europe/Warsaw", "pl-PL"),
    "SE": Country(2, "217.215", "Europe/Stockholm", "sv-SE"),
    "KR": Country(2, "221.151", "Asia/Seoul", "ko-KR"),
    "ZA": Country(1, "41.195", "Africa/Johannesburg", "en-ZA"),
    "MX": Country(1, "189.209", "America/Mexico_City", "es-MX"),
    "SG": Country(1, "43.85", "Asia/Singapore", "en-SG"),
}

_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
_APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko)"

DEVICES: tuple[tuple[int, str, str], ...] = (
    # weight, screen, user agent
    (24, "1920x1080", f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_WEBKIT} Chrome/126.0.0.0 Safari/537.36"),
    (
        9,
        "2560x1440",
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_WEBKIT} Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
    ),
    (10, "1440x900", f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_WEBKIT} Chrome/126.0.0.0 Safari/537.36"),
    (8, "1512x982", f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_APPLE} Version/17.4 Safari/605.1.15"),
    (5, "1920x1080", "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0"),
    (3, "1920x1200", "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0"),
    (
        20,
        "393x852",
        f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) {_APPLE} Version/17.4 Mobile/15E148 Safari/604.1",
    ),
    (14, "412x915", f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {_WEBKIT} Chrome/126.0.0.0 Mobile Safari/537.36"),
    (
        5,
        "384x854",
        f"Mozilla/5.0 (Linux; Android 14; SM-S918B) {_WEBKIT} SamsungBrowser/25.0 Chrome/121 Mobile Safari/537.36",
    ),
    (
        3,
        "820x1180",
        f"Mozilla/5.0 (iPad; CPU OS 17_4 like Mac OS X) {_APPLE} Version/17.4 Mobile/15E148 Safari/604.1",
    ),
    (1, "800x1280", f"Mozilla/5.0 (Linux; Android 13; SM-X700) {_WEBKIT} Chrome/126.0.0.0 Safari/537.36"),
)

ARRIVALS: tuple[tuple[int, str, str, str], ...] = (
    # weight, referrer, query of the landing page, landing page ("" for any)
    (30, "", "", ""),
    (24, "https://www.google.com/", "", ""),
    (4, "https://www.bing.com/", "", ""),
    (4, "https://duckduckgo.com/", "", ""),
    (5, "https://news.ycombinator.com/", "", "/blog/sessions-are-a-question"),
    (4, "https://www.reddit.com/r/selfhosted/", "", "/blog/own-your-numbers"),
    (3, "https://t.co/demo", "", ""),
    (3, "https://www.linkedin.com/", "", ""),
    (3, "https://chatgpt.com/", "", "/docs/getting-started"),
    (2, "https://www.perplexity.ai/", "", "/docs/getting-started"),
    (4, "https://github.com/", "", "/docs/getting-started"),
    (2, "https://www.youtube.com/", "", "/features"),
    (2, "https://partner.example/review", "", "/pricing"),
    (4, "https://www.google.com/", "utm_source=google&utm_medium=cpc&utm_campaign=brand&gclid=demo", "/pricing"),
    (3, "", "utm_source=newsletter&utm_medium=email&utm_campaign=spring-release", "/blog/spring-release"),
    (2, "", "utm_source=facebook&utm_medium=paid_social&utm_campaign=launch&utm_content=video", "/features"),
    (1, "", "utm_source=podcast&utm_medium=audio&utm_campaign=episode-12", "/"),
)

HOSTNAME = "shop.example"

TITLES: dict[str, str] = {
    "/": "Home",
    "/features": "Features",
    "/pricing": "Pricing",
    "/products": "Products",
    "/products/notebook": "Notebook",
    "/products/pen": "Pen",
    "/products/backpack": "Backpack",
    "/cart": "Cart",
    "/checkout": "Checkout",
    "/signup": "Sign up",
    "/about": "About us",
    "/contact": "Contact",
    "/blog": "Blog",
    "/blog/sessions-are-a-question": "Sessions are a question",
    "/blog/own-your-numbers": "Own your numbers",
    "/blog/spring-release": "The spring release",
    "/docs/getting-started": "Getting started",
    "/docs/api": "The API",
}

LANDINGS: tuple[tuple[int, str], ...] = (
    (40, "/"),
    (12, "/products"),
    (10, "/pricing"),
    (10, "/blog/own-your-numbers"),
    (8, "/blog/sessions-are-a-question"),
    (8, "/docs/getting-started"),
    (6, "/features"),
    (6, "/products/backpack"),
)

NEXT: dict[str, tuple[tuple[int, str], ...]] = {
    "/": (
        (25, "/products"),
        (20, "/features"),
        (18, "/pricing"),
        (10, "/blog"),
        (8, "/docs/getting-started"),
        (4, "/about"),
    ),
    "/features": ((40, "/pricing"), (20, "/products"), (10, "/docs/getting-started")),
    "/pricing": ((30, "/signup"), (20, "/features"), (15, "/products"), (5, "/contact")),
    "/products": ((30, "/products/notebook"), (20, "/products/pen"), (25, "/products/backpack"), (5, "/")),
    "/products/notebook": ((30, "/cart"), (30, "/products"), (10, "/products/pen")),
    "/products/pen": ((25, "/cart"), (30, "/products"), (10, "/products/notebook")),
    "/products/backpack": ((30, "/cart"), (30, "/products")),
    "/cart": ((60, "/checkout"), (20, "/products")),
    "/checkout": ((10, "/cart"), (10, "/")),
    "/signup": ((30, "/docs/getting-started"), (20, "/")),
    "/about": ((20, "/contact"), (20, "/")),
    "/contact": ((10, "/"),),
    "/blog": ((30, "/blog/own-your-numbers"), (30, "/blog/sessions-are-a-question"), (20, "/blog/spring-release")),
    "/blog/sessions-are-a-question": ((20, "/blog"), (15, "/"), (10, "/features")),
    "/blog/own-your-numbers": ((20, "/blog"), (15, "/"), (10, "/pricing")),
    "/blog/spring-release": ((20, "/features"), (15, "/pricing")),
    "/docs/getting-started": ((40, "/docs/api"), (10, "/signup")),
    "/docs/api": ((20, "/docs/getting-started"), (10, "/signup")),
}

PRICES: dict[str, float] = {"/products/notebook": 14.5, "/products/pen": 6.9, "/products/backpack": 89.0}

HOURS: tuple[int, ...] = (3, 2, 1, 1, 1, 2, 5, 9, 15, 20, 22, 21, 18, 19, 21, 20, 18, 16, 15, 17, 18, 15, 10, 6)
"""How busy each hour of a visitor's own day is."""
WEEKDAYS: tuple[float, ...] = (1.12, 1.16, 1.15, 1.1, 1.02, 0.72, 0.73)
"""How busy Monday to Sunday are; the mean is 1."""
