"""What was used and what it cost, asked of the ledger's sums. All money is nano-dollars."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Engine, Select, Subquery
from sqlalchemy import case, cast, func, literal_column, select, true, tuple_, type_coerce, union_all

from llmapi.core.events import KEPT
from llmapi.costs.rollups import FINE
from llmapi.costs.usage_plan import DAY, LEDGER, STEPS, Interval, Piece, instant, next_month, plan
from llmapi.db.engine import reading
from llmapi.db.tables.usage import kept

Cursor = tuple[Any, ...]  # of the last row told: its bucket, then its group's values


@dataclass(frozen=True, slots=True)
class Sums:
    """What calls add up to."""

    requests: int = 0
    failures: int = 0
    kept: int = 0  # answered from a cache, or by another's call
    unpriced: int = 0  # whose cost nobody knows: it is in no sum of money
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost: int = 0
    saved: int = 0
    duration: float = 0.0  # seconds

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


NAMES = tuple(Sums.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: of [start, end), by interval and groups; `where` names values of dimensions."""

    tenant: str | None  # None: of all of them
    start: datetime
    end: datetime
    interval: Interval = "none"
    by: tuple[str, ...] = ()
    where: Mapping[str, Any] = field(default_factory=dict)
    limit: int = 100
    after: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One row of an answer: what [start, end) adds up to for one group."""

    start: datetime
    end: datetime
    group: Mapping[str, Any]
    sums: Sums


@dataclass(frozen=True, slots=True)
class Answer:
    """A page of lines, the sum of all pages, and where the next begins."""

    lines: list[Line]
    total: Sums
    next: Cursor | None


class Usage:
    """Answers questions of use and cost; of a tenant alone unless the question names none."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ask(self, question: Question) -> Answer:
        """Return one page; raises ValidationFailed for a range too long or no longer known, StorageFull, Overloaded."""
        with reading(self._engine) as connection:
            since = {name: at for name, at in connection.execute(select(kept.c.name, kept.c.since))}
            wanted = frozenset(question.by) | frozenset(question.where)
            pieces = plan(question.start, question.end, question.interval, wanted, since)
            if not pieces:
                return Answer([], Sums(), None)
            found = connection.execute(page(question, pieces)).all()
            lines = [line(question, row) for row in found[: question.limit]]
            if len(found) <= question.limit and question.after is None:
                return Answer(lines, sum((each.sums for each in lines), Sums()), None)
            total = whole(connection, question, pieces)
        last = found[question.limit - 1] if len(found) > question.limit else None
        return Answer(lines, total, tuple(last[: 1 + len(question.by)]) if last is not None else None)


def page(question: Question, pieces: Sequence[Piece]) -> Select[Any]:
    """Return the statement of one page, and one row more if there are others after it."""
    rows = gathered(question, pieces, question.by)
    names = ("bucket", *question.by)
    keys = [rows.c[name] for name in names]
    sums = [total_of(rows.c[name]).label(name) for name in NAMES]
    found = select(*keys, *sums).group_by(*keys).order_by(*keys).limit(question.limit + 1)
    if question.after is not None:
        found = found.where(tuple_(*keys) > tuple_(*question.after))
    return found


def whole(connection: Connection, question: Question, pieces: Sequence[Piece]) -> Sums:
    """Return the sum over all groups and intervals."""
    rows = gathered(question, pieces, ())
    found = connection.execute(select(*(total_of(rows.c[name]) for name in NAMES))).one()
    return Sums(*(value or 0 for value in found))


def gathered(question: Question, pieces: Sequence[Piece], by: Sequence[str]) -> Subquery:
    """Return the sums of each piece, one below the other."""
    parts = [part(question, piece, by) for piece in pieces]
    return (union_all(*parts) if len(parts) > 1 else parts[0]).subquery("rows")


def part(question: Question, piece: Piece, by: Sequence[str]) -> Select[Any]:
    """Return the sums of one piece by bucket and group."""
    table = piece.source.table
    at = type_coerce(table.c.at if piece.source is LEDGER else table.c.start, BigInteger)
    bucket = bucket_of(at, piece, question.interval).label("bucket")
    counted = counts_of(piece) if piece.source is LEDGER else [table.c[name] for name in NAMES]
    sums = [total_of(column).label(name) for name, column in zip(NAMES, counted, strict=True)]
    found = select(bucket, *(table.c[name] for name in by), *sums).where(at >= piece.first, at < piece.last)
    mine = true() if question.tenant is None else table.c.tenant == question.tenant
    return found.where(mine, *(table.c[name] == value for name, value in question.where.items())).group_by(
        "bucket", *(table.c[name] for name in by)
    )


def bucket_of(at: ColumnElement[int], piece: Piece, interval: Interval) -> ColumnElement[int]:
    """Return the beginning of the interval a row falls into. Numbers stand in the text: PostgreSQL takes an expression
    with two parameters for two expressions."""
    if piece.bucket is not None:
        return cast(literal_column(str(piece.bucket)), BigInteger)
    step = STEPS[interval]
    return at if piece.source.step == step else at - at % literal_column(str(step), BigInteger)


def counts_of(piece: Piece) -> list[Any]:
    """Return what one row of the ledger counts for, in the order of NAMES: as rollups.measures says it."""
    row = piece.source.table.c
    flags = {
        "requests": literal_column("1", BigInteger),
        "failures": case((row.status.in_(sorted(FINE)), 0), else_=1),
        "kept": case((row.cache.in_(sorted(KEPT)), 1), else_=0),
        "unpriced": case((row.cost.is_(None), 1), else_=0),
        "cost": func.coalesce(row.cost, 0),
    }
    return [flags[name] if name in flags else row[name] for name in NAMES]


def total_of(column: Any) -> ColumnElement[Any]:
    """Return a sum as a number of the same kind: PostgreSQL makes another of it."""
    added = func.sum(column)
    return added if column.type.python_type is float else cast(added, BigInteger)


def line(question: Question, row: Sequence[Any]) -> Line:
    """Return a row of the database as a line of the answer, cut to the range that was asked."""
    bucket, group, sums = row[0], row[1 : 1 + len(question.by)], row[1 + len(question.by) :]
    ends = {"hour": STEPS["hour"], "day": DAY}.get(question.interval)
    if question.interval == "none":
        end = question.end
    else:
        end = min(question.end, instant(bucket + ends if ends else next_month(bucket)))
    return Line(max(question.start, instant(bucket)), end, dict(zip(question.by, group, strict=True)), Sums(*sums))
