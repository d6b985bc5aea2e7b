"""English words that turn a meaning round: negations, antonyms, operators, number words, units, languages, formats."""

from itertools import groupby
from operator import itemgetter
from typing import Final

NEGATIONS: Final = frozenset(
    "not no never without none neither nor nothing nobody nowhere cannot except excluding exclude excludes"
    " avoid avoiding"
    " unless refuse refuses reject rejects rejecting non lack lacks lacking hardly stop prevent prevents minus".split()
)

_ANTONYMS: Final = """
after before|above below|over under|more less|more fewer|most least|increase decrease|increase reduce|raise lower
up down
on off|in out|into out|open close|start stop|begin end|start end|first last|buy sell|import export|upload download
enable disable|enabled disabled|allow block|allow deny|allow forbid|block unblock|accept reject|match reject
include exclude
including excluding|add remove|add delete|create delete|create remove|insert delete|install remove|attach detach
encode decode|encrypt decrypt|compress decompress|compress extract|zip unzip|ascending descending|asc desc|max min
maximum minimum|highest lowest|largest smallest|biggest smallest|longest shortest|oldest newest|oldest latest
older newer
earliest latest|early late|long short|tall short|big small|large small|high low|higher lower|fast slow
faster slower|hot cold
warm cool|heat cool|light dark|heavy light|strong weak|hard soft|hard easy|difficult easy|good bad|better worse
best worst
positive negative|true false|right wrong|right left|safe dangerous|safe unsafe|cheap expensive|rich poor|young old
new old
public private|win lose|won lost|winner loser|lend borrow|give take|give receive|send receive|push pull|arrive depart
arrival departure|enter exit|enter leave|log logout|login logout|join leave|love hate|like dislike|pass fail
succeed fail
success failure|gain lose|profit loss|pros cons|advantage disadvantage|advantages disadvantages|benefit risk
benefits risks
cause prevent|causes prevents|cause cure|deficiency overload|deficiency excess|legal illegal|possible impossible
same different
always never|all none|everything nothing|with without|inside outside|internal external|indoor outdoor|input output
read write|lock unlock|show hide|visible hidden|connect disconnect|mute unmute|follow unfollow|subscribe unsubscribe
do undo|even odd|odd even|horizontal vertical|row column|rows columns|upper lower|uppercase lowercase|prefix suffix
before since
male female|man woman|he she|him her|his her|father mother|son daughter|brother sister|husband wife|boy girl|king queen
day night|morning evening|today tomorrow|today yesterday|tomorrow yesterday|summer winter|north south|east west
past future
previous next|employer employee|buyer seller|teacher student|parent child|client server|sync async
synchronous asynchronous
static dynamic|mutable immutable|relative absolute|local remote|local global|active passive|active inactive|dry wet
raw cooked
full empty|wide narrow|deep shallow|near far|alive dead|clean dirty|thick thin|loud quiet|simple complex|singular plural
optimist pessimist|optimistic pessimistic|progressive conservative|confident insecure|brave cowardly|generous selfish
polite rude|honest dishonest|humble arrogant|patient impatient|active lazy|calm anxious|happy sad|kind cruel
formal informal
happy miserable|optimistic hopeless|smart stupid|clever stupid|intelligent stupid|beautiful ugly|attractive ugly
thin fat|slim fat
friendly hostile|friendly unfriendly|religious atheist|religious secular|spiritual materialistic|liberal conservative
progressive traditional|modern traditional|modern ancient|ambitious lazy|hardworking lazy|serious funny
interesting boring
exciting boring|outgoing shy|extroverted introverted|extrovert introvert|talkative quiet|careful careless
cautious reckless
courageous fearful|bold timid|confident shy|modest arrogant|humble proud|generous stingy|generous greedy|warm cold
energetic tired|awake asleep|sober drunk|healthy sick|healthy ill|fit unfit|wise foolish|loyal treacherous
tolerant bigoted
dominant submissive|powerful weak|powerful powerless|free enslaved|guilty innocent|ordinary special|rare common
usual rare
major minor|senior junior|natural artificial|real fake|original copy|abstract concrete|theoretical practical
temporary permanent
fixed variable|solid liquid|smooth rough|sharp dull|bright dim|sweet bitter|fresh stale|tight loose|straight curved
flat steep
victory defeat|war peace|friend enemy|ally enemy|supply demand|question answer|problem solution|strength weakness
strengths weaknesses
praise criticize|support oppose|agree disagree|permit prohibit|permit forbid|help hinder|help harm|build destroy
fix break
repair break|remember forget|find lose|save waste|save spend|earn spend|grow shrink|expand shrink|expand contract
rise fall|speed slow
wake sleep|sit stand|laugh cry|live die|born died|teach learn|employ dismiss|hire fire|invite dismiss|attack defend
or and|single married|deposit withdraw|credit debit|freeze unfreeze|activate deactivate|mount unmount
ascend descend|ingress egress
"""

_PAIRS: Final = [pair.split() for pair in _ANTONYMS.replace("\n", "|").split("|") if pair.strip()]
_FACING: Final = [*_PAIRS, *([right, left] for left, right in _PAIRS)]
ANTONYMS: Final = {
    word: frozenset(other for _, other in pairs)
    for word, pairs in groupby(sorted(_FACING), key=itemgetter(0))
}

PREFIXES: Final = ("un", "in", "im", "ir", "il", "dis", "non", "de", "mis", "anti")  # unhappy is not happy

# Little words on which an answer turns; every other function word may come and go.
OPERATORS: Final = frozenset(
    "before after above below over under more less most least fewer than until since during while within between inside"
    " outside up down on off in out from to by with without and or only all any every each both either first last next"
    " previous other same different again still already yet used should must can could would may might will did"
    " was were"
    " he she him her his they them my your our their i you we me if when not no never least exactly about around per"
    " simultaneously too also instead rather except".split()
)

FUNCTION_WORDS: Final = OPERATORS | frozenset(
    "a an the is are am be been being do does doing done have has had of for at as it its this that these those"
    " there here"
    " what which who whom whose where why how s t re ve ll d m so then but shall us please tell me give show"
    " explain describe"
    " want need like know get got let lets go make help hi hello hey ok okay just really actually truly fact indeed"
    " some such way ways able into onto one ones im whats hows literally genuinely certainly honestly"
    " definitely basically"
    " simply quite very kindly possibly maybe perhaps".split()
)

POLITE: Final = frozenset(
    "please tell me give show explain describe want need like know let lets help hi hello hey just really"
    " actually truly fact"
    " indeed literally genuinely certainly honestly definitely basically simply quite very kindly possibly"
    " maybe perhaps"
    " you could would can i the a an of is are do does to my us what s how be in for".split()
)

PRONOUNS: Final = frozenset("he she him her they them i me you we us".split())
CLAUSES: Final = frozenset(
    "for in with without using as only under between after before from to by on at during since until if when"
    " unless than".split()
)
PRESENT: Final = frozenset("is are do does am has have can should will".split())
PAST: Final = frozenset("was were did had used could would".split())

ASKS: Final = ("why", "when", "where", "who", "whom", "whose", "which", "what", "how")

NUMBER_WORDS: Final = {
    word: value
    for value, word in enumerate(
        "zero _ two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
        " eighteen nineteen twenty".split()
    )
    if word != "_"  # "one" is mostly no number: "which one", "one of them"
} | {
    "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
    "dozen": 12, "twice": 2, "double": 2, "triple": 3, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "tenth": 10,
}  # fmt: skip
SCALES: Final = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}

UNITS: Final = {
    name: names.split()[0]
    for names in (
        "second sec secs seconds", "minute min mins minutes", "hour hours hr hrs", "day days daily",
        "week weeks weekly",
        "month months monthly", "year years yearly annual annually", "meter meters metre metres m",
        "kilometer km kilometers kilometre kilometres",
        "mile miles mi", "centimeter cm centimeters", "millimeter mm", "inch inches", "foot feet ft", "yard yards",
        "gram grams g", "kilogram kg kilograms kilo kilos", "pound pounds lb lbs", "ounce ounces oz",
        "liter liters litre litres",
        "gallon gallons", "celsius centigrade", "fahrenheit", "kelvin", "byte bytes", "kb kilobyte kilobytes kib",
        "mb megabyte megabytes mib", "gb gigabyte gigabytes gib", "tb terabyte terabytes tib",
        "dollar dollars usd", "euro euros eur",
        "yen jpy", "gbp sterling", "percent %", "watt watts", "kilowatt kw", "calorie calories kcal",
        "character characters chars",
        "word words", "sentence sentences", "paragraph paragraphs", "line lines", "bullet bullets",
    )
    for name in names.split()
}  # fmt: skip

MONTHS: Final = {
    short: number
    for number, names in enumerate(
        "january jan|february feb|march|april apr|may|june jun|july jul|august aug|september sep sept|october"
        " oct|november nov"
        "|december dec".split("|"),
        start=1,
    )
    for short in names.split()
}
DAYS: Final = frozenset("monday tuesday wednesday thursday friday saturday sunday".split())

LANGUAGES: Final = {
    "python": "python", "py": "python", "java": "java", "javascript": "javascript", "js": "javascript",
    "node": "javascript",
    "nodejs": "javascript", "typescript": "typescript", "ts": "typescript", "c": "c", "c++": "c++", "cpp": "c++",
    "c#": "c#",
    "csharp": "c#", "golang": "go", "rust": "rust", "ruby": "ruby", "rails": "ruby", "php": "php", "swift": "swift",
    "kotlin": "kotlin", "scala": "scala", "perl": "perl", "haskell": "haskell", "lua": "lua", "r": "r",
    "julia": "julia",
    "matlab": "matlab", "bash": "bash", "powershell": "powershell", "zsh": "zsh", "sql": "sql", "mysql": "mysql",
    "postgresql": "postgresql", "postgres": "postgresql", "sqlite": "sqlite", "mongodb": "mongodb", "elixir": "elixir",
    "dart": "dart", "clojure": "clojure", "fortran": "fortran", "cobol": "cobol", "assembly": "assembly",
    "awk": "awk", "sed": "sed",
    "react": "react", "angular": "angular", "vue": "vue", "django": "django", "flask": "flask", "numpy": "numpy",
    "pandas": "pandas", "polars": "polars", "pytorch": "pytorch", "tensorflow": "tensorflow",
}  # fmt: skip

FORMATS: Final = {
    "json": "json", "yaml": "yaml", "yml": "yaml", "csv": "csv", "tsv": "tsv", "xml": "xml", "html": "html",
    "toml": "toml",
    "markdown": "markdown", "table": "table", "tabular": "table", "latex": "latex", "haiku": "haiku",
    "poem": "poem", "essay": "essay",
    "limerick": "limerick", "sonnet": "sonnet", "story": "story", "email": "email", "tweet": "tweet",
    "bullet": "bullets",
    "bullets": "bullets", "bulleted": "bullets", "regex": "regex", "pdf": "pdf", "png": "png", "svg": "svg",
    "jpg": "jpg", "jpeg": "jpg",
}  # fmt: skip
