"""Where rate limits are counted, chosen by a URL; the library of a server is imported only when it is chosen."""

from importlib import import_module
from pathlib import Path

from llmapi.core.errors import BadSetting
from llmapi.db import process_counters
from llmapi.db.counters import counters_uri

MODULES = {
    "redis": "redis_counters",
    "rediss": "redis_counters",
    "unix": "redis_counters",
    "postgresql": "sql_counters",
}


def counters_at(url: str, *, folder: Path, database_url: str = "", alone: bool = False) -> str:
    """Return the `storage_uri` for flask-limiter; raises BadSetting.

    url: redis://…, rediss://…, unix://…, postgresql://…, "database": where DATABASE_URL says, memory://; empty: the
        file in `folder` that all processes of this machine share, or memory if one is `alone`
    """
    if url == "database" and not database_url.startswith("postgresql"):
        url = ""  # SQLite: the counters have a file of their own beside it
    wanted = database_url if url == "database" else url
    if not wanted or wanted == "memory://":
        return process_counters.URI if alone or wanted else counters_uri(folder)
    scheme = wanted.partition("://")[0].partition("+")[0]
    if scheme not in MODULES:
        raise BadSetting(f"LLMAPI_LIMIT_URL must be `database`, or begin with one of {['memory', *sorted(MODULES)]}")
    try:
        module = import_module(f"llmapi.db.{MODULES[scheme]}")
    except ModuleNotFoundError as error:
        raise BadSetting(f"{scheme}:// for limits needs the package {error.name}") from None
    return f"{module.PREFIX}{scheme}://{wanted.partition('://')[2]}"
