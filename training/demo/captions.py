"""English captions for the demo world, and the word-level tokenizer that reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from film.demo_world import (
    COLOURS,
    FILLER,
    FLOORS,
    MOTIONS,
    NOUNS,
    OVER,
    SIZES,
    SKIES,
    TEMPLATES,
    UNDER,
    known_words,
)
from training.demo.world import Combination

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MAX_TOKENS = 64  # a longer prompt is cut here, silently
PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"


def caption(combination: Combination, rng: np.random.Generator) -> str:
    """Describe a combination, in one of many wordings."""

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


def with_filler(text: str, rng: np.random.Generator) -> str:
    """Put words without meaning, some of them unknown, between the words of a caption."""
    words = text.split()
    for _ in range(int(rng.integers(1, 7))):
        word = UNKNOWN if rng.random() < 0.4 else FILLER[int(rng.integers(len(FILLER)))]
        words.insert(int(rng.integers(len(words) + 1)), word)
    return " ".join(words)


def vocabulary() -> list[str]:
    """Every word the model knows, special tokens first, in a fixed order."""
    return [PAD, END, UNKNOWN, *sorted(known_words())]


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
