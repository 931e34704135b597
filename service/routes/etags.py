"""Whether a client has already what it asks for."""


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether a client's ETags name what it asks for (RFC 9110, 13.1.2: weak comparison)."""
    if if_none_match is None:
        return False
    known = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in known or etag in known
