"""Who may be called back, and at which address.

A host is checked when a scan is submitted and again when it is called: what a name resolves to may
have changed, so the address that was checked is the one that is connected to.
"""

import ipaddress
import socket
from urllib.parse import SplitResult, urlsplit

from service.settings import ServiceSettings


class CallbackRefused(Exception):
    """A callback URL is not allowed; the message says why."""


def check_callback(settings: ServiceSettings, url: str) -> SplitResult:
    """Refuse a callback to a host that is not listed. Looks nothing up.

    Raises:
        CallbackRefused: its scheme or host is not allowed here, or it holds a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as err:
        raise CallbackRefused("the callback is no URL") from err
    if parts.scheme not in {"http", "https"} or port == 0:
        raise CallbackRefused("the callback must be an http or https URL")
    if parts.username is not None or parts.password is not None:
        raise CallbackRefused("the callback may not hold a user name or password")
    if parts.hostname not in settings.webhook_hosts:
        raise CallbackRefused(
            f"callbacks to {parts.hostname!r} are not allowed here: the administrator adds the host"
            " to SMEARSCAN_WEBHOOK_HOSTS"
        )
    return parts


def resolve_callback(settings: ServiceSettings, parts: SplitResult) -> str:
    """An address of the callback's host that may be connected to.

    Raises:
        CallbackRefused: the name is unknown, or one of its addresses is private and the
            installation does not allow that.
    """
    assert parts.hostname is not None
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as err:  # a label that is too long is the latter
        raise CallbackRefused(f"the host {parts.hostname!r} is unknown") from err
    addresses = [str(entry[4][0]) for entry in found]
    if not settings.webhook_private:
        for address in addresses:
            if not ipaddress.ip_address(address.partition("%")[0]).is_global:
                raise CallbackRefused(
                    f"the host {parts.hostname!r} has a private address: the administrator may set"
                    " SMEARSCAN_WEBHOOK_PRIVATE"
                )
    return addresses[0]
