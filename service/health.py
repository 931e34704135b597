"""Whether an installation can take and analyse slides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError
from redis.exceptions import RedisError
from rq.worker_registration import get_keys

from service.contract.health import ModelState
from service.installation import Installation
from service.store.engine import is_reachable

MODEL_KEYS: Final = "smearscan:model:"
"""Begins the Redis keys under which model processes tell every few seconds how they are."""
MODEL_TTL_S: Final = 30


@dataclass(frozen=True, slots=True)
class Check:
    """One part of an installation."""

    name: str
    ok: bool
    detail: str


def model_states(installation: Installation) -> list[ModelState]:
    """What each living model process said last; one of another version is passed over.

    Raises:
        RedisError: the queue server does not answer.
    """
    names = _model_keys(installation)
    states = []
    for text in installation.redis.mget(names) if names else []:
        try:
            if text is not None:
                states.append(ModelState.model_validate_json(text))
        except ValidationError:
            continue
    return states


def count_workers(installation: Installation) -> int:
    """Workers that gave a sign of life lately; RQ's own count has those that were killed too.

    Raises:
        RedisError: the queue server does not answer.
    """
    names = get_keys(connection=installation.redis)
    return int(installation.redis.exists(*names)) if names else 0


def examine(installation: Installation) -> Sequence[Check]:
    """Everything a scan needs, each part by itself."""
    checks = [
        Check("store", is_reachable(installation.engine), "the database answers queries"),
    ]
    try:
        installation.redis.ping()
        workers = count_workers(installation)
        models = len(_model_keys(installation))
    except RedisError:
        gone = "the queue server does not answer"
        return [*checks, *(Check(name, False, gone) for name in ("queue", "worker", "model"))]
    return [
        *checks,
        Check("queue", True, "the queue server answers"),
        Check("worker", workers > 0, f"{workers} workers"),
        Check("model", models > 0, f"{models} model processes"),
    ]


def _model_keys(installation: Installation) -> list[bytes]:
    return list(installation.redis.scan_iter(match=f"{MODEL_KEYS}*", count=1000))
