"""Addresses of embedding APIs: the one to send to, and the one that may be written down."""

from urllib.parse import SplitResult, parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from nestvec.errors import InputError

OPENAI_URL = "https://api.openai.com/v1"

API_VERSION = "api-version"
"""The part of an address by which Azure knows its interface; it is no secret."""

_DEFAULT_PORTS = {"http": 80, "https": 443}


def embeddings_url(base_url: str) -> str:
    """The address of `{base_url}/embeddings`, with the credentials and the query of `base_url`."""
    parts = _split(base_url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/embeddings", fragment=""))


def public_address(url: str) -> str:
    """The part of `url` that holds no secret: scheme, host, port, path and Azure's `api-version`.

    User, password, the rest of the query and the fragment are dropped. Two spellings of one address
    become equal: upper-case hosts, a default port and a final slash.

    >>> public_address("HTTP://user:secret@Host:80/v1/?key=secret")
    'http://host/v1'
    """
    parts = _split(url)
    host = parts.hostname or ""
    netloc = f"[{host}]" if ":" in host else host
    if parts.port is not None and parts.port != _DEFAULT_PORTS[parts.scheme]:
        netloc = f"{netloc}:{parts.port}"
    query = urlencode([pair for pair in parse_qsl(parts.query) if pair[0] == API_VERSION])
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), query, ""))


def is_azure(url: str) -> bool:
    """Tell whether an address is of Azure's API, which reads the key from another header."""
    return any(name == API_VERSION for name, _ in parse_qsl(_split(url).query))


def redirected(url: str, location: str) -> str | None:
    """The address that a reply of `url` redirects to, None where it is of another server.

    The same server is the same scheme, host and port: a key must go to no other.
    """
    target = urljoin(url, location)
    try:
        old, new = _split(url), _split(target)
    except InputError:
        return None
    return target if _origin(old) == _origin(new) else None


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme]


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
