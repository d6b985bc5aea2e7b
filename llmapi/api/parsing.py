"""How a request's parts become values: strict JSON bodies, refused media types, each wrong field named."""

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import flask_smorest
from flask import Request
from webargs.flaskparser import FlaskParser

from llmapi.api.strict_json import strict_loads
from llmapi.core.errors import UnsupportedMediaType, ValidationFailed


class StrictParser(FlaskParser):
    """Reads bodies through strict_loads and refuses what a schema does not know, everywhere."""

    DEFAULT_UNKNOWN_BY_LOCATION = {"json": "raise", "query": "raise", "path": "raise"}

    def load_json(self, req: Request, schema: Any) -> Any:
        """Return the body's value; the media type must be JSON and the body not compressed."""
        if not req.is_json:
            raise UnsupportedMediaType("send the body as application/json")
        if req.content_encoding:
            raise UnsupportedMediaType("a compressed body is not taken")
        return strict_loads(req.get_data(cache=False))

    def handle_error(
        self, error: Any, req: Request, schema: Any, *, error_status_code: int | None, error_headers: Any
    ) -> NoReturn:
        """Raise what the caller is told, one line a field."""
        messages = error.normalized_messages()
        fields: dict[str, list[str]] = {}
        for location, found in messages.items():
            for name, said in flattened(found):
                fields.setdefault(name or location, []).append(said)
        raise ValidationFailed("; ".join(f"{name}: {said[0]}" for name, said in fields.items())[:500], fields=fields)


def flattened(messages: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted field, message) for marshmallow's nested messages."""
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            at = path if key == "_schema" else f"{path}.{key}".strip(".")
            yield from flattened(inner, at)
    elif isinstance(messages, list):
        for inner in messages:
            yield from flattened(inner, path)
    else:
        yield path[:200], str(messages)


class Blueprint(flask_smorest.Blueprint):
    """flask-smorest's blueprint with the strict parser."""

    ARGUMENTS_PARSER = StrictParser()
