"""docs/architecture.md names the folders and files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
PACKAGES = ("app", "db", "film", "flows", "longreel", "media", "renderer", "storage", "training")


def named_folders() -> list[str]:
    """The folders of the section "Folders"."""
    section = PAGE.split("## Folders")[1].split("```")[1]
    return re.findall(r"^(\w[\w/]*)/ ", section, flags=re.MULTILINE)


def test_the_tree_is_that_of_the_code() -> None:
    there = {
        str(path.parent.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if "versions" not in path.parts
    }
    assert sorted(named_folders()) == sorted(there)


def test_every_file_that_a_picture_names_is_there() -> None:
    named = set(re.findall(r"\b(?:app|db|film|flows|media|renderer|storage)/[\w/]+\.py\b", PAGE))
    assert len(named) > 10
    assert [path for path in sorted(named) if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_no_page_names_a_file_that_is_gone(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(
        re.findall(r"`((?:app|db|film|flows|media|renderer|storage|training)/[\w/]+\.py)`", text)
    )
    assert [path for path in sorted(named) if not (ROOT / path).is_file()] == []
