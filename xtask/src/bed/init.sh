#!/bin/bash
# The guest's only program: mounts what a system has, runs what the second drive says, and switches the machine off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t securityfs securityfs /sys/kernel/security
mount --make-rshared /
ip link set lo up
hostname bed
for module in loop dm_mod dm_thin_pool dm_snapshot xfs btrfs squashfs overlay fuse tun veth bridge nf_tables; do
    modprobe "$module" || echo "no module $module"
done
mount -o ro /dev/nvme1n1 /bed/payload
# Everything a test says goes to the second serial line; the first one is the kernel's.
/bed/payload/run >/dev/ttyS1 2>&1 </dev/null
echo "bed: done" >/dev/ttyS1
sync
busybox poweroff -f
