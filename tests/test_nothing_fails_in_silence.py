"""No error is swallowed: code that catches every kind of error raises it, logs it or hands it
on."""

from __future__ import annotations

import ast
from pathlib import Path

from film.logs import PACKAGES

ROOT = Path(__file__).parent.parent
BROAD = {"Exception", "BaseException"}


def broad(node: ast.expr | None) -> bool:
    """True for an `except` that catches everything."""
    if node is None:
        return True
    names = node.elts if isinstance(node, ast.Tuple) else [node]
    return any(isinstance(name, ast.Name) and name.id in BROAD for name in names)


def is_used(handler: ast.ExceptHandler) -> bool:
    """True if the error is raised, or passed to a call such as `logger.warning`."""
    for node in ast.walk(handler):
        if isinstance(node, ast.Raise):
            return True
        if isinstance(node, ast.Call):
            values = [*node.args, *(keyword.value for keyword in node.keywords)]
            if any(isinstance(v, ast.Name) and v.id == handler.name for v in values):
                return True
    return False


def silent(source: str) -> list[int]:
    """The lines of `source` that swallow every kind of error."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler) and broad(node.type) and not is_used(node):
            lines.append(node.lineno)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "suppress"
            and any(broad(argument) for argument in node.args)
        ):
            lines.append(node.lineno)
    return lines


def test_no_module_swallows_errors() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for line in silent(path.read_text())
    ]
    assert found == []


def test_the_look_itself_finds_what_is_swallowed() -> None:
    assert silent("try:\n    a()\nexcept Exception:\n    pass") == [3]
    assert silent("try:\n    a()\nexcept (OSError, BaseException) as e:\n    b()") == [3]
    assert silent("with suppress(Exception):\n    a()") == [1]
    assert silent("try:\n    a()\nexcept OSError:\n    pass") == []
    assert silent("try:\n    a()\nexcept Exception as e:\n    log(e)") == []
