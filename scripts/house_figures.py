"""Figures of the code: `python scripts/house_figures.py [--json] [--check] [--list GROUP]`.

Functions and files by length, docstrings and comments with a turn of phrase that stops readers,
import circles, imports that point up, modules of flows/ and renderer/ that no fast test imports.
`--check` exits with 1 if a goal is missed; `--list turns` prints every turn with its place.
"""

from __future__ import annotations

import argparse
import ast
import functools
import io
import json
import re
import statistics
import sys
import tokenize
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LAYERS = (("longreel",), ("app",), ("flows",), ("renderer", "storage", "db"), ("media",), ("film",))
"""From the top down; an import points down, or stays in its package."""
PRODUCT = tuple(name for layer in LAYERS for name in layer)
OTHERS = ("training", "benchmarks", "scripts", "tests")
TESTED = ("flows", "renderer")
"""Packages in which a fast test imports every module."""
MOST_TURNS = 0.03
"""Largest share of docstrings and comments with a turn."""

TURNS = {
    "where": r"\bwhere\b(?! \w+ (?:is|are) from)",
    "so many": r"\bso (?:many|long|often|much|few)\b(?! (?:that|as))",
    "subjectless": r"\A(?:Of|Whether)\b",
    "tell": r"\b(?:tell|tells|told|telling)\b",
    "hear": r"\b(?:hear|hears|heard)\b",
    "say": r"\b(?:say|says|said)\b",
    "beside": r"\bbeside\b",
    "go on": r"\b(?:go|goes|went|going) on\b",
    "is no": r"\b(?:is|are|was|were) no\b(?! (?:longer|more))",
    "shall": r"\bshall\b",
    "at its end": r"\b(?:at|to) (?:its|their|the) end\b(?! of)",
    "nobody": r"\b(?:nobody|somebody|whoever|anybody|someone|anyone|everyone|everybody)\b",
    "since": r", since\b",
    "begun": r"\bbegun\b",
    "wishes": r"\bwish(?:es)?\b",
}
_COMPILED = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in TURNS.items()}
_QUOTED = re.compile(r"``.*?``|`[^`]*`|\"[^\"\n]*\"|“[^”]*”")


@dataclass
class Text:
    """A docstring, or a run of comment lines."""

    path: Path
    line: int
    text: str

    def turns(self) -> list[str]:
        """The names of the turns in it; what it quotes does not count."""
        text = _QUOTED.sub("x", self.text)
        return [name for name, pattern in _COMPILED.items() if pattern.search(text)]


@dataclass
class Module:
    """A file of Python."""

    name: str
    path: Path
    tree: ast.Module
    source: str
    imports: set[str] = field(default_factory=set)
    """Modules that it imports when it is imported."""
    lazy: set[str] = field(default_factory=set)
    """Modules that its functions import, or that it needs for types only."""


@functools.cache
def _parse(source: str) -> ast.Module:
    return ast.parse(source)


def modules(root: Path, packages: tuple[str, ...]) -> dict[str, Module]:
    """The modules of some packages by their dotted names."""
    found: dict[str, Module] = {}
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            source = path.read_text(encoding="utf-8")
            found[name] = Module(name, path, _parse(source), source)
    for module in found.values():
        _find_imports(module, found)
    return found


def _find_imports(module: Module, known: dict[str, Module]) -> None:
    waiting: list[tuple[ast.AST, bool]] = [(module.tree, False)]
    while waiting:
        node, lazy = waiting.pop()
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value] if "." in node.value and " " not in node.value else []
        target = module.lazy if lazy or isinstance(node, ast.Constant) else module.imports
        target.update(name for name in names if name in known and name != module.name)
        inside = lazy or _is_lazy(node)
        waiting += [(child, inside) for child in ast.iter_child_nodes(node)]
    # A package's `__init__` is imported with any of its modules; that is not an arrow of its own.
    for arrows in (module.imports, module.lazy):
        arrows -= {n for n in arrows if any(other.startswith(f"{n}.") for other in arrows)}


def _is_lazy(node: ast.AST) -> bool:
    """True if what the node holds is not imported with the module."""
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.dump(node.test)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def texts(module: Module) -> list[Text]:
    """Every docstring, attributes' included, and every run of comments."""
    found = [
        Text(module.path, node.lineno, node.value.value)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    comments: list[Text] = []
    for token in tokenize.generate_tokens(io.StringIO(module.source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, text = token.start[0], token.string.lstrip("# ")
        if text.startswith(("noqa", "type:", "fmt:")):
            text = text.partition("(")[2].rstrip(")")
        alone = not token.line[: token.start[1]].strip()
        if alone and comments and comments[-1].line + comments[-1].text.count("\n") + 1 == line:
            comments[-1].text += f"\n{text}"
        elif text:
            comments.append(Text(module.path, line, text))
    return found + comments


def circles(known: dict[str, Module], *, lazy: bool) -> list[list[str]]:
    """Groups of modules that import one another (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        module = known[name]
        for other in sorted(module.imports | (module.lazy if lazy else set())):
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(known):
        if name not in order:
            visit(name)
    return found


def upward(known: dict[str, Module]) -> list[str]:
    """Imports from a package of a lower layer, or of another package of the same layer."""
    level = {name: depth for depth, layer in enumerate(LAYERS) for name in layer}
    arrows = []
    for module in known.values():
        here = module.name.partition(".")[0]
        for other in module.imports | module.lazy:
            there = other.partition(".")[0]
            if there != here and level[there] <= level[here]:
                arrows.append(f"{module.name} -> {other}")
    return sorted(arrows)


def untested(root: Path, known: dict[str, Module]) -> list[str]:
    """Modules of `TESTED` that no fast test imports, by itself or through a helper in tests/."""
    tests = modules(root, ("tests",))
    everything = {**known, **tests}
    for module in tests.values():
        module.imports.clear()
        module.lazy.clear()
        _find_imports(module, everything)
    seen: set[str] = set()
    waiting = [m for m in tests.values() if m.path.name == "conftest.py" or _has_fast_test(m.tree)]
    while waiting:
        module = waiting.pop()
        for name in (module.imports | module.lazy) - seen:
            seen.add(name)
            if name in tests:
                waiting.append(tests[name])
    return sorted(
        name
        for name, module in known.items()
        if name.partition(".")[0] in TESTED and name not in seen and _has_code(module.tree)
    )


def _has_code(tree: ast.Module) -> bool:
    """False for a file that holds a docstring and imports only, such as a package's `__init__`."""
    kinds = (ast.Expr, ast.Import, ast.ImportFrom)
    return any(not isinstance(node, kinds) for node in tree.body)


def _has_fast_test(tree: ast.Module) -> bool:
    marks = [node for node in tree.body if isinstance(node, ast.Assign)]
    if any("pytestmark" in ast.dump(mark) and "'slow'" in ast.dump(mark) for mark in marks):
        return False
    if any(isinstance(n, ast.ImportFrom) and "'pytestmark'" in ast.dump(n) for n in tree.body):
        return False
    return any(
        isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and not any("attr='slow'" in ast.dump(mark) for mark in node.decorator_list)
        for node in ast.walk(tree)
    )


def measure(root: Path) -> dict[str, Any]:
    """All figures of the checkout at `root`."""
    known = modules(root, PRODUCT)
    functions = [
        node
        for module in known.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    lengths = sorted((node.end_lineno or node.lineno) - node.lineno + 1 for node in functions)
    files = [module.source.count("\n") for module in known.values()]
    product = [text for module in known.values() for text in texts(module)]
    others = [text for m in modules(root, OTHERS).values() for text in texts(m)]
    turns = [text.turns() for text in product]
    return {
        "functions": len(functions),
        "function_lines": {
            "median": statistics.median(lengths or [0]),
            "90 %": lengths[len(lengths) * 9 // 10] if lengths else 0,
        },
        "typed_functions": round(
            sum(f.returns is not None for f in functions) / max(len(functions), 1), 3
        ),
        "files": len(files),
        "file_lines": {"median": statistics.median(files), "longest": max(files)},
        "files_under_50_lines": sum(lines < 50 for lines in files),
        "texts": len(product),
        "texts_with_a_turn": round(sum(map(bool, turns)) / max(len(product), 1), 4),
        "turns": {name: sum(name in found for found in turns) for name in TURNS},
        "texts_with_a_turn_elsewhere": round(
            sum(bool(text.turns()) for text in others) / max(len(others), 1), 4
        ),
        "import_circles": circles(known, lazy=False),
        "import_circles_with_lazy_imports": circles(known, lazy=True),
        "upward_imports": upward(known),
        "modules_without_a_fast_test": untested(root, known),
    }


def missed_goals(figures: dict[str, Any]) -> list[str]:
    """What is not as it should be."""
    goals = {
        "texts_with_a_turn": figures["texts_with_a_turn"] < MOST_TURNS,
        "import_circles": not figures["import_circles"],
        "upward_imports": not figures["upward_imports"],
        "modules_without_a_fast_test": not figures["modules_without_a_fast_test"],
    }
    return [name for name, met in goals.items() if not met]


def main() -> int:
    """Prints the figures; returns the exit code."""
    parser = argparse.ArgumentParser(description="Figures of the code.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    parser.add_argument("--list", choices=["turns"], help="print every turn with its place")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="a checkout")
    chosen = parser.parse_args()
    if chosen.list:
        for module in modules(chosen.root, (*PRODUCT, *OTHERS)).values():
            for text in texts(module):
                if turns := text.turns():
                    first = " ".join(text.text.split())
                    place = f"{text.path.relative_to(chosen.root)}:{text.line}"
                    print(f"{place}: {', '.join(turns)}: {first[:160]}")
        return 0
    figures = measure(chosen.root)
    if chosen.json:
        print(json.dumps(figures, indent=2))
    else:
        for name, value in figures.items():
            shown = len(value) if isinstance(value, list) else value
            print(f"{name.replace('_', ' '):<36} {shown}")
            for row in value if isinstance(value, list) else ():
                print(f"    {row}")
    missed = missed_goals(figures)
    if missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
    return 1 if chosen.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
