#!/bin/busybox sh
# The first program of a machine: reaches the read-only root and hands over to the agent, which stays process 1.
# Whatever fails ends process 1, so the kernel panics and the machine exits: nobody waits for a machine that is lost.
set -e
export PATH=/bin:/usr/bin:/usr/sbin
bb=/bin/busybox

$bb mount -t proc -o nosuid,nodev,noexec proc /proc
$bb mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
$bb mount -t devtmpfs -o nosuid,mode=755 devtmpfs /dev
echo "boxlite: the kernel is up"

while read -r module; do
    $bb insmod "/modules/$module.ko"
done < /modules/order

root=
tries=0
while [ -z "$root" ]; do
    for device in /sys/block/vd*; do
        [ -r "$device/serial" ] || continue
        read -r serial < "$device/serial" || true
        [ "$serial" = "boxlite-root" ] && root=/dev/${device##*/}
    done
    [ -n "$root" ] && break
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ]; then
        echo "boxlite: no disk with the serial boxlite-root" >&2
        exit 1
    fi
    $bb sleep 0.05
done

# There is no modprobe here: a kernel that looks for one only wastes time.
echo > /proc/sys/kernel/modprobe

$bb mount -t ext4 -o ro,noatime "$root" /newroot
$bb mount --move /dev /newroot/dev
$bb mount --move /proc /newroot/proc
$bb mount --move /sys /newroot/sys
$bb mount -t tmpfs -o nosuid,nodev,mode=755,size=64m tmpfs /newroot/run
$bb mount -t tmpfs -o nosuid,nodev,mode=1777,size=64m tmpfs /newroot/tmp
$bb mkdir -p /newroot/dev/pts /newroot/dev/shm
$bb mount -t devpts -o nosuid,noexec,gid=5,mode=620,ptmxmode=666 devpts /newroot/dev/pts
$bb mount -t tmpfs -o nosuid,nodev,mode=1777,size=16m tmpfs /newroot/dev/shm
$bb mount -t cgroup2 -o nosuid,nodev,noexec,memory_recursiveprot cgroup2 /newroot/sys/fs/cgroup
$bb cp -R /agent /newroot/run/agent

exec $bb env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root NO_COLOR=1 \
    $bb switch_root -c /dev/console /newroot /usr/bin/python3 -I -X frozen_modules=on -c '
import sys
sys.path.insert(0, "/run/agent")
from guest.__main__ import main
main()
'
