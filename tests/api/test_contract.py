"""Whatever a client sends, the answer is documented and never a 500; schemathesis makes the requests."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from llmapi.setting_tables import Limits
from tests.house.test_house import ROOT

DOCUMENT = json.loads((ROOT / "openapi/openapi.json").read_text(encoding="utf-8"))
OPERATIONS = [(path, method) for path, row in DOCUMENT["paths"].items() for method in row if method != "parameters"]
MUCH = Limits(**{name: "1000000/minute" for name in Limits.model_fields})


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_documented_and_none_is_a_500(make, gemini, path, method):
    gemini.default = '{"positive": "negative"}'
    app = make(limits=MUCH, job_workers=0, retry_attempts=1).application
    operation = schemathesis.openapi.from_wsgi("/openapi.json", app)[path][method]

    @given(case=operation.as_strategy())
    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def ask(case):
        case.call_and_validate()

    ask()
