"""flask ledger: what calls cost, held against its sums, copied out, and deleted when it is old."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click
import orjson
from sqlalchemy import Engine, select

from llmapi.cli.parts import Group, noted, services
from llmapi.core.clock import rfc3339
from llmapi.core.money import dollars
from llmapi.costs.postings import verify as faults
from llmapi.costs.usage_check import differences
from llmapi.db.engine import reading
from llmapi.db.tables.ledger import ledger as rows
from llmapi.tenants.roles import OPERATORS_TENANT

PAGE = 1000  # rows read at once
DATES = click.DateTime(["%Y-%m-%d"])
MONEY = ("cost", "saved")  # nano-dollars


@click.group(cls=Group)
def ledger() -> None:
    """Look after the ledger of what calls cost."""


@ledger.command()
def verify() -> None:
    """Prove that the postings balance and that every sum is what the ledger's rows add up to."""
    engine = services().engine
    wrong = [*faults(engine), *differences(engine)]
    for each in wrong:
        click.echo(each, err=True)
    if wrong:
        raise click.ClickException("The ledger is not as it should be.")
    click.echo("The ledger balances, and its sums are right.")


@ledger.command()
@click.option("--days", type=click.IntRange(1, 36_500), help="Keep so many days of the ledger instead of ledger_kept.")
def purge(days: int | None) -> None:
    """Delete now what is older than it is to be kept; the service does it every hour."""
    spans = {} if days is None else {"ledger": days * 86_400.0, "users": days * 86_400.0}
    deleted = services().retention.purge(spans)
    noted(OPERATORS_TENANT, "ledger.purge", "", days=days, **deleted)
    for name, count in deleted.items():
        click.echo(f"{name}: {count} rows deleted")


@ledger.command()
@click.option("--from", "start", type=DATES, help="From this day on (UTC).")
@click.option("--to", "end", type=DATES, help="Until this day, which is not included.")
@click.option("--tenant", help="Only this tenant's.")
def export(start: datetime | None, end: datetime | None, tenant: str | None) -> None:
    """Write the ledger's rows, oldest first, one JSON object a line; money in USD."""
    wanted = [rows.c.at >= start.replace(tzinfo=UTC)] if start else []
    wanted += [rows.c.at < end.replace(tzinfo=UTC)] if end else []
    wanted += [rows.c.tenant == tenant] if tenant else []
    for row in pages(services().engine, wanted):
        click.echo(orjson.dumps(shown(row)).decode())


def pages(engine: Engine, wanted: list[Any]) -> Iterator[dict[str, Any]]:
    """Yield rows by their number, some at a time: no transaction stays open meanwhile."""
    last = 0
    while True:
        with reading(engine) as connection:
            asked = select(rows).where(rows.c.id > last, *wanted).order_by(rows.c.id).limit(PAGE)
            found = connection.execute(asked).mappings().all()
        yield from map(dict, found)
        if len(found) < PAGE:
            return
        last = found[-1]["id"]


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as JSON values."""
    money = {name: None if row[name] is None else dollars(row[name]) for name in MONEY}
    price = orjson.loads(row["price"]) if row["price"] else None
    told = {**row, **money, "at": rfc3339(row["at"]), "price": price}
    return {str(name): value for name, value in told.items()}  # SQLAlchemy marks the names it has to quote
