"""Settings: the environment and `.env`, read once, strictly, into one frozen object; all faults are told together."""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
from dotenv import dotenv_values

from footfall.errors import Misconfigured

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


RATE_LIMIT_ADDRESS_DEFAULT = 6_000
RATE_LIMIT_SITE_DEFAULT = 600_000


class AuthMode(StrEnum):
    """Who may read: see CONTRACT "Who may do what"."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class LogFormat(StrEnum):
    """How log lines look: for people or for machines."""

    CONSOLE = "console"
    JSON = "json"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting. The order and the comments here are those of `.env.example` and `footfall config`."""

    host: str = "127.0.0.1"
    port: int = 3000
    worker_port: int | None = None
    data_dir: Path = Path("data")
    fsync: bool = True

    mongodb_uri: str | None = None
    clickhouse_url: str | None = None
    clickhouse_cluster: str | None = None
    redis_host: str | None = None
    redis_port: int = 6379
    redis_password: str | None = None
    redis_tls: bool = False
    redis_cluster: bool = False
    use_sqs: bool = False
    sqs_queue_url: str | None = None
    aws_region: str | None = None
    aws_endpoint_url: str | None = None

    queue_name: str = "footfall"
    queue_concurrency: int = 10
    queue_attempts: int = 5
    queue_backoff_ms: int = 1_000
    queue_max_bytes: int = 2 * 1024**3

    auth: AuthMode = AuthMode.AUTO
    auto_create_sites: bool = True
    cors_origins: tuple[str, ...] = ("*",)
    trusted_proxies: tuple[Network, ...] = ()
    rate_limit_address: int | None = None
    """None: RATE_LIMIT_ADDRESS_DEFAULT, and no limit for what this machine sends to itself."""
    rate_limit_site: int | None = None
    """None: RATE_LIMIT_SITE_DEFAULT, and no limit for what this machine sends to itself."""
    geoip_database: Path | None = None

    store_memory_bytes: int = 1_000_000_000
    enable_cloudwatch: bool = False
    cloudwatch_log_group: str = "footfall"
    log_level: str = "info"
    log_format: LogFormat = LogFormat.CONSOLE


class Variable(msgspec.Struct, frozen=True):
    """How one setting is read, shown and explained."""

    parse: Callable[[str], Any]
    """Text -> value; raises ValueError with what is allowed."""
    allowed: str
    effect: str
    secret: bool = False


def _text(raw: str) -> str:
    return raw


def _host(raw: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:%-]{1,255}", raw):
        raise ValueError(raw)
    return raw


def _bool(raw: str) -> bool:
    try:
        return {
            "true": True,
            "1": True,
            "yes": True,
            "on": True,
            "false": False,
            "0": False,
            "no": False,
            "off": False,
        }[raw.lower()]
    except KeyError:
        raise ValueError(raw) from None


def _int(low: int, high: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        value = int(raw)
        if not low <= value <= high:
            raise ValueError(raw)
        return value

    return parse


def _one_of(kind: type[StrEnum]) -> Callable[[str], StrEnum]:
    return lambda raw: kind(raw.lower())


def _log_level(raw: str) -> str:
    if raw.lower() not in {"debug", "info", "warning", "error"}:
        raise ValueError(raw)
    return raw.lower()


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if not re.match(rf"(?:{'|'.join(map(re.escape, schemes))})://[^\s/]+", raw):
            raise ValueError(raw)
        return raw

    return parse


def _origins(raw: str) -> tuple[str, ...]:
    origins = tuple(part.strip().rstrip("/") for part in raw.split(",") if part.strip())
    if not origins or any(origin != "*" and not re.fullmatch(r"https?://[^\s/]+", origin) for origin in origins):
        raise ValueError(raw)
    return origins


def _networks(raw: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(part.strip(), strict=False) for part in raw.split(",") if part.strip())


def _queue_name(raw: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", raw):
        raise ValueError(raw)
    return raw


def _cluster(raw: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,80}", raw):
        raise ValueError(raw)
    return raw


def _log_group(raw: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._/#-]{1,512}", raw):
        raise ValueError(raw)
    return raw


_BOOL = "true or false"
_SIZE_MAX = 2**62

VARIABLES: dict[str, Variable] = {
    "HOST": Variable(
        _host, "an address or a name", "where to listen; anything but loopback closes the door of AUTH=auto"
    ),
    "PORT": Variable(_int(1, 65_535), "1 to 65535", "where to listen"),
    "WORKER_PORT": Variable(
        _int(1, 65_535),
        "1 to 65535",
        "where `footfall worker` answers /api/health and /metrics; unset: nowhere",
    ),
    "DATA_DIR": Variable(Path, "a folder", "the embedded queue, registry and store"),
    "FSYNC": Variable(
        _bool, _BOOL, "an accepted event also survives a power cut; false: only a crash of our processes"
    ),
    "MONGODB_URI": Variable(
        _url("mongodb", "mongodb+srv"),
        "mongodb://...",
        "the registry lives in MongoDB, and events and daily statistics too where CLICKHOUSE_URL is unset",
        secret=True,
    ),
    "CLICKHOUSE_URL": Variable(
        _url("http", "https", "clickhouse", "clickhouses"),
        "http://...",
        "events live in a ClickHouse server or cluster",
        secret=True,
    ),
    "CLICKHOUSE_CLUSTER": Variable(
        _cluster, "a cluster's name", "its tables are made on every server of this cluster, replicated and distributed"
    ),
    "REDIS_HOST": Variable(_host, "an address or a name", "the queue is BullMQ on Redis or Valkey"),
    "REDIS_PORT": Variable(_int(1, 65_535), "1 to 65535", "its port"),
    "REDIS_PASSWORD": Variable(_text, "a password", "its password", secret=True),
    "REDIS_TLS": Variable(_bool, _BOOL, "connect with TLS"),
    "REDIS_CLUSTER": Variable(_bool, _BOOL, "it is a Redis Cluster"),
    "USE_SQS": Variable(_bool, _BOOL, "the queue is Amazon SQS; wins over Redis"),
    "SQS_QUEUE_URL": Variable(
        _url("http", "https"), "https://...", "the SQS queue; without it, QUEUE_NAME is looked up or created"
    ),
    "AWS_REGION": Variable(_text, "a region, eu-central-1 for one", "where SQS and CloudWatch are"),
    "AWS_ENDPOINT_URL": Variable(_url("http", "https"), "http://...", "another endpoint, LocalStack for one"),
    "QUEUE_NAME": Variable(_queue_name, "1 to 80 of A-Z a-z 0-9 _ -", "BullMQ queue name, SQS queue name"),
    "QUEUE_CONCURRENCY": Variable(_int(1, 1_000), "1 to 1000", "jobs one worker process holds at once"),
    "QUEUE_ATTEMPTS": Variable(_int(1, 100), "1 to 100", "tries per job before it is set aside as failed"),
    "QUEUE_BACKOFF_MS": Variable(_int(1, 3_600_000), "1 to 3600000", "first back-off; it doubles with each try"),
    "QUEUE_MAX_BYTES": Variable(
        _int(1_048_576, _SIZE_MAX), "1048576 or more", "size of the embedded queue at which events are refused with 503"
    ),
    "AUTH": Variable(_one_of(AuthMode), "auto, on or off", "who may read and administer"),
    "AUTO_CREATE_SITES": Variable(_bool, _BOOL, "an event for an unknown site_id creates the site; false drops it"),
    "CORS_ORIGINS": Variable(
        _origins,
        "* or origins like https://example.org, with commas",
        "who may read the ingestion answer from a browser",
    ),
    "TRUSTED_PROXIES": Variable(
        _networks,
        "addresses or CIDRs, with commas",
        "whose X-Forwarded-For, X-Forwarded-Proto and Forwarded headers are believed",
    ),
    "RATE_LIMIT_ADDRESS": Variable(
        _int(0, _SIZE_MAX),
        "0 or more",
        f"events per minute from one address; 0: no limit; unset: {RATE_LIMIT_ADDRESS_DEFAULT}, this machine none",
    ),
    "RATE_LIMIT_SITE": Variable(
        _int(0, _SIZE_MAX),
        "0 or more",
        f"events per minute for one site; 0: no limit; unset: {RATE_LIMIT_SITE_DEFAULT}, this machine none",
    ),
    "GEOIP_DATABASE": Variable(
        Path, "an .mmdb file", "a MaxMind database for country, region and city instead of the built-in countries"
    ),
    "STORE_MEMORY_BYTES": Variable(
        _int(100_000_000, _SIZE_MAX),
        "100000000 or more",
        "memory the embedded engine may use, all queries together; on ClickHouse: each query",
    ),
    "ENABLE_CLOUDWATCH": Variable(_bool, _BOOL, "logs also go to CloudWatch Logs"),
    "CLOUDWATCH_LOG_GROUP": Variable(
        _log_group, "1 to 512 of A-Z a-z 0-9 . _ / # -", "the log group; each process has a stream of its own in it"
    ),
    "LOG_LEVEL": Variable(_log_level, "debug, info, warning or error", "how much is logged"),
    "LOG_FORMAT": Variable(_one_of(LogFormat), "console or json", "json for machines"),
}


class Loaded(msgspec.Struct, frozen=True):
    """Settings, and for each variable where its value came from: "environment", ".env" or "default"."""

    settings: Settings
    origins: dict[str, str]


def load(environ: Mapping[str, str] | None = None, env_file: Path | None = Path(".env")) -> Loaded:
    """Read every variable of VARIABLES; the environment wins over *env_file*; an empty value counts as unset.

    Raises Misconfigured with one sentence per fault, each naming the variable, its value and what is allowed.
    """
    environ = os.environ if environ is None else environ
    from_file = _read_file(env_file) if env_file is not None and env_file.is_file() else {}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    problems = _misspelt(from_file)
    for name, variable in VARIABLES.items():
        raw = environ.get(name) or from_file.get(name)
        origins[name] = "default" if not raw else "environment" if environ.get(name) else ".env"
        if not raw:
            continue
        try:
            values[name.lower()] = variable.parse(raw.strip())
        except ValueError:
            shown = "(hidden)" if variable.secret else repr(raw)
            problems.append(f"{name}: {shown} is not {variable.allowed}")
    problems += _contradictions(values)
    if problems:
        raise Misconfigured(*problems)
    return Loaded(Settings(**values), origins)


def _read_file(env_file: Path) -> Mapping[str, str | None]:
    try:
        return dotenv_values(env_file)
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{env_file}: can not be read as UTF-8 text: {error}") from error


def _misspelt(from_file: Mapping[str, str | None]) -> list[str]:
    """Names of the file that are nearly ours. Others may be there for other programs."""
    found = {
        name: get_close_matches(name.upper(), VARIABLES, n=1, cutoff=0.8) for name in from_file if name not in VARIABLES
    }
    return [f"{name}: is not a setting; {close[0]} is" for name, close in found.items() if close]


def _contradictions(values: Mapping[str, Any]) -> list[str]:
    """What no single variable is to blame for."""
    problems = []
    if values.get("clickhouse_cluster") and not values.get("clickhouse_url"):
        problems.append("CLICKHOUSE_CLUSTER: names a part of CLICKHOUSE_URL, which is not set")
    geoip: Path | None = values.get("geoip_database")
    if geoip is not None and not geoip.is_file():
        problems.append(f"GEOIP_DATABASE: {str(geoip)!r} is not a file that exists")
    return problems


def as_text(settings: Settings, name: str) -> str:
    """The value of the variable *name*, as `footfall config` shows it: secrets masked, unset as an empty string."""
    value = getattr(settings, name.lower())
    if value is None or value == ():
        return ""
    if VARIABLES[name].secret:
        return "********"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Path) and not value.is_absolute():
        return f"./{value}"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)


def place_of(url: str) -> str:
    """Hosts and path of *url* for a log line: without what may be secret, which is the user and the query."""
    rest = url.partition("://")[2]
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in rest[len(authority) :]:  # a password that should have been escaped: nobody knows where it ends
        return "(hidden)"
    path = re.split("[?#]", rest[len(authority) :], maxsplit=1)[0]
    return (authority.rpartition("@")[2] + path).rstrip("/")


def address(settings: Settings) -> str:
    """Where a person on this machine opens it."""
    host = "localhost" if settings.host in {"0.0.0.0", "::", "127.0.0.1"} else settings.host  # noqa: S104 - compared, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
