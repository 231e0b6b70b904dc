"""The centre's server: what sites push, over HTTP; needs the extra ``sync`` (starlette, uvicorn).

It knows one address, ``/sync/1/SITE/WHAT``. Each request is signed by the site's key. Bodies are
limited, calls are answered one at a time, and no name of a request becomes a path unless the
site's chain, or a manifest with the hash that the chain gives, has that name.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trialkit.errors import (
    MissingTool,
    NotAuthenticated,
    StorageRefused,
    StudyBusy,
    TrialkitError,
    UsageError,
)
from trialkit.record.storage import storage_refused
from trialkit.study.study import Study
from trialkit.study.sync.centre import MOST_BYTES
from trialkit.study.sync.client import LOCAL
from trialkit.study.sync.push import Here
from trialkit.study.sync.signed import Requests

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

MOST_BODY = 5 * MOST_BYTES
_SLOWEST_S = 60.0
_STATUS: tuple[tuple[type[TrialkitError], int], ...] = (
    (NotAuthenticated, 401),
    (UsageError, 400),
    (StudyBusy, 503),
    (StorageRefused, 507),
)
_LOG = logging.getLogger(__name__)


class Service:
    """Answers the requests of sites for a study that is open for writing.

    Parameters
    ----------
    study : Study
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._here = Here(study)
        self._requests = Requests()
        self._one = threading.Lock()

    def time(self) -> float:
        """Return the centre's time, in seconds since 1970."""
        return self._study.clock.now().timestamp()

    def answer(
        self, site: str, what: str, query: str, given: Mapping[str, str], body: bytes,
        headers: Mapping[str, str],
    ) -> dict[str, Any]:  # fmt: skip
        """Return the answer to a request.

        Parameters
        ----------
        query, given : str and mapping
            The arguments, as they were sent and read.

        Raises
        ------
        TrialkitError
            What the site is told.
        """
        with self._one:
            self._study.refresh()
            chain = self._study.state.chains.get(site)
            key = chain.public_key if chain is not None else "00" * 32
            target = f"{site}/{what}{'?' + query if query else ''}"
            self._requests.check(key, target, body, headers, self.time())
            return self._call(site, what, given, body)

    def _call(self, site: str, what: str, given: Mapping[str, str], body: bytes) -> dict[str, Any]:
        here = self._here
        calls: dict[str, Callable[[], dict[str, Any]]] = {
            "head": lambda: asdict(here.head(site)),
            "hash": lambda: {"hash": here.body_hash(site, int(given["seq"]))},
            "events": lambda: asdict(here.receive(site, int(given["first"]), _texts(body))),
            "sizes": lambda: dict(here.sizes(site, given["session"])),
            "put": lambda: {
                "have": here.put(
                    site, given["session"], given["name"], int(given["at"]), body,
                    given["end"] == "1",
                )
            },
            "finish": lambda: {"recorded": here.finish(site, given["session"])},
        }  # fmt: skip
        if what not in calls:
            raise UsageError(f"{what!r} cannot be asked.", remedy="Compare the versions.")
        try:
            return calls[what]()
        except (KeyError, ValueError) as error:
            raise UsageError(
                f"the request cannot be read ({error!r}).", remedy="Compare the versions."
            ) from error
        except OSError as error:
            raise storage_refused(self._study.folder, error.strerror or str(error)) from error


def _texts(body: bytes) -> list[str]:
    found = json.loads(body)
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError("no list of texts")
    return found


def make_app(service: Service) -> Starlette:
    """Return the application that a server runs."""
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    def shown(data: dict[str, Any], status: int = 200) -> Response:
        text = json.dumps(data, default=str)
        return Response(text, status_code=status, media_type="application/json")

    def refused(error: TrialkitError) -> Response:
        status = next((number for kind, number in _STATUS if isinstance(error, kind)), 409)
        return shown({"error": error.to_dict()}, status)

    async def now(_: Request) -> Response:
        return shown({"time": service.time()})

    async def ask(request: Request) -> Response:
        try:
            body = await asyncio.wait_for(_body(request), _SLOWEST_S)
            work = partial(
                service.answer,
                request.path_params["site"],
                request.path_params["what"],
                request.url.query,
                dict(request.query_params),
                body,
                dict(request.headers),
            )
            return shown(await asyncio.get_running_loop().run_in_executor(None, work))
        except TrialkitError as error:
            _LOG.warning("%s: %s", request.url.path, error)
            return refused(error)

    return Starlette(
        routes=[
            Route("/sync/1/time", now, methods=["POST"]),
            Route("/sync/1/{site}/{what}", ask, methods=["POST"]),
        ]
    )


async def _body(request: Request) -> bytes:
    """Return the body of a request, as far as one may be long."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BODY:
            raise UsageError("the request is too long.", remedy=f"Send at most {MOST_BODY} bytes.")
        parts.append(part)
    return b"".join(parts)


def serve(
    study: Study,
    host: str,
    port: int,
    *,
    cert: Path | None = None,
    key: Path | None = None,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve a study to its sites until the process is told to end.

    Parameters
    ----------
    port : int
        0 takes a free one.
    cert, key : Path or None
        Certificate chain and private key of the server; without them it serves this machine only.
    ready : callable
        Called with the address once it listens.

    Raises
    ------
    UsageError
        If it is to listen to other machines without a certificate.
    MissingTool
        If uvicorn or starlette are not installed.
    StorageRefused
        If the address is taken.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingTool(
            "serving sites needs starlette and uvicorn.",
            remedy="Install them: pip install 'trialkit[sync]'.",
        ) from error
    if (cert is None or key is None) and host not in LOCAL:
        raise UsageError(
            f"{host}: other machines are not served without encryption.",
            remedy="Give --cert and --key, or listen on 127.0.0.1 behind a proxy that has them.",
        )
    study.require("sync", command="serve")
    service = Service(study)
    config = uvicorn.Config(
        make_app(service),
        ssl_certfile=cert,
        ssl_keyfile=key,
        log_level="warning",
        access_log=False,
        lifespan="off",
        limit_concurrency=64,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
        server_header=False,
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            raise StorageRefused(
                f"{host}:{port}: {error.strerror}.", remedy="Give another address or port."
            ) from error
        shown = f"[{host}]" if ":" in host else host
        listening.listen(64)
        ready(f"http{'s' if cert else ''}://{shown}:{listening.getsockname()[1]}")
        uvicorn.Server(config).run(sockets=[listening])
