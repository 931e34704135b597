"""The key that opens a new installation."""

from service.installation import Installation
from service.settings import ServiceSettings
from service.store.audit import Action
from service.store.keys import Role

NAME = "first administrator"


def ensure_first_key(settings: ServiceSettings) -> str | None:
    """Make an administrator's key where there is no key yet.

    Returns:
        Its secret if one was made up here, to be shown once; None if it came from the settings, or
        keys exist already.
    """
    installation = Installation.open(settings)
    try:
        if installation.keys.list():
            return None
        given = settings.bootstrap_key
        key, secret = installation.keys.create(
            NAME,
            frozenset({Role.ADMIN}),
            secret=given.get_secret_value() if given is not None else None,
        )
        installation.audit.note("system", Action.KEY_CREATED, detail={"key": key.id})
        return secret if given is None else None
    finally:
        installation.close()
