"""The SQL of writing and of keeping the tables, in one place for both doors; questions are made in compile.py."""
# ruff: noqa: S608 - what is put together here are constants

from pathlib import Path

from footfall.event import Event

KEY_WINDOW_MS = 30 * 24 * 3600 * 1000
"""A sender's key counts once within this time of receipt, in both directions, the end included."""
OCCURRED_MS_MAX = 5_648_000_000_000
"""December 2148: beyond it the engine's dates of 16 bits end."""

_RAW_TYPES = {
    "occurred_at_ms": "Int64",
    "received_at_ms": "Int64",
    "visitor_id": "UInt64",
    "props": "Map(String, String)",
    "revenue": "Nullable(String)",
    "interactive": "Bool",
}
_RAW_COLUMNS = ", ".join(f"{name} {_RAW_TYPES.get(name, 'String')}" for name in Event.__struct_fields__)

# Where a batch is laid out as it came, in memory: it is read and judged by the engine, without Python and its lock.
# Measured with 50,000 events: 3 µs an event here and no lock held, 8 µs with the lock for msgspec's decoding alone.
# Temporary tables, which belong to the writer's own session: several writers of one server do not meet there, and what
# a dead one leaves goes with its session.
STAGE_INCOMING = f"CREATE OR REPLACE TEMPORARY TABLE incoming ({_RAW_COLUMNS}) ENGINE = Memory"
STAGE_VERDICTS = "CREATE OR REPLACE TEMPORARY TABLE verdicts (id FixedString(16), verdict String) ENGINE = Memory"
CLEAR_INCOMING = "DROP TEMPORARY TABLE IF EXISTS incoming"
LOAD = "INSERT INTO incoming"

# Whoever was stopped for a minute does not write when it goes on: its turn is over by the engine's own clock.
_IN_TURN = """
    NOT throwIf(now64(3) >= fromUnixTimestamp64Milli({until_ms:Int64}), 'the turn to write is over')"""

# The hash of all ids in their order shows that each payload was read as exactly one row.
LOOK_OVER = f"""
SELECT
    count(), lower(hex(SHA256(arrayStringConcat(groupArray(id))))),
    countIf(length(id) != 16 OR length(key) NOT IN (0, 16) OR occurred_at_ms < 0 OR occurred_at_ms > {OCCURRED_MS_MAX}
        OR received_at_ms < 0 OR received_at_ms > {OCCURRED_MS_MAX}),
    countIf(key != '') > 0 OR countIf(drop_reason != '') > 0 OR uniqExact(id) != count()
FROM incoming SETTINGS max_threads = 1
"""

_RECEIVED_MS = "toUnixTimestamp64Milli(occurred_at) + delay_ms"
_KEY_HEAD = "reinterpretAsUInt32(substring(key, 1, 4))"
_KEY_TAIL = "toFixedString(substring(key, 5), 12)"
_MOMENT = "fromUnixTimestamp64Milli(occurred_at_ms, 'UTC')"


def _known_ids(table: str) -> str:
    """Ids of the batch that are in *table*: an event that comes again lies where it lay, so only its time is read.

    GLOBAL, here and below: the batch is laid out on one server of a cluster, and the shards are sent what it holds.
    """
    return f"""
    SELECT id FROM {table}
    WHERE site_id GLOBAL IN (SELECT DISTINCT site_id FROM incoming)
      AND occurred_at >= (SELECT min({_MOMENT}) FROM incoming)
      AND occurred_at <= (SELECT max({_MOMENT}) FROM incoming)
      AND id GLOBAL IN (SELECT toFixedString(id, 16) FROM incoming)"""


_NO_IDS = "SELECT toFixedString('', 16) AS id WHERE 0"

_KNOWN_KEYS = f"""
    SELECT
        toFixedString(concat(reinterpretAsFixedString(key_head), key_tail), 16) AS key,
        groupArray({_RECEIVED_MS}) AS times
    FROM events
    PREWHERE key_head GLOBAL IN (SELECT {_KEY_HEAD} FROM incoming WHERE key != '')
    WHERE (key_head, key_tail) GLOBAL IN (SELECT {_KEY_HEAD}, {_KEY_TAIL} FROM incoming WHERE key != '')
      AND {_RECEIVED_MS} >= (SELECT min(received_at_ms) FROM incoming WHERE key != '') - {KEY_WINDOW_MS}
      AND {_RECEIVED_MS} <= (SELECT max(received_at_ms) FROM incoming WHERE key != '') + {KEY_WINDOW_MS}
    GROUP BY key"""


def judge(redelivered: bool) -> str:
    """Fill `verdicts` with one row for each id: empty (counts), a reason to drop, or 'already'.

    A key belongs to the first event of the batch that is new, not dropped and not a twin of a stored one.
    """
    known_ids = f"{_known_ids('events')} UNION ALL {_known_ids('drops')}" if redelivered else _NO_IDS
    return f"""
INSERT INTO verdicts
WITH
    known_ids AS ({known_ids}),
    known_keys AS ({_KNOWN_KEYS}),
    fresh AS
    (
        SELECT place, own_id, own_key, drop_reason,
            own_key != toFixedString('', 16) AND drop_reason = ''
                AND arrayExists(time -> abs(time - received_at_ms) <= {KEY_WINDOW_MS}, times) AS is_twin,
            own_id IN (SELECT id FROM known_ids) AS is_known
        FROM
        (
            SELECT rowNumberInAllBlocks() AS place, toFixedString(id, 16) AS own_id, toFixedString(key, 16) AS own_key,
                drop_reason, received_at_ms
            FROM incoming
        ) AS numbered
        LEFT JOIN known_keys ON known_keys.key = numbered.own_key
        ORDER BY place
        LIMIT 1 BY own_id
    )
SELECT own_id, multiIf(
    is_known, 'already',
    drop_reason != '', drop_reason,
    own_key = toFixedString('', 16), '',
    is_twin OR place != min(if(is_twin OR is_known OR drop_reason != '', {2**62}, place)) OVER (PARTITION BY own_key),
    'duplicate',
    '')
FROM fresh
SETTINGS max_threads = 1
"""


VERDICTS = "SELECT verdict, count() FROM verdicts GROUP BY verdict"

_COPIED = [
    name
    for name in Event.__struct_fields__
    if name not in {"id", "key", "occurred_at_ms", "received_at_ms", "revenue", "drop_reason"}
]
_INTO_EVENTS = f"INSERT INTO events (id, key_head, key_tail, occurred_at, delay_ms, revenue, {', '.join(_COPIED)})"
_AS_EVENT = f"""
SELECT toFixedString(id, 16), {_KEY_HEAD}, {_KEY_TAIL}, {_MOMENT}, received_at_ms - occurred_at_ms,
    if(isNull(revenue), NULL, toDecimal128(assumeNotNull(if(isNull(revenue), '0', revenue)), 6)), {", ".join(_COPIED)}
FROM incoming"""

WRITE_ALL = f"{_INTO_EVENTS} {_AS_EVENT} WHERE {_IN_TURN} SETTINGS max_threads = 1"
WRITE_COUNTED = f"""{_INTO_EVENTS} {_AS_EVENT}
WHERE {_IN_TURN} AND toFixedString(id, 16) IN (SELECT id FROM verdicts WHERE verdict = '') LIMIT 1 BY id
SETTINGS max_threads = 1"""
WRITE_DROPPED = f"""
INSERT INTO drops (id, key, site_id, occurred_at, delay_ms, reason, name, path, import_id)
SELECT
    toFixedString(id, 16), toFixedString(key, 16), site_id, {_MOMENT}, received_at_ms - occurred_at_ms,
    verdict, name, path, import_id
FROM incoming INNER JOIN verdicts ON verdicts.id = toFixedString(incoming.id, 16)
WHERE {_IN_TURN} AND verdict NOT IN ('', 'already') LIMIT 1 BY id SETTINGS max_threads = 1"""

NOW_MS = "SELECT toUnixTimestamp64Milli(now64(3))"

VERSION_TABLE = "CREATE TABLE IF NOT EXISTS schema_version (version UInt32) ENGINE = MergeTree ORDER BY version"
VERSION = "SELECT max(version) FROM schema_version"
NOTE_VERSION = "INSERT INTO schema_version SELECT {version:UInt32}"


def durable(table: str, fsync: bool) -> str:
    """Let an insert return only when its part and the folder that names it are on the disk; False: in the cache."""
    flag = int(fsync)
    return f"ALTER TABLE {table} MODIFY SETTING fsync_after_insert = {flag}, fsync_part_directory = {flag}"


def migrations() -> list[tuple[int, list[str]]]:
    """Every migration: its number and its statements, in order."""
    found = []
    for path in sorted((Path(__file__).parent / "migrations").glob("[0-9]*.sql")):
        text = "\n".join(line.split("--")[0] for line in path.read_text(encoding="utf-8").splitlines())
        statements = [part.strip() for part in text.split(";")]
        found.append((int(path.name.split("_")[0]), [statement for statement in statements if statement]))
    return found


LEDGER_STORED = "SELECT count() FROM events WHERE true"
LEDGER_DROPPED = "SELECT reason, count() FROM drops WHERE true"
OF_SITE = " AND site_id = {site_id:String}"
OF_IMPORT = " AND import_id = {import_id:String}"
BY_REASON = " GROUP BY reason"
SITES = "SELECT site_id, toUnixTimestamp64Milli(max(occurred_at)) FROM events GROUP BY site_id"
CHECK = "SELECT count() FROM schema_version"
