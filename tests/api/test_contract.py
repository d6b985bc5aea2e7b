"""Whatever a client sends, the answer is documented and never a 500; schemathesis makes the requests."""

import json
from collections import Counter

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from pydantic import SecretStr
from schemathesis.checks import CHECKS, load_all_checks

from llmapi.setting_tables import Limits
from tests.house.test_house import ROOT

DOCUMENT = json.loads((ROOT / "openapi/openapi.json").read_text(encoding="utf-8"))
OPERATIONS = [(path, method) for path, row in DOCUMENT["paths"].items() for method in row if method != "parameters"]
MUCH = Limits(**{name: "1000000/minute" for name in Limits.model_fields})


# A document cannot say "prompt or messages, but not both"; and that a model's answer cannot be used is told as 502.
TOO_STRICT = ("positive_data_acceptance", "not_a_server_error")
KEY = "key-of-the-contract"


@pytest.fixture(scope="module", autouse=True)
def _checks() -> None:
    load_all_checks()


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_documented_and_none_is_a_500(make, gemini, path, method):
    gemini.default = '{"positive": "negative"}'
    keys = {"auth": "required", "api_keys": (SecretStr(KEY),)}
    app = make(limits=MUCH, job_workers=0, retry_attempts=1, breaker_ratio=1.0, **keys).application
    operation = schemathesis.openapi.from_wsgi("/openapi.json", app)[path][method]
    seen: Counter[int] = Counter()

    @given(case=operation.as_strategy())
    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def ask(case):
        answer = case.call(headers={"X-API-Key": KEY})
        seen[answer.status_code] += 1
        case.validate_response(answer, excluded_checks=[CHECKS.get_one(name) for name in TOO_STRICT])

    ask()
    assert set(seen) - {401, 403}, "nobody came in"
    assert 500 not in seen
