"""Lease: the rows of the queue's file that one delivery is, and how the port's own words stand for them."""

import msgspec

from footfall.queue.base import Delivery


class Lease(msgspec.Struct, frozen=True):
    """Which rows a delivery is: those of [first, last] that carry the token."""

    first: int
    last: int
    token: int

    def delivery(self, payloads: tuple[bytes, ...], attempt: int) -> Delivery:
        """As the port hands it out."""
        return Delivery(f"{self.first}-{self.last}", f"{self.token:x}", payloads, attempt)

    @classmethod
    def of(cls, delivery: Delivery) -> "Lease":
        """The way back."""
        first, last = delivery.id.split("-")
        return cls(int(first), int(last), int(delivery.token, 16))

    def named(self) -> dict[str, int | str]:
        """As parameters of a statement."""
        return {"first": self.first, "last": self.last, "token": self.token}
