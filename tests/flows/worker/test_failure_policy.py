"""What happens to a segment that ended with an error: the whole table of verdicts."""

from __future__ import annotations

import pytest

from film import errors
from film.errors import LongreelError
from flows.worker.failure_policy import SEEDS, Verdict, blames_worker, retake_seed, verdict

BACK, WAIT, AGAIN = Verdict.GIVE_BACK, Verdict.WAIT, Verdict.TRY_AGAIN
OTHERS, FAIL = Verdict.LEAVE_TO_OTHERS, Verdict.FAIL

TABLE = [
    # error, verdict, blames the worker
    (errors.Cancelled(), BACK, False),
    (errors.ObjectMissingError("The tail is missing."), BACK, False),
    (errors.StoreUnreachableError("The store is away."), WAIT, False),
    (errors.OutOfMemoryError("Too little memory."), OTHERS, False),
    (errors.WeightsMissingError("No weights."), OTHERS, False),
    (errors.FlagError("No kernel for that."), OTHERS, False),
    (errors.InputError("The LoRA is missing."), FAIL, False),
    (errors.SettingsError("LONGREEL_HOME"), FAIL, False),
    (errors.NotFoundError("No such film."), FAIL, False),
    (errors.CampaignFileError("a.yaml", 1, "wrong"), FAIL, False),
    (errors.RefusedFilmsError([errors.Refusal(1, "wrong")]), FAIL, False),
    (errors.QuotaError("Too many films."), FAIL, False),
    (errors.UnfitWeightsError("Not for this model."), FAIL, False),
    (errors.BadPictureError("Black."), FAIL, True),
    (errors.StoreError("The object is damaged."), AGAIN, False),
    (errors.StoreFullError("The store is full."), WAIT, False),
    (errors.UnreadableFilmError("Another version."), WAIT, False),
    (errors.DatabaseError("The database is away."), AGAIN, True),
    (errors.OrchestrationError("Prefect is away."), AGAIN, True),
    (errors.MediaError("ffmpeg failed."), AGAIN, True),
    (errors.RenderError("It failed."), AGAIN, True),
    (errors.WorkerLostError("The process died."), AGAIN, True),
    (errors.ServerError("Another version."), AGAIN, True),
    (errors.KeyRefusedError("A wrong key."), AGAIN, True),
    (errors.ServerAwayError("The service is away."), AGAIN, True),
    (LongreelError("Something."), AGAIN, True),
    (OSError(28, "No space left on device"), WAIT, False),
    (OSError(5, "Input/output error"), AGAIN, True),
    (ValueError("Foreign."), AGAIN, True),
    (MemoryError(), AGAIN, True),
]


@pytest.mark.parametrize(("error", "expected", "blamed"), TABLE, ids=lambda v: type(v).__name__)
def test_each_error_has_its_verdict(error: Exception, expected: Verdict, blamed: bool) -> None:
    assert verdict(error) is expected
    assert blames_worker(error) is blamed


def test_the_table_has_every_error_there_is() -> None:
    def classes(kind: type[LongreelError]) -> set[type[LongreelError]]:
        return {kind}.union(*map(classes, kind.__subclasses__()))

    ours = {kind for kind in classes(LongreelError) if kind.__module__ == errors.__name__}
    assert ours == {type(error) for error, *_ in TABLE if isinstance(error, LongreelError)}


def test_retakes_have_seeds_of_their_own() -> None:
    seeds = {retake_seed(7 + link, number) for link in range(100) for number in range(10)}
    assert len(seeds) == 1000, "no retake has the seed of another segment of the chain"
    assert retake_seed(7, 0) == 7
    assert 0 <= retake_seed(SEEDS - 1, 5) < SEEDS
