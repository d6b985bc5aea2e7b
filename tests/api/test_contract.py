"""Whatever a client sends, the answer is documented and never a 500; schemathesis makes the requests."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from llmapi.settings import Limits


@pytest.fixture
def contract(make):
    much = {name: "1000000/minute" for name in Limits.model_fields}
    client = make(limits=Limits(**much), job_workers=0)
    return schemathesis.openapi.from_wsgi("/openapi.json", client.application)


schema = schemathesis.pytest.from_fixture("contract")


@schema.parametrize()
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_answer_is_documented_and_none_is_a_500(case):
    case.call_and_validate()
