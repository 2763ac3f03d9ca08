"""Our own wire format: the quick way and the explaining one agree on every body there can be."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from footfall.collect.dialects import explain
from footfall.collect.dialects.footfall import (
    EVENTS_MAX,
    Body,
    _one,
    _understood,
    decode_lines,
    decode_many,
    decode_one,
)
from footfall.errors import Invalid

NOW_MS = 1_705_314_600_000
GOOD: dict[str, Any] = {"site_id": "my-website", "event_type": "pageview"}


def sent(**changes: Any) -> bytes:
    return msgspec.json.encode(GOOD | changes)


def faults_of(body: bytes, *, is_strict: bool = False) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        decode_one(body, NOW_MS, is_strict=is_strict)
    return {fault.field: fault.message for fault in caught.value.faults}


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8)
)
values = st.recursive(
    st.one_of(
        scalars, st.sampled_from(["", "a" * 64, "a" * 65, "a" * 1025, "a" * 2049, "1", "EUR", "12.5", "::1", "\0"])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text(max_size=4), st.just("k" * 65)), inner, max_size=4),
        st.fixed_dictionaries({}, optional={"amount": inner, "currency": inner}),
    ),
    max_leaves=6,
)
bodies = st.builds(
    lambda base, changes: base | changes,
    st.sampled_from([GOOD, {}]),
    st.dictionaries(st.one_of(st.sampled_from(list(explain.CHECKS)), st.text(max_size=6)), values, max_size=5),
)


@given(bodies)
@example({**GOOD, "revenue": {"amount": "1_000", "currency": "EUR"}})
@example({**GOOD, "revenue": {"amount": "١", "currency": "EUR"}})
@example({**GOOD, "revenue": {"amount": "0e99999999", "currency": "EUR"}})
@example({**GOOD, "revenue": {"amount": "1e-99999999", "currency": "EUR"}})
@example({**GOOD, "site_id": "my-website\n"})
@example({**GOOD, "props": {str(n): None for n in range(51)}})
def test_the_quick_way_takes_a_body_exactly_when_the_explaining_one_finds_nothing_wrong(body: dict[str, Any]) -> None:
    encoded = msgspec.json.encode(body)
    try:
        _understood(_one.decode(encoded), NOW_MS)
        is_taken = True
    except (ValueError, RecursionError):
        is_taken = False
    assert is_taken == (not explain.faults_of(encoded, NOW_MS, is_strict=False))


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))))
@example(b"")
@example(b"[" * 100_000)
@example(b'{"site_id":"a","event_type":"b","x":' + b"[" * 100_000)
@example(b'{"site_id":"a","event_type":"b","timestamp":' + b"9" * 5_000 + b"}")
@example(b'{"site_id":"a","event_type":"b","props":{"n":' + b"9" * 5_000 + b"}}")
@example(b'{"site_id":"a","event_type":"b","timestamp":1e400}')
@example(b'{"site_id":"a","event_type":"\\ud800"}')
@example(b'{"site_id":"a","event_type":"b","path":"\xff"}')
@example(b"\xef\xbb\xbf{}")
def test_any_bytes_are_an_event_or_invalid_and_nothing_else(body: bytes) -> None:
    for decode in (decode_one, decode_many, decode_lines):
        try:
            decode(body, NOW_MS)
        except Invalid as error:
            faults = error.faults
        else:
            continue
        assert faults


def test_the_smallest_event_takes_its_defaults() -> None:
    incoming = decode_one(sent(), NOW_MS)
    assert (incoming.site_id, incoming.name, incoming.path) == ("my-website", "pageview", "/")
    assert incoming.occurred_at_ms is None
    assert incoming.interactive is True
    assert incoming.props == {}
    assert incoming.override is None


def test_null_is_the_same_as_leaving_an_optional_field_out() -> None:
    nulls = {field: None for field in explain.CHECKS if field not in explain.REQUIRED}
    assert decode_one(sent(**nulls), NOW_MS) == decode_one(sent(), NOW_MS)
    assert faults_of(b'{"site_id":null}') == {"site_id": "is required", "event_type": "is required"}


def test_every_wrong_field_is_named_at_once() -> None:
    wrong = {
        "site_id": "no spaces",
        "event_type": "",
        "path": "/" * 2049,
        "user_id": "u" * 257,
        "timestamp": "2024-01-15T10:30:00",
        "event_id": "e" * 65,
        "referrer": 1,
        "title": [],
        "props": {"k" * 65: 1, "deep": {}, "long": "v" * 1025, "fine": 1},
        "revenue": {"amount": "much", "currency": "EURO"},
        "interactive": "yes",
        "ip": "localhost",
    }
    faults = faults_of(msgspec.json.encode(wrong))
    assert faults == {
        "site_id": "must be 1 to 128 of A-Z a-z 0-9 . _ : -",
        "event_type": "must be 1 to 64 characters",
        "path": "must be at most 2048 characters",
        "user_id": "must be at most 256 characters",
        "timestamp": "must have an offset, like 2024-01-15T10:30:00Z or 2024-01-15T10:30:00+01:00",
        "event_id": "must be at most 64 characters",
        "referrer": "must be a text",
        "title": "must be a text",
        f"props.{'k' * 64}…": "must have a name of 1 to 64 characters",
        "props.deep": "must be a text, a number, true, false or null",
        "props.long": "must be at most 1024 characters",
        "revenue.amount": "must be a number, or a text that is one",
        "revenue.currency": "must be the three letters of a currency, like EUR",
        "interactive": "must be true or false",
        "ip": "must be an IPv4 or IPv6 address",
    }


def test_limits_are_in_characters_and_inclusive() -> None:
    incoming = decode_one(
        sent(event_type="é" * 64, path="/" + "😀" * 2047, user_id="u" * 256, event_id="e" * 64), NOW_MS
    )
    assert len(incoming.path) == 2048
    assert decode_one(sent(site_id="A-z_0.9:" * 16), NOW_MS).site_id == "A-z_0.9:" * 16


def test_what_a_sender_has_no_say_in_is_cut_and_not_refused() -> None:
    incoming = decode_one(sent(referrer="r" * 9_000, title="t" * 9_000, hostname="H" * 9_000, screen="s" * 900), NOW_MS)
    assert [len(text) for text in (incoming.referrer, incoming.title)] == [2048, 2048]
    assert incoming.hostname == "h" * 255
    assert len(incoming.screen) == 255


def test_props_become_text_as_json_writes_it_and_nulls_are_left_out() -> None:
    props = b'{"a":"text","b":1,"c":1.5,"d":true,"e":false,"f":null,"g":-0.25,"h":12345678901234567890}'
    incoming = decode_one(b'{"site_id":"s","event_type":"e","props":' + props + b"}", NOW_MS)
    assert incoming.props == {
        "a": "text", "b": "1", "c": "1.5", "d": "true", "e": "false", "g": "-0.25", "h": "12345678901234567890"
    }  # fmt: skip


def test_fifty_props_are_taken_and_fifty_one_are_not() -> None:
    assert len(decode_one(sent(props={str(n): n for n in range(50)}), NOW_MS).props) == 50
    assert faults_of(sent(props={str(n): n for n in range(51)})) == {"props": "must have at most 50 keys"}


@pytest.mark.parametrize(
    ("amount", "expected"),
    [(12.5, "12.5"), ("12.50", "12.5"), (-3, "-3"), ("1e3", "1000"), (0.1234567, "0.123457"), (10**12, "1e12")],
)
def test_revenue_is_a_number_or_a_text_that_is_one(amount: object, expected: str) -> None:
    incoming = decode_one(sent(revenue={"amount": amount, "currency": "eur"}), NOW_MS)
    assert incoming.revenue == Decimal(expected)
    assert incoming.currency == "EUR"


@pytest.mark.parametrize(
    "amount", ["NaN", "Infinity", "", " 1", "1_0", True, [], 10**12 + 1, "-1e13", "1e99999999", {}]
)
def test_revenue_that_is_no_amount_names_the_field(amount: object) -> None:
    assert list(faults_of(sent(revenue={"amount": amount, "currency": "EUR"}))) == ["revenue.amount"]


@pytest.mark.parametrize("currency", ["EU", "EURO", "E1R", "€€€", 978, None])
def test_a_currency_that_is_none_names_the_field(currency: object) -> None:
    assert list(faults_of(sent(revenue={"amount": 1, "currency": currency}))) == ["revenue.currency"]


def test_unknown_fields_are_ignored_and_refused_by_name_where_that_is_asked_for() -> None:
    body = sent(evnt_id="x", revenue={"amount": 1, "currency": "EUR", "tax": 2})
    assert decode_one(body, NOW_MS).event_id == ""
    assert faults_of(body, is_strict=True) == {
        "evnt_id": "is not a known field",
        "revenue.tax": "is not a known field",
    }
    assert decode_one(sent(), NOW_MS, is_strict=True) == decode_one(sent(), NOW_MS)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"[]", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b"{,}", "is not valid JSON"),
        (b"\xff", "is not valid UTF-8"),
        (b'{"a":' * 5_000, "is nested too deeply"),
    ],
)
def test_what_is_no_json_object_is_told_so(body: bytes, message: str) -> None:
    if body == b"\xff":
        body = b'{"site_id":"\xff"}'
    faults = faults_of(body)
    assert list(faults) == ["body"]
    assert faults["body"].startswith(message)


def test_a_batch_names_the_bad_ones_by_their_place_and_takes_the_others() -> None:
    for body, decode in (
        (b'[{"site_id":"s","event_type":"a"},{"event_type":"b"},7,{"site_id":"s","event_type":"c"}]', decode_many),
        (
            b'{"events":[{"site_id":"s","event_type":"a"},{"event_type":"b"},7,{"site_id":"s","event_type":"c"}]}',
            decode_many,
        ),
        (
            b'{"site_id":"s","event_type":"a"}\r\n\n{"event_type":"b"}\n7\n{"site_id":"s","event_type":"c"}',
            decode_lines,
        ),
    ):
        batch = decode(body, NOW_MS)
        assert list(batch.indices) == [0, 3]
        assert [incoming.name for incoming in batch.incoming] == ["a", "c"]
        assert [(one.index, [fault.field for fault in one.errors]) for one in batch.rejected] == [
            (1, ["site_id"]),
            (2, ["body"]),
        ]


def test_a_batch_holds_one_to_a_thousand_events() -> None:
    event = sent()
    assert len(decode_many(b"[" + b",".join([event] * EVENTS_MAX) + b"]", NOW_MS).incoming) == EVENTS_MAX
    for body in (b"[]", b'{"events":[]}', b"[" + b",".join([event] * (EVENTS_MAX + 1)) + b"]"):
        with pytest.raises(Invalid, match="must hold 1 to 1000 events"):
            decode_many(body, NOW_MS)
    with pytest.raises(Invalid, match="must hold 1 to 1000 events"):
        decode_lines(b"\n\n", NOW_MS)


@pytest.mark.parametrize("body", [b"7", b'{"event":[]}', b'{"events":{}}', b"[", b"{"])
def test_what_is_no_batch_is_refused_whole(body: bytes) -> None:
    with pytest.raises(Invalid):
        decode_many(body, NOW_MS)


def test_the_explaining_way_knows_every_field_of_the_body() -> None:
    assert set(explain.CHECKS) == set(Body.__struct_fields__)
