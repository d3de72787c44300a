#!/bin/bash
# A Ceph cluster of one host on files of the guest: one monitor, one manager, three OSDs, one metadata server. Nobody
# proves who they are. It answers on a bridge of its own, which tests connect their pens to. Started before the first suite that needs it.
set -e
id=6d9e1f2a-4c1b-4a57-9f0e-0d6a2b7c3e11
address=192.0.2.1
ip link add bed0 type bridge
ip address add $address/24 dev bed0
ip link set bed0 up
modprobe rbd
modprobe ceph
mkdir -p /etc/ceph /run/ceph /var/lib/ceph/{mon,mgr,mds}/ceph-a /var/lib/ceph/osd/ceph-{0,1,2}
cat >/etc/ceph/ceph.conf <<END
[global]
fsid = $id
mon host = [v2:$address:3300,v1:$address:6789]
public network = $address/24
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd crush update on start = false
mon allow pool delete = true
mon allow pool size one = true
mon data avail crit = 1
mon max pg per osd = 2000
mgr initial modules =
osd objectstore = bluestore
bluestore block size = 8589934592
bluestore cache autotune = false
bluestore cache size = 67108864
END
ceph-authtool --create-keyring /etc/ceph/ceph.client.admin.keyring --gen-key -n client.admin \
    --cap mon 'allow *' --cap osd 'allow *' --cap mds 'allow *' --cap mgr 'allow *' >/dev/null
cp /etc/ceph/ceph.client.admin.keyring /run/ceph/keyring
ceph-authtool /run/ceph/keyring --gen-key -n mon. --cap mon 'allow *' >/dev/null
monmaptool --create --fsid $id --addv a "[v2:$address:3300,v1:$address:6789]" /run/ceph/monmap >/dev/null
ceph-mon --mkfs --id a --monmap /run/ceph/monmap --keyring /run/ceph/keyring
ceph-mon --id a
ceph-mgr --id a
for osd in 0 1 2; do
    identity=$(cat /proc/sys/kernel/random/uuid)
    ceph osd new "$identity" $osd
    ceph osd crush add osd.$osd 1 root=default
    ceph-osd --id $osd --mkfs --osd-uuid "$identity"
    ceph-osd --id $osd
done
# Waits for the OSDs by itself, and shows that it works.
ceph osd pool create warm 8
rbd pool init warm
# For images' data alone: two parts of data and one of code, each on an OSD of its own, which is why there are three.
ceph osd erasure-code-profile set parts k=2 m=1 crush-failure-domain=osd
ceph osd pool create bulk 8 8 erasure parts
ceph osd pool set bulk allow_ec_overwrites true
ceph osd pool application enable bulk rbd
# Tells when the file system's server is ready: who mounts it before is refused.
coproc watch { exec ceph -w; }
ceph-mds --id a
ceph osd pool create files.meta 8
ceph osd pool create files.data 8
ceph fs new files files.meta files.data
timeout 120 grep -m 1 "is now active in filesystem files" <&"${watch[0]}"
kill "$watch_PID"
touch /run/ceph/up
echo "The cluster is up."
