"""Who may be called back."""

from urllib.parse import urlsplit

from service.settings import ServiceSettings


class CallbackRefused(Exception):
    """A callback URL is not allowed; the message says why."""


def check_callback(settings: ServiceSettings, url: str) -> None:
    """Refuse a callback to a host that is not listed.

    Raises:
        CallbackRefused: its scheme or host is not allowed here.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        raise CallbackRefused("the callback must be an http or https URL")
    if parts.hostname not in settings.webhook_hosts:
        raise CallbackRefused(
            f"callbacks to {parts.hostname!r} are not allowed here: the administrator adds the host"
            " to SMEARSCAN_WEBHOOK_HOSTS"
        )
