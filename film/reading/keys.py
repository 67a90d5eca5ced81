"""The keys of what users write."""

from __future__ import annotations

FILM_KEYS = {
    "title", "prompt", "scenes", "seconds", "size", "fps", "model", "seed",
    "negative_prompt", "num_inference_steps", "guidance_scale", "continuity", "tags",
    "image", "last_image", "sound", "loras", "flags", "preset",
}  # fmt: skip
PRESET_KEYS = FILM_KEYS - {
    "title", "prompt", "scenes", "image", "last_image", "preset", "loras",
}  # fmt: skip
"""What a preset may hold: no words, no other preset, and nothing that names files."""
SCENE_KEYS = {"prompt", "seconds", "seed", "seam", "continuity", "image", "last_image"}
CAMPAIGN_KEYS = {
    "name", "priority", "deadline", "max_workers", "budget", "over_budget", "tags", "defaults",
    "films", "matrix",
}  # fmt: skip
CAMPAIGN_ONLY_KEYS = CAMPAIGN_KEYS - {"name"}
"""A file with one of these describes many films."""
MATRIX_KEYS = {"prompts": "prompt", "models": "model", "seeds": "seed", "sizes": "size"}
ALIASES = {"steps": "num_inference_steps", "guidance": "guidance_scale", "lora": "loras"}
"""What keys may be called as well."""
