"""Sequence -> SQL: which compiler is for which question."""

from collections.abc import Callable
from typing import Any

from footfall.query.attribution import Attribution
from footfall.query.experiment import Experiment
from footfall.query.funnel import Funnel
from footfall.query.journey import Journey
from footfall.query.retention import Retention
from footfall.query.sequence import Sequence
from footfall.store.clickhouse.attribution import compile_attribution
from footfall.store.clickhouse.event_rows import Compiled
from footfall.store.clickhouse.experiment import compile_experiment
from footfall.store.clickhouse.funnel import compile_funnel
from footfall.store.clickhouse.journey import compile_journey
from footfall.store.clickhouse.retention import compile_retention

_COMPILERS: dict[type[Any], Callable[[Any], Compiled]] = {
    Funnel: compile_funnel,
    Retention: compile_retention,
    Journey: compile_journey,
    Attribution: compile_attribution,
    Experiment: compile_experiment,
}


def compile_sequence(question: Sequence) -> Compiled:
    """The statement for *question*. Raises Invalid where it would cut time into too many buckets."""
    return _COMPILERS[type(question)](question)
