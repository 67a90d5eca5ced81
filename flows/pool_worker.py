"""The address at which deployments made before this version find a work pool's flow.

Deployments name `flows.pools.worker_flow.run_worker` now; old ones keep working.
"""

from flows.pools.worker_flow import run_worker

__all__ = ["run_worker"]
