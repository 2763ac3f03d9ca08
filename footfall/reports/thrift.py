"""Thrift's compact protocol, as far as Parquet's footers need it: bytes -> a tree of fields, and back, byte for byte.

Source: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from typing import Any, Final, TypeAlias

import msgspec

TRUE: Final = 1
FALSE: Final = 2
BYTE: Final = 3
I16: Final = 4
I32: Final = 5
I64: Final = 6
DOUBLE: Final = 7
BINARY: Final = 8
LIST: Final = 9
SET: Final = 10
STRUCT: Final = 12

DEPTH_MAX: Final = 16
_SHORT_LIST_MAX = 14
_SIZES: Final = {BYTE: 1, DOUBLE: 8}
"""Of what is kept as the bytes that it is, without a length before them."""

Fields: TypeAlias = "dict[int, Value]"
"""A struct: its fields by their numbers, ascending."""


class Value(msgspec.Struct):
    """One value and its type. Of a list: the values alone, whose type is *items*."""

    kind: int
    value: Any
    items: int = 0


class Reader:
    """Reads from *data*, which must be whole. Raises ValueError for what is no compact protocol."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def struct(self, depth: int = 0) -> Fields:
        """The struct that begins here."""
        if depth > DEPTH_MAX:
            raise ValueError("nested too deeply")
        fields: Fields = {}
        number = 0
        while (head := self._byte()) != 0:
            kind, step = head & 0x0F, head >> 4
            number = number + step if step else _unzigzag(self._varint())
            fields[number] = self._value(kind, depth, is_item=False)
        return fields

    def _value(self, kind: int, depth: int, *, is_item: bool) -> Value:
        if kind in {TRUE, FALSE}:
            return Value(kind, self._byte() == TRUE if is_item else kind == TRUE)
        if kind in {I16, I32, I64}:
            return Value(kind, _unzigzag(self._varint()))
        if kind in {BYTE, DOUBLE, BINARY}:
            return Value(kind, self._bytes(_SIZES.get(kind) or self._varint()))
        if kind in {LIST, SET}:
            head = self._byte()
            count, items = head >> 4, head & 0x0F
            if count > _SHORT_LIST_MAX:
                count = self._varint()
            return Value(kind, [self._value(items, depth, is_item=True).value for _ in range(count)], items)
        if kind == STRUCT:
            return Value(kind, self.struct(depth + 1))
        raise ValueError(f"type {kind} is not known")

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _bytes(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        if len(found) != count:
            raise ValueError("ends too early")
        self._at += count
        return found

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7


def struct_bytes(fields: Fields) -> bytes:
    """A struct as it is written."""
    out = bytearray()
    before = 0
    for number, field in fields.items():
        step = number - before
        kind = (TRUE if field.value else FALSE) if field.kind in {TRUE, FALSE} else field.kind
        if 1 <= step <= 15:
            out.append(step << 4 | kind)
        else:
            out.append(kind)
            out += varint(_zigzag(number))
        if field.kind not in {TRUE, FALSE}:
            out += _value_bytes(field.kind, field)
        before = number
    out.append(0)
    return bytes(out)


def list_head(items: int, count: int) -> bytes:
    """What stands before the items of a list."""
    return bytes([count << 4 | items]) if count <= _SHORT_LIST_MAX else bytes([0xF0 | items]) + varint(count)


def _value_bytes(kind: int, field: Value) -> bytes:
    value = field.value
    if kind in {TRUE, FALSE}:
        return bytes([TRUE if value else FALSE])
    if kind in {I16, I32, I64}:
        return varint(_zigzag(value))
    if kind in {BYTE, DOUBLE, BINARY}:
        return (b"" if kind in _SIZES else varint(len(value))) + bytes(value)
    if kind in {LIST, SET}:
        return list_head(field.items, len(value)) + b"".join(
            [_value_bytes(field.items, Value(field.items, item)) for item in value]
        )
    return struct_bytes(value)


def varint(value: int) -> bytes:
    """A whole number from 0, seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _zigzag(value: int) -> int:
    return (value << 1) ^ (value >> 63)


def _unzigzag(value: int) -> int:
    return (value >> 1) ^ -(value & 1)
