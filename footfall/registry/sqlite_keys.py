"""SqliteKeys: the API keys, in the registry's file."""

from collections.abc import Sequence

from footfall.registry.base import Key, Scope
from footfall.registry.sqlite_file import SqliteFile
from footfall.registry.texts import pack, unpack


class SqliteKeys:
    """The Keys port."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._cached: tuple[Key, ...] = ()
        self._cached_age = -1

    async def all(self) -> Sequence[Key]:
        return await self._file.run(self._all)

    async def save(self, key: Key) -> None:
        await self._file.run(lambda: self._save(key))

    async def note_use(self, key_id: str, used_at_ms: int) -> None:
        statement = "UPDATE keys SET last_used_at_ms = ? WHERE id = ?"
        await self._file.run(lambda: self._file.write(statement, (used_at_ms, key_id)))

    async def delete(self, key_id: str) -> bool:
        return await self._file.run(lambda: self._file.write("DELETE FROM keys WHERE id = ?", (key_id,)) > 0)

    def _all(self) -> tuple[Key, ...]:
        age = self._file.age()
        if age != self._cached_age:
            rows = self._file.ask("SELECT * FROM keys ORDER BY created_at_ms DESC, id")
            self._cached = tuple(_key(row) for row in rows)
            self._cached_age = age
        return self._cached

    def _save(self, key: Key) -> None:
        self._file.write(
            "INSERT OR REPLACE INTO keys (id, name, scopes, site_ids, created_at_ms, expires_at_ms, last_used_at_ms,"
            " secret_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                key.id,
                key.name,
                pack(key.scopes),
                pack(key.site_ids),
                key.created_at_ms,
                key.expires_at_ms,
                key.last_used_at_ms,
                key.secret_hash,
            ),
        )


def _key(row: tuple[str, str, str, str, int, int | None, int | None, bytes]) -> Key:
    key_id, name, scopes, site_ids, created_at_ms, expires_at_ms, last_used_at_ms, secret_hash = row
    return Key(
        id=key_id,
        name=name,
        scopes=tuple(Scope(scope) for scope in unpack(scopes)),
        site_ids=unpack(site_ids),
        created_at_ms=created_at_ms,
        expires_at_ms=expires_at_ms,
        last_used_at_ms=last_used_at_ms,
        secret_hash=secret_hash,
    )
