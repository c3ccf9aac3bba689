"""Addresses of embedding APIs: the one to send to, and the one that may be written down."""

from urllib.parse import SplitResult, urlsplit, urlunsplit

from nestvec.errors import InputError

OPENAI_URL = "https://api.openai.com/v1"

_DEFAULT_PORTS = {"http": 80, "https": 443}


def embeddings_url(base_url: str) -> str:
    """The address of `{base_url}/embeddings`, with the credentials and the query of `base_url`."""
    parts = _split(base_url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/embeddings", fragment=""))


def public_address(url: str) -> str:
    """The part of `url` that holds no secret: scheme, host, port and path.

    User, password, query and fragment are dropped. Two spellings of one address become equal:
    upper-case hosts, a default port and a final slash.

    >>> public_address("HTTP://user:secret@Host:80/v1/?key=secret")
    'http://host/v1'
    """
    parts = _split(url)
    host = parts.hostname or ""
    netloc = f"[{host}]" if ":" in host else host
    if parts.port is not None and parts.port != _DEFAULT_PORTS[parts.scheme]:
        netloc = f"{netloc}:{parts.port}"
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))


def is_loopback(url: str) -> bool:
    """True for a server on this machine."""
    host = _split(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _split(url: str) -> SplitResult:
    """The parts of a web address, else `InputError`, which repeats nothing that may be secret."""
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in _DEFAULT_PORTS and bool(parts.hostname)
        _ = parts.port  # raises for what is no port
    except ValueError:
        usable = False
    if not usable:
        shown = url.rpartition("@")[2].partition("?")[0]
        raise InputError(f"base_url={shown!r} is no web address; write one like {OPENAI_URL!r}")
    return parts
