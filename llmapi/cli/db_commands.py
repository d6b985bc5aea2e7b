"""flask db: the database's schema, its health, and a copy of it."""

from pathlib import Path

import click

from llmapi.cli.parts import Group, services
from llmapi.db.backup import backup as copy_to
from llmapi.db.backup import problems
from llmapi.db.schema import upgrade as bring_up_to_date
from llmapi.db.schema import version
from llmapi.db.tables import HEAD
from llmapi.settings import Settings


@click.group(cls=Group)
def db() -> None:
    """Look after the database."""


@db.command()
def upgrade() -> None:
    """Bring the tables up to date, as every start does."""
    engine = services().engine
    bring_up_to_date(engine)
    click.echo(f"The {engine.dialect.name} database is at migration {version(engine)}.")


@db.command()
def check() -> None:
    """Say whether the database answers, is up to date, and is whole."""
    engine = services().engine
    wrong = problems(engine)
    if (found := version(engine)) != HEAD:
        wrong.append(f"it is at migration {found}, this program at {HEAD}")
    for each in wrong:
        click.echo(each, err=True)
    if wrong:
        raise click.ClickException("The database is not as it should be.")
    click.echo(f"The {engine.dialect.name} database answers, is whole, and is at migration {HEAD}.")


@db.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(file: Path) -> None:
    """Copy the SQLite database into a new file, while the service runs."""
    parts = services()
    size = copy_to(parts.engine, file)
    click.echo(f"{file}: {size} bytes")
    click.echo(f"Keep these secrets too, apart from it: {', '.join(secrets_of(parts.settings))}")


def secrets_of(settings: Settings) -> list[str]:
    """Return where the secrets are that what is in the database is good for nothing without: a file or a setting."""
    made = [
        f"LLMAPI_{name.upper()}" if getattr(settings, name).get_secret_value() else str(settings.data_dir / name)
        for name in ("key_pepper", "audit_key")
    ]
    given = {"LLMAPI_SECRET_KEY": settings.secret_key, "LLMAPI_WEBHOOK_KEY": settings.webhook_key.get_secret_value()}
    return made + [name for name, value in given.items() if value]
