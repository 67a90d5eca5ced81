"""The table of docs/models.md, made from the rows of film/families/.

`python -m scripts.models_table` writes it into the file; a test compares them.
"""

from __future__ import annotations

from pathlib import Path

from film.families import MODELS
from film.models import ModelSpec

PAGE = Path(__file__).parent.parent / "docs" / "models.md"
HEADINGS = (
    "model", "weights", "from", "size", "frames", "fps", "continuity", "sound", "licence", "memory",
)  # fmt: skip


def table() -> str:
    """All models, a line each."""
    heading, *lines = (
        f"| {' | '.join(row)} |\n" for row in (HEADINGS, *map(_cells, MODELS.values()))
    )
    return "".join([heading, "|---" * len(HEADINGS) + "|\n", *lines])


def with_table(page: str) -> str:
    """The page with the present table in the place of the one that it has."""
    lines = page.splitlines(keepends=True)
    begin = next(n for n, line in enumerate(lines) if line.startswith("| model |"))
    end = begin + next(n for n, line in enumerate(lines[begin:]) if not line.startswith("|"))
    return "".join([*lines[:begin], table(), *lines[end:]])


def _cells(spec: ModelSpec) -> tuple[str, ...]:
    return (
        f"`{spec.name}`",
        "bundled" if spec.bundled else _weights(spec),
        ", ".join(spec.calling.pipelines),
        _size(spec),
        _frames(spec),
        str(spec.native_fps),
        ", ".join(spec.continuity),
        "yes" if spec.sound else "no",
        _link(spec.licence, spec.licence_source),
        spec.memory or ("a CPU does" if spec.bundled else "unknown"),
    )


def _weights(spec: ModelSpec) -> str:
    link = _link(spec.source, f"https://huggingface.co/{spec.source}")
    return f"{link}, branch `{spec.branch}`" if spec.branch else link


def _size(spec: ModelSpec) -> str:
    sizes = " or ".join(f"{width}x{height}" for width, height in spec.sizes)
    return f"{sizes}; others by {spec.size_multiple}" if spec.size_multiple else sizes


def _frames(spec: ModelSpec) -> str:
    if spec.min_frames == spec.max_frames:
        lengths = str(spec.max_frames)
    else:
        lengths = f"{spec.min_frames} to {spec.max_frames} by {spec.frame_step}"
    return f"{lengths}; long: {spec.long_frames}" if spec.long_frames else lengths


def _link(text: str, address: str) -> str:
    return f"[{text}]({address})" if address else text


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
