"""Text as the lookups take it: short enough for any cache, and free of what no library can read."""

LOOKUP_CHARS_MAX = 1_024
"""User agents are cut here before anything looks at them; real ones end well before 500 characters."""


def readable(text: str) -> str:
    """*text* cut to LOOKUP_CHARS_MAX, with lone surrogates (which have no UTF-8 form) replaced by question marks."""
    cut = text[:LOOKUP_CHARS_MAX]
    if cut.isascii():
        return cut
    return cut.encode("utf-8", "replace").decode("utf-8")
