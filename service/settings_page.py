"""The table of docs/configuration.md: `python -m service.settings_page` prints it."""

from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from service.settings import GIB, MIB, ServiceSettings

_SIZES: Final = ((GIB, "GiB"), (MIB, "MiB"))


def _shown(default: Any, *, in_bytes: bool) -> str:
    """A default as it would be written in the environment; – if there is none."""
    if default is None or isinstance(default, SecretStr):
        return "–"
    if isinstance(default, tuple):
        return "–" if not default else f"`{list(default)}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, (Path, str)):
        return f"`{default}`"
    for size, unit in _SIZES if in_bytes else ():
        if default and default % size == 0:
            return f"`{default}` ({default // size} {unit})"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def settings_table() -> str:
    """One row a setting, in the order of the code: its variable, default and meaning."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    prefix = ServiceSettings.model_config["env_prefix"]
    for name, field in ServiceSettings.model_fields.items():
        shown = _shown(field.default, in_bytes=name.endswith("_bytes"))
        rows.append(f"| `{prefix}{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(settings_table(), end="")
