"""flask audit: whether the chain is whole, where it ends, and a copy of it."""

from pathlib import Path

import click
import orjson

from llmapi.cli.parts import Group, services
from llmapi.core.clock import rfc3339
from llmapi.events.audit import heads_in
from llmapi.events.audit_chain import Entry


@click.group(cls=Group)
def audit() -> None:
    """Look after the audit chain."""


@audit.command()
@click.option("--heads", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Heads kept elsewhere.")
def verify(heads: Path | None) -> None:
    """Say whether no entry was changed, left out or put in, nor any at the end taken away.

    The chain is held against the heads beside the database, and those of a file that was kept elsewhere.
    """
    chain = services().audit
    known = chain.exported() + (heads_in(heads) if heads else [])
    wrong = chain.verify(known)
    for each in wrong:
        click.echo(each, err=True)
    if wrong:
        raise click.ClickException("The audit chain is not as it was written.")
    click.echo(f"The audit chain is whole: {chain.head().number} entries, {len(known)} heads.")


@audit.command()
def head() -> None:
    """Print where the chain ends, to be kept where nobody who edits the database can change it."""
    found = services().audit.head()
    click.echo(orjson.dumps({"number": found.number, "hash": found.hash}))


@audit.command()
def export() -> None:
    """Print all entries, oldest first, a line of JSON each."""
    for entry in services().audit.all():
        told = {name: getattr(entry, name) for name in Entry.__slots__}
        click.echo(orjson.dumps({**told, "at": rfc3339(entry.at)}))
