"""`python -m worker NAME`: the processes of a worker machine, as the supervisor starts them.

Each is imported when it is asked for: only the model process loads torch.
"""

import importlib
import sys
from typing import Final

PROCESSES: Final = {
    "model": "worker.announce:main",
    "rq": "worker.queue_worker:main",
    "viewer": "worker.viewer.serving:main",
}
"""Name → "module:function"; the function takes nothing and returns the exit code."""


def main(arguments: list[str]) -> int:
    """Run the process of that name; returns its exit code, 2 for wrong usage."""
    if len(arguments) != 1 or arguments[0] not in PROCESSES:
        print(f"usage: python -m worker {{{'|'.join(PROCESSES)}}}", file=sys.stderr)
        return 2
    module, function = PROCESSES[arguments[0]].split(":")
    code = getattr(importlib.import_module(module), function)()
    assert isinstance(code, int)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
