"""A gait trainer on a CAN bus: six CiA-402 joint drives, a belt and a body-weight support.

::

    trainer.py     the driver: the device's side of the contract around a bus plant
    plant.py       set values and rows; reference.py the gait that the joints are given
    joining.py     finds, checks and sets up the nodes of a site
    master.py      the thread that owns the bus: SYNC, PDOs, SDO client, ages of signals
    remote.py      one drive as seen from here: nothing old is believed
    cia402.py      states and words of CiA 402, for both ends
    objects.py     objects, PDO mappings, emergency codes
    wire.py        identifiers and the coding of frames
    load.py        bus load from the mapping
    site.py        the site file
    bus.py, hub.py a CAN bus over Unix sockets, across processes
    slave.py       a simulated node's end of the wire
    motor.py       a simulated drive; moving.py what it moves
    drives.py      the simulated drives, in a process of their own; bench.py starts them

No part of it was ever connected to CAN hardware.
"""
