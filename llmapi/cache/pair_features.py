"""What tells two questions apart that a cosine takes for one: the features of a pair, all symmetric in their order."""

from collections.abc import Sequence
from itertools import combinations
from typing import Final

from llmapi.cache import words
from llmapi.cache.lexicon import Lexicon
from llmapi.cache.readings import Reading
from llmapi.cache.vetoes import conflict, opposites

NAMES: Final = (
    "cosine", "near", "jaccard", "weighted", "contained", "odd_more", "odd_less", "count_more", "count_less",
    "rarest_more", "rarest_less", "aligned_mean", "aligned_least", "aligned_rare", "one_for_one",
    "swap_closeness", "swap_far",
    "added_only", "same_words", "numbers_differ", "numbers_extra", "units_differ", "names_differ", "names_extra",
    "literals_differ",
    "literals_shared", "quotes_differ", "languages_differ", "formats_differ", "dates_differ", "negation",
    "antonyms", "polarity",
    "operators_differ", "operators_swapped", "functions", "asks_differ", "inversions", "roles", "longest_run",
    "trigrams",
    "length", "first_differs", "cancelled", "unsettled", "reordered", "clause", "tense", "nothing_odd", "unlike",
    "vetoed",
    "conflicts",
)  # fmt: skip


def features(a: Reading, b: Reading, cosine: float, lexicon: Lexicon) -> list[float]:
    """Return the numbers NAMES names, each about 0 to 1."""
    only_a, only_b, shared = _split(a, b)
    row = [cosine, max(0.0, cosine - 0.8) * 5]
    row += _overlap(a, b, only_a, only_b, shared, lexicon)
    row += _alignment(only_a, only_b, lexicon)
    row += _payload(a, b)
    turned = opposites({word for _, word in only_a}, {word for _, word in only_b})
    swapped = opposites(a.operators - b.operators, b.operators - a.operators)
    row += _polarity(a, b, turned, swapped)
    row += _shape(a, b)
    row += _verdicts(a, b, only_a, only_b, turned + swapped, row)
    return row


Odd = list[tuple[str, str]]  # stem and word


def _split(a: Reading, b: Reading) -> tuple[Odd, Odd, set[str]]:
    """Return what only one side has, stem and word, and the shared stems."""
    in_a, in_b = set(a.stems), set(b.stems)
    only_a = [(s, w) for s, w in dict(zip(a.stems, a.content, strict=True)).items() if s not in in_b]
    only_b = [(s, w) for s, w in dict(zip(b.stems, b.content, strict=True)).items() if s not in in_a]
    return only_a, only_b, in_a & in_b


def _overlap(a: Reading, b: Reading, only_a: Odd, only_b: Odd, shared: set[str], lexicon: Lexicon) -> list[float]:
    rare_a, rare_b = ([lexicon.rarity(word) for _, word in odd] for odd in (only_a, only_b))
    both = [*zip(a.stems, a.content, strict=True), *zip(b.stems, b.content, strict=True)]
    same = sum(lexicon.rarity(word) for stem, word in set(both) if stem in shared) / 2
    odd_a, odd_b = sum(rare_a), sum(rare_b)
    union = len(shared) + len(only_a) + len(only_b)
    more, less = max(len(rare_a), len(rare_b)), min(len(rare_a), len(rare_b))
    top_a, top_b = max(rare_a, default=0.0), max(rare_b, default=0.0)
    return [
        len(shared) / union if union else 1.0,
        same / (same + odd_a + odd_b + 1e-9) if union else 1.0,
        same / (same + min(odd_a, odd_b) + 1e-9) if union else 1.0,
        min(max(odd_a, odd_b), 4.0) / 4,
        min(min(odd_a, odd_b), 4.0) / 4,
        min(more, 6) / 6,
        min(less, 6) / 6,
        max(top_a, top_b),
        min(top_a, top_b),
    ]


def _alignment(only_a: Odd, only_b: Odd, lexicon: Lexicon) -> list[float]:
    """Return how well the words of one side alone stand for those of the other."""
    if not only_a and not only_b:
        return [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    if not only_a or not only_b:
        rarest = max(lexicon.rarity(word) for _, word in only_a or only_b)
        return [0.5, 0.5, rarest, 0.0, 0.0, 0.0, 1.0, 0.0]
    near = lexicon.closeness([word for _, word in only_a], [word for _, word in only_b])
    best = [*near.max(axis=1), *near.max(axis=0)]
    rare = [lexicon.rarity(word) for _, word in [*only_a, *only_b]]
    mean = sum(c * r for c, r in zip(best, rare, strict=True)) / (sum(rare) + 1e-9)
    alone = max(r * (1 - c) for c, r in zip(best, rare, strict=True))
    one = float(len(only_a) == len(only_b) == 1)
    swap = float(best[0])
    return [float(mean), float(min(best)), float(alone), one, one * swap, one * (1 - swap), 0.0, 0.0]


def _payload(a: Reading, b: Reading) -> list[float]:
    def differ(x: Sequence[str] | frozenset[str], y: Sequence[str] | frozenset[str]) -> float:
        return float(bool(x) and bool(y) and x != y)

    words_a, words_b = set(a.words), set(b.words)
    names_a, names_b = a.names - words_b, b.names - words_a
    literals = a.literals | b.literals
    odd = (a.literals ^ b.literals) - words_a - words_b
    return [
        differ(a.numbers, b.numbers),
        float(bool(a.numbers) != bool(b.numbers)),
        float(a.units != b.units),
        float(bool(names_a) and bool(names_b)),
        float(bool(names_a) != bool(names_b)),
        min(len(odd), 4) / 4,
        len(a.literals & b.literals) / len(literals) if literals else 0.0,
        float(a.quotes != b.quotes and bool(a.quotes) and bool(b.quotes)),
        float(a.languages != b.languages),
        float(a.formats != b.formats),
        differ(a.dates, b.dates),
    ]


def _polarity(a: Reading, b: Reading, turned: int, swapped: int) -> list[float]:
    negation = (a.negations - b.negations) % 2
    differ = len(a.operators ^ b.operators)
    odd = (negation + turned + swapped) % 2
    union = a.functions | b.functions
    return [
        float(negation and odd),
        float(turned > 0 and odd),
        float(odd),
        min(differ, 4) / 4,
        float(swapped > 0 and odd),
        len(a.functions & b.functions) / len(union) if union else 1.0,
        float(a.asks != b.asks),
    ]


def _shape(a: Reading, b: Reading) -> list[float]:
    inverted = _inversions(a, b)
    turned = inverted > 0.3
    roles = float(turned != (a.passive != b.passive)) if inverted > 0 or a.passive != b.passive else 0.0
    left, right = a.trigrams, b.trigrams
    union = left | right
    longer = max(len(a.words), len(b.words), 1)
    first = a.content[:1] != b.content[:1]
    return [
        inverted,
        roles,
        _longest_run(a.words, b.words) / longer,
        len(left & right) / len(union) if union else 1.0,
        min(len(a.words), len(b.words)) / longer,
        float(first),
    ]


def _inversions(a: Reading, b: Reading) -> float:
    """Return the share of shared words whose order is turned round; words joined by and, or do not count."""
    where = {word: at for at, word in reversed(list(enumerate(b.words)))}
    own: dict[str, int] = {}
    for at, word in enumerate(a.words):
        if word in where and (word in a.content or word in words.PRONOUNS):
            own.setdefault(word, at)
    places = [(at, where[word]) for word, at in own.items()][:20]
    if len(places) < 2:
        return 0.0
    turned = sum(
        x[1] > y[1] and not _joined(a.words[x[0] + 1 : y[0]]) and not _joined(b.words[y[1] + 1 : x[1]])
        for x, y in combinations(places, 2)
    )
    return turned / (len(places) * (len(places) - 1) / 2)


def _joined(between: Sequence[str]) -> bool:
    return any(word in ("and", "or") for word in between) and len(between) <= 3


def _longest_run(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the length of the longest common subsequence of the first 40 words."""
    row = [0] * (min(len(b), 40) + 1)
    for word in a[:40]:
        before = 0
        for at, other in enumerate(b[:40], start=1):
            kept = row[at]
            row[at] = before + 1 if word == other else max(kept, row[at - 1])
            before = kept
    return row[-1]


def _verdicts(
    a: Reading, b: Reading, only_a: Odd, only_b: Odd, antonyms: int, row: Sequence[float]
) -> list[float]:
    """Return what several of the features say together."""
    held = dict(zip(NAMES, row, strict=False))
    flips = (a.negations - b.negations) % 2 + antonyms
    past = bool(words.PAST & set(a.words)) != bool(words.PAST & set(b.words))
    numbers = a.numbers != b.numbers
    odd = bool(only_a or only_b or a.operators != b.operators or numbers or held["quotes_differ"])
    turns = held["roles"] * held["weighted"]
    reordered = sorted(a.words) == sorted(b.words) and held["inversions"] > 0
    clause = _clause(a, b, only_a, only_b)
    unlike = 0.0
    if only_a and only_b:
        unlike = max(held["rarest_less"] * (1 - held["aligned_mean"]), 0.0)
    return [
        float(flips > 0 and flips % 2 == 0),
        float(flips % 2 == 1 and held["one_for_one"] > 0),
        float(reordered),
        float(clause),
        float(past),
        float(not odd and not held["roles"]),
        unlike,
        float(conflict(a, b) is not None),
        min(flips % 2 + reordered + clause + past + numbers + held["names_differ"] + turns, 3) / 3,
    ]


def _clause(a: Reading, b: Reading, only_a: Odd, only_b: Odd) -> bool:
    """Say whether one text is the other and a condition: ... in three points, ... for engineers."""
    if bool(only_a) == bool(only_b):
        return False
    longer, odd = (a, only_a) if only_a else (b, only_b)
    first = min(longer.words.index(word) for _, word in odd)
    return any(word in words.CLAUSES for word in longer.words[max(0, first - 3) : first])
