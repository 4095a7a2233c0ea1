"""A small internet of our own: a network namespace for the host that boxes run on, and one for everybody else.

`world.py` runs in the second one and answers on every address; `probe.py` runs in a box and tries to reach them.
"""
