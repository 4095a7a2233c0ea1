"""Seccomp filters for the container inside a machine: Docker's default profile, profiles in Docker's file format, and the
compiler that makes programs for the kernel of both.

    profile.py    what a profile says; reading one from JSON
    docker.py     Docker's default, for a set of capabilities
    compiler.py   profile → classic BPF
    syscalls.txt  system call numbers of the processors machines can have
"""
