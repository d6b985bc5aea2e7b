"""Syntax: every language's good code passes, its broken code fails at the right place, and no input raises."""

import warnings
from itertools import count
from sys import version_info

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmapi.tasks.languages import LANGUAGES, canonical, language_named
from llmapi.tasks.syntax import DEEPEST, CodeError, check_syntax

GOOD = {
    "python": "def f(x):\n    return [y for y in x if y]\n",
    "javascript": "const f = async (x) => `${await x} \\` ok`;\n",
    "typescript": "interface A<T> { a?: T }\nconst f = (x: number): A<string> => ({ a: `${x}` });\n",
    "tsx": "const a = (x: string) => <div className={x}>hi</div>;\n",
    "java": 'class A<T> { int f(T x) { return x == null ? 0 : 1; } }\n',
    "go": 'package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println("a")\n}\n',
    "rust": "fn main() {\n    let v: Vec<&str> = vec![\"a\"];\n    println!(\"{:?}\", v);\n}\n",
    "c": "#include <stdio.h>\nint main(void) { printf(\"%d\\n\", 1); return 0; }\n",
    "cpp": "#include <vector>\nint main() { std::vector<int> v{1, 2}; for (auto x : v) { (void)x; } }\n",
    "c-sharp": "using System;\nclass A { static void Main() => Console.WriteLine($\"a{1}\"); }\n",
    "ruby": "def f(x)\n  x.map { |y| y + 1 }\nend\n",
    "php": "<?php\nfunction f(int $x): int { return $x + 1; }\n",
    "bash": "if [ -f a ]; then\n  cat <<EOF\n$x\nEOF\nfi",
    "sql": "SELECT a, count(*) FROM b WHERE c > 1 GROUP BY a ORDER BY 2;\n",
    "json": '{"a": [1, 2.5, null, true, "é"]}\n',
    "html": "<!doctype html>\n<html><body><p>Hi<br></p></body></html>\n",
    "css": "a:hover, .b > c { color: red; margin: 0 auto; }\n",
}
PYTHON = f"Python {version_info.major}.{version_info.minor}"
BROKEN = {
    "python": ("x = 1\ndef f(:\n    pass\n", 2, 7, f"invalid syntax ({PYTHON})"),
    "javascript": ("const é = 1;\nconst é = ;\n", 2, 9, "unexpected or unfinished: ="),
    "typescript": ("let a: number = [1, 2;\n", 1, 22, "expected ']'"),
    "tsx": ("const a = (<div>{x}</div>;\n", 1, 26, "expected ')'"),
    "java": ("class A {\n  int f() {\n    return 1\n  }\n}\n", 3, 13, "expected ';'"),
    "go": ('package main\nfunc main() {\n  f("é"\n}\n', 3, 8, "expected ')'"),
    "rust": ("fn main() {\n    let x = 5\n    let y = 6;\n}\n", 2, 14, "expected ';'"),
    "c": ("int main(void) {\n  int x = 1\n  return x;\n}\n", 2, 12, "expected ';'"),
    "cpp": ("int main() {\n  std::vector<int> v = {1, 2;\n}\n", 2, 29, "expected '}'"),
    "c-sharp": ("class A {\n  void F() {\n    int x = ;\n  }\n}\n", 3, 11, "unexpected or unfinished: ="),
    "ruby": ("x = 1\ndef f\n  puts x\n", 2, 1, "unexpected or unfinished: def f"),
    "php": ("<?php\nfunction f( {\n}\n", 2, 12, "expected ')'"),
    "bash": ("if true; then\n  echo a\n", 4, 1, "expected fi"),
    "sql": ("SELECT (a FROM b;\n", 1, 10, "expected ')'"),
    "json": ('{"a": 1,\n "b": }\n', 2, 7, "Expecting value"),
    "html": ("<div>\n <p>é</i></p>\n</div>\n", 2, 6, "unexpected or unfinished: </i>"),
    "css": ("a { color: red; }\nb { color red }\n", 2, 5, "unexpected or unfinished: color red"),
}
CHECKED = [each.name for each in LANGUAGES if each.grammar]


def test_every_language_with_a_grammar_has_its_samples():
    assert sorted(CHECKED) == sorted(GOOD) == sorted(BROKEN)


@pytest.mark.parametrize("language", CHECKED)
def test_good_code_is_verified(language):
    found = check_syntax(GOOD[language], language)
    assert (found.status, found.level, found.errors) == ("verified", "syntax", ())


@pytest.mark.parametrize("language", CHECKED)
def test_broken_code_fails_at_its_place(language):
    code, line, column, message = BROKEN[language]
    found = check_syntax(code, language)
    assert (found.status, found.level) == ("failed", "syntax")
    assert (found.errors[0].line, found.errors[0].column) == (line, column)
    assert message in found.errors[0].message


@pytest.mark.parametrize(
    ("alias", "name"),
    [("js", "javascript"), ("TS", "typescript"), ("py", "python"), ("c++", "cpp"), ("cs", "c-sharp"), ("C#", "c-sharp"),
     ("sh", "bash"), ("golang", "go"), ("rb", "ruby"), (".rs", "rust"), ("csharp", "c-sharp"), ("htm", "html")],
)  # fmt: skip
def test_a_language_is_known_by_its_usual_names(alias, name):
    assert canonical(alias) == name


def test_no_name_stands_for_two_languages():
    names = [name for each in LANGUAGES for name in (each.name, *each.aliases)]
    assert len(names) == len(set(names))
    assert language_named("brainfuck") is None and canonical(" Brainfuck ") == "Brainfuck"


@pytest.mark.parametrize("language", ["kotlin", "brainfuck", ""])
def test_a_language_without_a_grammar_is_unchecked(language):
    found = check_syntax("whatever (", language)
    assert (found.status, found.level, found.errors) == ("unchecked", "none", ())


@pytest.mark.parametrize("language", ["python", "html", "brainfuck"])
def test_no_code_fails(language):
    assert check_syntax(" \n", language).status == "failed"


def test_php_needs_no_opening_tag_but_may_have_one():
    assert check_syntax("echo 1;", "php").status == "verified"
    assert check_syntax("<h1><?= $x ?></h1>", "php").status == "verified"
    assert check_syntax("echo 1", "php").errors[0] == CodeError(1, 7, "expected ';'")


def test_html_with_an_open_element_fails():
    assert check_syntax("<p>a</p>\n<div>\n<p>a</p>\n", "html").errors[0].line == 2


def test_python_is_checked_by_its_own_compiler_too():
    found = check_syntax("def f():\n    pass\nreturn 1\n", "python")  # the grammar takes it
    assert found.errors == (CodeError(3, 1, f"'return' outside function ({PYTHON})"),)


def test_a_syntax_warning_about_generated_code_reaches_nobody():
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert check_syntax('x = "\\d"\nif x is 1: pass\n', "python").status == "verified"
    assert heard == []


@pytest.mark.parametrize("constant", ["NaN", "-Infinity"])
def test_json_has_no_constants_of_python(constant):
    found = check_syntax(f'{{"NaN": 1,\n "b": {constant}}}', "json")
    assert found.errors == (CodeError(2, 7, f"{constant} is not JSON"),)


@pytest.mark.parametrize(
    ("code", "language", "status"),
    [
        ("(" * 5000, "python", "unchecked"),
        ("(" * 300, "python", "failed"),
        ("a" + ".b" * 14_000, "python", "failed"),
        ("-" * 20_000 + "1", "python", "failed"),
        ("9" * 5000, "python", "failed"),
        ("9" * 5000, "json", "failed"),
        ("[" * DEEPEST + "]" * DEEPEST, "json", "verified"),
        ("[" * 20_000, "json", "unchecked"),
        ("x = 1\n" * 10_000, "python", "unchecked"),
        ("a\0b", "go", "failed"),
        ("x = '\ud800'", "python", "failed"),
        ("let x = '\ud800';", "js", "verified"),
        ("\ufeffx = 1", "javascript", "verified"),
    ],
)
def test_hostile_code_is_judged_or_left_unchecked(code, language, status):
    assert check_syntax(code, language).status == status


def test_a_parse_that_takes_too_long_leaves_the_code_unchecked():
    clock = count(step=0.1).__next__
    assert check_syntax("fn f() {}\n" * 1000, "rust", clock=clock).status == "unchecked"


def test_errors_are_few_and_in_the_order_of_the_text():
    found = check_syntax("x = ;\n" * 200, "javascript")
    lines = [error.line for error in found.errors]
    assert len(lines) == 20 and lines == sorted(lines)


FRAGMENTS = ["<<EOF\n", "EOF", "`", '"', "'", "(", "{", "[", "<", "<?php", 'R"x(', 'r#"', "%w(", "#{", "\\", "\n"]
FRAGMENTS += ["\t", "if ", "def ", "end", "x", "é", "\ud800", "/*", "*/", "//", "$(", "=>", "::", ";", "\r\n", "\0"]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(CHECKED), st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join))
def test_no_code_raises_and_every_error_has_a_place(language, code):
    found = check_syntax(code, language)
    assert all(error.line >= 1 and error.column >= 1 and error.message for error in found.errors)
    assert (found.status == "failed") == bool(found.errors)
