"""What stands behind Route, scripted."""

from llmapi.core.calls import Call, Facts
from llmapi.core.errors import LlmApiError
from llmapi.core.reply import Reply
from tests.gateway.conftest import HELLO


class Upstream:
    """What is behind Route: each target's next line of its script, an answer by default; keeps who was asked."""

    def __init__(self, **scripts: LlmApiError | Reply) -> None:
        self.scripts = scripts
        self.asked: list[str] = []

    def __call__(self, call: Call) -> Reply:
        assert call.target is not None
        self.asked.append(call.target.model)
        said = self.scripts.get(call.target.model, Reply.of(HELLO, Facts()))
        if isinstance(said, LlmApiError):
            raise said
        return said
