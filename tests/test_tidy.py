"""Code about code: the rules of CONVENTIONS.md that no linter holds.

Each test gathers what breaks its rule and shows all of it at once, as `file:line what`.
"""

import ast
import io
import re
import shutil
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("protocol", "terminals", "ledger", "cardserver", "simulators", "benchmarks")
NOT_OURS = {
    ".git", ".venv", ".setup", ".hypothesis", ".mypy_cache", ".ruff_cache", ".pytest_cache",
    ".import_linter_cache", "__pycache__", "build", "dist", "demo-centre",
}  # fmt: skip
# Written in two parts, so that this file does not break the rules that it holds.
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
MACHINE_PATH = re.compile(
    r"(?<![\w.}])/(" + "|".join(("wo" + "rk", "ro" + "ot", "ho" + "me")) + r")/"
)
BARE_IGNORE = re.compile(r"#\s*type:\s*ignore(?!\[)")

FILES_OF_LIBRARY = {
    "smartcard": re.compile(r"terminals/readers/pcsc\.py"),
    "openpyxl": re.compile(r"cardserver/catalogue/workbooks\.py"),
    "matplotlib": re.compile(r"cardserver/claims/replay_plot\.py"),
    "pkcs11": re.compile(r"cardserver/(cards/pkcs11_keystore|digest_token)\.py"),
    "reportlab": re.compile(r"cardserver/clearing/printed\.py"),
    "lxml": re.compile(r"cardserver/clearing/pain00[12]\.py"),
    "grafana_foundation_sdk": re.compile(r"cardserver/observe/dashboards\.py"),
    "uvloop": re.compile(r"cardserver/app\.py"),
    "prometheus_client": re.compile(r"cardserver/(observe/metrics|console/feed)\.py"),
    "nicegui": re.compile(r"cardserver/console/.*"),
    "fastapi": re.compile(r"cardserver/console/server\.py"),
    "starlette": re.compile(r"cardserver/console/server\.py"),
    "uvicorn": re.compile(r"cardserver/console/server\.py"),
    "sqlalchemy": re.compile(r"(.*/)?(tables|\w+_store)\.py|cardserver/migrations/.*"),
    "asyncpg": re.compile(r"(.*/)?\w+_store\.py"),
}
"""Which files may import an outside library; benchmarks and tests may import anything."""


@cache
def files() -> tuple[str, ...]:
    """List the tree's own files: what git has or would add, or all of a tree without git."""
    git = shutil.which("git")
    if git is not None and (ROOT / ".git").exists():
        listed = subprocess.run(
            [git, "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT, check=False, capture_output=True, text=True,
        )  # fmt: skip
        if listed.returncode == 0:
            names = {name for name in listed.stdout.split("\0") if name}
            return tuple(sorted(name for name in names if (ROOT / name).is_file()))
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return tuple(sorted(path.as_posix() for path in found if not NOT_OURS & set(path.parts)))


@cache
def source(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(source(name), name)


@cache
def nodes(name: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree(name)))


@cache
def modules() -> list[str]:
    return [name for name in files() if name.endswith(".py")]


@cache
def modules_of_rooms() -> list[str]:
    return [name for name in modules() if name.startswith(tuple(f"{room}/" for room in PACKAGES))]


def texts() -> Iterator[tuple[str, str]]:
    """Give every text file and its content."""
    for name in files():
        data = (ROOT / name).read_bytes()
        if b"\0" not in data:
            yield name, data.decode("utf-8")


@cache
def imports(name: str) -> tuple[tuple[int, str], ...]:
    """Give line and name of every module that a file imports."""
    found: list[tuple[int, str]] = []
    for node in nodes(name):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.lineno, "." * node.level + (node.module or "")))
    return tuple(found)


def comments(name: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source(name)).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number} {line.strip()[:80]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def assert_none(offenders: list[str]) -> None:
    assert not offenders, "\n" + "\n".join(offenders)


def test_the_tree_is_seen() -> None:
    assert "tests/test_tidy.py" in files()
    assert {name.split("/")[0] for name in modules_of_rooms()} == set(PACKAGES)


@pytest.mark.parametrize("library", FILES_OF_LIBRARY)
def test_an_outside_library_stays_in_its_files(library: str) -> None:
    allowed = FILES_OF_LIBRARY[library]
    offenders = [
        f"{name}:{line} imports {module}"
        for name in modules_of_rooms()
        if not name.startswith("benchmarks/") and not allowed.fullmatch(name)
        for line, module in imports(name)
        if module.split(".")[0] == library
    ]
    assert_none(offenders)


def test_the_broker_is_known_to_one_file_a_side() -> None:
    knowing = {
        name
        for name in modules_of_rooms()
        for _line, module in imports(name)
        if module.split(".")[0] == "aiomqtt"
    }
    for side in PACKAGES:
        assert len([name for name in knowing if name.startswith(f"{side}/")]) <= 1


def test_an_init_holds_a_docstring_and_nothing_else() -> None:
    offenders = [
        name
        for name in modules()
        if name.endswith("__init__.py")
        and not (len(tree(name).body) == 1 and ast.get_docstring(tree(name)))
    ]
    assert_none(offenders)


def test_every_module_says_what_it_holds() -> None:
    assert_none([name for name in modules() if not ast.get_docstring(tree(name))])


def test_files_are_named_by_nouns_of_the_field() -> None:
    vague = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"}
    offenders = [
        name for name in modules() if vague & set(re.split(r"[/_.]", name.removesuffix(".py")))
    ]
    assert_none(offenders)


def test_nothing_is_imported_for_type_checking_only() -> None:
    offenders = [
        f"{name}:{node.lineno}"
        for name in modules()
        for node in nodes(name)
        if (isinstance(node, ast.Name) and node.id == "TYPE_CHECKING")
        or (isinstance(node, ast.Attribute) and node.attr == "TYPE_CHECKING")
    ]
    assert_none(offenders)


def test_nothing_is_imported_late() -> None:
    offenders = {
        f"{name}:{inner.lineno}"
        for name in modules()
        for node in nodes(name)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    }
    assert_none(sorted(offenders))


def test_names_are_imported_from_the_module_that_defines_them() -> None:
    offenders = [
        f"{name}:{node.lineno} {alias.name} is not of {node.module}"
        for name in modules()
        for node in nodes(name)
        if isinstance(node, ast.ImportFrom) and node.module and is_ours(node.module)
        for alias in node.names
        if not is_defined(node.module, alias.name)
    ]
    assert_none(offenders)


def is_ours(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] in PACKAGES


def is_defined(module: str, name: str) -> bool:
    """Say whether a module of ours defines a name, or has a part of that name."""
    path = module.replace(".", "/")
    if f"{path}/{name}.py" in files() or f"{path}/{name}/__init__.py" in files():
        return True
    file = f"{path}.py" if f"{path}.py" in files() else f"{path}/__init__.py"
    return file in files() and name in definitions(file)


@cache
def definitions(name: str) -> frozenset[str]:
    found: set[str] = set()
    for node in tree(name).body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Assign() | ast.AnnAssign() | ast.For() | ast.With() | ast.If() | ast.Try():
                found |= {
                    inner.id
                    for inner in ast.walk(node)
                    if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
                }
            case _:
                continue
    return frozenset(found)


def test_nothing_is_mocked() -> None:
    offenders = [
        f"{name}:{line} imports {module}"
        for name in modules()
        for line, module in imports(name)
        if module in {"unittest.mock", "mock", "pytest_mock"}
    ]
    assert_none(offenders)


def test_nothing_is_left_unimplemented() -> None:
    offenders = [
        f"{name}:{node.lineno} {node.name}"
        for name in modules()
        for node in nodes(name)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_stub(node)
    ]
    assert_none(offenders)


def is_stub(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Say whether a function does nothing but say that it is not implemented."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (
        len(body) == 1
        and isinstance(body[0], ast.Raise)
        and body[0].exc is not None
        and "NotImplementedError" in ast.unparse(body[0].exc)
    )


def test_a_type_is_ignored_for_a_named_reason() -> None:
    offenders = [
        f"{name}:{line}"
        for name in modules()
        for line, comment in comments(name)
        if BARE_IGNORE.search(comment)
    ]
    assert_none(offenders)


def test_what_is_unfinished_has_an_issue() -> None:
    numbered = re.compile(UNFINISHED.pattern + r"\s*\(#\d+\)")
    offenders = [
        line
        for line in lines_with(UNFINISHED)
        if not numbered.search(line) and not line.startswith("CONVENTIONS.md:")  # states the rule
    ]
    assert_none(offenders)


def test_no_file_knows_this_machine() -> None:
    assert_none(lines_with(MACHINE_PATH))


def test_every_room_has_a_readme() -> None:
    rooms = re.findall(r"^\|[^|]*\|([^|]*)\|", source("CONVENTIONS.md"), re.MULTILINE)
    named = {room for cell in rooms for room in re.findall(r"`([\w/]+)/`", cell)}
    assert named >= set(PACKAGES) - {"cardserver"}
    missing = [room for room in sorted({*named, *PACKAGES}) if f"{room}/README.md" not in files()]
    assert_none(missing)


def test_a_skipped_test_says_why() -> None:
    offenders = [
        f"{name}:{node.lineno}"
        for name in modules()
        if name.startswith("tests/")
        for node in nodes(name)
        if isinstance(node, ast.Attribute) and node.attr in {"skip", "skipif", "xfail"}
        if not has_reason(name, node)
    ]
    assert_none(offenders)


def has_reason(name: str, node: ast.Attribute) -> bool:
    """Say whether a skip is called with a reason."""
    for call in nodes(name):
        if isinstance(call, ast.Call) and call.func is node:
            return bool(call.args) or any(word.arg == "reason" for word in call.keywords)
    return False
