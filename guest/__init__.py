"""The agent: process 1 of every machine.

It serves the portal (gRPC over virtio-serial ports), makes this machine a box of its own after a restore, and runs the
box's container through crun. Nothing here is imported by the host but `guest.wire`.

    ports ──▶ services ──▶ machine (identity, network, clock)
                     ├───▶ container (disk, mounts, crun)
                     ├───▶ sessions (executions and their streams)
                     └───▶ files (tar streams in the container's view)
"""
