"""Code generation: a task and a language in, code alone out, with what a check of it found."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from llmapi.core.calls import Call, Completion, Message
from llmapi.core.errors import ProviderError, UnreadableAnswer
from llmapi.tasks.asking import Ask, Tally, follow_up
from llmapi.tasks.code_answers import Unfenced, read_code
from llmapi.tasks.fences import fenced
from llmapi.tasks.languages import canonical
from llmapi.tasks.syntax import UNCHECKED, CodeError, Verification, check_syntax

__all__ = ["Unfenced", "answer_code", "code_call", "code_output", "read_code", "verification_of"]

ONE_BLOCK = (
    "You write code. Answer with one fenced code block that holds the complete code in the language asked for, and "
    "with nothing before it."
)
NOTHING_ELSE = " Write nothing after it either."
THEN_EXPLAIN = " After it, explain the code in a few sentences."
ERRORS_TOLD = 5


def code_call(
    base: Call,
    *,
    prompt: str,
    language: str,
    context: str | None = None,
    tests: str | None = None,
    explain: bool = False,
    system: str = "",
) -> Call:
    """Return the call that asks for code. What the caller wrote, the language's name included, is the user's turn."""
    rule = ONE_BLOCK + (THEN_EXPLAIN if explain else NOTHING_ELSE)
    asked = [f"Language: {canonical(language)}", f"Task:\n{prompt}"]
    if context:
        asked.append(f"Use this context:\n{fenced(context)}")
    if tests:
        asked.append(f"The code must pass these tests:\n{fenced(tests)}")
    return replace(
        base,
        messages=(
            Message("system", f"{system}\n\n{rule}" if system.strip() else rule),
            Message("user", "\n\n".join(asked)),
        ),
        good=lambda answer: answer.finish == "stop" and bool(read_code(answer, language, explain)[0]),
    )


def answer_code(
    ask: Ask, call: Call, *, language: str, verify: str, max_repairs: int, explain: bool
) -> dict[str, Any]:
    """Ask, check, and send what is broken back with its errors; return the output.

    The best answer is kept: one that parses, else the one with the fewest errors, the later of equals. A provider that
    fails while a broken answer is being repaired ends the repairs; the answer in hand is shown as failed.
    raises: UnreadableAnswer when no answer holds any code
    """
    asked = Tally(ask)
    call = replace(call, good=lambda answer: _worth_keeping(answer, language, verify))
    answer = asked(call)
    code, explanation = read_code(answer, language, explain)
    found = _checked(code, language, verify)
    best, repairs = (code, explanation, found), 0
    while found.status == "failed" and repairs < max_repairs:
        try:
            answer = asked(follow_up(call, answer, _complaint(found.errors, answer)))
        except ProviderError:
            break
        repairs += 1
        code, explanation = read_code(answer, language, explain)
        found = _checked(code, language, verify)
        best = max((code, explanation, found), best, key=lambda each: _rank(each[0], each[2]))
    code, explanation, found = best
    if not code:
        raise UnreadableAnswer("The model wrote no code.", usage=asked.usage, said=answer.text[:80])
    return code_output(code, explanation, language, _told(found, repairs))


def code_output(code: str, explanation: str | None, language: str, verification: dict[str, Any]) -> dict[str, Any]:
    """Return the task's output under the contract's names."""
    return {
        "code": code,
        "language": canonical(language),
        "explanation": explanation,
        "verification": verification,
    }


def verification_of(code: str, language: str, verify: str, repairs: int = 0) -> dict[str, Any]:
    """Return `status`, `level`, `errors` and `repairs` of code as it is."""
    return _told(_checked(code, language, verify), repairs)


def _checked(code: str, language: str, verify: str) -> Verification:
    """Check code as far as asked. The one place that says what `tests` means: nothing is run, so it is `syntax`."""
    return UNCHECKED if verify == "none" else check_syntax(code, language)


def _told(found: Verification, repairs: int) -> dict[str, Any]:
    return {
        "status": found.status,
        "level": found.level,
        "errors": [asdict(error) for error in found.errors],
        "repairs": repairs,
    }


def _worth_keeping(answer: Completion, language: str, verify: str) -> bool:
    if answer.finish != "stop":
        return False
    code, _ = read_code(answer, language, explain=False)
    return bool(code) and _checked(code, language, verify).status != "failed"


def _rank(code: str, found: Verification) -> tuple[bool, bool, int]:
    return bool(code), found.status != "failed", -len(found.errors)


def _complaint(errors: Sequence[CodeError], answer: Completion) -> str:
    told = "\n".join(f"- line {each.line}, column {each.column}: {each.message}" for each in errors[:ERRORS_TOLD])
    cut = "The answer was cut because it was too long: write less.\n" if answer.finish == "length" else ""
    return f"The code does not parse:\n{told}\n{cut}Answer with the complete corrected code in one fenced block."
