"""Sequence: every question about the order of events, one struct each; the answer's rows are described in each."""

from typing import TypeAlias

from footfall.query.attribution import Attribution
from footfall.query.experiment import Experiment
from footfall.query.funnel import Funnel
from footfall.query.journey import Journey
from footfall.query.retention import Retention

Sequence: TypeAlias = Funnel | Retention | Journey | Attribution | Experiment
