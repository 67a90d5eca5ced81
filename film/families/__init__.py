"""The rows of all models: what each can do, and how diffusers is called for it.

Facts about public checkpoints are taken from their authors, as the sources show. What diffusers
does with them was read in its code or measured with small pipelines of the same classes, which the
tests of the renderer build.
"""

from film.families.demo import DEMO as DEMO
from film.families.ltx import LTX
from film.families.others import OTHERS
from film.families.wan import WAN

MODELS = {spec.name: spec for spec in (DEMO, *WAN, *LTX, *OTHERS)}
