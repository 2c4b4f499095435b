"""The arrows between the packages, and the few doors to the outside."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "losswatch": ROOT / "publisher" / "losswatch",
    "detectors": ROOT / "detectors",
    "consumers": ROOT / "consumers",
    "service": ROOT / "service",
}
MAY_IMPORT = {
    "losswatch": {"losswatch"},
    "detectors": {"detectors"},
    "consumers": {"consumers", "losswatch", "detectors"},
    "service": {"service", "consumers", "losswatch", "detectors"},
}
DOORS = {
    "kafka": {
        "publisher/losswatch/kafka_findings.py",
        "publisher/losswatch/kafka_transport.py",
        "consumers/kafka/",
    },
    "prometheus_client": {"service/metrics.py"},
}
"""Third-party packages that only the named files and folders may import."""
EXCEPTION = re.compile(r"# (type: ignore|noqa)")
REASON = re.compile(r"# (type: ignore\[[\w,-]+\]|noqa: [A-Z0-9, ]+)  # .+")
SETTINGS = {"publisher/losswatch/settings.py", "service/settings.py"}
"""The files that may read the environment."""


def imported(tree: ast.Module, path: Path) -> Iterator[tuple[str, int]]:
    """Every module that the file imports, inside functions too, and the line of it.

    Imports under ``if TYPE_CHECKING`` count: an arrow is an arrow.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            yield relative(node, path) if node.level else node.module or "", node.lineno
        elif isinstance(node, ast.Call) and name_of(node.func) in {"importlib.import_module", "__import__"}:
            target = node.args[0] if node.args else None
            yield str(target.value) if isinstance(target, ast.Constant) else "<computed>", node.lineno


def relative(node: ast.ImportFrom, path: Path) -> str:
    """The absolute name of the module that a relative import names."""
    package = path.relative_to(ROOT).parts[:-1]
    if package[0] == "publisher":
        package = package[1:]
    above = package[: len(package) - node.level + 1]
    return ".".join((*above, *([node.module] if node.module else [])))


def name_of(node: ast.expr) -> str:
    """``a.b.c`` as written, or an empty string for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := name_of(node.value)):
        return f"{owner}.{node.attr}"
    return ""


def environment_reads(tree: ast.Module) -> Iterator[int]:
    """The lines that read the environment: os.environ, os.getenv, or pydantic's BaseSettings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and name_of(node) in {"os.environ", "os.environb", "os.getenv"}:
            yield node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from (node.lineno for alias in node.names if alias.name in {"environ", "environb", "getenv"})
        elif isinstance(node, ast.ImportFrom) and node.module == "pydantic_settings":
            yield node.lineno


def files(package: str) -> list[Path]:
    return sorted(PACKAGES[package].rglob("*.py"))


def parsed(package: str) -> Iterator[tuple[Path, str, ast.Module]]:
    for path in files(package):
        yield path, path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"), path)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_its_arrows_allow(package: str) -> None:
    assert files(package), f"no Python files under {PACKAGES[package]}"
    others = (PACKAGES.keys() | {"tests", "bench", "examples", "scripts", "publisher"}) - MAY_IMPORT[package]
    wrong = [
        f"{where}:{line} imports {module}"
        for path, where, tree in parsed(package)
        for module, line in imported(tree, path)
        if module.partition(".")[0] in others
    ]
    assert not wrong, "\n".join(wrong)


def test_every_door_is_there() -> None:
    assert not [door for doors in DOORS.values() for door in doors if not (ROOT / door).exists()]


@pytest.mark.parametrize("library", DOORS)
def test_a_client_library_is_imported_only_at_its_door(library: str) -> None:
    found = {
        (where, line)
        for package in PACKAGES
        for path, where, tree in parsed(package)
        for module, line in imported(tree, path)
        if module.partition(".")[0] == library
    }
    wrong = [f"{where}:{line} imports {library}" for where, line in sorted(found) if not at_door(where, library)]
    assert found, f"nothing imports {library}: is it still a dependency?"
    assert not wrong, "\n".join(wrong)


def at_door(where: str, library: str) -> bool:
    return any(where == door or (door.endswith("/") and where.startswith(door)) for door in DOORS[library])


def test_the_environment_is_read_in_the_settings_files_only() -> None:
    wrong = [
        f"{where}:{line} reads the environment"
        for package in PACKAGES
        for _, where, tree in parsed(package)
        for line in environment_reads(tree)
        if where not in SETTINGS
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_is_imported_by_a_computed_name() -> None:
    wrong = [
        f"{where}:{line} imports a computed name, which these tests cannot follow"
        for package in PACKAGES
        for path, where, tree in parsed(package)
        for module, line in imported(tree, path)
        if module == "<computed>"
    ]
    assert not wrong, "\n".join(wrong)


def unexplained(source: str) -> Iterator[int]:
    """The lines of exceptions from a check without a reason beside them."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and EXCEPTION.match(token.string) and not REASON.match(token.string):
            yield token.start[0]


def test_an_exception_from_a_check_says_why() -> None:
    folders = (*PACKAGES.values(), *(ROOT / name for name in ("tests", "bench", "examples", "scripts", "deploy")))
    sources = [(path, path.read_text(encoding="utf-8")) for folder in folders for path in sorted(folder.rglob("*.py"))]
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: say why beside it"
        for path, source in sources
        if EXCEPTION.search(source)
        for line in unexplained(source)
    ]
    assert len(sources) > 300
    assert not wrong, "\n".join(wrong)


def test_a_reason_is_told_from_none() -> None:
    plain, told = "x = 1  # type: ignore[misc]\n", "x = 1  # type: ignore[misc]  # it has no types\n"
    assert [*unexplained(plain)] == [1]
    assert [*unexplained(told)] == []


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("import service.cli", "service.cli"),
        ("def f():\n    from consumers import worker", "consumers"),
        ("from ..service import http", "service"),
        ("import importlib\nimportlib.import_module('kafka')", "kafka"),
        ("if TYPE_CHECKING:\n    import torch", "torch"),
    ],
    ids=["plain", "lazy", "relative", "by_name", "for_types"],
)
def test_an_import_is_seen_however_it_is_written(source: str, module: str) -> None:
    found = {name for name, _ in imported(ast.parse(source), ROOT / "consumers" / "worker.py")}
    assert module in found or any(name.startswith(module) for name in found)


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.environ['A']",
        "import os\nos.getenv('A')",
        "from os import environ",
        "import os\nos.environ.get('A')",
    ],
    ids=["item", "getenv", "from_import", "get"],
)
def test_a_read_of_the_environment_is_seen_however_it_is_written(source: str) -> None:
    assert list(environment_reads(ast.parse(source)))
