"""How every process logs: one JSON object a line on stderr, or readable lines on a terminal.

Fields: `time` (UTC, ISO 8601), `level`, `event`, `process`, `pid`, `logger`, what
`structlog.contextvars.bound_contextvars(scan_id=…, request_id=…)` has bound, and what the call
gives. Lines of libraries that use `logging` (uvicorn, rq, sqlalchemy, alembic) look the same: none
of them may configure logging itself (uvicorn: `log_config=None`). Values of secrets never appear.
"""

import logging
import os
import re
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

HIDDEN: Final = "***"
_SECRET_NAME: Final = re.compile(
    r"authorization|cookie|passw|secret|token|credential|api[-_]?key|bootstrap[-_]?key", re.I
)
_SECRET_TEXT: Final = (
    (re.compile(r"(\w://[^\s:/@]*:)[^\s@/]+@"), rf"\1{HIDDEN}@"),  # scheme://user:password@
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]+", re.I), rf"\1 {HIDDEN}"),
    (
        re.compile(
            r"((?:authorization|cookie|passw\w*|secret|token|api[-_]?key)[\"']?\s*[=:]\s*)"
            r"[\"']?[^\s\"'&,}]+",
            re.I,
        ),
        rf"\1{HIDDEN}",
    ),
)
_LIBRARIES: Final = ("uvicorn", "uvicorn.access", "uvicorn.error", "rq", "rq.worker", "alembic")


def hide_secrets(value: Any, name: str = "") -> Any:
    """The value without what may be a secret, by its name or by its look; at any depth."""
    if isinstance(value, Mapping):
        return {key: hide_secrets(item, str(key)) for key, item in value.items()}
    if _SECRET_NAME.search(name):
        return HIDDEN
    if isinstance(value, (list, tuple)):
        if len(value) == 2 and isinstance(value[0], (str, bytes)):  # a header
            header = value[0].decode("latin-1") if isinstance(value[0], bytes) else value[0]
            return [hide_secrets(value[0]), hide_secrets(value[1], header)]
        return [hide_secrets(item) for item in value]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        for pattern, replacement in _SECRET_TEXT:
            value = pattern.sub(replacement, value)
    return value


def _hide(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {name: hide_secrets(value, name) for name, value in event.items()}


def _order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    first = {name: event[name] for name in ("time", "level", "process", "pid", "event")}
    return first | dict(event)


def _name_process(process: str) -> Processor:
    def add(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {**event, "process": process, "pid": os.getpid()}  # asked anew: rq forks

    return add


def configure_logs(process: str, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Set up this process's logging, once, before anything is logged.

    Args:
        process: its name in every line, e.g. "api" or "rq-1".
        level: least severe lines that are written, as in `ServiceSettings.log_level`.
        stream: where to; stderr by default.

    Raises:
        ValueError: there is no such level.
    """
    stream = stream or sys.stderr
    levels = logging.getLevelNamesMapping()
    if level.upper() not in levels:
        raise ValueError(f"log level {level!r} is none of {', '.join(levels)}")
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _name_process(process),
        structlog.processors.StackInfoRenderer(),
    ]
    if stream.isatty():
        last: list[Processor] = [
            _hide,
            structlog.dev.ConsoleRenderer(
                timestamp_key="time",
                exception_formatter=structlog.dev.plain_traceback,  # the rich one prints locals
            ),
        ]
    else:
        last = [
            structlog.processors.format_exc_info,
            _hide,
            _order,
            structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
        ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _LIBRARIES:  # theirs would write a second, different line
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every webhook's URL
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _log_uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    logging.getLogger("smearscan").critical(
        "uncaught %s", kind.__name__, exc_info=(kind, error, traceback)
    )
