"""`smearscan keys`: who may call the service. Works on the database, with or without a service."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import click
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from service.installation import Installation
from service.layout import DataRoot
from service.settings import ServiceSettings, describe_wrong
from service.store.audit import Action
from service.store.columns import now
from service.store.engine import database_url, migrate
from service.store.keys import ApiKey, Role

ACTOR = "cli"
"""In the audit log, for what is done at a terminal of the server."""

_data = click.option(
    "--data", type=click.Path(file_okay=False), help="Data directory [SMEARSCAN_DATA]."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")


@click.group()
def keys() -> None:
    """Make, list and revoke API keys."""


@keys.command()
@click.argument("name")
@click.option(
    "--role",
    "roles",
    type=click.Choice([role.value for role in Role]),
    multiple=True,
    required=True,
    help="What the key may do; may be given again.",
)
@click.option("--expires-days", type=click.FloatRange(0.0, 36_500), help="Days it opens anything.")
@click.option("--per-minute", type=click.IntRange(1), help="Requests a minute.")
@_data
@_json
def create(
    name: str,
    roles: tuple[str, ...],
    expires_days: float | None,
    per_minute: int | None,
    data: str | None,
    as_json: bool,
) -> None:
    """Make a key called NAME; its secret is shown once and stored nowhere."""
    expires_at = None if expires_days is None else now() + timedelta(days=expires_days)
    with _opened(data) as installation:
        key, secret = installation.keys.create(
            name,
            frozenset(Role(role) for role in roles),
            expires_at=expires_at,
            rate_per_minute=per_minute,
        )
        detail = {"key": key.id, "roles": sorted(key.roles)}
        installation.audit.note(ACTOR, Action.KEY_CREATED, detail=detail)
    if as_json:
        click.echo(json.dumps({**_as_json(key), "secret": secret}))
    else:
        click.echo(f"{secret}\n", nl=False)
        click.echo(f"key {key.id} ({name}); this secret is not shown again", err=True)


@keys.command("list")
@_data
@_json
def list_keys(data: str | None, as_json: bool) -> None:
    """All keys, revoked ones included; never their secrets."""
    with _opened(data) as installation:
        found = installation.keys.list()
    if as_json:
        click.echo(json.dumps([_as_json(key) for key in found], indent=2))
        return
    moment = now()
    for key in found:
        state = "valid" if key.is_valid(moment) else "revoked" if key.revoked_at else "expired"
        click.echo(f"{key.id}  {state:<8} {','.join(sorted(key.roles)):<24} {key.name}")


@keys.command()
@click.argument("key_id")
@_data
def revoke(key_id: str, data: str | None) -> None:
    """Have a key open nothing any more, within seconds."""
    with _opened(data) as installation:
        if not installation.keys.revoke(key_id):
            raise click.ClickException(f"there is no key {key_id!r}: see `smearscan keys list`")
        installation.audit.note(ACTOR, Action.KEY_REVOKED, detail={"key": key_id})


@contextmanager
def _opened(data: str | None) -> Iterator[Installation]:
    """The installation; a database that does not answer is one line."""
    given: dict[str, Any] = {} if data is None else {"data": data}
    try:
        settings = ServiceSettings(**given)
    except ValidationError as err:
        raise click.ClickException(describe_wrong(err)) from err
    try:
        DataRoot.of(settings).make()
        migrate(database_url(settings))
        installation = Installation.open(settings)
        try:
            yield installation
        finally:
            installation.close()
    except (SQLAlchemyError, OSError) as err:
        raise click.ClickException(
            f"the database cannot be used: {err.__class__.__name__}"
        ) from err


def _as_json(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "roles": sorted(key.roles),
        "rate_per_minute": key.rate_per_minute,
        "created_at": key.created_at.isoformat(),
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
    }
