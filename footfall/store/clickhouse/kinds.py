"""What kind of event a row of the table `events` is, in SQL."""

from footfall.event import ENGAGEMENT, PAGEVIEW

IS_PAGEVIEW = f"name = '{PAGEVIEW}'"
IS_ENGAGEMENT = f"(name = '{ENGAGEMENT}' AND NOT interactive)"
IS_COUNTED = f"NOT {IS_ENGAGEMENT}"
IS_OTHER = f"name != '{PAGEVIEW}' AND interactive"
"""Anything but a pageview that keeps a session from being a bounce."""
