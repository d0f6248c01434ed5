#!/bin/busybox sh
# First process of a lab machine: lays a writable root over the host's, then becomes the command server.
# /lab.conf says which machine this is; hack/lab/initramfs.py writes it.
b=/bin/busybox
. /lab.conf
say() { $b echo "lab: $*" >/dev/console; }
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
while read -r module; do $b insmod "$module" || say "insmod $module failed"; done </modules

options=trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000
$b mount -t 9p -o $options host /host || say "the host's root cannot be mounted"
$b mount -t 9p -o $options tools /tools || say "the tools cannot be mounted"
$b mount -t tmpfs -o mode=755 upper /upper
$b mkdir -p /upper/files /upper/work
$b mount -t overlay -o lowerdir=/tools:/host,upperdir=/upper/files,workdir=/upper/work root /newroot ||
    say "the root cannot be mounted"

cd /newroot || exit 1
$b mount --move /proc proc
$b mount --move /sys sys
$b mount --move /dev dev
$b ln -s /proc/self/fd dev/fd
$b ln -s /proc/self/fd/0 dev/stdin
$b ln -s /proc/self/fd/1 dev/stdout
$b ln -s /proc/self/fd/2 dev/stderr
$b mkdir -p dev/pts dev/shm run tmp "lib/modules/$RELEASE"
$b mount -t devpts -o ptmxmode=666 pts dev/pts
$b mount -t tmpfs shm dev/shm
$b mount -t tmpfs -o mode=755 run run
$b mkdir -p run/lock run/lab/no-module run/host
$b cp "$b" /modprobe run/lab
$b echo /run/lab/modprobe >proc/sys/kernel/modprobe
# The checkout or the cache may lie in the host's /tmp: what we need of it stays visible.
$b mount --bind tmp run/host
$b mount -t tmpfs tmp tmp
for path in $KEEP; do
    $b mkdir -p "tmp/$path"
    $b mount --bind "run/host/$path" "tmp/$path"
done
$b umount -l run/host
$b mount -t cgroup2 cgroup2 sys/fs/cgroup
$b mount -t configfs configfs sys/kernel/config
$b mount --bind ".$MODULES" "lib/modules/$RELEASE" || say "no modules in $MODULES"

$b hostname "$NAME"
$b echo "$NAME" >etc/hostname
$b echo "$MACHINE_ID" >etc/machine-id
$b cp /hosts etc/hosts
$b ip link set lo up
$b ip link set eth0 up
$b ip address add "$ADDRESS/24" dev eth0
exec $b switch_root /newroot "$PYTHON" -I -S "$SERVER"
