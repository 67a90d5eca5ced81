"""English captions for the demo world, and the word-level tokenizer that reads them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from renderer.demo.world import Colour, Combination, Floor, Motion, Shape, Sky

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MAX_TOKENS = 64  # a longer prompt is cut here, silently
PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"

NOUNS: dict[Shape, tuple[str, ...]] = {
    Shape.CIRCLE: ("ball", "circle", "disc", "round ball", "sphere"),
    Shape.SQUARE: ("square", "box", "cube", "block", "square box"),
    Shape.TRIANGLE: ("triangle", "pyramid", "cone"),
}
COLOURS: dict[Colour, tuple[str, ...]] = {
    Colour.RED: ("red", "red", "crimson", "scarlet"),
    Colour.ORANGE: ("orange",),
    Colour.YELLOW: ("yellow", "yellow", "golden"),
    Colour.GREEN: ("green", "green", "emerald"),
    Colour.BLUE: ("blue",),
    Colour.PURPLE: ("purple", "purple", "violet"),
}
SKIES: dict[Sky, tuple[str, ...]] = {
    Sky.BLUE: ("a blue sky", "a clear blue sky", "a bright blue sky", "a clear sky", "blue sky"),
    Sky.SUNSET: (
        "a sunset sky",
        "an orange sunset",
        "a sunset",
        "an orange sky",
        "the evening sky",
    ),
    Sky.NIGHT: ("a night sky", "a dark night sky", "a dark sky", "the night sky", "the night"),
    Sky.GREY: ("a grey sky", "a gray sky", "a cloudy sky", "an overcast sky", "grey clouds"),
    Sky.PINK: ("a pink sky", "a rosy sky", "a pink dawn", "the pink morning sky", "pink sky"),
}
FLOORS: dict[Floor, tuple[str, ...]] = {
    Floor.GRASS: ("green grass", "grass", "a meadow", "a green meadow", "the grass", "a lawn"),
    Floor.SAND: ("sand", "yellow sand", "a beach", "a sandy beach", "the desert", "the sand"),
    Floor.SNOW: ("snow", "white snow", "the snow", "a snowy field", "fresh white snow"),
    Floor.ROAD: ("a road", "a grey road", "a dark road", "the street", "black asphalt", "the road"),
}
MOTIONS: dict[Motion, tuple[str, ...]] = {
    Motion.LEFT: (
        "rolls to the left",
        "moves left",
        "slides to the left",
        "glides left",
        "goes to the left",
        "drifts left",
        "moving to the left",
        "travels left",
    ),
    Motion.RIGHT: (
        "rolls to the right",
        "moves right",
        "slides to the right",
        "glides right",
        "goes to the right",
        "drifts right",
        "moving to the right",
        "travels right",
    ),
    Motion.UP: (
        "rises",
        "moves up",
        "floats up",
        "goes upward",
        "climbs",
        "flies up",
        "rising slowly",
    ),
    Motion.DOWN: (
        "falls",
        "moves down",
        "sinks",
        "goes downward",
        "descends",
        "drops down",
        "falling slowly",
    ),
    Motion.GROW: (
        "grows",
        "gets bigger",
        "becomes larger",
        "grows larger",
        "swells",
        "growing bigger",
    ),
    Motion.SHRINK: (
        "shrinks",
        "gets smaller",
        "becomes smaller",
        "shrinks slowly",
        "dwindles",
        "shrinking smaller",
    ),
    Motion.STILL: (
        "stands still",
        "rests",
        "stays in place",
        "does not move",
        "is still",
        "waits",
        "standing still",
    ),
}
SIZES = ("big", "large", "small", "little")
OVER = ("over", "on", "above", "across", "upon")
UNDER = ("under", "beneath", "below", "against", "in front of", "with")
TEMPLATES = (
    "a {object} {motion} {over} {floor} {under} {sky}",
    "a {object} {motion} {under} {sky} {over} {floor}",
    "{under} {sky}, a {object} {motion} {over} {floor}",
    "{over} {floor}, {under} {sky}, a {object} {motion}",
    "{sky}, {floor}, and a {object} that {motion}",
    "{sky} and {floor}: the {object} {motion}",
    "a {object} {over} {floor} {under} {sky} {motion}",
    "the {object} {motion}. below it is {floor} and behind it {sky}",
    "a video of a {object} that {motion} {over} {floor}, {under} {sky}",
)
# Words no caption uses but users will; they train to mean nothing.
FILLER = tuple(
    re.findall(
        r"\w+",
        "slowly gently quietly smoothly steadily calmly the a an of and in at with it its very "
        "scene shot cinematic beautiful bright simple flat cartoon camera wide static animation "
        "then while there is are we see day light movie film picture story",
    )
)


def caption(combination: Combination, rng: np.random.Generator) -> str:
    """Say what a combination shows, in one of many wordings."""

    def pick(options: tuple[str, ...]) -> str:
        return options[int(rng.integers(len(options)))]

    size = pick(SIZES) + " " if rng.random() < 0.1 else ""
    described = f"{size}{pick(COLOURS[combination.colour])} {pick(NOUNS[combination.shape])}"
    return pick(TEMPLATES).format(
        object=described,
        motion=pick(MOTIONS[combination.motion]),
        over=pick(OVER),
        floor=pick(FLOORS[combination.floor]),
        under=pick(UNDER),
        sky=pick(SKIES[combination.sky]),
    )


def plain_caption(combination: Combination) -> str:
    """The one canonical wording of a combination."""
    return (
        f"a {COLOURS[combination.colour][0]} {NOUNS[combination.shape][0]} "
        f"{MOTIONS[combination.motion][0]} over {FLOORS[combination.floor][0]} "
        f"under {SKIES[combination.sky][0]}"
    )


def with_filler(text: str, rng: np.random.Generator) -> str:
    """Put words that say nothing, some of them unknown, between the words of a caption."""
    words = text.split()
    for _ in range(int(rng.integers(1, 7))):
        word = UNKNOWN if rng.random() < 0.4 else FILLER[int(rng.integers(len(FILLER)))]
        words.insert(int(rng.integers(len(words) + 1)), word)
    return " ".join(words)


def vocabulary() -> list[str]:
    """Every word the model knows, special tokens first, in a fixed order."""
    tables = (NOUNS, COLOURS, SKIES, FLOORS, MOTIONS)
    texts = [t for table in tables for options in table.values() for t in options]
    texts += [*SIZES, *OVER, *UNDER, *FILLER]
    texts += [re.sub(r"\{\w+\}", " ", template) for template in TEMPLATES]
    words = sorted({word for text in texts for word in re.findall(r"[a-z]+", text)})
    return [PAD, END, UNKNOWN, *words]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer that takes any text: what it does not know becomes ``<unk>``."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = vocabulary()
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token=UNKNOWN))
    core.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    # Runs of letters are words; whatever stands between them is dropped.
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[^\p{L}\p{N}<>]+"), behavior="removed"),
        ]
    )
    core.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, words.index(END))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        model_max_length=MAX_TOKENS,
        padding_side="right",
    )
