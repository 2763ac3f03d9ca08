"""How long a day's salt lives: the same rule for every registry."""

from datetime import UTC, date, datetime, timedelta
from typing import Final

LIVE_GRACE: Final = timedelta(hours=1)
PAST_LIFE_MS: Final = 24 * 3600 * 1000


def destroy_at_ms(day: date, now_ms: int) -> int:
    """When the salt of *day*, made now, is to be destroyed."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    if day in (today, today + timedelta(days=1)):
        end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1) + LIVE_GRACE
        return int(end.timestamp() * 1000)
    return now_ms + PAST_LIFE_MS
