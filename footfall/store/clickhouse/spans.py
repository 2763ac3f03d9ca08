"""Spans: which stretches of a site's time have their sessions kept, and what of a question they can answer.

A run is a visitor's events without too long a gap: a session, or reports of engagement alone. The runs that begin in a
span are kept, whole, as rows; a span holds for as long as no event comes that could change one of them. What no span
covers is a gap, and its sessions are made when asked, as all were before. The two together are the same rows that
making all of them would give:

* a span is used only where it lies inside the question's range with all its runs and with no run carried into it from
  before the range, so nothing in it would have to be cut;
* of a gap all runs count that begin in it. Its events are read from a session's gap before it, so that a run which a
  span before it keeps is seen to have begun earlier; and up to the end of the last run that goes on into the span
  behind it;
* visitors whose runs are very long stand apart: they are in no span.
"""

import bisect
from collections.abc import Iterable, Sequence

import msgspec

from footfall.query.query import SESSION_GAP_MS

RUNS_MAX = 16
"""So many stretches of spans are used in one question, the longest: each more makes the statement longer."""


class Span(msgspec.Struct, frozen=True):
    """The runs that begin in [start_ms, end_ms) of one site, by the number that their rows carry."""

    number: int
    start_ms: int
    end_ms: int
    carry_ms: int
    """Where the last run ends that began before the span and goes on in it; less than start_ms where there is none."""
    reach_ms: int
    """Where the last run ends of those that begin in the span or are carried into it."""

    @property
    def has_carried(self) -> bool:
        """Is there a run that began before it?"""
        return self.carry_ms >= self.start_ms

    def is_touched(self, from_ms: int, to_ms: int) -> bool:
        """Could an event of [from_ms, to_ms) change one of its runs?"""
        last = max(self.reach_ms, self.end_ms)
        return from_ms <= last + SESSION_GAP_MS and to_ms > self.start_ms - SESSION_GAP_MS


class Gap(msgspec.Struct, frozen=True):
    """A stretch [start_ms, end_ms) without spans; events are read from *from_ms* to *to_ms*, its end not included."""

    start_ms: int
    end_ms: int
    from_ms: int
    to_ms: int


class Cover(msgspec.Struct, frozen=True):
    """What is kept of one question's range, and what is not."""

    kept: tuple[tuple[int, int], ...]
    """Stretches [from, to) in which kept runs begin."""
    gaps: tuple[Gap, ...]
    newest: int
    """Rows with a higher number came after the question."""
    dead: tuple[int, ...]
    """Numbers of rows that are not to be used and may still be there."""
    apart: tuple[int, ...]
    """Visitors who are in no span."""

    @property
    def is_nearly_all(self) -> bool:
        """Is there little of the range that is not kept?"""
        missing_ms = sum(gap.end_ms - gap.start_ms for gap in self.gaps)
        return 10 * missing_ms <= sum(end - start for start, end in self.kept) and not self.apart


class SavedSpans(msgspec.Struct, frozen=True):
    """Spans of one site as they are left for the next start."""

    spans: list[Span]
    dead: list[int]
    newest: int
    apart: tuple[int, ...]


class Spans:
    """The spans of one site, in order of time, none over another."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self.dead: dict[int, float] = {}
        """Number of a span whose rows are not to be used -> since when, on the clock of whoever gave it up."""
        self.newest = 0
        self.apart: tuple[int, ...] = ()

    @classmethod
    def restored(cls, saved: SavedSpans, now_s: float) -> "Spans":
        """What was saved."""
        spans = cls()
        spans.add(saved.spans)
        spans.give_up(saved.dead, now_s)
        spans.newest, spans.apart = saved.newest, saved.apart
        return spans

    def saved(self) -> SavedSpans:
        """What to leave for the next start."""
        return SavedSpans(list(self._spans), list(self.dead), self.newest, self.apart)

    def __len__(self) -> int:
        return len(self._spans)

    def add(self, spans: Iterable[Span]) -> None:
        """Take in spans whose rows are written."""
        for span in spans:
            bisect.insort(self._spans, span, key=lambda each: each.start_ms)
            self.dead.pop(span.number, None)

    def give_up(self, numbers: Iterable[int], now_s: float) -> None:
        """Rows of these *numbers* are not to be used."""
        for number in numbers:
            self.dead[number] = now_s
            self.newest = max(self.newest, number)

    def set_apart(self, visitors: Iterable[int]) -> None:
        """From now on these are in no span: what is kept of them is not used."""
        self.apart = tuple(sorted({*self.apart, *visitors}))

    def touch(self, stretches: Sequence[tuple[int, int]], now_s: float) -> bool:
        """Events have come in each [from, to): give up the spans that they could change; were there any?

        Their rows are dead from *now_s* on.
        """
        touched = {span.number for span in self._spans if any(span.is_touched(*stretch) for stretch in stretches)}
        if touched:
            self.give_up(touched, now_s)
            self._spans = [span for span in self._spans if span.number not in touched]
        return bool(touched)

    def holes(self, start_ms: int, end_ms: int) -> list[tuple[int, int]]:
        """The stretches of [start_ms, end_ms) that no span covers."""
        found, at = [], start_ms
        for span in self._spans:
            if span.start_ms >= end_ms:
                break
            if span.start_ms > at:
                found.append((at, span.start_ms))
            at = max(at, span.end_ms)
        if at < end_ms:
            found.append((at, end_ms))
        return found

    def cover(self, start_ms: int, end_ms: int) -> Cover | None:
        """What can be used of a question about [start_ms, end_ms); None: nothing."""
        stretches = self._stretches(start_ms, end_ms)
        if not stretches:
            return None
        gaps, at = [], start_ms
        for first, until_ms in stretches:
            if first.start_ms > at:
                gaps.append(_gap(at, first.start_ms, start_ms, max(first.start_ms, first.carry_ms + 1)))
            at = until_ms
        if at < end_ms:
            gaps.append(_gap(at, end_ms, start_ms, end_ms))
        kept = tuple((first.start_ms, until_ms) for first, until_ms in stretches)
        return Cover(kept, tuple(gaps), self.newest, tuple(self.dead), self.apart)

    def _stretches(self, start_ms: int, end_ms: int) -> list[tuple[Span, int]]:
        """The first span of each stretch without a gap, and where the stretch ends."""
        found: list[tuple[Span, int]] = []
        for span in self._spans:
            is_whole = span.start_ms >= start_ms and span.end_ms <= end_ms and span.reach_ms < end_ms
            # A run from before the range may have its first event of the range in the span: of it no row tells. Where
            # the range begins earlier by a session's gap, it has one before the span, and is made with those.
            is_cut = span.has_carried and span.start_ms - start_ms < SESSION_GAP_MS
            if not is_whole or is_cut:
                continue
            if found and found[-1][1] == span.start_ms:
                found[-1] = (found[-1][0], span.end_ms)
            else:
                found.append((span, span.end_ms))
        longest = sorted(found, key=lambda each: each[0].start_ms - each[1])[:RUNS_MAX]
        return sorted(longest, key=lambda each: each[1])


def _gap(start_ms: int, end_ms: int, range_start_ms: int, to_ms: int) -> Gap:
    # What lies before the range is not looked at; there a run begins with its first event in the range.
    from_ms = start_ms if start_ms == range_start_ms else max(range_start_ms, start_ms - SESSION_GAP_MS)
    return Gap(start_ms, end_ms, from_ms, to_ms)
