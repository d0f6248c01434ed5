#!/bin/bash
# Makes the disk image $DISK with the archives "$@" imported, by a containerd of our own; in a mount namespace that
# ends with it. $TREE is where containerd's packages are unpacked, $SCRATCH an empty folder.
set -eu
mount --make-rprivate /
mkfs.ext4 -q -E lazy_itable_init=1,lazy_journal_init=1 "$DISK"
mkdir "$SCRATCH/data"
mount -o loop "$DISK" "$SCRATCH/data"
mkdir "$SCRATCH/data/containerd" "$SCRATCH/data/kubelet"
echo 'disabled_plugins = ["io.containerd.grpc.v1.cri"]' >"$SCRATCH/config.toml"
socket=$SCRATCH/containerd.sock
"$TREE/usr/bin/containerd" --config "$SCRATCH/config.toml" --root "$SCRATCH/data/containerd" \
    --state "$SCRATCH/state" --address "$socket" 2>"$SCRATCH/log" &
containerd=$!
trap 'kill "$containerd" 2>/dev/null || true' EXIT
until "$TREE/usr/bin/ctr" --address "$socket" version >"$SCRATCH/version" 2>&1; do
    kill -0 "$containerd" || { tail "$SCRATCH/log" >&2; exit 1; }
    read -rt 0.1 <> <(:) || true
done
for archive; do "$TREE/usr/bin/ctr" --address "$socket" --namespace k8s.io images import "$archive"; done
kill "$containerd"
wait "$containerd" || true
umount "$SCRATCH/data"
