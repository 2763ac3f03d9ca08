"""Who may do what: keys, the open door of a local machine, and what closes it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from footfall.address import Sender
from footfall.door import ANYBODY, Caller, Door, create_key, is_loopback, require, require_somewhere
from footfall.errors import Forbidden, Invalid, Unauthorized, Unavailable
from footfall.registry.base import Key, Keys, Scope
from footfall.registry.sqlite import SqliteRegistry
from footfall.settings import AuthMode, Settings

LOCAL = Sender("127.0.0.1", False)
CLOSED = Settings(auth=AuthMode.ON)


class CountingKeys:
    """Keys that count how often they are read, and that can be down."""

    def __init__(self, keys: Keys) -> None:
        self.is_down = False
        self.reads = 0
        self.save, self.note_use, self.delete = keys.save, keys.note_use, keys.delete
        self._keys = keys

    async def all(self) -> Sequence[Key]:
        self.reads += 1
        if self.is_down:
            raise Unavailable("down")
        return await self._keys.all()


class Counting(SqliteRegistry):
    """A registry with such keys."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.keys: CountingKeys = CountingKeys(self.keys)  # type: ignore[assignment]


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.s = 1_000_000.0

    def __call__(self) -> float:
        return self.s

    def ms(self) -> int:
        return int(self.s * 1000)


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Counting]:
    registry = Counting(tmp_path / "registry.sqlite")
    yield registry
    await registry.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def door(registry: Counting, clock: Clock) -> AsyncIterator[Door]:
    door = Door(CLOSED, registry, now_ms=clock.ms, clock_s=clock)
    yield door
    await door.close()


def bearer(token: str) -> str:
    return f"Bearer {token}"


async def test_a_key_is_told_once_and_kept_only_as_a_hash(registry: Counting) -> None:
    key, token = await create_key(registry, "shop", [Scope.READ])
    assert token.startswith(f"ff_{key.id}_")
    (kept,) = await registry.keys.all()
    assert kept == key
    secret = token.rpartition("_")[2]
    assert secret not in repr(kept)
    assert len(secret) * 4 >= 160
    other, other_token = await create_key(registry, "shop", [Scope.READ])
    assert (other.id, other_token) != (key.id, token)


async def test_a_key_names_its_caller(registry: Counting, door: Door) -> None:
    key, token = await create_key(registry, "shop", [Scope.READ], ["shop"])
    caller = await door.caller(bearer(token), LOCAL)
    assert caller == Caller(is_open=False, key=key)
    assert (await door.caller(f"bearer   {token}", LOCAL)).key == key


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "Bearer ff_",
        "Bearer ff_x_y",
        "Bearer ff_" + "0" * 10 + "_" + "0" * 40,
    ],
)
async def test_a_wrong_authorization_is_unauthorized_even_where_the_door_is_open(
    registry: Counting, authorization: str
) -> None:
    for mode in AuthMode:
        door = Door(Settings(auth=mode), registry)
        with pytest.raises(Unauthorized):
            await door.caller(authorization, LOCAL)


async def test_the_right_id_with_a_wrong_secret_is_unauthorized(registry: Counting, door: Door) -> None:
    _, token = await create_key(registry, "shop", [Scope.READ])
    wrong = token[:-1] + ("0" if token[-1] != "0" else "1")
    with pytest.raises(Unauthorized):
        await door.caller(bearer(wrong), LOCAL)


async def test_an_expired_key_is_unauthorized_from_that_millisecond_on(
    registry: Counting, door: Door, clock: Clock
) -> None:
    end_ms = clock.ms() + 1_000
    _, token = await create_key(registry, "shop", [Scope.READ], (), end_ms, now_ms=clock.ms())
    clock.s += 0.999
    assert (await door.caller(bearer(token), LOCAL)).key is not None
    clock.s += 0.001
    with pytest.raises(Unauthorized, match="expired"):
        await door.caller(bearer(token), LOCAL)


async def test_a_revoked_key_stops_within_five_seconds_and_a_hot_key_costs_no_query(
    registry: Counting, door: Door, clock: Clock
) -> None:
    key, token = await create_key(registry, "shop", [Scope.READ])
    await door.caller(bearer(token), LOCAL)
    reads = registry.keys.reads
    for _ in range(100):
        await door.caller(bearer(token), LOCAL)
    assert registry.keys.reads == reads
    await registry.keys.delete(key.id)
    clock.s += 5
    with pytest.raises(Unauthorized):
        await door.caller(bearer(token), LOCAL)


async def test_a_key_made_just_now_works_at_once_and_unknown_ones_do_not_flood_the_registry(
    registry: Counting, door: Door, clock: Clock
) -> None:
    wrong = bearer("ff_" + "0" * 10 + "_" + "0" * 40)
    reads = registry.keys.reads
    for _ in range(100):
        with pytest.raises(Unauthorized):
            await door.caller(wrong, LOCAL)
    assert registry.keys.reads - reads <= 10
    clock.s += 1
    for _ in range(3):
        _, token = await create_key(registry, "new", [Scope.READ])
        assert (await door.caller(bearer(token), LOCAL)).key is not None


async def test_while_the_registry_is_down_no_key_is_believed(registry: Counting, door: Door, clock: Clock) -> None:
    _, token = await create_key(registry, "shop", [Scope.READ])
    await door.caller(bearer(token), LOCAL)
    registry.keys.is_down = True
    clock.s += 5
    with pytest.raises(Unavailable):
        await door.caller(bearer(token), LOCAL)
    assert await door.caller(None, LOCAL) == ANYBODY


async def test_the_last_use_is_noted_once_a_minute(registry: Counting, door: Door, clock: Clock) -> None:
    _, token = await create_key(registry, "shop", [Scope.READ], now_ms=clock.ms())
    started_ms = clock.ms()
    noted = []
    for seconds in (0, 59, 1):
        clock.s += seconds
        await door.caller(bearer(token), LOCAL)
        await door.close()
        noted.append((await registry.keys.all())[0].last_used_at_ms)
    assert noted[:2] == [started_ms, started_ms]
    assert noted[2] == started_ms + 60_000


async def test_noting_the_use_of_a_key_that_was_just_revoked_leaves_it_revoked(
    registry: Counting, door: Door, clock: Clock
) -> None:
    key, token = await create_key(registry, "shop", [Scope.READ])
    with pytest.raises(Unauthorized):
        await door.caller(bearer(token[:-40] + "0" * 40), LOCAL)
    await registry.keys.delete(key.id)
    assert (await door.caller(bearer(token), LOCAL)).key == key, "the copy is still fresh"
    await door.close()
    assert list(await registry.keys.all()) == []


@pytest.mark.parametrize(
    ("held", "asked", "is_allowed"),
    [
        (Scope.READ, Scope.READ, True),
        (Scope.READ, Scope.INGEST, False),
        (Scope.READ, Scope.ADMIN, False),
        (Scope.INGEST, Scope.INGEST, True),
        (Scope.INGEST, Scope.READ, False),
        (Scope.ADMIN, Scope.READ, True),
        (Scope.ADMIN, Scope.INGEST, True),
        (Scope.ADMIN, Scope.ADMIN, True),
    ],
)
async def test_each_scope_is_a_permission_of_its_own_and_admin_holds_them_all(
    registry: Counting, held: Scope, asked: Scope, is_allowed: bool
) -> None:
    key, _ = await create_key(registry, "shop", [held])
    caller = Caller(is_open=False, key=key)
    assert caller.allows(asked, "any-site") is is_allowed
    assert caller.allows(asked) is is_allowed
    assert caller.allows_somewhere(asked) is is_allowed


async def test_a_key_for_some_sites_is_for_no_others_and_not_for_all(registry: Counting) -> None:
    key, _ = await create_key(registry, "shop", [Scope.READ], ["shop"])
    caller = Caller(is_open=False, key=key)
    assert caller.allows(Scope.READ, "shop")
    assert not caller.allows(Scope.READ, "other")
    assert not caller.allows(Scope.READ)
    assert caller.allows_somewhere(Scope.READ)
    with pytest.raises(Forbidden):
        require(caller, Scope.READ, "other")
    with pytest.raises(Forbidden):
        require_somewhere(caller, Scope.INGEST)
    require(caller, Scope.READ, "shop")


def test_nobody_in_particular_is_unauthorized_not_forbidden() -> None:
    with pytest.raises(Unauthorized):
        require(ANYBODY, Scope.READ, "shop")
    with pytest.raises(Unauthorized):
        require_somewhere(ANYBODY, Scope.READ)
    assert not ANYBODY.allows(Scope.INGEST, "shop")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST", "app.localhost", "::ffff:127.0.0.1"]
)
def test_loopback_is_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "10.0.0.1", "localhost.example.org", "127.0.0.1.nip.io", "2130706433"]
)
def test_what_only_looks_like_loopback_is_not(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("mode", "listens_on", "is_forwarded", "is_open"),
    [
        (AuthMode.AUTO, "127.0.0.1", False, True),
        (AuthMode.AUTO, "localhost", False, True),
        (AuthMode.AUTO, "::1", False, True),
        (AuthMode.AUTO, "127.0.0.1", True, False),
        (AuthMode.AUTO, "0.0.0.0", False, False),
        (AuthMode.AUTO, "192.168.1.2", False, False),
        (AuthMode.ON, "127.0.0.1", False, False),
        (AuthMode.OFF, "0.0.0.0", True, True),
    ],
)
async def test_the_door_is_open_only_where_all_conditions_hold(
    registry: Counting, mode: AuthMode, listens_on: str, is_forwarded: bool, is_open: bool
) -> None:
    door = Door(Settings(auth=mode, host=listens_on), registry)
    caller = await door.caller(None, Sender("127.0.0.1", is_forwarded))
    assert caller.allows(Scope.READ, "shop") is is_open
    assert caller.allows(Scope.ADMIN) is is_open


@pytest.mark.parametrize(
    ("host", "origin", "is_open"),
    [
        ("127.0.0.1:3000", None, True),
        ("localhost:3000", None, True),
        ("[::1]:3000", None, True),
        ("localhost:3000", "http://localhost:3000", True),
        ("evil.example:3000", None, False),
        ("127.0.0.1.nip.io", None, False),
        ("", None, False),
        ("localhost:3000", "http://evil.example", False),
        ("localhost:3000", "http://localhost:8000", False),
        ("localhost:3000", "null", False),
        ("localhost:3000", "http://[", False),
        (None, "http://localhost:3000", False),
    ],
)
async def test_a_page_in_the_browser_of_this_machine_can_not_come_in_by_a_name_or_an_origin_of_its_own(
    registry: Counting, host: str | None, origin: str | None, is_open: bool
) -> None:
    door = Door(Settings(), registry)
    caller = await door.caller(None, LOCAL, host=host, origin=origin)
    assert caller.is_open is is_open


async def test_every_fault_of_a_new_key_is_named(registry: Counting) -> None:
    with pytest.raises(Invalid) as caught:
        await create_key(registry, " ", [], ["not a site\n", "ok", "ok\n"], 1)
    assert [fault.field for fault in caught.value.faults] == ["name", "scopes", "site_ids", "site_ids", "expires_at_ms"]
    assert list(await registry.keys.all()) == []


async def test_who_hangs_up_while_keys_are_read_does_not_spoil_it_for_others(registry: Counting, door: Door) -> None:
    _, token = await create_key(registry, "shop", [Scope.READ])
    hasty = asyncio.create_task(door.caller(bearer(token), LOCAL))
    patient = asyncio.create_task(door.caller(bearer(token), LOCAL))
    await asyncio.sleep(0)
    hasty.cancel()
    assert (await patient).key is not None
