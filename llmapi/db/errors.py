"""A database that fails, told as what a caller may see: full, or busy. The one place that knows drivers' codes."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from llmapi.core.errors import LlmApiError, Overloaded, StorageFull, ValidationFailed

log = logging.getLogger(__name__)

SQLITE_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY})
SQLITE_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
POSTGRES_FULL = frozenset({"53100", "25006"})  # disk_full, read_only_sql_transaction
POSTGRES_TEXT = frozenset({None, "22021"})  # NUL is refused by the driver, without a code; character_not_in_repertoire


@contextmanager
def storage_errors() -> Iterator[None]:
    """Raise StorageFull or Overloaded for what the disk or the server did; our own mistakes in SQL pass through.

    ValidationFailed is for a caller's text that PostgreSQL cannot hold: SQLite takes NUL, PostgreSQL does not.
    """
    try:
        yield
    except exc.DataError as error:
        if getattr(error.orig, "sqlstate", "") not in POSTGRES_TEXT:
            raise
        raise ValidationFailed("A text has a character that cannot be stored.") from error
    except exc.DBAPIError as error:
        if not _storage_failed(error):
            raise
        raise _told(error) from error
    except exc.TimeoutError as error:  # no connection became free in time
        raise Overloaded("The storage is busy.", retry_after=1.0) from error


def _storage_failed(error: exc.DBAPIError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:  # SQLite calls a missing table an OperationalError too
        return code & 0xFF not in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISUSE)
    return isinstance(error, (exc.OperationalError, exc.InternalError)) or error.connection_invalidated


def _told(error: exc.DBAPIError) -> LlmApiError:
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    if code in SQLITE_FULL or getattr(error.orig, "sqlstate", None) in POSTGRES_FULL:
        log.error("the storage takes no more: %s", error.orig)
        return StorageFull("The storage takes no more data.")
    if code not in SQLITE_BUSY:
        log.error("the storage failed: %s", error.orig)
    return Overloaded("The storage is not available at the moment.", retry_after=1.0)
