"""What was tried before an answer or a failure came: it travels on with both, so that none of it is lost."""

from dataclasses import dataclass

from llmapi.core.calls import NOTHING, Attempt, Completion, Usage
from llmapi.core.errors import LlmApiError
from llmapi.core.reply import Reply


@dataclass(frozen=True, slots=True)
class Trail:
    """Attempts that failed, the tokens they were billed for, and the seconds they took."""

    attempts: tuple[Attempt, ...] = ()
    usage: Usage = NOTHING
    provider_time: float = 0.0

    @classmethod
    def of(cls, error: LlmApiError) -> "Trail":
        """Return all that is known to have been tried when this error came."""
        return cls(error.attempts, error.usage, error.provider_time)

    def __add__(self, later: "Trail") -> "Trail":
        return Trail(
            self.attempts + later.attempts, self.usage + later.usage, self.provider_time + later.provider_time
        )

    def told_by(self, error: LlmApiError) -> LlmApiError:
        """Let an error say this trail, which is all that was tried, its own part included; returns the same error."""
        error.attempts, error.usage, error.provider_time = self.attempts, self.usage, self.provider_time
        return error

    def before_failure(self, error: LlmApiError) -> None:
        """Put this trail before what the error says itself."""
        error.attempts = self.attempts + error.attempts
        error.usage = self.usage + error.usage
        error.provider_time += self.provider_time

    def before_answer(self, reply: Reply) -> Reply:
        """Put this trail before what the reply says itself, also when it breaks on its way."""
        if not self.attempts:
            return reply

        def broken(_: Completion, error: BaseException | None) -> None:
            if isinstance(error, LlmApiError):
                self.before_failure(error)

        return reply.told(
            attempts=self.attempts + reply.facts.attempts,
            provider_time=self.provider_time + reply.facts.provider_time,
        ).when_ended(broken)
