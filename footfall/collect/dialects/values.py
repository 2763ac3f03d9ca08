"""What single values of a body mean, for the quick way and the explaining one alike.

Each raises ValueError with a message for the sender.
"""

import ipaddress
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache

import msgspec

from footfall.event import PROP_VALUE_CHARS_MAX, REVENUE_ABS_MAX, REVENUE_DECIMALS, SITE_ID_PATTERN

SITE_ID_MESSAGE = "must be 1 to 128 of A-Z a-z 0-9 . _ : -"
REVENUE_CHARS_MAX = 64

_site_id = re.compile(SITE_ID_PATTERN)
_CURRENCY = re.compile(r"[A-Za-z]{3}", re.ASCII)
_AMOUNT = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?", re.ASCII)
_UNIT = Decimal(1).scaleb(-REVENUE_DECIMALS)


@lru_cache(4_096)
def is_site_id(site_id: str) -> bool:
    """True for what can be a site id. `$` alone would let a last newline pass, so the whole text has to match."""
    return _site_id.fullmatch(site_id) is not None


def prop_text(value: str | float | bool) -> str:
    """A scalar as JSON writes it, a text as it is."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool):
        return "true" if value else "false"
    else:
        text = msgspec.json.encode(value).decode()
    if len(text) > PROP_VALUE_CHARS_MAX:
        raise ValueError(f"must be at most {PROP_VALUE_CHARS_MAX} characters")
    return text


def props_of(props: Mapping[str, str | float | bool | None]) -> dict[str, str]:
    """All values as text, nulls left out."""
    return {key: prop_text(value) for key, value in props.items() if value is not None}


def amount_of(amount: object) -> Decimal:
    """An amount of money, rounded to REVENUE_DECIMALS; *amount* is a number, or a text that is one."""
    message = "must be a number, or a text that is one"
    if isinstance(amount, bool) or not isinstance(amount, str | int | float | Decimal):
        raise ValueError(message)
    text = str(amount)
    if len(text) > REVENUE_CHARS_MAX or not _AMOUNT.fullmatch(text):
        raise ValueError(message)
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(message) from None
    if value.copy_abs() > REVENUE_ABS_MAX:  # abs() would round, and overflows at 1e9999999
        raise ValueError(f"must be between -{REVENUE_ABS_MAX:f} and {REVENUE_ABS_MAX:f}")
    return value.quantize(_UNIT)


def currency_of(currency: object) -> str:
    """The code in upper case."""
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        raise ValueError("must be the three letters of a currency, like EUR")
    return currency.upper()


def revenue_of(amount: object, currency: object) -> tuple[Decimal, str]:
    """Amount and currency."""
    return amount_of(amount), currency_of(currency)


def address_of(ip: str) -> str:
    """An IP address in its shortest form, an IPv4 one that is written as IPv6 as IPv4."""
    message = "must be an IPv4 or IPv6 address"
    if "%" in ip:
        raise ValueError(message)
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        raise ValueError(message) from None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
