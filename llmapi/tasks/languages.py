"""Programming languages: the names people call them by, and the grammar that checks them where there is one."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Language:
    """A language; `grammar` is `package:function` of its tree-sitter wheel, "" when none is installed.

    Code of more than `longest` characters stays unchecked, since a parser's time is quadratic on hostile text.
    """

    name: str
    grammar: str = ""
    aliases: tuple[str, ...] = ()
    longest: int = 30_000


LANGUAGES: Final = (
    Language("python", "tree_sitter_python:language", ("py", "python3", "py3", "pyi")),
    Language("javascript", "tree_sitter_javascript:language", ("js", "jsx", "mjs", "cjs", "node", "ecmascript")),
    Language("typescript", "tree_sitter_typescript:language_typescript", ("ts", "mts", "cts")),
    Language("tsx", "tree_sitter_typescript:language_tsx"),
    # The last step of its parser, which nothing interrupts, took 1.4 s for 8,000 characters of `def=>`, 8 s for 15,000.
    Language("java", "tree_sitter_java:language", longest=8_000),
    Language("go", "tree_sitter_go:language", ("golang",)),
    Language("rust", "tree_sitter_rust:language", ("rs",)),
    Language("c", "tree_sitter_c:language", ("h", "c99", "c11")),
    Language("cpp", "tree_sitter_cpp:language", ("c++", "cc", "cxx", "hpp", "hxx")),
    Language("c-sharp", "tree_sitter_c_sharp:language", ("c#", "cs", "csharp", "c_sharp")),
    Language("ruby", "tree_sitter_ruby:language", ("rb",)),
    Language("php", "tree_sitter_php:language_php"),
    Language("bash", "tree_sitter_bash:language", ("sh", "shell", "zsh", "shell-script")),
    Language("sql", "tree_sitter_sql:language", ("postgresql", "postgres", "mysql", "sqlite", "plsql", "tsql")),
    Language("json", "tree_sitter_json:language"),
    Language("html", "tree_sitter_html:language", ("htm", "xhtml")),
    Language("css", "tree_sitter_css:language"),
    # Known by name alone: their code is unchecked, but a fence that names them is not another language's.
    Language("kotlin", aliases=("kt", "kts")),
    Language("swift"),
    Language("scala"),
    Language("haskell", aliases=("hs",)),
    Language("lua"),
    Language("perl", aliases=("pl",)),
    Language("r"),
    Language("julia", aliases=("jl",)),
    Language("dart"),
    Language("elixir", aliases=("ex", "exs")),
    Language("erlang", aliases=("erl",)),
    Language("clojure", aliases=("clj",)),
    Language("fsharp", aliases=("f#", "fs")),
    Language("ocaml", aliases=("ml",)),
    Language("zig"),
    Language("objective-c", aliases=("objc", "objectivec")),
    Language("visual-basic", aliases=("vb", "vbnet", "vba")),
    Language("matlab"),
    Language("powershell", aliases=("ps1", "pwsh")),
    Language("batch", aliases=("bat", "cmd")),
    Language("makefile", aliases=("make", "mk")),
    Language("dockerfile", aliases=("docker",)),
    Language("yaml", aliases=("yml",)),
    Language("toml"),
    Language("ini", aliases=("cfg", "conf")),
    Language("xml", aliases=("xsl", "svg")),
    Language("scss", aliases=("sass", "less")),
    Language("markdown", aliases=("md",)),
    Language("graphql", aliases=("gql",)),
    Language("protobuf", aliases=("proto",)),
    Language("hcl", aliases=("terraform", "tf")),
    Language("solidity", aliases=("sol",)),
    Language("assembly", aliases=("asm", "nasm")),
    Language("diff", aliases=("patch",)),
    Language("text", aliases=("txt", "plaintext", "plain", "output", "console", "log", "stdout", "terminal")),
)
BY_NAME: Final = {name: each for each in LANGUAGES for name in (each.name, *each.aliases)}


def language_named(name: str) -> Language | None:
    """Return the language of a name, an alias or a usual file ending, or None."""
    return BY_NAME.get(name.strip().lstrip(".").casefold())


def canonical(name: str) -> str:
    """Return our name of a language, or the name as it came when we do not know it."""
    known = language_named(name)
    return known.name if known else name.strip()
