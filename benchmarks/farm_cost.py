"""What the farm costs one worker: the time in which its device does not render.

Has one `longreel worker` render a campaign of 50 segments with the demo model and looks at the
wall time between the end of the first segment and that of the last one: how much of it the
rendering process spent on anything but rendering (claiming, fetching, encoding, storing and
recording run in parallel with the next segment). Prints the share; exits with 1 above the limit.

    python benchmarks/farm_cost.py [--segments 50] [--steps N] [--chained] [--limit 0.03]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.product import longreel


def campaign(home: Path, segments: int, steps: int, chained: bool) -> Path:
    """Films of a segment each, or one film whose segments all continue one another."""
    path = home / "cost.jsonl"
    if chained:
        seconds = (17 + 12 * (segments - 1)) / 8
        films = [{"scenes": [{"prompt": "A red ball.", "seconds": seconds}], "steps": steps}]
    else:
        films = [
            {"prompt": "A red ball rolls.", "seconds": 2, "steps": steps, "seed": number}
            for number in range(segments)
        ]
    path.write_text("".join(json.dumps(film) + "\n" for film in films))
    return path


def takes(home: Path) -> list[dict[str, Any]]:
    """For each segment in the order in which they ended: `at` (seconds since 1970), and its
    times."""
    import sqlalchemy as sa

    from db.engine import open_database
    from db.tables import segments
    from db.tables import takes as table

    database = open_database(f"sqlite:///{home / 'longreel.db'}")
    with database.read() as connection:
        rows = connection.execute(
            sa.select(segments.c.finished_at, table.c.take)
            .join(table, table.c.address == segments.c.address)
            .order_by(segments.c.finished_at)
        ).all()
    database.close()
    return [{"at": row.finished_at, **row.take["made_by"]} for row in rows]


def main() -> int:
    """Prints the share; returns 1 if it is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segments", type=int, default=50)
    parser.add_argument("--steps", type=int, default=0, help="0: the model's own")
    parser.add_argument("--chained", action="store_true", help="one film, one chain of segments")
    parser.add_argument("--limit", type=float, default=0.03)
    options = parser.parse_args()
    from film.families import DEMO

    steps = options.steps or DEMO.num_inference_steps
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        try:
            path = campaign(home, options.segments, steps, options.chained)
            longreel(home, "submit", str(path))
            longreel(home, "worker", "--until-idle")
            found = takes(home)
        finally:
            longreel(home, "dashboard", "--stop")
    wall = found[-1]["at"] - found[0]["at"]
    rendering = sum(take["render_seconds"] for take in found[1:])
    encoding = sum(take["encode_seconds"] for take in found[1:])
    share = 1 - rendering / wall
    kind = "one chain" if options.chained else "independent"
    print(f"{len(found)} segments ({kind}), {steps} steps; from the first end to the last:")
    print(f"{'wall':>14}: {wall:7.2f} s")
    print(f"{'rendering':>14}: {rendering:7.2f} s, {rendering / (len(found) - 1):.3f} s each")
    print(f"{'encoding':>14}: {encoding:7.2f} s, beside it")
    print(f"{'not rendering':>14}: {share:7.2%} (limit {options.limit:.0%})")
    return 0 if share <= options.limit else 1


if __name__ == "__main__":
    raise SystemExit(main())
