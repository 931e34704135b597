"""What another program's network is, in a TOML file: `smearscan train import --mapping`."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from models.errors import ModelError
from models.nets.registry import NETWORKS
from models.taxonomy import CODES, CellClass

DROPPED: Final = ""
"""Stands in `classes` for an output that is none of the 15 classes."""

Unit = Annotated[float, Field(ge=0, le=1)]
Spread = Annotated[float, Field(gt=0, le=1)]
Text = Annotated[str, Field(min_length=1)]


class MappingError(ModelError):
    """A mapping file is not TOML, or a field is missing, unknown or out of range."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Rename(_Strict):
    """One rule: every match of a pattern in a tensor's name is replaced."""

    pattern: str = Field(description="A Python regular expression.")
    to: str = Field(description="Its replacement; \\1 is the first group.")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as err:
            raise ValueError(f"not a regular expression: {err}") from err
        return pattern


class Mapping(_Strict):
    """A foreign state dict, described."""

    name: Text = Field(description="What the network is called where it comes from.")
    network: str = Field(description="A name in models.nets.registry.NETWORKS.")
    classes: tuple[str, ...] = Field(
        min_length=2, description='Code of each output in its order; "" drops the output.'
    )
    state_key: str = Field(default="", description="Where the tensors lie in a nested dict.")
    strip: tuple[Text, ...] = Field(
        default=("module.", "model.", "net."),
        description="Prefixes taken off the tensors' names, as often as they stand there.",
    )
    rename: tuple[Rename, ...] = Field(default=(), description="Applied in turn, after `strip`.")
    ignore: tuple[str, ...] = Field(
        default=(), description="Renamed tensors to leave out, as regular expressions of the whole."
    )
    input_px: int = Field(ge=16, le=1024, description="Width the network was trained at, px.")
    patch_um: float = Field(gt=0, le=200, description="Width of what it saw, µm.")
    mean: tuple[Unit, Unit, Unit] = Field(description="Red, green, blue; 0–1; subtracted.")
    std: tuple[Spread, Spread, Spread] = Field(description="Red, green, blue; 0–1; divided by.")
    channels: Literal["RGB", "BGR"] = Field(default="RGB", description="Order the network takes.")
    training_cells: int = Field(default=0, ge=0, description="Cells trained on; 0 if unknown.")
    licence: Text
    citation: Text

    @field_validator("network")
    @classmethod
    def _is_registered(cls, network: str) -> str:
        if network not in NETWORKS:
            raise ValueError(f"not registered; known: {', '.join(NETWORKS)}")
        return network

    @field_validator("ignore")
    @classmethod
    def _compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as err:
                raise ValueError(f"{pattern!r} is not a regular expression: {err}") from err
        return patterns

    @model_validator(mode="after")
    def _classes_are_codes(self) -> Self:
        named = [code for code in self.classes if code != DROPPED]
        if unknown := sorted(set(named) - set(CODES)):
            raise ValueError(f"classes: {', '.join(unknown)} are none of {', '.join(CODES)}")
        if twice := sorted({code for code in named if named.count(code) > 1}):
            raise ValueError(
                f"classes: two outputs cannot both be {', '.join(twice)}: their probabilities would"
                ' have to be added after the softmax, which no linear head does; drop one with ""'
            )
        if len(named) < 2:
            raise ValueError("classes: fewer than two outputs are kept")
        return self

    @property
    def unsupported(self) -> tuple[CellClass, ...]:
        """Classes that no output names."""
        return tuple(code for code in CODES if code not in self.classes)


def read_mapping(path: Path) -> Mapping:
    """Read and check a mapping file.

    Raises:
        MappingError: every wrong field is named with its line, value and what is wrong with it.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return Mapping.model_validate(tomllib.loads(text))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise MappingError(f"{path.name} is not TOML: {err}") from err
    except ValidationError as err:
        problems = []
        for problem in err.errors():
            field = ".".join(map(str, problem["loc"]))
            line = _find_line(text, str(problem["loc"][-1])) if problem["loc"] else None
            where = f"{field}{f' (line {line})' if line else ''}: " if field else ""
            value = f", not {problem['input']!r}" if field and problem["type"] != "missing" else ""
            problems.append(f"{where}{problem['msg'].removeprefix('Value error, ')}{value}")
        raise MappingError(f"{path.name}: {'; '.join(problems)}") from err


def _find_line(text: str, key: str) -> int | None:
    for number, line in enumerate(text.splitlines(), start=1):
        if re.match(rf"\s*\[*\s*{re.escape(key)}\b\s*[=\]]", line):
            return number
    return None
