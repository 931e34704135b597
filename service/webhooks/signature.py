"""Proof that a message is from this installation and not an old one sent again."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

from service.layout import DataRoot
from service.settings import ServiceSettings

HEADER: Final = "X-Smearscan-Signature"
_FILE: Final = "webhook.key"


def sign(secret: bytes, body: bytes, unix_s: int) -> str:
    """The header's value: `t=<unix s>,v1=<HMAC-SHA-256 of "<unix s>." and the body, hex>`."""
    digest = hmac.new(secret, f"{unix_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={unix_s},v1={digest}"


def load_secret(settings: ServiceSettings) -> bytes:
    """The configured key, or the installation's own, made at its first use."""
    if settings.webhook_secret is not None:
        return settings.webhook_secret.get_secret_value().encode()
    path = DataRoot.of(settings).secrets / _FILE
    if not path.exists():
        _make(path)
    return path.read_text().strip().encode()


def _make(path: Path) -> None:
    """Write a new key; of two processes at once the first wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secrets.token_urlsafe(32) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
