#!/bin/bash
# Makes a lab machine ready for containerd and the kubelet. The file named by $1 says which machine it is;
# hack/kubernetes/worker.py writes it.
set -eu
. "$1"
mount --make-rshared / # the kubelet and CSI plugins hand mounts to each other
mkdir -p /dev/mqueue /etc/cni/net.d /opt/cni /data /var/lib/kubelet /var/lib/containerd /var/log/pods
mountpoint -q /dev/mqueue || mount -t mqueue mqueue /dev/mqueue
modprobe loop # for block volumes, which the kubelet keeps open through one; udev has it on other machines
echo 1 >/proc/sys/net/ipv4/ip_forward
ip route replace default via "$GATEWAY" # the kubelet finds its own address by it
for route in $ROUTES; do ip route replace "${route%=*}" via "${route#*=}"; done
# Not on the root: it is an overlay, and containerd's file systems are overlays again.
mount "$DISK" /data
mount --bind /data/kubelet /var/lib/kubelet
mount --bind /data/containerd /var/lib/containerd
