"""API keys: made, found by their secret's hash, revoked."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Engine, Row, insert, select, update

from service.store.columns import new_id, now
from service.store.engine import writing
from service.store.tables import ApiKeyRow

PREFIX: Final = "smsc_"
"""Begins every secret, so that leaked ones can be searched for."""


class Role(StrEnum):
    """What a key may do. `admin` may do everything."""

    SUBMIT = "submit"
    READ = "read"
    REVIEW = "review"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key, without its secret."""

    id: str
    name: str
    roles: frozenset[Role]
    rate_per_minute: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def is_valid(self, moment: datetime) -> bool:
        """Whether it opens anything at that moment."""
        expired = self.expires_at is not None and self.expires_at <= moment
        return self.revoked_at is None and not expired

    def may(self, role: Role) -> bool:
        """Whether it has a role, or all of them."""
        return role in self.roles or Role.ADMIN in self.roles


def hash_secret(secret: str) -> str:
    """What is stored of a secret. Its 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Keys:
    """The API keys of an installation."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(
        self,
        name: str,
        roles: frozenset[Role],
        *,
        expires_at: datetime | None = None,
        rate_per_minute: int | None = None,
        secret: str | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key and its secret, which is never to be seen again."""
        secret = secret or PREFIX + secrets.token_urlsafe(32)
        key_id = new_id()
        with writing(self._engine) as connection:
            connection.execute(
                insert(ApiKeyRow).values(
                    id=key_id,
                    name=name,
                    secret_sha256=hash_secret(secret),
                    roles=sorted(roles),
                    rate_per_minute=rate_per_minute,
                    created_at=now(),
                    expires_at=expires_at,
                )
            )
            row = connection.execute(
                select(ApiKeyRow.__table__).where(ApiKeyRow.id == key_id)
            ).one()
        return _as_key(row), secret

    def find(self, secret: str) -> ApiKey | None:
        """The key of a secret, valid or not; None if there is none."""
        query = select(ApiKeyRow.__table__).where(ApiKeyRow.secret_sha256 == hash_secret(secret))
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else _as_key(row)

    def list(self) -> Sequence[ApiKey]:
        """All keys, oldest first, revoked ones included."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(ApiKeyRow.__table__).order_by(ApiKeyRow.id))
            return [_as_key(row) for row in rows]

    def revoke(self, key_id: str) -> bool:
        """Have a key open nothing any more; False if there is none of that id."""
        with writing(self._engine) as connection:
            revoked = connection.execute(
                update(ApiKeyRow)
                .where(ApiKeyRow.id == key_id, ApiKeyRow.revoked_at.is_(None))
                .values(revoked_at=now())
            )
            known = connection.execute(select(ApiKeyRow.id).where(ApiKeyRow.id == key_id)).first()
        return revoked.rowcount == 1 or known is not None


def _as_key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        roles=frozenset(Role(role) for role in row.roles),
        rate_per_minute=row.rate_per_minute,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
