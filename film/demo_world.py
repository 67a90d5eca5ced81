"""The closed world of the bundled demo model: its words, and how any prompt is read in them.

The model knows one object of a few shapes and colours that moves over a floor under a sky. A prompt
that describes all of this in words that it knows is rendered unchanged. Any other prompt is
reworded to the nearest thing that the model can show, and the plan notes it (docs/demo-model.md).
"""

from __future__ import annotations

import difflib
import functools
import itertools
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Generic, TypeVar

from film.types import Struct


class Shape(StrEnum):
    """What the object is."""

    CIRCLE = "circle"
    SQUARE = "square"
    TRIANGLE = "triangle"


class Colour(StrEnum):
    """The object's colour."""

    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    GREEN = "green"
    BLUE = "blue"
    PURPLE = "purple"


class Sky(StrEnum):
    """What is above the horizon."""

    BLUE = "blue"
    SUNSET = "sunset"
    NIGHT = "night"
    GREY = "grey"
    PINK = "pink"


class Floor(StrEnum):
    """What is below the horizon."""

    GRASS = "grass"
    SAND = "sand"
    SNOW = "snow"
    ROAD = "road"


class Motion(StrEnum):
    """What the object does."""

    LEFT = "left"
    RIGHT = "right"
    UP = "up"
    DOWN = "down"
    GROW = "grow"
    SHRINK = "shrink"
    STILL = "still"


class Scenery(Struct, frozen=True, kw_only=True):
    """One thing that the model can show, described completely."""

    shape: Shape
    colour: Colour
    sky: Sky
    floor: Floor
    motion: Motion


UNSAID = Scenery(
    shape=Shape.CIRCLE, colour=Colour.RED, sky=Sky.BLUE, floor=Floor.GRASS, motion=Motion.RIGHT
)
"""What stands in for what a prompt leaves open."""

# The first wording of each is the one used when a prompt is reworded.
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

# Words that decide what a prompt means, each with its kind: first those that the model was trained
# on, then others, for which it shows the nearest.
SHAPE_WORDS = {
    Shape.CIRCLE: "ball circle disc sphere",
    Shape.SQUARE: "square box cube block",
    Shape.TRIANGLE: "triangle pyramid cone",
}
NEAR_SHAPES = {
    Shape.CIRCLE: (
        "balls circles orb globe bubble balloon wheel coin moon sun planet earth apple egg pearl "
        "marble bead ring head face eye cat dog animal creature bird fish horse bear rabbit mouse "
        "bee butterfly flower rose man woman boy girl child person people dancer astronaut ghost "
        "football"
    ),
    Shape.SQUARE: (
        "squares boxes rectangle brick crate parcel package house cottage hut building castle city "
        "tower door window book car truck van bus train tram robot machine computer phone "
        "television chair table dice die suitcase tile"
    ),
    Shape.TRIANGLE: (
        "triangles mountain volcano hill peak tent roof rocket spaceship ship boat sailboat plane "
        "aeroplane airplane arrow kite dragon lighthouse tree pine star wedge spike fox shark"
    ),
}
COLOUR_WORDS = {
    Colour.RED: "red crimson scarlet",
    Colour.ORANGE: "orange",
    Colour.YELLOW: "yellow golden",
    Colour.GREEN: "green emerald",
    Colour.BLUE: "blue",
    Colour.PURPLE: "purple violet",
}
NEAR_COLOURS = {
    Colour.RED: "ruby maroon cherry rust burgundy pink rosy magenta brown copper",
    Colour.ORANGE: "amber tangerine apricot peach coral bronze ginger",
    Colour.YELLOW: "gold lemon mustard blonde white silver ivory cream",
    Colour.GREEN: "lime olive mint jade teal turquoise grey gray",
    Colour.BLUE: "navy azure cyan sapphire cobalt indigo black dark",
    Colour.PURPLE: "lilac lavender mauve plum",
}
SKY_WORDS = {
    Sky.BLUE: "",
    Sky.SUNSET: "sunset evening",
    Sky.NIGHT: "night",
    Sky.GREY: "cloudy overcast clouds",
    Sky.PINK: "dawn morning rosy",
}
SKY_COLOURS = {  # what an adjective makes of the sky it belongs to
    Sky.BLUE: "blue clear bright",
    Sky.SUNSET: "orange",
    Sky.NIGHT: "dark",
    Sky.GREY: "grey gray",
    Sky.PINK: "pink",
}
NEAR_SKIES = {
    Sky.BLUE: "noon midday afternoon sunny daylight sunshine summer spring azure",
    Sky.SUNSET: "dusk twilight autumn red golden yellow",
    Sky.NIGHT: "midnight moonlight moonlit starry stars nocturnal space galaxy darkness black",
    Sky.GREY: "storm stormy rain rainy fog foggy mist misty thunder winter cloud white",
    Sky.PINK: "sunrise daybreak purple violet lilac",
}
FLOOR_WORDS = {
    Floor.GRASS: "grass meadow lawn",
    Floor.SAND: "sand sandy beach desert",
    Floor.SNOW: "snow snowy",
    Floor.ROAD: "road street asphalt",
}
NEAR_FLOORS = {
    Floor.GRASS: "field park garden forest woods jungle prairie hills valley countryside farm",
    Floor.SAND: "dune dunes shore coast seaside sea ocean water waves river lake island savanna",
    Floor.SNOW: "ice icy glacier frost frozen arctic ski",
    Floor.ROAD: "highway pavement tarmac town alley bridge concrete runway floor ground path track",
}
MOTION_WORDS = {
    Motion.LEFT: "left",
    Motion.RIGHT: "right",
    Motion.UP: "up upward rises rising climbs",
    Motion.DOWN: "down downward falls falling sinks descends drops",
    Motion.GROW: "grows growing bigger larger swells",
    Motion.SHRINK: "shrinks shrinking smaller dwindles",
    Motion.STILL: "still rests stays waits not",  # "does not move"
}
NEAR_MOTIONS = {
    Motion.LEFT: "leftward leftwards west",
    Motion.RIGHT: (
        "rightward rightwards east forward forwards runs running walks walking drives driving "
        "rides sails sailing swims crosses rolls moves slides glides goes drifts travels moving"
    ),
    Motion.UP: "upwards rise ascends ascending climbing lifts launches soars flies flying jumps",
    Motion.DOWN: "downwards fall descending sinking dropping dives lands lowers",
    Motion.GROW: "grow expands expanding approaches approaching inflates blooms closer zoom",
    Motion.SHRINK: "shrink recedes leaves vanishes disappears deflates away fades",
    Motion.STILL: "motionless stands standing sits sleeps lies stops stationary floats hovers",
}
_SILENT_WORDS = (  # nothing is lost when these are not drawn
    "a an the this that these those it its is are was be being there here and or but while then as "
    "to of in on at by with from for into onto over under above below behind before after across "
    "upon beneath against front through past along near beside between we see one who which does "
    "do has have s very slowly quickly gently"
)
SILENT = frozenset(_SILENT_WORDS.split())

_Kind = TypeVar("_Kind", bound=StrEnum)
_WORD = re.compile(r"[^\W_]+")
_CLOSE = 0.83  # likeness at which a word is taken for a misspelt known one


def _in(*tables: Mapping[_Kind, str]) -> frozenset[str]:
    """All words of some tables."""
    return frozenset(word for table in tables for text in table.values() for word in text.split())


_OBJECT_NOUNS = _in(SHAPE_WORDS, NEAR_SHAPES)
_SKY_NOUNS = _in(SKY_WORDS) | {"sky", "skies"}
_FLOOR_NOUNS = _in(FLOOR_WORDS, NEAR_FLOORS)
_ADJECTIVES = _in(COLOUR_WORDS, NEAR_COLOURS) | _in(SKY_COLOURS)
_SKY_HINTS = _SKY_NOUNS | (_in(NEAR_SKIES) - _ADJECTIVES)
_KNOWN = (
    _in(SHAPE_WORDS) | _in(COLOUR_WORDS) | _SKY_NOUNS | _in(FLOOR_WORDS) | _in(MOTION_WORDS)
)  # the words that have a meaning, as the model knows them
_TELLING = _OBJECT_NOUNS | _SKY_HINTS | _FLOOR_NOUNS | _ADJECTIVES | _in(NEAR_MOTIONS) | _KNOWN


class _Lexicon(Generic[_Kind]):
    """Words that name the kinds of one attribute."""

    def __init__(self, known: list[dict[_Kind, str]], near: dict[_Kind, str]) -> None:
        """Known ones, and others that come near."""
        self.known = {w: kind for table in known for kind, ws in table.items() for w in ws.split()}
        self.near = {w: kind for kind, ws in near.items() for w in ws.split()}

    def read(self, words: list[str]) -> tuple[_Kind | None, bool]:
        """The kind that `words` name, if any; and whether once, and in known words."""
        kinds = [self.known[word] for word in words if word in self.known]
        near = [self.near[word] for word in words if word in self.near]
        return next(iter(kinds + near), None), len(set(kinds)) == 1


_SHAPE = _Lexicon([SHAPE_WORDS], NEAR_SHAPES)
_COLOUR = _Lexicon([COLOUR_WORDS], NEAR_COLOURS)
_SKY = _Lexicon([SKY_WORDS, SKY_COLOURS], NEAR_SKIES)
_FLOOR = _Lexicon([FLOOR_WORDS], NEAR_FLOORS)
_MOTION = _Lexicon([MOTION_WORDS], NEAR_MOTIONS)


class Reading(Struct, frozen=True, kw_only=True):
    """What the demo model makes of a prompt."""

    shown: Scenery
    prompt: str
    """What the model is given: the prompt as written, or the nearest one it knows."""
    notice: str
    """The description of what is rendered if that is not all that was asked; else empty."""
    understood: bool
    """False if nothing that it shows follows from a word of the prompt."""


def read_prompt(prompt: str) -> Reading:
    """What the demo model shows for `prompt`, of any length and in any words."""
    written = _WORD.findall(prompt.lower())
    words = [_spelt(word) for word in written]
    objects, skies, floors = _owners(words)
    found: dict[str, tuple[StrEnum | None, bool]] = {
        "shape": _SHAPE.read(objects),
        "colour": _COLOUR.read(objects),
        "sky": _SKY.read(skies),
        "floor": _FLOOR.read(floors),
        "motion": _MOTION.read(words),
    }
    said = {name: kind for name, (kind, _) in found.items() if kind is not None}
    shown = UNSAID.replace(**said)
    if words != written or not all(plain for _, plain in found.values()):
        nearest = plain_caption(shown)
        return Reading(
            shown=shown,
            prompt=nearest,
            notice=f'rendered as "{nearest}"',
            understood=bool(said),
        )
    missed = dict.fromkeys(w for w in words if w not in SILENT and w not in known_words())
    quoted = ", ".join(f'"{word}"' for word in missed)
    return Reading(
        shown=shown,
        prompt=prompt,
        notice=f"rendered without {quoted}" if missed else "",
        understood=True,
    )


def plain_caption(shown: Scenery) -> str:
    """The one canonical wording."""
    return (
        f"a {COLOURS[shown.colour][0]} {NOUNS[shown.shape][0]} {MOTIONS[shown.motion][0]} "
        f"over {FLOORS[shown.floor][0]} under {SKIES[shown.sky][0]}"
    )


@functools.cache
def known_words() -> frozenset[str]:
    """Every word the model was trained on."""
    told = (*NOUNS.values(), *COLOURS.values(), *SKIES.values(), *FLOORS.values())
    texts = [text for wordings in (*told, *MOTIONS.values()) for text in wordings]
    texts += [*SIZES, *OVER, *UNDER, *FILLER]
    texts += [re.sub(r"\{\w+\}", " ", template) for template in TEMPLATES]
    return frozenset(word for text in texts for word in re.findall(r"[a-z]+", text))


def _owners(words: list[str]) -> tuple[list[str], list[str], list[str]]:
    """The words that speak of the object, of the sky and of the floor.

    An adjective belongs to the next noun if no function word stands between: the blue of "a red
    ball under a blue sky" is the sky's. One without such a noun is the object's.
    """
    objects: list[str] = []
    skies: list[str] = []
    floors: list[str] = []
    nouns = ((_SKY_HINTS, skies), (_FLOOR_NOUNS, floors), (_OBJECT_NOUNS, objects))
    for index, word in enumerate(words):
        if word in _ADJECTIVES:
            ahead = itertools.takewhile(lambda w: w not in SILENT, words[index + 1 :])
            owners = (owner for w in ahead for names, owner in nouns if w in names)
            next(owners, objects).append(word)
            continue
        for names, owner in nouns:
            if word in names:
                owner.append(word)
    return objects, skies, floors


def _spelt(word: str) -> str:
    """`word`, or the known word that it is a likely misspelling or plural of."""
    if word in known_words() or word in SILENT or word in _TELLING:
        return word
    if word.endswith("s") and word[:-1] in _TELLING:
        return word[:-1]
    if len(word) < 5:
        return word
    return next(iter(difflib.get_close_matches(word, _KNOWN, n=1, cutoff=_CLOSE)), word)
