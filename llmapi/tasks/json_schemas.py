"""JSON schemas that callers send: checked before use, and a value checked against one in bounded time.

A schema is hostile input. References are looked up inside it and never fetched; patterns run on the linear-time
engine of pydantic (Rust's regex: no look-around, no back-references, compiled size capped); a check that takes more
than CHECK_TIME of processor time is given up. `format` is an annotation, as the specification has it.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from pydantic_core import SchemaError as PatternError
from pydantic_core import SchemaValidator, core_schema
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012, SchemaRegistry, SchemaResource

from llmapi.core.clock import Monotonic
from llmapi.core.errors import ValidationFailed

FIELD = "response_format.schema"
MOST_BYTES = 32_768
MOST_DEPTH = 32
MOST_PARTS = 2_000  # objects and lists; the look at the form takes up to 0.2 ms for each
MOST_PATTERN = 1_000  # characters
MOST_MATCHED = 20_000  # characters of a text that is matched against a pattern
CHECK_TIME = 0.5  # seconds of processor time

# The validator matches patternProperties with Python's backtracking engine in three places, and the search behind
# unevaluated… and $dynamicRef goes on without passing any keyword, where no time can be kept. A $schema of its own
# would put a part of the schema under a stock validator, without our keywords.
REFUSED = ("patternProperties", "unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$schema")
PROBES: tuple[Any, ...] = (None, True, 0, "", [], {})


class TookTooLong(Exception):
    """A check used up its time."""


def check_schema(schema: Any) -> None:
    """Refuse a schema that is broken, too big, points outside itself or cannot be checked in bounded time.

    raises: ValidationFailed naming `response_format.schema` or the place inside it
    """
    if not isinstance(schema, dict):
        raise _refused("", "A schema is a JSON object.")
    _check_size(schema)
    _check_form(schema)
    _check_parts(schema)
    _check_end(schema)


def complaint(value: Any, schema: Mapping[str, Any], *, clock: Monotonic = time.thread_time) -> str | None:
    """Return what is wrong with a JSON value, in a short sentence, or None when it follows a checked schema."""
    try:
        worst = best_match(islice(_validator(schema, clock).iter_errors(value), 20))
    except RecursionError:
        return "it nests too deeply to be checked"
    except TookTooLong:
        return "it takes too long to be checked"
    if worst is None:
        return None
    place = ".".join(str(step) for step in worst.absolute_path)
    said = worst.message if len(worst.message) <= 200 else worst.message[:120] + " … " + worst.message[-79:]
    return f"{place}: {said}" if place else said


def _refused(place: str, why: str) -> ValidationFailed:
    name = f"{FIELD}.{place}" if place else FIELD
    return ValidationFailed("The JSON schema cannot be used.", fields={name: [why]})


def _measures(value: Any) -> tuple[int, int]:
    """Return how deep a JSON value nests and its objects and lists, without recursion: a hostile one nests too deep."""
    depth, parts, level = 0, 0, [value]
    while level and depth <= MOST_DEPTH:
        depth += 1
        lists = [each for each in level if isinstance(each, dict | list)]
        parts += len(lists)
        level = [part for each in lists for part in (each.values() if isinstance(each, dict) else each)]
    return depth, parts


def _check_size(schema: dict[str, Any]) -> None:
    depth, parts = _measures(schema)
    if depth > MOST_DEPTH:
        raise _refused("", f"A schema may nest {MOST_DEPTH} levels deep.")
    if parts > MOST_PARTS:
        raise _refused("", f"A schema may have {MOST_PARTS} objects and lists.")
    try:
        size = len(orjson.dumps(schema))
    except TypeError as error:
        raise _refused("", "A schema holds JSON values only.") from error
    if size > MOST_BYTES:
        raise _refused("", f"A schema may have {MOST_BYTES} bytes.")


def _check_end(schema: dict[str, Any]) -> None:
    """Try the schema on small values: references that lead back to themselves show at once."""
    validator = _validator(schema, time.thread_time)
    try:
        for probe in PROBES:
            validator.is_valid(probe)
    except RecursionError as error:
        raise _refused("", "The schema refers to itself without end.") from error
    except TookTooLong as error:
        raise _refused("", "The schema takes too long to follow.") from error


def _check_form(schema: Any) -> None:
    # No format checker: it would compile patterns by another engine than the one that runs them.
    form = Draft202012Validator(Draft202012Validator.META_SCHEMA)
    error = best_match(islice(form.iter_errors(schema), 1))
    if error is not None:
        raise _refused(".".join(str(step) for step in error.absolute_path), error.message[:200])


def _check_parts(schema: dict[str, Any]) -> None:
    """Look at every subschema, and at whatever a reference reaches beyond them."""
    root: SchemaResource = DRAFT202012.create_resource(schema)
    registry: SchemaRegistry = Registry()
    waiting = [(root, registry.resolver_with_root(root))]
    seen: set[int] = set()
    while waiting:
        part, resolver = waiting.pop()
        contents = part.contents
        if id(contents) in seen or not isinstance(contents, dict):
            continue
        seen.add(id(contents))
        _check_keywords(contents, root=contents is schema)
        waiting += [(each, resolver.in_subresource(each)) for each in part.subresources()]
        if "$ref" in contents:
            try:
                found = resolver.lookup(contents["$ref"])
            except (Unresolvable, LookupError, TypeError, ValueError) as error:
                raise _refused("", f"$ref {contents['$ref']!r:.80} is not in the schema.") from error
            if id(found.contents) not in seen:
                _check_form(found.contents)  # it may stand where the first look saw no schema
                waiting.append((DRAFT202012.create_resource(found.contents), found.resolver))


def _check_keywords(schema: dict[str, Any], *, root: bool) -> None:
    for name in REFUSED:
        if name in schema and not (root and name == "$schema"):
            raise _refused("", f"{name} is not supported.")
    if "pattern" in schema:
        if len(schema["pattern"]) > MOST_PATTERN:
            raise _refused("", f"A pattern may have {MOST_PATTERN} characters.")
        try:
            _matcher(schema["pattern"])
        except PatternError as error:
            why = str(error).strip().splitlines()[-1].strip()
            raise _refused("", f"The pattern {schema['pattern']!r:.80} cannot be used: {why}") from error


def _matcher(pattern: str) -> SchemaValidator:
    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))


def _validator(schema: Mapping[str, Any], clock: Monotonic) -> Validator:
    """Return a validator that keeps time at every keyword and, its registry being empty, fetches nothing."""
    end = clock() + CHECK_TIME

    def in_time(keyword: Callable[..., Any]) -> Callable[..., Any]:
        def check(*arguments: Any) -> Any:
            if clock() > end:
                raise TookTooLong
            return keyword(*arguments)

        return check

    keywords = Draft202012Validator.VALIDATORS | {"pattern": _pattern_keyword(), "uniqueItems": _has_unique_items}
    timed = {name: in_time(keyword) for name, keyword in keywords.items()}
    kind = extend(Draft202012Validator, timed)  # type: ignore[no-untyped-call]
    one_dialect = {key: value for key, value in schema.items() if key != "$schema"}
    validator: Validator = kind(one_dialect, registry=Registry())
    return validator


def _pattern_keyword() -> Callable[..., Any]:
    """Return the keyword `pattern`, which compiles each pattern once."""
    matcher = lru_cache(maxsize=64)(_matcher)

    def follows(_: Validator, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
        if not isinstance(value, str):
            return
        if len(value) > MOST_MATCHED:
            yield ValidationError(f"a text of {len(value)} characters is too long for the pattern {pattern!r}")
        elif not matcher(pattern).isinstance_python(value):
            yield ValidationError(f"{value!r:.100} does not match {pattern!r}")

    return follows


def _has_unique_items(_: Validator, wanted: bool, value: Any, __: Any) -> Iterator[ValidationError]:
    """Linear; the validator's own compares each item with each other when they cannot be sorted."""
    if wanted and isinstance(value, list) and len({_frozen(item) for item in value}) < len(value):
        yield ValidationError("the items are not unique")


def _frozen(value: Any) -> Any:
    """Return a hashable stand-in that is equal exactly when two JSON values are: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return ("object", frozenset((key, _frozen(each)) for key, each in value.items()))
    if isinstance(value, list):
        return ("array", tuple(_frozen(each) for each in value))
    return (isinstance(value, bool), value)
