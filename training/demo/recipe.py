"""How to call the demo model: plain data, no heavy import.

Pass every value of `CALL` to the pipeline. Other defaults would hurt: ``frame_rate`` enters the
rotary position embedding, ``image_cond_noise_scale`` would blur conditioning frames, and
``max_sequence_length`` is the length of the tokenizer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

MODEL_DIR: Final = Path(__file__).parents[2] / "renderer/demo/model"

PIPELINE_CLASS: Final = "LTXConditionPipeline"

WIDTH: Final = 96  # pixels
HEIGHT: Final = 64  # pixels
NUM_FRAMES: Final = 17
FPS: Final = 8
OVERLAP_FRAMES: Final = 5  # conditioning frames: 1 + 4 k, so 1, 5 or 9
NUM_INFERENCE_STEPS: Final = 16  # free to change; half of them lie above sigma 0.975
GUIDANCE_SCALE: Final = 2.0

CALL: Final[dict[str, Any]] = {
    "width": WIDTH,
    "height": HEIGHT,
    "num_frames": NUM_FRAMES,
    "frame_rate": FPS,
    "num_inference_steps": NUM_INFERENCE_STEPS,
    "guidance_scale": GUIDANCE_SCALE,
    "image_cond_noise_scale": 0.0,
    "max_sequence_length": 64,
}
