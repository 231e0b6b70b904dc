"""An LSL sender in a process of its own: ``python lsl_outlet.py NAME TYPE RATE``."""

from __future__ import annotations

import sys
import time

import pylsl


def main() -> None:
    name, kind, rate = sys.argv[1], sys.argv[2], float(sys.argv[3])
    info = pylsl.StreamInfo(name, kind, 2, rate, pylsl.cf_float32, f"test-{name}")
    info.set_channel_labels(["Tib. Ant. (L)", "Tib. Ant. (L)"])
    info.set_channel_units(["microvolts", "microvolts"])
    outlet = pylsl.StreamOutlet(info)
    print("ready", flush=True)
    sent, begun = 0, pylsl.local_clock()
    while True:
        due = int((pylsl.local_clock() - begun) * rate)
        for at in range(sent, due):
            outlet.push_sample([at % 1000, -(at % 1000)], begun + at / rate)
        sent = max(sent, due)
        time.sleep(0.01)


main()
