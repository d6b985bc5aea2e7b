"""The gate: which questions must not be answered with the answer to another one, by general cues and learned weights.

volatile: the answer changes by itself; personal: it depends on who asks; context: on what was said before; random:
each asking
wants a new one. The cues are English. A text with no English function word is judged by its digits and length
alone and passes
as stable unless it is very short: the vote then decides by itself what it may risk, so nothing is served on the
gate's word.
assets/gate.json is written by `python -m benchmarks.semcache train`.
"""

import json
import re
from functools import cache
from typing import Any, Final

import numpy as np

from llmapi.cache import words
from llmapi.cache.lexicon import ASSETS

LONGEST: Final = 2000
_QUOTED: Final = re.compile(r"\"[^\"]*\"|“[^“”]*”|`[^`]*`|'[^']{3,}'(?!\w)")
_CUES: Final[dict[str, str]] = {
    # what makes an answer change by itself
    "now": r"\b(right now|now|at the moment|at present|as of|so far|yet|still|live|currently|nowadays"
    r"|these days|any ?more|already)\b",
    "day": r"\b(today|tonight|tomorrow|yesterday|this (morning|afternoon|evening|week|weekend|month|season|year"
    r"|quarter)"
    r"|(last|next) (night|week|weekend|month|year|season|quarter|monday|tuesday|wednesday|thursday|friday"
    r"|saturday|sunday))",
    "recent": r"\b(latest|newest|recent|recently|up[- ]to[- ]date|most recent|upcoming|trending|just (released"
    r"|announced))\b"
    r"|\bcurrent\b(?! (director|folder|dir|path|working|user|line|process|shell|branch|row|file|ratio|element"
    r"|node|thread))",
    "next": r"\b(when('s| is| are| does| do| will)|is there|are there)\b.*\b(next|any|leave|start|open|close"
    r"|due|release|out)\b",
    "market": r"\b(price|prices|cost|worth|rate|rates|stock|stocks|shares?|exchange|quote|traffic|weather"
    r"|forecast|temperature|rain|snow"
    r"|sunny|score|scores|winning|standings|table|ranking|news|headlines|delays?|on time|available|in stock"
    r"|sold out|queue|status)\b",
    "holder": r"\b(who('s| is)|which \w+ is|what is) (the )?(\w+ ){0,2}(president|minister|ceo|chancellor|king"
    r"|queen|pope|mayor|governor"
    r"|champion|leader|record holder|head|coach|captain|chair\w*|top|leading|ahead|richest|tallest|largest)\b",
    "left": r"\b(left|remaining|until|till|since|ago|open now|out yet|around here|near(by| me| here))\b",
    "will": r"^(will|is|are|has|have|did)\b(?!.*\b(a|an)\b)",
    # who asks
    "mine": r"\b(my|mine|our|ours)\b|(?<!give )(?<!tell )(?<!show )(?<!help )(?<!let )(?<!teach )\bme\b",
    "self": r"\b(i|i'm|i've|we)\b",
    "held": r"(?<!how )\b(do|am|have|did|can|should|was) i\b|\bi (have|had|ordered|paid|bought|sent|own)\b",
    "reference": r"\b(case|ticket|order|invoice|reservation|booking|claim|account|tracking)( number"
    r"| id)? *#?\d+|\b(attached|attachment|uploaded)\b",
    "act": r"^(please )?(cancel|change|move|update|book|send|download|renew|reschedule|order|pay|add|remove"
    r"|delete|remind|call|transfer|upgrade)\b",
    # what was said before
    "follows": r"^(and|or|but|so|now|then|also|ok|okay|yes|no|not|same|again|why\?*$|how come|go on|continue"
    r"|more|instead|what about|how about)\b",
    "points": r"\b(it|this|that|those|these|them|one|ones|he|she|they|above|previous|former|latter|same|rest"
    r"|remaining|earlier|before)\b",
    "remake": r"^(can you |could you |please )?(make|say|put|write|do|explain) (it|this|that)\b"
    r"|\b(shorter|longer|simpler|rephrase|redo|elaborate|expand on|summari[sz]e (it|this|that))\b",
    # a new one each time
    "chance": r"\b(random|randomly|randomi[sz]e|shuffle|toss|flip|roll|dice|coin|lottery|surprise|pick|choose"
    r"|draw|lucky)\b",
    "another": r"\b(another|one more|some more|a new|a fresh|a different|something else|unique|any other)\b",
    "secret": r"\b(generate|create|make|give)\b.*\b(password|pin|token|uuid|guid|key|name|number|id)\b",
    # what stays
    "explain": r"\b(explain|define|definition|describe|meaning|means?|difference between|what does|what makes"
    r"|formula|history|concept"
    r"|in general|theory|work|works|why (is|are|do|does))\b",
    "method": r"\b(how (do|can|would|should) (i|you|we|one)|how to|how (is|are|does|do)|function|script|code"
    r"|program|regex|query|example)\b",
    "what": r"^(what|who|which)( year)? (is|are|was|were|did|does|invented|wrote|painted|took)\b|^(list"
    r"|name) (the|all)\b",
    "term": r"^(what|who)('s| is| are| was| were) (a |an |the )?[\w-]+( [\w-]+)?\?*$",
    "article": r"\b(what|who) (is|are) (a|an)\b|\b(a|an) \w+",
    "past": r"\b(1\d{3}|20[01]\d|was|were|did|invented|wrote|painted|discovered|founded)\b",
    "payload": r":\s*\S|\x00",
    "translate": r"^(translate|classify|summari[sz]e|convert|write|list|calculate|compare)\b",
}
NAMES: Final = (*_CUES, "short", "few", "code", "names")
KINDS: Final = ("volatile", "personal", "context", "random")
_POINTS: Final = list(_CUES).index("points")
_PATTERNS: Final = tuple(re.compile(cue) for cue in _CUES.values())


def cues(text: str) -> list[float]:
    """Return which cues a text has; quoted parts are cargo and do not count."""
    bare = _QUOTED.sub("\x00", text[:LONGEST]).strip()
    lower = bare.lower().replace("’", "'")
    held = re.findall(r"[^\W\d_]+", lower)
    content = [word for word in held if word not in words.FUNCTION_WORDS]
    row = [float(pattern.search(lower) is not None) for pattern in _PATTERNS]
    row[_POINTS] *= len(held) <= 8  # in a longer text, "it" and "that" point into the text
    names = re.findall(r"(?<=[a-z,] )[A-Z]\w+", bare)
    coded = any(word in words.LANGUAGES and len(word) > 2 for word in held)
    return [*row, max(0.0, 6 - len(held)) / 6, float(not content), float(coded), float(bool(names))]


class Gate:
    """One logistic regression says whether a text may be served, one per kind names the reason if not."""

    def __init__(self, weights: dict[str, Any]) -> None:
        self._stops = np.asarray(weights["stops"])  # the first is the constant
        self._kinds = np.asarray([weights[kind] for kind in KINDS])
        self._limit = float(np.log(weights["limit"] / (1 - weights["limit"])))

    def __call__(self, text: str) -> str | None:
        """Return why a text must not get another one's answer, or None."""
        row = np.asarray([1.0, *cues(text)])
        if float(self._stops @ row) < self._limit:
            return None
        return KINDS[int((self._kinds @ row).argmax())]


def gate(text: str) -> str | None:
    """Return volatile, personal, context, random, or None for a text whose answer may serve another."""
    return shipped()(text)


@cache
def shipped() -> Gate:
    """Return the gate with the weights that ship, loaded once."""
    return Gate(json.loads((ASSETS / "gate.json").read_text(encoding="utf-8")))
