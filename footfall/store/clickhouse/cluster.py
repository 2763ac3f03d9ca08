"""What makes a table on one server -> what makes it on every server of a cluster.

A table is a replicated one on each server, called `<name>_local`, and a distributed one over these, which has the plain
name and which every question and every write goes to. So the SQL files know nothing of clusters.
"""

import re

KEEPER_PATH = "/clickhouse/tables/{shard}/{database}/{table}"
"""Where replicas of one shard find each other; the servers' own configuration says their {shard} and {replica}."""
SHARDED_BY = {
    # A visitor's events lie on one shard: sessions and visitors are made where they lie, and not sent about.
    "events": "visitor_id",
    "drops": "cityHash64(id)",
    "schema_version": "version",
}

_CREATE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)\s*(\(.*\))\s*ENGINE = MergeTree\b(.*)", re.DOTALL)
_ALTER = re.compile(r"ALTER TABLE (\w+)\s+(.*)", re.DOTALL)
_IS_STORED = re.compile(r"(MODIFY SETTING|RESET SETTING|\w+ (INDEX|PROJECTION|TTL|ORDER BY|SAMPLE BY))\b")
"""Of an ALTER: what only tables have that hold rows."""


def on_cluster(statement: str, cluster: str, database: str) -> list[str]:
    """The statements that do for every server of *cluster* what *statement* does for one.

    *cluster* and *database* are names without a quote in them. Raises ValueError for a statement of which it is not
    known what it means there: a migration that is written in another way has to be taught to this function first.
    """
    everywhere = f"ON CLUSTER '{cluster}'"
    created = _CREATE.fullmatch(statement)
    if created is not None:
        name, columns, rest = created.groups()
        engine = f"ReplicatedMergeTree('{KEEPER_PATH}', '{{replica}}')"
        distributed = f"Distributed('{cluster}', '{database}', '{name}_local', {SHARDED_BY[name]})"
        return [
            f"CREATE TABLE IF NOT EXISTS {name}_local {everywhere} {columns} ENGINE = {engine}{rest}",
            f"CREATE TABLE IF NOT EXISTS {name} {everywhere} AS {name}_local ENGINE = {distributed}",
        ]
    altered = _ALTER.fullmatch(statement)
    if altered is not None:
        name, change = altered.groups()
        local = f"ALTER TABLE {name}_local {everywhere} {change}"
        return [local] if _IS_STORED.match(change) else [local, f"ALTER TABLE {name} {everywhere} {change}"]
    raise ValueError(f"no way is known to run this on a cluster: {statement[:80]}")
