"""What a blinded person exports is the same, byte for byte, whoever got which arm."""

from __future__ import annotations

from pathlib import Path

import pytest
from swapped_study import NOW, TELLTALE, make_pair

from trialkit._clock import SimulatedClock
from trialkit.exchange.odm import export_odm
from trialkit.exchange.redcap import export_redcap
from trialkit.record import KeyStore
from trialkit.study import Study


@pytest.mark.slow(seconds=12)
def test_two_studies_with_the_arms_swapped_give_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    found: dict[str, list[list[bytes]]] = {}
    for place, folder in enumerate(make_pair(tmp_path)):
        for user in ("dana", "mona", "stan", "cora"):
            with Study.open(
                folder / "study",
                actor=user,
                keys=KeyStore(folder / "keys"),
                clock=SimulatedClock(NOW),
            ) as study:
                out = tmp_path / f"{user}{place}"
                out.mkdir()
                export_redcap(study, out / "redcap")
                export_odm(study, out / "odm.xml")
            files = sorted(p for p in out.rglob("*") if p.is_file())
            found.setdefault(user, []).append([p.read_bytes() for p in files])
    for user, (first, second) in found.items():
        told = TELLTALE.encode() in b"".join(first)
        assert (first == second, told) == ((True, False) if user != "cora" else (False, True)), user
