"""Whether code is well formed, in the words of its grammar: line, column, what is wrong.

tree-sitter's official grammars say it for every language of languages.py that has one; for Python and JSON their own
parsers speak first. A grammar knows no dialects and expands no macros: unusual SQL or C can be refused although a
compiler takes it. Code is only ever parsed, never run; no input raises.
"""

import json
import re
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from itertools import accumulate, islice
from sys import version_info
from typing import Literal

import tree_sitter

from llmapi.core.clock import Monotonic
from llmapi.tasks.languages import language_named

# Grammars are quadratic on hostile text. A parse is stopped after this time, but not inside a step: see also
# Language.longest and DEEPEST.
PARSE_TIME = 0.5  # seconds of processor time
DEEPEST = 500  # open brackets; recovering from an error far below takes a grammar seconds in one uninterrupted step
MOST_ERRORS = 20
GENERATED = "<generated code>"  # the file name under which compile() speaks of it
BRACKET = re.compile(r"[(){}\[\]]")
STRAY_TAG = "erroneous_end_tag"
CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|(NaN|-?Infinity)')
PYTHON = f"Python {version_info.major}.{version_info.minor}"


@dataclass(frozen=True, slots=True)
class CodeError:
    """Where the code is broken; line and column count characters from 1."""

    line: int
    column: int
    message: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check of code found; `level` is how far it went."""

    status: Literal["verified", "failed", "unchecked"]
    level: Literal["none", "syntax"]
    errors: tuple[CodeError, ...] = ()


UNCHECKED = Verification("unchecked", "none")


def check_syntax(code: str, language: str, *, clock: Monotonic = time.thread_time) -> Verification:
    """Return verified, failed with the errors, or unchecked: no grammar, too long, or too slow to parse."""
    known = language_named(language)
    if not code.strip():
        return _failed(CodeError(1, 1, "there is no code"))
    if known is None or not known.grammar or len(code) > known.longest or _open_brackets(code) > DEEPEST:
        return UNCHECKED
    if "\0" in code:
        return _failed(_at(code, code.index("\0"), "a NUL character"))
    if (wrong := _own_word(code, known.name)) is not None:
        return _failed(wrong)
    source = (code + "\n").encode("utf-8", "replace")  # some grammars want their last line ended
    try:
        tree = _parsed(source, _grammar_for(code, known.grammar), clock)
    except ValueError:  # out of time
        return UNCHECKED
    errors = tuple(islice(_errors(tree.root_node, source), MOST_ERRORS))
    return _failed(*errors) if errors else Verification("verified", "syntax")


def _open_brackets(code: str) -> int:
    """Return the most brackets open at once, those in strings counted too: an upper bound of the nesting."""
    steps = (1 if found[0] in "([{" else -1 for found in BRACKET.finditer(code))
    return max(accumulate(steps, lambda depth, step: max(0, depth + step)), default=0)


def _failed(*errors: CodeError) -> Verification:
    return Verification("failed", "syntax", errors)


def _at(code: str, position: int, message: str) -> CodeError:
    before = code[:position]
    return CodeError(before.count("\n") + 1, position - before.rfind("\n"), message)


def _own_word(code: str, language: str) -> CodeError | None:
    """Return what the language's own parser objects to, where Python has one."""
    if language == "python":
        return _python_error(code)
    if language == "json":
        return _json_error(code)
    return None


def _python_error(code: str) -> CodeError | None:
    # A filter for this one file name and for good: warnings.catch_warnings() is not safe among threads.
    quiet = ("ignore", None, Warning, re.compile(re.escape(GENERATED)), 0)
    if quiet not in warnings.filters:
        warnings.filterwarnings("ignore", module=re.escape(GENERATED))
    try:
        compile(code, GENERATED, "exec", dont_inherit=True)
    except SyntaxError as error:
        return CodeError(error.lineno or 1, max(error.offset or 1, 1), f"{error.msg} ({PYTHON})")
    except UnicodeEncodeError as error:
        return _at(code, error.start, "a character that cannot be written in UTF-8")
    except (RecursionError, MemoryError, ValueError, OverflowError):
        return CodeError(1, 1, f"nested too deeply for {PYTHON}")
    return None


def _json_error(code: str) -> CodeError | None:
    constants: list[str] = []
    try:
        json.loads(code, parse_constant=constants.append)
    except json.JSONDecodeError as error:
        return CodeError(error.lineno, error.colno, error.msg)
    except (RecursionError, ValueError) as error:
        return CodeError(1, 1, "nested too deeply" if isinstance(error, RecursionError) else "a number too long")
    if not constants:
        return None
    place = next((found.start(1) for found in CONSTANT.finditer(code) if found[1]), 0)
    return _at(code, place, f"{constants[0]} is not JSON")


def _grammar_for(code: str, grammar: str) -> str:
    """Return the grammar, or PHP's for code without an opening tag."""
    return grammar + "_only" if grammar.endswith(":language_php") and "<?" not in code else grammar


@lru_cache(maxsize=None)  # the key is one of languages.py's few; loading a grammar takes milliseconds
def _language(grammar: str) -> tree_sitter.Language:
    package, function = grammar.split(":")
    return tree_sitter.Language(getattr(import_module(package), function)())


def _parsed(source: bytes, grammar: str, clock: Monotonic) -> tree_sitter.Tree:
    """Return the syntax tree; raises ValueError when it takes longer than PARSE_TIME."""
    end = clock() + PARSE_TIME
    # The time is kept only while reading through a callback.
    return tree_sitter.Parser(_language(grammar)).parse(
        lambda start, _: source[start : start + 65_536], progress_callback=lambda _, __: clock() > end
    )


def _errors(root: tree_sitter.Node, source: bytes) -> Iterator[CodeError]:
    """Yield the innermost broken nodes, in the order of the text."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        broken = [child for child in node.children if child.has_error or _may_hold_stray_tags(child)]
        if node.type == STRAY_TAG or (node.has_error and not any(child.has_error for child in broken)):
            row, column = node.start_point  # the column counts bytes
            before = source[node.start_byte - column : node.start_byte].decode("utf-8", "replace")
            yield CodeError(row + 1, len(before) + 1, _message(node, source))
        else:
            waiting += reversed(broken)


def _may_hold_stray_tags(node: tree_sitter.Node) -> bool:
    """HTML's grammar takes an end tag that closes nothing, and does not count it as an error."""
    return node.type in ("element", STRAY_TAG)


def _message(node: tree_sitter.Node, source: bytes) -> str:
    if node.is_missing:
        return f"expected {node.type}" if node.type.isidentifier() else f"expected {node.type!r}"
    start = source[node.start_byte : node.end_byte].decode("utf-8", "replace").strip().split("\n")[0]
    if not start:
        return "unexpected end"
    return f"unexpected or unfinished: {start if len(start) <= 40 else start[:39] + '…'}"
