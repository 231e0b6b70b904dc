"""The centre as a site reaches it over HTTP; needs the extra ``sync`` (httpx)."""

from __future__ import annotations

import json
import ssl
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from trialkit import errors
from trialkit._canonical import canonical_json
from trialkit.errors import MissingTool, TrialkitError, Unreachable, UsageError
from trialkit.record.sign import KeyStore
from trialkit.study.sync.centre import Head
from trialkit.study.sync.folder import KEYS, key_name
from trialkit.study.sync.signed import sign_request

if TYPE_CHECKING:
    import httpx

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_TIMEOUT_S = 30.0


class HttpCentre:
    """A centre behind a URL, for one site's folder.

    Parameters
    ----------
    url : str
        ``https://HOST:PORT``; plain ``http`` only to this machine.
    folder : Path
        The site's study folder, which holds its key.
    site : str
    ca : Path or None
        Certificate of the authority that signed the centre's, where the system does not know it.

    Raises
    ------
    UsageError
        If the URL is not encrypted and leads to another machine.
    MissingTool
        If httpx is not installed.
    """

    def __init__(self, url: str, folder: Path, site: str, ca: Path | None = None) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingTool(
                "pushing over the network needs httpx.",
                remedy="Install it: pip install 'trialkit[sync]'.",
            ) from error
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{url!r} is no address.", remedy="Give https://HOST:PORT.")
        if parts.scheme == "http" and parts.hostname not in LOCAL:
            raise UsageError(
                f"{url} is not encrypted.", remedy="Use https://, or a proxy on this machine."
            )
        self._url = url.rstrip("/")
        self._key = KeyStore(folder / KEYS).load(key_name(site))
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        self._client: httpx.Client = httpx.Client(verify=context, timeout=_TIMEOUT_S)
        self._failed = (httpx.TransportError, httpx.StreamError)
        self._ahead_s: float | None = None  # of the centre's clock before the monotonic one here

    def __enter__(self) -> HttpCentre:
        """Return the centre itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self._client.close()

    def head(self, site: str) -> Head:
        """Return how far the site's chain is there."""
        return _head(self._call(site, "head"))

    def body_hash(self, site: str, seq: int) -> str:
        """Return the hash of an event of the site as it is there."""
        return str(self._call(site, "hash", seq=seq)["hash"])

    def receive(self, site: str, first: int, bodies: list[str]) -> Head:
        """Send events."""
        return _head(self._call(site, "events", canonical_json(bodies).encode(), first=first))

    def sizes(self, site: str, session: str) -> dict[str, int]:
        """Return the bytes that are there of each file of a session."""
        return {str(k): int(v) for k, v in self._call(site, "sizes", session=session).items()}

    def put(self, site: str, session: str, name: str, at: int, data: bytes, end: bool) -> int:
        """Send bytes of a file; return how many of it are there."""
        found = self._call(site, "put", data, session=session, name=name, at=at, end=int(end))
        return int(found["have"])

    def finish(self, site: str, session: str) -> bool:
        """Have a session whose files are all there recorded."""
        return bool(self._call(site, "finish", session=session)["recorded"])

    def _call(self, site: str, asked: str, body: bytes = b"", **arguments: Any) -> dict[str, Any]:
        """Send a signed request and return the answer."""
        if self._ahead_s is None:
            self._ahead_s = float(self._post("time", b"", {})["time"]) - time.monotonic()
        query = f"?{urlencode(arguments)}" if arguments else ""
        target = f"{site}/{asked}{query}"
        now = time.monotonic() + self._ahead_s
        try:
            return self._post(target, body, sign_request(self._key, target, body, now))
        except errors.NotAuthenticated:
            self._ahead_s = None  # the next try asks for the time again
            raise

    def _post(self, target: str, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
        try:
            answer = self._client.post(
                f"{self._url}/sync/1/{target}", content=body, headers=headers
            )
            found = json.loads(answer.content)
            refused = found.get("error") if answer.status_code != 200 else None
        except (*self._failed, ValueError, AttributeError) as error:
            raise Unreachable(
                f"{self._url}: {str(error) or type(error).__name__}.",
                remedy="Push again when the network is there; what was acknowledged is kept.",
            ) from error
        if answer.status_code == 200:
            return dict(found)
        if refused is None:
            raise Unreachable(f"{self._url} answered {answer.status_code}.", remedy="Push again.")
        raise _error(refused)


def _head(data: dict[str, Any]) -> Head:
    return Head(
        int(data["last"]),
        str(data["hash"]),
        int(data["centre"]),
        str(data["centre_hash"]),
        tuple(map(str, data["missing"])),
    )


def _error(data: dict[str, Any]) -> TrialkitError:
    """Return an error of the centre as the class of the tree that it is there."""
    kinds, found = [TrialkitError], TrialkitError
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        found = kind if kind.code == data.get("code") else found
    details = data.get("details") or {}
    return found(
        f"the centre: {data.get('message')}", remedy=str(data.get("remedy", "")), **details
    )
