"""Rows as CSV (RFC 4180) that no spreadsheet takes for formulas."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flask import Response, request

TYPES = ("application/json", "text/csv")
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # what a cell may not begin with: spreadsheets would run it


def csv_wanted(format: str | None) -> bool:
    """Say whether the caller wants CSV: by the field, else by the Accept header."""
    if format is not None:
        return format == "csv"
    return request.accept_mimetypes.best_match(TYPES) == "text/csv"


def as_csv(name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], following: str = "") -> Response:
    """Return rows as a file to keep; `following`: the address of the next page."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([cell(row[column]) for column in columns] for row in rows)
    response = Response(text.getvalue(), mimetype="text/csv")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    if following:
        response.headers["Link"] = f'<{following}>; rel="next"'
    return response


def cell(value: Any) -> Any:
    """Return a value as a cell: text that a spreadsheet would run begins with an apostrophe."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value
