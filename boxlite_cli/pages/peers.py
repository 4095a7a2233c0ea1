"""The flags of Docker and Podman, for the table that compares them with ours.

Docker's are those of its command-line reference (docs.docker.com/reference/cli/docker, version 27), Podman's those of
`podman COMMAND --help` (version 4.3); where Podman is installed, a test compares. Short names follow a slash.
"""

from __future__ import annotations

_DOCKER_BOX = """
--add-host --annotation --attach/-a --blkio-weight --blkio-weight-device --cap-add --cap-drop --cgroup-parent --cgroupns
--cidfile --cpu-count --cpu-percent --cpu-period --cpu-quota --cpu-rt-period --cpu-rt-runtime --cpu-shares/-c --cpus
--cpuset-cpus --cpuset-mems --device --device-cgroup-rule --device-read-bps --device-read-iops --device-write-bps
--device-write-iops --disable-content-trust --dns --dns-option --dns-search --domainname --entrypoint --env/-e --env-file
--expose --gpus --group-add --health-cmd --health-interval --health-retries --health-start-interval --health-start-period
--health-timeout --hostname/-h --init --interactive/-i --io-maxbandwidth --io-maxiops --ip --ip6 --ipc --isolation
--kernel-memory --label/-l --label-file --link --link-local-ip --log-driver --log-opt --mac-address --memory/-m
--memory-reservation --memory-swap --memory-swappiness --mount --name --network --network-alias --no-healthcheck
--oom-kill-disable --oom-score-adj --pid --pids-limit --platform --privileged --publish/-p --publish-all/-P --pull --quiet/-q
--read-only --restart --rm --runtime --security-opt --shm-size --stop-signal --stop-timeout --storage-opt --sysctl --tmpfs
--tty/-t --ulimit --user/-u --userns --uts --volume/-v --volume-driver --volumes-from --workdir/-w
"""
DOCKER = {
    "run": f"{_DOCKER_BOX} --detach/-d --detach-keys --sig-proxy",
    "create": _DOCKER_BOX,
    "exec": "--detach/-d --detach-keys --env/-e --env-file --interactive/-i --privileged --tty/-t --user/-u --workdir/-w",
    "ls": "--all/-a --filter/-f --format --last/-n --latest/-l --no-trunc --quiet/-q --size/-s",
    "cp": "--archive/-a --follow-link/-L --quiet/-q",
    "logs": "--details --follow/-f --since --tail/-n --timestamps/-t --until",
    "start": "--attach/-a --checkpoint --checkpoint-dir --detach-keys --interactive/-i",
    "stop": "--signal/-s --time/-t",
    "rm": "--force/-f --link --volumes/-v",
    "images": "--all/-a --digests --filter/-f --format --no-trunc --quiet/-q --tree",
    "pull": "--all-tags/-a --disable-content-trust --platform --quiet/-q",
}
"""By our command; Docker's `ps` is our `ls`."""

_PODMAN_BOX = """
--add-host --annotation --arch --attach/-a --authfile --blkio-weight --blkio-weight-device --cap-add --cap-drop --cgroup-conf
--cgroup-parent --cgroupns --cgroups --chrootdirs --cidfile --conmon-pidfile --cpu-period --cpu-quota --cpu-rt-period
--cpu-rt-runtime --cpu-shares/-c --cpus --cpuset-cpus --cpuset-mems --device --device-cgroup-rule --device-read-bps
--device-read-iops --device-write-bps --device-write-iops --disable-content-trust --dns --dns-option --dns-search --entrypoint
--env/-e --env-file --env-host --env-merge --expose --gidmap --group-add --health-cmd --health-interval --health-on-failure
--health-retries --health-start-period --health-timeout --hostname/-h --hostuser --http-proxy --image-volume --init
--init-path --interactive/-i --ip --ip6 --ipc --label/-l --label-file --log-driver --log-opt --mac-address --memory/-m
--memory-reservation --memory-swap --memory-swappiness --mount --name --network --network-alias --no-healthcheck --no-hosts
--oom-kill-disable --oom-score-adj --os --passwd-entry --personality --pid --pidfile --pids-limit --platform --pod --pod-id-file
--privileged --publish/-p --publish-all/-P --pull --quiet/-q --read-only --read-only-tmpfs --replace --requires --restart
--rm --rootfs --sdnotify --seccomp-policy --secret --security-opt --shm-size --stop-signal --stop-timeout --subgidname
--subuidname --sysctl --systemd --timeout --tls-verify --tmpfs --tty/-t --tz --uidmap --ulimit --umask --unsetenv
--unsetenv-all --user/-u --userns --uts --variant --volume/-v --volumes-from --workdir/-w
"""
PODMAN = {
    "run": f"{_PODMAN_BOX} --detach/-d --detach-keys --passwd --preserve-fds --rmi --sig-proxy",
    "create": f"{_PODMAN_BOX} --init-ctr",
    "exec": "--detach/-d --detach-keys --env/-e --env-file --interactive/-i --latest/-l --preserve-fds --privileged --tty/-t"
    " --user/-u --workdir/-w",
    "ls": "--all/-a --external --filter/-f --format --last/-n --latest/-l --no-trunc --noheading --ns --pod/-p --quiet/-q"
    " --size/-s --sort --sync --watch/-w",
    "cp": "--archive/-a --overwrite",
    "logs": "--color --follow/-f --latest/-l --names/-n --since --tail --timestamps/-t --until",
    "start": "--all --attach/-a --detach-keys --filter/-f --interactive/-i --latest/-l --sig-proxy",
    "stop": "--all/-a --cidfile --filter/-f --ignore/-i --latest/-l --time/-t",
    "rm": "--all/-a --cidfile --depend --filter --force/-f --ignore/-i --latest/-l --time/-t --volumes/-v",
    "images": "--all/-a --digests --filter/-f --format --history --no-trunc --noheading/-n --quiet/-q --sort",
    "pull": "--all-tags/-a --arch --authfile --cert-dir --creds --disable-content-trust --os --platform --quiet/-q"
    " --tls-verify --variant",
}
OTHER_NAMES = {"ls": "ps"}
"""Where they call a command otherwise."""


def flags(text: str) -> dict[str, str]:
    """Long name → short name, empty where there is none."""
    pairs = (word.partition("/") for word in text.split())
    return {name: short for name, _, short in pairs}
