"""Answers that take long are given again for a while."""

from __future__ import annotations

from app.api.slow_answers import MOST_KEPT, MOST_SECONDS, SlowAnswers


class Clock:
    """A clock that finding an answer moves on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_only_slow_answers_are_kept_and_not_for_long() -> None:
    clock, count = Clock(), 0
    answers = SlowAnswers[int](clock)

    def find(seconds: float) -> int:
        nonlocal count
        count += 1
        clock.now += seconds
        return count

    assert [answers.get("a", lambda: find(0.01)) for _ in range(2)] == [1, 2]
    assert [answers.get("a", lambda: find(0.1)) for _ in range(3)] == [3, 3, 3]
    assert answers.get("b", lambda: find(0.1)) == 4, "another question"
    clock.now += 2.0
    assert answers.get("a", lambda: find(9.0)) == 5
    clock.now += MOST_SECONDS - 0.1
    assert answers.get("a", lambda: find(0.0)) == 5
    clock.now += 0.2
    assert answers.get("a", lambda: find(0.0)) == 6


def test_answers_do_not_pile_up() -> None:
    clock = Clock()
    answers = SlowAnswers[str](clock)
    for number in range(MOST_KEPT + 5):

        def find(number: int = number) -> str:
            clock.now += 0.1
            return str(number)

        answers.get(str(number), find)
    assert len(answers._kept) == MOST_KEPT
