"""Two sites, a server and a cut network, each a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from two_sites import (
    DEADLINE_S,
    Cable,
    Served,
    busy_site,
    cable,
    copied,
    environment,
    keys_of,
    make_centre,
    open_at,
    open_centre,
    push_command,
    pushed,
    require_same,
    sealed_session,
    work,
)

from trialkit._clock import RealClock
from trialkit.errors import (
    ChainBroken,
    NotAuthenticated,
    NotPermitted,
    StorageRefused,
    TrialkitError,
    Unreachable,
    UsageError,
)
from trialkit.record import KeyStore
from trialkit.study import Study
from trialkit.study.sync.client import HttpCentre
from trialkit.study.sync.push import FolderSource, Pushed, push
from trialkit.study.sync.server import MOST_BODY, serve
from trialkit.study.sync.signed import NONCE, SIGNATURE, TIME, WINDOW_S, Requests, sign_request

SITE = "02"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A centre, and two sites with people and sessions."""
    folder = tmp_path_factory.mktemp("sync")
    make_centre(folder).close()
    busy_site(folder, SITE, 2, size=200_000)
    busy_site(folder, "03", 1, size=100_000)
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    return copied(template, tmp_path)


def send(folder: Path, url: str, site: str = SITE, tries: int = 5) -> Pushed:
    with (
        FolderSource(folder / f"site-{site}") as source,
        HttpCentre(url, folder / f"site-{site}", site) as centre,
    ):
        return push(source, centre, tries=tries, wait=lambda s: time.sleep(min(s, 0.05)))


def test_two_sites_at_once_and_one_of_them_twice(folder: Path) -> None:
    with Served(folder) as server:
        running = [
            subprocess.Popen(
                push_command(folder, site, server.url),
                env=environment(folder),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for site in (SITE, "03", SITE)
        ]
        said = [process.communicate(timeout=DEADLINE_S * 2) for process in running]
        assert [process.returncode for process in running] == [0, 0, 0], said
        done = [json.loads(out) for out, _ in said]
        assert done[0]["events"] + done[2]["events"] >= done[0]["last"]
        assert done[0]["last"] == done[2]["last"]
        again = pushed(folder, SITE, server.url)
        assert json.loads(again.stdout)["events"] == 0
    require_same(folder, SITE, "03")


def test_a_network_that_is_down_for_a_time(folder: Path) -> None:
    with Served(folder) as server, cable(server.port) as line:
        line.down = True
        refused = pushed(folder, SITE, line.url, tries=2)
        assert refused.returncode == Unreachable.exit_status
        assert json.loads(refused.stdout)["error"]["code"] == "TK-NETWORK"
        before = line.refused
        process = subprocess.Popen(
            push_command(folder, SITE, line.url, tries=12),
            env=environment(folder),
            stdout=subprocess.PIPE,
            text=True,
        )
        until = time.monotonic() + DEADLINE_S
        while line.refused < before + 2 and time.monotonic() < until:
            time.sleep(0.01)
        line.down = False
        done = json.loads(process.communicate(timeout=DEADLINE_S * 2)[0])
        assert done["broken_off"] >= 2
        assert done["sessions"] == 2
    require_same(folder, SITE)


def cut_everywhere(folder: Path, step: int) -> tuple[int, int]:
    """Push a site again and again over a line that is cut every `step` bytes; return the counts."""
    with Served(folder) as server, cable(server.port) as line:
        for _ in range(10_000):
            line.left = step
            try:
                send(folder, line.url, tries=1)
            except Unreachable:
                continue
            break
        line.left = None
        cuts, passed = line.cuts, line.passed
        assert send(folder, line.url).events == 0
    return cuts, passed


def test_a_line_that_is_cut_after_k_bytes_for_many_k(folder: Path) -> None:
    with Served(folder) as server, cable(server.port) as line:
        k, cuts = 0, 0
        while True:
            k += 9_973
            line.left = k % 290_000 + 1
            try:
                send(folder, line.url, tries=1)
                break
            except Unreachable:
                cuts += 1
                # what was acknowledged stays, whatever was cut
                with open_centre(folder, write=False) as centre:
                    assert centre.record.verify().ok
    assert cuts >= 3
    require_same(folder, SITE)


@pytest.mark.slow(seconds=60)
@pytest.mark.parametrize("step", [3_001, 20_011, 263_000])
def test_a_line_that_is_cut_again_and_again(folder: Path, step: int) -> None:
    if step < 10_000:  # a part of 256 KiB never passes: the events do, and nothing is lost
        with Served(folder) as server, cable(server.port) as line:
            for k in range(400, 24_000, 397):
                line.left = k
                with pytest.raises(Unreachable):
                    send(folder, line.url, tries=1)
            send(folder, line.url)
    else:
        with Served(folder) as server, cable(server.port) as line:
            k = step
            for _ in range(200):
                line.left, k = k, k + step // 3
                try:
                    send(folder, line.url, tries=1)
                    break
                except Unreachable:
                    continue
    require_same(folder, SITE)


def test_a_client_that_is_killed_goes_on_where_it_stood(folder: Path) -> None:
    with Served(folder) as server, cable(server.port) as line:
        killed = 0
        for k in (300, 3_000, 30_000, 150_000, 300_000):
            line.passed = 0
            process = subprocess.Popen(
                push_command(folder, SITE, line.url),
                env=environment(folder),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            until = time.monotonic() + DEADLINE_S
            while line.passed < k and process.poll() is None and time.monotonic() < until:
                time.sleep(0.001)
            killed += process.poll() is None
            process.kill()
            process.wait(DEADLINE_S)
        assert killed
        assert pushed(folder, SITE, server.url).returncode == 0
    require_same(folder, SITE)


def test_a_server_that_is_killed_while_a_site_pushes(folder: Path) -> None:
    result: list[Any] = []
    with Served(folder) as first, cable(first.port) as line:
        work_done = threading.Thread(
            target=lambda: result.append(send(folder, line.url, tries=400)), daemon=True
        )
        work_done.start()
        until = time.monotonic() + DEADLINE_S
        while line.passed < 60_000 and time.monotonic() < until:
            time.sleep(0.001)
        first.kill()
        with Served(folder, port=first.port):
            work_done.join(DEADLINE_S * 2)
            assert result, "the push did not end"
    assert result[0].sessions + 1 >= 2
    require_same(folder, SITE)


KILLING = (
    "import os, sys; sys.path[:0] = os.environ['BESIDE'].split(os.pathsep); import sync_killing; "
    "sync_killing.arm(int(os.environ['KILL_AT'])); from trialkit.cli import main; main()"
)


@pytest.mark.slow(seconds=30)
def test_a_server_that_is_killed_at_one_write_after_the_other(folder: Path) -> None:
    here = Path(__file__).resolve().parent
    beside = os.pathsep.join([str(here), str(here.parent)])
    killed, at = 0, 1
    while True:
        with Served(folder, code=KILLING, BESIDE=beside, KILL_AT=str(at)) as server:
            try:
                send(folder, server.url, tries=1)
                break
            except Unreachable:
                assert server.process.wait(DEADLINE_S) == -signal.SIGKILL
        killed, at = killed + 1, at + 2
        with open_centre(folder, write=False) as centre:
            assert centre.record.verify().ok
    assert killed >= 4
    require_same(folder, SITE)


def test_a_site_whose_chain_was_altered_is_refused_by_the_server(folder: Path) -> None:
    shutil.copytree(folder / "site-02", folder / "kept")
    with Served(folder) as server:
        assert pushed(folder, SITE, server.url).returncode == 0
        shutil.rmtree(folder / "site-02")
        altered = make_elsewhere(folder)
        said = pushed(folder, SITE, server.url)
        assert said.returncode == ChainBroken.exit_status
        error = json.loads(said.stdout)["error"]
        assert error["details"]["seq"] == altered
        assert f"another event {altered}" in error["message"]
        pushed(folder, SITE, server.url)
    with open_centre(folder, write=False) as centre:
        found = list(centre.record.read(kinds=["chain.refused"]))
        assert [(e.payload["seq"], e.payload["why"]) for e in found] == [(altered, "fork")]
    shutil.rmtree(folder / "site-02")
    (folder / "kept").rename(folder / "site-02")
    require_same(folder, SITE)


def make_elsewhere(folder: Path) -> int:
    """Make a site folder that goes another way after the first events; return where."""
    shutil.copytree(folder / "kept", folder / "site-02")
    import sqlite3
    from contextlib import closing

    from trialkit._canonical import sha256_text

    with closing(sqlite3.connect(folder / "site-02" / "study.db")) as store, store:
        store.execute("DROP TRIGGER events_no_update")
        rows = store.execute("SELECT seq, body FROM events ORDER BY seq").fetchall()
        at = next(seq for seq, body in rows if '"participant.consented"' in body)
        prev = None
        for seq, body in rows[at - 1 :]:
            fields = json.loads(body)
            if prev is None:
                fields["payload"]["version"] = "9.9"
            else:
                fields["prev"] = prev
            text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            prev = sha256_text(text)
            store.execute("UPDATE events SET body = ?, hash = ? WHERE seq = ?", (text, prev, seq))
    return int(at)


def test_a_full_disk_at_the_centre_loses_nothing(folder: Path) -> None:
    with Served(folder, most_file=90_000) as server:
        said = pushed(folder, SITE, server.url)
        assert said.returncode == StorageRefused.exit_status, said.stdout
        assert json.loads(said.stdout)["error"]["code"] == "TK-STORAGE"
    with open_centre(folder, write=False) as centre:
        assert centre.record.verify().ok
    with Served(folder) as server:
        assert pushed(folder, SITE, server.url).returncode == 0
    require_same(folder, SITE)


# --- who may ask ----------------------------------------------------------------------------------


class Shifted(RealClock):
    """A clock that is wrong by so many hours."""

    def __init__(self, hours: float) -> None:
        self._off = timedelta(hours=hours)

    def now(self):
        return super().now() + self._off


@pytest.mark.parametrize("hours", [-50_000, -3, 3, 50_000])
def test_clocks_may_differ(folder: Path, hours: float) -> None:
    with Study.open(
        folder / "site-02", actor="olga", clock=Shifted(hours), keys=keys_of(folder)
    ) as site:
        work(site)
    with Served(folder) as server:
        send(folder, server.url)
    require_same(folder, SITE)


def asked(url: str, target: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    answer = httpx.post(f"{url}/sync/1/{target}", content=body, headers=headers)
    return answer.status_code, answer.text


def test_only_the_key_of_the_site_may_ask_and_once(folder: Path) -> None:
    with Served(folder) as server:
        key = KeyStore(folder / "site-02" / "sync").load("site-02")
        other = KeyStore(folder / "site-03" / "sync").load("site-03")
        now = float(httpx.post(f"{server.url}/sync/1/time").json()["time"])
        good = sign_request(key, "02/head", b"", now)
        assert asked(server.url, "02/head", b"", {})[0] == 401
        assert asked(server.url, "02/head", b"", sign_request(other, "02/head", b"", now))[0] == 401
        assert asked(server.url, "03/head", b"", good)[0] == 401
        assert asked(server.url, "09/head", b"", good)[0] == 401
        assert asked(server.url, "02/head", b"more", good)[0] == 401
        assert asked(server.url, "02/hash?seq=1", b"", good)[0] == 401
        assert asked(server.url, "02/head", b"", good)[0] == 200
        assert asked(server.url, "02/head", b"", good)[0] == 401  # the same a second time
        late = sign_request(key, "02/head", b"", now - 2 * WINDOW_S)
        assert asked(server.url, "02/head", b"", late)[0] == 401

        def signed(target: str, body: bytes = b"") -> tuple[int, str]:
            return asked(server.url, target, body, sign_request(key, target, body, now))

        assert signed("02/nothing")[0] == 400
        assert signed("02/hash?seq=x")[0] == 400
        assert signed("02/hash")[0] == 400
        assert signed("02/events?first=1", b"{}")[0] == 400
        assert signed("02/events?first=1", b"\xff")[0] == 400
        assert signed("02/put?session=..%2F..&name=x&at=0&end=1", b"x")[0] == 400
        assert signed("02/put?session=s&name=x&at=-5&end=1", b"x")[0] == 400
        assert signed("02/events?first=1", b"x" * (MOST_BODY + 1))[0] == 400
        assert httpx.get(f"{server.url}/sync/1/02/head").status_code == 405
        assert httpx.post(f"{server.url}/").status_code == 404
        assert send(folder, server.url).sessions == 2
    require_same(folder, SITE)


def test_a_signature_covers_what_is_asked() -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    raw = key.public_key().public_bytes(form.Encoding.Raw, form.PublicFormat.Raw).hex()
    headers = sign_request(key, "02/head", b"b", 1000.0)
    for change in ({TIME: "1001.000"}, {NONCE: "0"}, {SIGNATURE: "00" * 64}, {SIGNATURE: "zz"}):
        with pytest.raises(NotAuthenticated, match="not signed"):
            Requests().check(raw, "02/head", b"b", headers | change, 1000.0)
    seen = Requests()
    seen.check(raw, "02/head", b"b", headers, 1000.0 + WINDOW_S)
    for now in (1000.0, 1000.0 + WINDOW_S):
        with pytest.raises(NotAuthenticated, match="not of now"):
            seen.check(raw, "02/head", b"b", headers, now)
    with pytest.raises(NotAuthenticated, match="not of now"):
        seen.check(raw, "02/head", b"b", headers, 1001.0 + 3 * WINDOW_S)


def test_nothing_leaves_this_machine_without_encryption(folder: Path) -> None:
    for url in ("http://centre.example:80", "ftp://x", "centre"):
        with pytest.raises(UsageError):
            HttpCentre(url, folder / "site-02", SITE)
    with open_centre(folder) as centre, pytest.raises(UsageError, match="without encryption"):
        serve(centre, "0.0.0.0", 0)


def test_tls_with_a_certificate_of_ones_own(folder: Path) -> None:
    cert, key = certificate(folder)
    with Served(folder, "--cert", str(cert), "--key", str(key)) as server:
        assert server.url.startswith("https://")
        unknown = pushed(folder, SITE, server.url, tries=1)
        assert unknown.returncode == Unreachable.exit_status
        assert "certificate" in json.loads(unknown.stdout)["error"]["message"].lower()
        command = [*push_command(folder, SITE, server.url), "--ca", str(cert)]
        done = subprocess.run(
            command, env=environment(folder), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout
    assert ssl.OPENSSL_VERSION
    require_same(folder, SITE)


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that signs itself."""
    import ipaddress
    from datetime import UTC, datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "centre")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(form.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    )
    return cert, private


def test_the_server_sees_what_others_write_at_the_centre(folder: Path) -> None:
    with Served(folder) as server:
        send(folder, server.url)
        with open_centre(folder) as centre:
            centre.add_user("late", role="coordinator")
        with open_at(folder, SITE) as site:
            sealed_session(site, *work(site), size=1_000)
        assert send(folder, server.url).sessions == 1
    require_same(folder, SITE)


def test_a_push_says_no_counts_unless_one_may_see_allocations(folder: Path) -> None:
    with Served(folder) as server:
        command = push_command(folder, SITE, server.url)
        plain = command[: command.index("--counts")]
        for words, status in (
            (plain, 0), ([*plain, "--counts", "--as", "asta"], NotPermitted.exit_status),
            (command, 0),
        ):  # fmt: skip
            done = subprocess.run(
                words, env=environment(folder), capture_output=True, text=True, check=False
            )
            assert done.returncode == status
            if words == plain:
                assert set(json.loads(done.stdout)) == {"site", "broken_off"}


def test_an_error_of_the_centre_is_the_same_at_the_site(folder: Path) -> None:
    with (
        Served(folder) as server,
        HttpCentre(server.url, folder / "site-02", SITE) as centre,
        pytest.raises(UsageError, match="the centre: no event 99") as caught,
    ):
        centre.body_hash(SITE, 99)
    assert isinstance(caught.value, TrialkitError)
    assert Cable is not None
