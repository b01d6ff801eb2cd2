"""Start options common to every deployment of the endpoint."""

from typing import Any

# The gateway keeps the access log: Serve's own has a line for every call between deployments.
QUIET = {"enable_access_log": False}
# Serve gives a replica three threads: Ray's calls, the deployment's code, calls to other replicas. Ours is asyncio that
# does not block, and passing a token from thread to thread waits for the interpreter's lock each time.
_ONE_LOOP = {"RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0", "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0"}


def actor_options(*, num_cpus: float) -> dict[str, Any]:
    """`ray_actor_options` of a deployment whose code never blocks its event loop once it serves."""
    return {"num_cpus": num_cpus, "runtime_env": {"env_vars": _ONE_LOOP}}
