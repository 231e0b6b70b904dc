"""A host that is made to be stopped or killed: ``python -m device_interface.conformance.host``.

Takes one argument, a JSON object with ``name``, ``options``, ``black_box`` and ``then``; walks,
prints the device's process id, and goes on until it is ended. With ``then`` = ``ramp_down`` it
asks for a ramp-down after a line on standard input, and is gone at once.
"""

from __future__ import annotations

import json
import os
import sys

from device_interface.conformance.links import BenchLink
from device_interface.conformance.rig import Rig
from trialkit._clock import RealClock


def main() -> None:
    """Walk on the device until ended."""
    order = json.loads(sys.argv[1])
    link = BenchLink(order["name"], order["options"], RealClock(), black_box=order["black_box"])
    rig = Rig(link)
    rig.walk(quick=True)
    sys.stdout.write(f"{link.pid}\n")
    sys.stdout.flush()
    os.set_blocking(sys.stdin.fileno(), False)
    while True:
        rig.pass_blocks(0.05)
        if order["then"] == "ramp_down" and sys.stdin.readline():
            link.ramp_down()
            os._exit(0)  # no stop, no close: as gone as a host can be


if __name__ == "__main__":
    main()
