"""Callers' schemas: broken and dangerous ones refused with the place, values checked in bounded time."""

from itertools import count

import pytest

from llmapi.core.errors import ValidationFailed
from llmapi.tasks.json_schemas import FIELD, MOST_BYTES, MOST_DEPTH, MOST_PARTS, check_schema, complaint


def nested(depth):
    schema: dict = {}
    for _ in range(depth):
        schema = {"not": schema}
    return schema


def ladder(rungs):
    steps = {f"s{n}": {"anyOf": [{"$ref": f"#/$defs/s{n + 1}"}] * 2} for n in range(rungs)}
    return {"$ref": "#/$defs/s0", "$defs": steps | {f"s{rungs}": False}}


GOOD = [
    {},
    {"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "string", "pattern": "^a+$"}}},
    {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "array", "uniqueItems": True},
    {"properties": {"type": {"type": "string"}, "$ref": {"type": "string"}, "pattern": {"type": "integer"}}},
    {"properties": {"child": {"$ref": "#"}}},
    {"$id": "https://example.org/a", "$ref": "#/$defs/b", "$defs": {"b": True}},
    {"format": "no-such-format"},
]


@pytest.mark.parametrize("schema", GOOD)
def test_a_sound_schema_is_accepted(schema):
    check_schema(schema)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (True, "JSON object"),
        ({"$ref": "https://example.org/schema"}, "not in the schema"),
        ({"$ref": "file:///etc/passwd"}, "not in the schema"),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, "not in the schema"),
        ({"$ref": "#/nowhere"}, "not in the schema"),
        ({"$ref": "#/x/a", "x": 3}, "not in the schema"),
        ({"$ref": "#"}, "itself without end"),
        ({"anyOf": [{"$ref": "#"}]}, "itself without end"),
        ({"pattern": "(a"}, "unclosed"),
        ({"pattern": "^(?=a)"}, "look-around"),
        ({"pattern": "((a{1000}){1000}){1000}"}, "size limit"),
        ({"pattern": "a" * 1001}, "characters"),
        ({"$ref": "#/x/y", "x": {"y": {"pattern": "(?=a)"}}}, "look-around"),
        ({"patternProperties": {"a": {}}}, "not supported"),
        ({"allOf": [{"unevaluatedProperties": False}]}, "not supported"),
        ({"allOf": [{"$schema": "http://json-schema.org/draft-07/schema#"}]}, "not supported"),
        (nested(MOST_DEPTH + 1), "deep"),
        (nested(100_000), "deep"),
        ({"allOf": [{}] * MOST_PARTS}, "objects and lists"),
        ({"const": "a" * MOST_BYTES}, "bytes"),
        ({"const": float}, "JSON values"),
        (ladder(40), "too long"),
    ],
)
def test_a_broken_or_dangerous_schema_is_refused_with_the_reason(schema, why):
    with pytest.raises(ValidationFailed) as caught:
        check_schema(schema)
    ((field, (said,)),) = caught.value.fields.items()
    assert field == FIELD and why in said


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"type": "text"}, "type"),
        ({"properties": {"a": {"minLength": -1}}}, "properties.a.minLength"),
        ({"enum": 1}, "enum"),
    ],
)
def test_a_schema_of_wrong_form_is_refused_at_its_place(schema, place):
    with pytest.raises(ValidationFailed) as caught:
        check_schema(schema)
    assert list(caught.value.fields) == [f"{FIELD}.{place}"]


@pytest.mark.parametrize(
    ("value", "schema", "wrong"),
    [
        ({"a": [1, "x"]}, {"properties": {"a": {"items": {"type": "integer"}}}}, "a.1: 'x' is not of type 'integer'"),
        ("b", {"pattern": "^a$"}, "'b' does not match '^a$'"),
        ([1, 1.0], {"uniqueItems": True}, "the items are not unique"),
        ([{"a": 1}, {"a": 1}], {"uniqueItems": True}, "the items are not unique"),
        ("a" * 20_001, {"pattern": "a"}, "a text of 20001 characters is too long for the pattern 'a'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(value, schema, wrong):
    assert complaint(value, schema) == wrong


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ([1, True, "1", None, [1], {"a": 1}], {"uniqueItems": True}),
        ("xxabxx", {"pattern": "ab"}),
        (3, {"pattern": "ab", "uniqueItems": True}),
        ("not an address", {"format": "email"}),
        ({"child": {"child": {}}}, {"properties": {"child": {"$ref": "#"}}}),
    ],
)
def test_a_value_that_follows_has_no_complaint(value, schema):
    assert complaint(value, schema) is None


def test_a_catastrophic_pattern_costs_nothing():
    assert "does not match" in str(complaint("a" * 5000 + "!", {"pattern": "^(a+)+$"}))


def test_many_unsortable_items_are_compared_in_linear_time():
    assert complaint([1, "a", {}] * 20_000, {"uniqueItems": True}) == "the items are not unique"


def test_a_check_gives_up_when_its_time_is_over():
    clock = count(step=0.01).__next__
    assert complaint([1] * 100, {"items": {"type": "integer"}}, clock=clock) == "it takes too long to be checked"


def test_a_value_too_deep_to_check_is_no_error_of_ours():
    value: dict = {}
    for _ in range(900):
        value = {"child": value}
    assert complaint(value, {"properties": {"child": {"$ref": "#"}}}) == "it nests too deeply to be checked"


def test_a_long_complaint_is_shortened():
    assert len(str(complaint("x" * 9000, {"type": "integer"}))) < 220
