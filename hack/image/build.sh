#!/bin/bash
# Runs "$@" with $ROOT as its root and the folders $SHARED where they are: in a mount namespace that ends with it.
# $BINARIES, if it is there, is a line for binfmt_misc.
set -eu
mount --make-rprivate /
if [ "${BINARIES-}" ]; then
    mount -t binfmt_misc none /proc/sys/fs/binfmt_misc || {
        echo "no emulation: before Linux 6.7 a namespace cannot have binaries of its own" >&2
        exit 1
    }
    printf %s "$BINARIES" >/proc/sys/fs/binfmt_misc/register
fi
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
