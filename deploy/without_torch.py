"""Part a lock into what needs no CUDA, with its hashes, and torch's version alone.

python without_torch.py requirements.lock rest.lock torch.txt
"""

import re
import sys
from pathlib import Path
from typing import Final

_ONLY_FOR_CUDA: Final = re.compile(r"(nvidia-|cuda-|triton==)")


def part(lock: str) -> tuple[str, str]:
    """(The lock without torch and what it needs for CUDA, torch's requirement)."""
    entries = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
    torch = [entry for entry in entries if entry.startswith("torch==")]
    rest = [entry for entry in entries if entry not in torch and not _ONLY_FOR_CUDA.match(entry)]
    (requirement,) = (entry.split()[0] for entry in torch)
    return "".join(rest), f"{requirement}\n"


if __name__ == "__main__":
    source, rest_file, torch_file = map(Path, sys.argv[1:])
    rest_lock, torch_requirement = part(source.read_text())
    rest_file.write_text(rest_lock)
    torch_file.write_text(torch_requirement)
