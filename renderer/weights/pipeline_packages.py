"""Which pipelines of diffusers belong together, found without importing it.

Pipelines of one of its packages have the same components and differ in what they render from.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path


def package_of(pipeline: str) -> str | None:
    """The package that a class of pipelines is from (`wan`), None if there is no such class."""
    return _packages().get(pipeline)


@cache
def _packages() -> dict[str, str]:
    # Importing diffusers takes seconds, and torch with it; this file lists what it exports.
    found = find_spec("diffusers")
    assert found is not None
    assert found.submodule_search_locations is not None
    exports = Path(found.submodule_search_locations[0], "pipelines", "__init__.py")
    tree = ast.parse(exports.read_text(encoding="utf-8"))
    return {name: package for node in ast.walk(tree) for package, name in _exported(node)}


def _exported(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Package and class of each that `_import_structure["wan"] = [...]`, or its `extend`, names."""
    if isinstance(node, ast.Assign):
        target, value = node.targets[0], node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        target, value = node.func.value, node.args[0]
    else:
        return
    if not (isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant)):
        return
    for item in value.elts if isinstance(value, ast.List) else ():
        if isinstance(item, ast.Constant):
            yield str(target.slice.value), str(item.value)
