"""The shim: one small process per running box. It owns QEMU and the network process, writes the logs, records how
the box ended, and removes it when that was asked for. Nothing of a box outlives its shim.

It is started early, without a plan, so that its own start costs no time; the starter then sends the plan over a
socket pair, the *lifeline*. While the box is being started the lifeline's end ends the box; afterwards only that of an
attached box does.
"""
