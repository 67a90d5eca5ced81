"""Workers that a Prefect work pool places, as deploy/ has them."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import Installation
from tests.flows.placing import DEPLOY, Prefect, ended, flow_run, logs
from tests.flows.test_campaign import wait_for
from tests.flows.test_workers import becomes, segments, submit, worker

DEPLOYMENTS = {
    one["name"]: one for one in YAML(typ="safe").load(DEPLOY / "prefect.yaml")["deployments"]
}
TEMPLATES = {
    name: json.loads((DEPLOY / f"{name}-pool.json").read_text())
    for name in ("docker", "kubernetes")
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_deployment_sets_what_its_pool_knows(name: str) -> None:
    template = TEMPLATES[name]
    known = template["variables"]["properties"]
    assert set(DEPLOYMENTS[name]["work_pool"]["job_variables"]) <= set(known)
    used = set(re.findall(r"{{ (\w+) }}", json.dumps(template["job_configuration"])))
    assert used == set(known), "what no part of the job takes would be silently ignored"


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_pool_says_what_prefect_s_own_of_its_kind_can(name: str) -> None:
    prefect = importlib.util.find_spec("prefect")
    assert prefect
    assert prefect.origin
    views = Path(prefect.origin).parent / "server/api/collections_data/views"
    kinds = json.loads((views / "aggregate-worker-metadata.json").read_text())
    own = kinds[f"prefect-{name}"][name]["default_base_job_configuration"]["job_configuration"]
    newer = {"container_create_kwargs"}  # than the copy that comes with Prefect
    assert set(TEMPLATES[name]["job_configuration"]) <= set(own) | newer


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_names_its_flow_by_the_module(name: str) -> None:
    entrypoint = DEPLOYMENTS[name]["entrypoint"]
    assert ":" not in entrypoint, "Prefect would look for a file"
    assert importlib.util.find_spec(entrypoint.rpartition(".")[0])


@pytest.mark.slow
@pytest.mark.usefixtures("served")
def test_a_run_ends_as_its_worker_did() -> None:
    from flows.pools.worker_flow import (
        end_state,  # here, because Prefect reads its settings when imported
    )

    def said(code: int, error: str = "") -> tuple[str, str]:
        state = end_state(code, error)
        return state.type.value, state.message or ""

    assert said(0) == ("COMPLETED", "The worker ended; what it had started is done or given back")
    assert said(4, "It broke.") == ("FAILED", "The worker ended (exit code 4): It broke.")
    assert said(-9) == ("FAILED", "The worker ended (killed by SIGKILL)")


@pytest.mark.slow
@pytest.mark.usefixtures("pool")
def test_a_pool_places_a_worker_and_ends_it(served: Installation, prefect: Prefect) -> None:
    def place(*parameters: str) -> str:
        return prefect.place("processes=1", *parameters)

    (film,) = submit(served, '{"prompt": "A red ball.", "seconds": 4, "steps": 2}')
    first = place("until_idle=true")
    wait_for(lambda: ended(first), "the worker to end")
    run = flow_run(first)
    assert (run.state.name, run.name) == ("Completed", f"worker on {os.uname().nodename}"), run
    assert served.json("show", film)["status"] == "delivered"
    (row,) = served.json("workers")
    assert row["state"] == "ended"
    wait_for(lambda: f"{film}  delivered" in logs(first), "the log")
    assert f"The worker {row['name']} renders what is submitted." in logs(first)

    refused = place("models=sora")
    (long,) = submit(served, '{"prompt": "A blue ball.", "seconds": 60, "title": "Long"}')
    endless = place("name=endless")
    becomes(served, "endless", "rendering")
    prefect.run("flow-run", "cancel", endless)
    becomes(served, "endless", "ended")
    parts = segments(served, long)
    assert "leased" not in {part["status"] for part in parts}
    assert {part["failures"] for part in parts} == {0}
    assert worker(served, "endless")["film_id"] is None
    wait_for(lambda: ended(endless), "the run to end")
    assert flow_run(endless).state.name == "Cancelled"
    wait_for(
        lambda: "Stopped. Unfinished segments are back in the queue." in logs(endless),
        "its last word",
    )

    wait_for(lambda: ended(refused), "the other run to end")
    state = flow_run(refused).state
    assert state.name == "Failed"
    assert state.message.startswith("The worker ended (exit code 2): "), state.message
    assert "There is no model 'sora'; the models are: " in state.message
