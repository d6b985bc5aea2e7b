"""cli: the back door, for who runs the service, as `flask --app wsgi` and
jobs|cache|keys|tenants|audit|db|ledger|prices|worker. Knows Flask's click, no HTTP.

install (puts the commands on an application), job_commands, cache_commands, key_commands, db_commands, ledger_commands,
price_commands, worker_command (what `flask worker` does), parts (what commands share).

Exit codes: 0 done, 1 it could not be done (the message says why), 2 the command was not understood.
"""

from flask import Flask

from llmapi.cli.audit_commands import audit
from llmapi.cli.cache_commands import cache
from llmapi.cli.db_commands import db
from llmapi.cli.job_commands import jobs
from llmapi.cli.key_commands import keys, tenants
from llmapi.cli.ledger_commands import ledger
from llmapi.cli.price_commands import prices
from llmapi.cli.worker_command import worker as run_jobs  # Celery finds the module `worker` by its name here


def install(app: Flask) -> None:
    """Put the commands on an application."""
    for command in (audit, cache, jobs, keys, tenants, db, ledger, prices, run_jobs):
        app.cli.add_command(command)
