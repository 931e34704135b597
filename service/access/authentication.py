"""From an `Authorization` header to a key that is allowed to do what is asked."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.access.rate_limit import RateLimit
from service.contract.problem import ProblemCode
from service.installation import Installation
from service.problems import ApiProblem
from service.store.columns import now
from service.store.keys import ApiKey, Keys, Role, hash_secret

REMEMBERED_S: Final = 5.0
"""A revoked key opens nothing more after this long, s."""
REMEMBERED: Final = 4096
"""Secrets remembered at a time, wrong ones too."""

_bearer = HTTPBearer(auto_error=False, scheme_name="ApiKey", description="An API key.")


Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


@dataclass(frozen=True, slots=True)
class _Entry:
    key: ApiKey | None
    until: float


class KeyCache:
    """Keys by the hash of their secret, for a few seconds: a status poll costs no look-up.

    For one event loop; what is async here costs a request no thread.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    async def find(self, secret: str) -> ApiKey | None:
        """As `Keys.find`, up to `REMEMBERED_S` old; only a new look-up takes a thread."""
        name, moment = hash_secret(secret), time.monotonic()
        entry = self._entries.get(name)
        if entry is not None and entry.until > moment:
            return entry.key
        key = await run_in_threadpool(self._keys.find, secret)
        self._entries[name] = _Entry(key, moment + REMEMBERED_S)
        self._entries.move_to_end(name)
        while len(self._entries) > REMEMBERED:
            self._entries.popitem(last=False)
        return key


def get_installation(request: Request) -> Installation:
    """The installation that this app serves."""
    installation: Installation = request.app.state.installation
    return installation


async def _find_installation(request: Request) -> Installation:
    return get_installation(request)


Served = Annotated[Installation, Depends(_find_installation)]


async def authenticate(request: Request, credentials: Credentials) -> ApiKey:
    """The caller's key.

    Raises:
        ApiProblem: 401; no key, or one that is unknown, expired or revoked. 429; too many requests.
    """
    cache: KeyCache = request.app.state.key_cache
    key = await cache.find(credentials.credentials) if credentials is not None else None
    if key is None or not key.is_valid(now()):
        raise ApiProblem(
            401,
            ProblemCode.UNAUTHENTICATED,
            "Send a valid API key as `Authorization: Bearer KEY`; an administrator makes keys with"
            " `smearscan keys create`.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    limit: RateLimit = request.app.state.rate_limit
    wait_s = limit.take(key.id, key.rate_per_minute)
    if wait_s:
        raise ApiProblem(
            429,
            ProblemCode.RATE_LIMITED,
            "This key makes more requests a minute than it may: wait, or have its limit raised.",
            headers={"Retry-After": str(wait_s)},
        )
    return key


def allow(role: Role) -> Callable[..., Awaitable[ApiKey]]:
    """A dependency: the caller's key, which must have the role."""

    async def check(request: Request, credentials: Credentials) -> ApiKey:
        key = await authenticate(request, credentials)
        if not key.may(role):
            raise ApiProblem(
                403,
                ProblemCode.FORBIDDEN,
                f"This key may not do that: it takes the role `{role}`.",
            )
        return key

    return check


_check_reader = allow(Role.READ)
Submitter = Annotated[ApiKey, Depends(allow(Role.SUBMIT))]
Reader = Annotated[ApiKey, Depends(_check_reader)]
Reviewer = Annotated[ApiKey, Depends(allow(Role.REVIEW))]
Administrator = Annotated[ApiKey, Depends(allow(Role.ADMIN))]


async def admit_reader(request: Request) -> ApiKey:
    """As the dependency `Reader`, without FastAPI's way there."""
    return await _check_reader(request, await _bearer(request))


async def uploader(key: Submitter) -> str:
    """Whose a resumable upload is."""
    return key.id
