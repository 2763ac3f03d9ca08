"""Experiment -> SQL: one row for each visitor who was shown a variant, then one for each variant."""
# ruff: noqa: S608 - what is put together here are constants, numbers and placeholders

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from footfall.query.experiment import Experiment
from footfall.query.query import Compare, Operator, Prop
from footfall.query.steps import Step
from footfall.store.clickhouse.event_rows import Compiled, EventRows

_COLUMNS = ("kind", "variant", "currency", "visitors", "converted", "revenue", "squares")


def compile_experiment(asked: Experiment) -> Compiled:
    """The statement for *asked*."""
    prop = Prop(asked.prop)
    is_shown = Compare(Operator.IS, prop, asked.variants) if asked.variants else Compare(Operator.IS_NOT, prop, ("",))
    exposure = Step("exposure", is_shown)
    rows = EventRows(asked.site_id, asked.range, asked.filter, with_sessions=False, who_did=exposure)
    rows.column("is_exposure", rows.met(exposure))
    rows.column("is_goal", rows.met(asked.goal))
    rows.column("amount", "revenue")
    rows.column("money", "toString(currency)")
    rows.dimension("shown", prop)
    # Two values are enough to know that a visitor is mixed.
    visitors = (
        "SELECT groupUniqArrayIf(2)(shown, is_exposure) AS seen, minIf((at_ms, id), is_exposure) AS exposed_at, "
        "countIf(is_goal) > 0 AND maxIf((at_ms, id), is_goal) > exposed_at AS is_converted, arrayFilter("
        "x -> (x.1, x.2) > exposed_at, groupArrayIf((at_ms, id, amount, money), isNotNull(amount))) AS paid "
        f"FROM ({rows.sql()}) WHERE is_kept GROUP BY visitor_id HAVING notEmpty(seen)"
    )
    spent = (
        "SELECT length(seen) > 1 AS is_mixed, if(is_mixed, '', seen[1]) AS variant, is_converted, "
        "arrayDistinct(arrayMap(x -> x.4, paid)) AS currencies, arrayMap(currency -> arraySum(arrayMap("
        "x -> ifNull(x.3, 0), arrayFilter(x -> x.4 = currency, paid))), currencies) AS sums "
        f"FROM ({visitors})"
    )
    variants = (
        "SELECT is_mixed, variant, count() AS visitors, sum(is_converted) AS converted, sumMap(currencies, sums, "
        "arrayMap(x -> toUInt64(1), sums), arrayMap(x -> toFloat64(x) * toFloat64(x), sums)) AS money "
        f"FROM ({spent}) GROUP BY is_mixed, variant"
    )
    ranked = f"SELECT *, row_number() OVER (ORDER BY is_mixed, visitors DESC, variant) AS rank FROM ({variants})"
    limit = rows.values.number(asked.limit)
    sql = (
        f"SELECT multiIf(is_mixed, 'mixed', rank > {limit}, 'left_out', 'variant') AS kind, "
        "if(kind = 'variant', variant, '') AS name, sum(visitors), sum(converted), "
        "sumMap(money.1, money.2, money.3, money.4) "
        f"FROM ({ranked}) GROUP BY kind, name"
    )
    return Compiled(sql, rows.values.params, _COLUMNS, _read)


def _read(found: Sequence[Sequence[Any]]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for kind, name, visitors, converted, money in found:
        is_variant = kind == "variant"
        rows.append((kind, name, "", int(visitors), int(converted) if is_variant else 0, Decimal(), 0.0))
        for currency, revenue, payers, squares in zip(*money, strict=True) if is_variant else ():
            rows.append(("revenue", name, currency, int(payers), 0, Decimal(revenue), float(squares)))
    return rows
