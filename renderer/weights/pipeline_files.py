"""Which files a diffusers pipeline is loaded from, wherever it lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from typing import Any

INDEX = "model_index.json"
"""Names the components of a pipeline; each lies in a folder of its name."""

FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
"""Files of a component; weights in other formats could hold code."""

VARIANTS = "*.*.safetensors"
"""The same weights once more, rounded: `model.fp16.safetensors`."""


def files_of(index: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """The files of a repository from which its pipeline is loaded.

    `index` is its model_index.json. Many repositories hold the same weights again, for other
    programs outside the components' folders, or rounded inside them.
    """
    parts = {
        name
        for name, kind in index.items()
        if isinstance(kind, list) and kind and all(isinstance(word, str) for word in kind)
    }
    return [
        INDEX,
        *(
            name
            for name in sorted(names)
            if name.partition("/")[0] in parts
            and any(fnmatch(name, pattern) for pattern in FILES)
            and not fnmatch(name, VARIANTS)
        ),
    ]
