#!/bin/bash
# Makes a lab machine ready for containerd and the kubelet. The file named by $1 says which machine it is;
# hack/kubernetes/worker.py writes it.
set -eu
. "$1"
mount --make-rshared / # the kubelet and CSI plugins hand mounts to each other
mkdir -p /dev/mqueue /etc/cni/net.d /opt/cni /data /var/lib/kubelet /var/lib/containerd /var/log/pods
mountpoint -q /dev/mqueue || mount -t mqueue mqueue /dev/mqueue
# As systemd has it: else each process of the node counts as much as all pods together. Kubernetes gives these a
# weight of 39 for each processor, so that on a machine of one the node's own would starve them.
echo +cpu >/sys/fs/cgroup/cgroup.subtree_control
mkdir -p /sys/fs/cgroup/system.slice
echo 10 >/sys/fs/cgroup/system.slice/cpu.weight
modprobe loop # for block volumes, which the kubelet keeps open through one; udev has it on other machines
echo 1 >/proc/sys/net/ipv4/ip_forward
ip route replace default via "$GATEWAY" # the kubelet finds its own address by it
for route in $ROUTES; do ip route replace "${route%=*}" via "${route#*=}"; done
# Not on the root: it is an overlay, and containerd's file systems are overlays again.
mount "$DISK" /data
mount --bind /data/kubelet /var/lib/kubelet
mount --bind /data/containerd /var/lib/containerd
