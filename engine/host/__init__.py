"""What the host is and allows. The only room that reads the environment and probes the machine it runs on.

environment   settings from variables: home directory, accelerator, limits, proxies
facts         processors, memory, kernel, platform, boot id, free disk space
accel         which accelerators there seem to be, which were found not to work (for this boot)
probe         does an accelerator really run a guest? (a machine of a few bytes)
namespaces    may this user make namespaces? really tried; who forbids it
cgroups       how control groups are mounted, and whether they are ours to use
resolvers     the name servers the host itself uses
programs      where QEMU is; versions of programs
libraries     the shared libraries a program needs (for its jail)

Import from the modules: each is small, and a command that only needs the home directory should not pay for the rest.
"""
