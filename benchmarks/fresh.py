"""Functions of a benchmark called in a process of their own, where memory is counted and may run out."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from measure import address_space

# For glibc: a mapping of its own for every array, given back at once. Else what is freed stays for later, in pieces
# that may not fit, and the resident memory of a process says as much about its past as about its arrays.
_MAPPED = {"MALLOC_MMAP_THRESHOLD_": "65536"}
_OUT_OF_MEMORY = 12  # exit status of a child that was refused memory
_KILLED = -9  # by the system's own out-of-memory killer


class OutOfMemory(Exception):
    """A call needed more memory than it was allowed."""


class TimedOut(Exception):
    """A call took longer than it was allowed."""


def call(
    module: str,
    function: str,
    *,
    timeout: float | None = None,
    mapped: bool = False,
    **arguments: Any,
) -> Any:
    """What `function` of the benchmark `module` returns, called with `arguments` in a process of its own.

    Args:
        module, function: by name; arguments and result must go through JSON.
        timeout: seconds that the call may take.
        mapped: whether every array gets memory of its own, as it should where memory is measured and time is not.

    Raises:
        OutOfMemory: the system, or a limit of its own (`limit_memory`), refused it memory.
        TimedOut: it took longer than `timeout`.
        RuntimeError: the call failed otherwise; its own error is shown.
    """
    request = json.dumps({"module": module, "function": function, "arguments": arguments})
    environment = os.environ | (_MAPPED if mapped else {})
    try:
        done = subprocess.run(
            [sys.executable, __file__, request], stdout=subprocess.PIPE, text=True, timeout=timeout, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise TimedOut(f"{module}.{function} took longer than {timeout:g} s") from error
    if done.returncode in (_OUT_OF_MEMORY, _KILLED):
        raise OutOfMemory(f"{module}.{function} ran out of memory")
    if done.returncode != 0:
        raise RuntimeError(f"{module}.{function} failed with status {done.returncode}; its error stands above")
    return json.loads(done.stdout.splitlines()[-1])


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, of whatever library, says that memory was refused."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or "allocate" in words or "out of memory" in words


def limit_memory(size: float) -> None:
    """Refuse this process more than `size` bytes beyond what it has mapped already, where the system tells that."""
    mapped = address_space()
    if mapped == 0:
        return
    import resource

    limit = int(mapped + size)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _answer(request: Mapping[str, Any]) -> int:
    function = getattr(importlib.import_module(request["module"]), request["function"])
    try:
        result = function(**request["arguments"])
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return _OUT_OF_MEMORY
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(_answer(json.loads(sys.argv[1])))
