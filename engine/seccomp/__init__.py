"""Seccomp filters: values for what a program may call, and libseccomp, which makes programs for the kernel of them. The
container inside a machine has Docker's default profile, or one in Docker's file format; the jail brings rules of its own.

    rules.py       what a profile says
    program.py     profile → classic BPF, by libseccomp, kept by content
    complement.py  when none of several conditions holds
    profile.py     reading a profile from JSON
    docker.py      Docker's default, for a set of capabilities
    container.py   which filter a box's container has
"""
