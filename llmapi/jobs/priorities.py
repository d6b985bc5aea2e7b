"""Whose turn it is, in SQL that means the same on every database.

The jobs of one priority and one tenant stand in a line, the oldest first. A priority rises by one level for each
`ageing` seconds that the oldest of its jobs has waited, up to the highest, so that low ones get their turn too. Among
the lines of the highest level goes first whose tenant has the fewest jobs running; then whose tenant was served the
longest ago; then the one with the oldest job. So nobody's long line holds up a newcomer, and idling earns no credit.
The lines of suspended tenants stand still.

The lines are found by one walk over an index: a millisecond or two for 10,000 waiting jobs. The statements are put
together once, for that takes longer than most of them run; what changes is in their parameters.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, ScalarSelect, Select, String, Subquery
from sqlalchemy import bindparam, case, func, insert, select, text, type_coerce, update
from sqlalchemy.sql.dml import ReturningUpdate

from llmapi.db.columns import Instant
from llmapi.db.tables.jobs import jobs, turns
from llmapi.jobs.statements import SEEN, not_suspended

HIGHEST = 9
NO_LIMIT = 2**31 - 1
TURNSTILE = 7_310_573_203  # PostgreSQL: any number that only we use
NOW = bindparam("at", type_=Instant())
MOST = bindparam("most", type_=Integer())


@dataclass(frozen=True, slots=True)
class Rules:
    """How turns are given: seconds a level takes, and how many jobs of one tenant run at once at most."""

    ageing: float = 60.0
    running_per_tenant: int = NO_LIMIT


def one_by_one(connection: Connection) -> None:
    """Let claims pass one after the other until this transaction ends; SQLite's writers are alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": TURNSTILE})


def claim_values(rules: Rules, owner: str, now: datetime, until: datetime, id: str = "") -> dict[str, Any]:
    """Return the parameters of CLAIM_NEXT, or with an id those of CLAIM_THIS."""
    values = {"at": now, "most": rules.running_per_tenant, "worker": owner, "until": until}
    if id:
        return {**values, "wanted": id}
    return {**values, "a_level": max(1, round(rules.ageing * 1_000_000))}


def remember(connection: Connection, tenant: str) -> None:
    """Keep that this tenant was the last to be served."""
    if not connection.execute(SERVED, {"who": tenant}).rowcount:
        connection.execute(FIRST_SERVED, {"tenant": tenant})


def _lines() -> Subquery:
    """Return the lines whose tenants may have another job run, each with all that its turn depends on."""
    busy = (
        select(jobs.c.tenant, func.count().label("running"))
        .where(jobs.c.status == "running")
        .group_by(jobs.c.tenant)
        .subquery("busy")
    )
    lines = (
        select(jobs.c.priority, jobs.c.tenant, func.min(type_coerce(jobs.c.run_at, BigInteger)).label("oldest"))
        .where(jobs.c.status == "queued", jobs.c.run_at <= NOW)
        .group_by(jobs.c.priority, jobs.c.tenant)
        .subquery("lines")
    )
    running = func.coalesce(busy.c.running, 0)
    served = func.coalesce(turns.c.turn, 0)
    return (
        select(lines.c.priority, lines.c.tenant, lines.c.oldest, running.label("running"), served.label("served"))
        .add_columns(func.min(lines.c.oldest).over(partition_by=lines.c.priority).label("since"))
        .outerjoin_from(lines, busy, busy.c.tenant == lines.c.tenant)
        .outerjoin(turns, turns.c.tenant == lines.c.tenant)
        .where(running < MOST, not_suspended(lines))
        .subquery("open")
    )


def _best(lines: Subquery) -> Select[Any]:
    waited = type_coerce(NOW, BigInteger) - lines.c.since
    risen = lines.c.priority + waited // bindparam("a_level", type_=BigInteger())
    level = case((risen > HIGHEST, HIGHEST), else_=risen)
    order = (level.desc(), lines.c.running, lines.c.served, lines.c.oldest, lines.c.priority.desc(), lines.c.tenant)
    return select(lines.c.priority, lines.c.tenant).order_by(*order).limit(1)


def _next_in_turn() -> ScalarSelect[Any]:
    best = _best(_lines()).subquery("best")
    waiting = jobs.alias("waiting")
    return (
        select(waiting.c.id)
        .join(best, (waiting.c.priority == best.c.priority) & (waiting.c.tenant == best.c.tenant))
        .where(waiting.c.status == "queued", waiting.c.run_at <= NOW)
        .order_by(waiting.c.run_at, waiting.c.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=waiting)
        .scalar_subquery()
    )


def _this_one() -> ScalarSelect[Any]:
    waiting, others = jobs.alias("waiting"), jobs.alias("others")
    running = select(func.count()).where(others.c.status == "running", others.c.tenant == waiting.c.tenant)
    return (
        select(waiting.c.id)
        .where(waiting.c.id == bindparam("wanted", type_=String()), waiting.c.status == "queued")
        .where(waiting.c.run_at <= NOW, running.scalar_subquery() < MOST, not_suspended(waiting))
        .with_for_update(skip_locked=True, of=waiting)
        .scalar_subquery()
    )


def _claim(turn: ScalarSelect[Any]) -> ReturningUpdate[Any]:
    return (
        update(jobs)
        .where(jobs.c.id == turn, jobs.c.status == "queued")
        .values({
            jobs.c.status: "running",
            jobs.c.lease_owner: bindparam("worker", type_=String()),
            jobs.c.lease_until: bindparam("until", type_=Instant()),
            jobs.c.attempts: jobs.c.attempts + 1,
            jobs.c.claims: jobs.c.claims + 1,
            jobs.c.started: NOW,
            jobs.c.progress: None,
            **SEEN,
        })
        .returning(*jobs.c)
    )


CLAIM_NEXT = _claim(_next_in_turn())
CLAIM_THIS = _claim(_this_one())
NUMBER = select(func.coalesce(func.max(turns.c.turn), 0) + 1).scalar_subquery()
SERVED = update(turns).where(turns.c.tenant == bindparam("who")).values(turn=NUMBER)
FIRST_SERVED = insert(turns).values(turn=NUMBER)
