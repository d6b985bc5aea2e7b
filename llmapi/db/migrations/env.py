"""Alembic's entry. Run by llmapi.db.schema.upgrade, which hands over a connection inside one transaction."""

from alembic import context

from llmapi.db.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
context.run_migrations()
