#!/bin/bash
# Runs "$@" with $ROOT as its root and the folders $SHARED where they are: in a mount namespace that ends with it.
set -eu
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
for path in /proc /sys /dev $SHARED; do
    mkdir -p "$ROOT$path"
    mount --rbind "$path" "$ROOT$path"
done
cat /etc/resolv.conf >"$ROOT/etc/resolv.conf"
mkdir -p "$ROOT/before"
cd "$ROOT"
pivot_root . before
umount --lazy /before
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
