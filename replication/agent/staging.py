"""A volume's device made usable on its node: file system, mount, or the bare device for a block volume.

Nothing is remembered: mounts and the device's read-only mark are read from the kernel. A staged block
volume is a bind mount of its device node; that bind mount's own read-only flag says what was asked for.
"""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from replication.agent.assembled import Arrays
from replication.errors import Conflict, FailedPrecondition, InvalidRequest, NotFound, OutOfRange
from replication.kernel import blockdev, filesystem
from replication.kernel.filesystem import Kind
from replication.kernel.md_state import device_of
from replication.kernel.mounts import Mount, Mounts
from replication.kernel.ownership import ensure_group
from replication.kernel.run import Runner
from replication.kernel.sysfs import Tree
from replication.model import AccessType, PublishSpec, StageSpec

SLACK_BYTES = 1 << 20  # a file system consists of whole blocks and groups; volumes grow by 4 MiB at least
PATIENCE = 10.0  # for another act on the same volume: making or checking a file system can take long
_DEVICE_FILE = "device"  # in the staging directory of a block volume


class Staging:
    """The CSI acts of rpc/contract.py, one at a time for each volume."""

    def __init__(self, tree: Tree, runner: Runner, arrays: Arrays) -> None:
        self._tree = tree
        self._runner = runner
        self._arrays = arrays
        self._mounts = Mounts(runner, tree)
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def protect(self, volume_id: str) -> None:
        """It is attached read-only: nobody may write to its device."""
        self._set_readonly(self._device(volume_id), readonly=True)

    def stage(self, spec: StageSpec) -> None:
        """A file system is made only where nothing at all is; one that is there is checked before a mount."""
        spec = replace(spec, path=self._mounts.resolve(spec.path))
        with self._alone(spec.volume_id):
            device = self._device(spec.volume_id)
            if spec.access is AccessType.BLOCK:
                self._stage_block(spec, device)
            else:
                self._stage_mount(spec, device)

    def _stage_block(self, spec: StageSpec, device: str) -> None:
        path = f"{spec.path}/{_DEVICE_FILE}"
        if not self._mounts.is_mount_point(path):
            self._check_writable(spec, device)
        self._mounts.ensure_bound(device, path, readonly=spec.readonly)
        self._settle(device)

    def _stage_mount(self, spec: StageSpec, device: str) -> None:
        """A device that is read-only is lifted to prepare and mount it: a journal may have to be replayed."""
        kind = parse_kind(spec.filesystem)
        if not self._mounts.list_of_device(self._number(device)):
            self._check_writable(spec, device)
            self._set_readonly(device, readonly=False)
            if not filesystem.ensure_filesystem(self._runner, device, kind):
                filesystem.check(self._runner, device, kind)
        flags = dict.fromkeys((*spec.mount_flags, *(("ro",) if spec.readonly else ())))
        self._mounts.ensure_mounted(device, spec.path, kind, tuple(flags))
        if "ro" in flags:
            self._set_readonly(device, readonly=True)
        else:
            self._give_to_group(spec.mount_group, spec.path)
            self._grow(device)

    def _check_writable(self, spec: StageSpec, device: str) -> None:
        if not spec.readonly and self._is_readonly(device):
            raise FailedPrecondition(
                f"volume {spec.volume_id} is attached read-only here, and cannot be staged writable"
            )

    def unstage(self, volume_id: str, path: str) -> None:
        """The file of a block volume is looked for only where no file system is mounted that may have one."""
        path = self._mounts.resolve(path)
        with self._alone(volume_id):
            if not self._mounts.is_mount_point(path):
                self._mounts.remove(f"{path}/{_DEVICE_FILE}")
            self._mounts.remove(path)

    def publish(self, spec: PublishSpec) -> None:
        resolve = self._mounts.resolve
        spec = replace(spec, path=resolve(spec.path), staging_path=resolve(spec.staging_path))
        with self._alone(spec.volume_id):
            device = self._device(spec.volume_id)
            if spec.access is AccessType.BLOCK:
                self._publish_block(spec, device)
            else:
                self._publish_mount(spec, device)

    def _publish_block(self, spec: PublishSpec, device: str) -> None:
        """The device is one: while it is published read-only, nobody on this node may write to it."""
        source = f"{spec.staging_path}/{_DEVICE_FILE}"
        if not any(mount.path == source for mount in self._mounts.list_of_node(device)):
            raise _not_staged(spec)
        others = self._others(spec, self._mounts.list_of_node(device), source)
        self._check_exclusive(spec, others)
        differing = [mount.path for mount in others if ("ro" in mount.options) != spec.readonly]
        if differing:
            how = "writable" if spec.readonly else "read-only"
            raise FailedPrecondition(f"volume {spec.volume_id} is published {how} at {differing[0]}")
        staged = self._mounts.find(source)
        if staged is not None and "ro" in staged.options and not spec.readonly:
            raise FailedPrecondition(f"volume {spec.volume_id} is staged read-only at {spec.staging_path}")
        self._mounts.ensure_bound(source, spec.path, readonly=spec.readonly)
        self._settle(device)

    def _publish_mount(self, spec: PublishSpec, device: str) -> None:
        mounts = self._mounts.list_of_device(self._number(device))
        staged = next((mount for mount in mounts if mount.path == spec.staging_path), None)
        if staged is None:
            raise _not_staged(spec)
        whole = tuple(mount for mount in mounts if mount.root == "/")
        self._check_exclusive(spec, self._others(spec, whole, spec.staging_path))
        readonly = spec.readonly or staged.readonly
        if not readonly:
            self._give_to_group(spec.mount_group, spec.staging_path)
        self._mounts.ensure_bound(spec.staging_path, spec.path, readonly=readonly)

    def _others(self, spec: PublishSpec, mounts: tuple[Mount, ...], staged: str) -> tuple[Mount, ...]:
        """Where else it is published. Nowhere, for a repeat: what is done stays done."""
        if any(mount.path == spec.path for mount in mounts):
            return ()
        return tuple(mount for mount in mounts if mount.path != staged)

    def _check_exclusive(self, spec: PublishSpec, others: tuple[Mount, ...]) -> None:
        if spec.exclusive and others:
            raise FailedPrecondition(
                f"volume {spec.volume_id} is published at {others[0].path} already, and its access mode "
                f"allows one path only"
            )

    def unpublish(self, volume_id: str, path: str) -> None:
        with self._alone(volume_id):
            self._mounts.remove(self._mounts.resolve(path))
            if self._arrays.find(volume_id) is not None:
                self._settle(device_of(volume_id))

    def expand(self, volume_id: str, path: str, size_bytes: int) -> int:
        """Let what is at `path` fill the device; return the device's size. OutOfRange below `size_bytes`."""
        with self._alone(volume_id):
            self.get_use(volume_id, path)
            device = self._device(volume_id)
            room = self._size(device)
            if room < size_bytes:
                raise OutOfRange(
                    f"volume {volume_id} has {room} bytes, not {size_bytes}: its array has to grow first"
                )
            self._grow(device)
            return room

    def grow(self, volume_id: str) -> None:
        """Fill the device, if it has grown and a file system of ours is mounted from it."""
        with self._alone(volume_id):
            self._grow(device_of(volume_id))

    def get_use(self, volume_id: str, path: str) -> AccessType:
        """As what the volume is staged or published at `path`. NotFound when it is not."""
        device, path = self._device(volume_id), self._mounts.resolve(path)
        if any(mount.path == path for mount in self._mounts.list_of_device(self._number(device))):
            return AccessType.MOUNT
        if {path, f"{path}/{_DEVICE_FILE}"} & {mount.path for mount in self._mounts.list_of_node(device)}:
            return AccessType.BLOCK
        raise NotFound(f"volume {volume_id} is neither staged nor published at {path}")

    def _grow(self, device: str) -> None:
        """Read-only it stays as it is, and grows when it is next staged writable."""
        mounts = self._mounts.list_of_device(self._number(device))
        mounted = next((mount for mount in mounts if self._is_ours(mount)), None)
        if mounted is None or "ro" in mounted.super_options:
            return
        kind = Kind(mounted.kind)
        if filesystem.read_size(str(self._tree.path(device)), kind) + SLACK_BYTES < self._size(device):
            filesystem.grow(self._runner, device, mounted.path, kind)

    def _is_ours(self, mount: Mount) -> bool:
        return mount.kind in set(Kind) and mount.root == "/" and self._tree.path(mount.path).is_dir()

    def _settle(self, device: str) -> None:
        """The device node is read-only while any bind mount of it says so."""
        mounts = self._mounts.list_of_node(device)
        if mounts:
            self._set_readonly(device, readonly=any("ro" in mount.options for mount in mounts))

    def _give_to_group(self, group: str, path: str) -> None:
        if group:
            ensure_group(str(self._tree.path(path)), int(group))

    def _set_readonly(self, device: str, *, readonly: bool) -> None:
        blockdev.ensure_readonly(self._tree, self._runner, device, readonly=readonly)

    def _is_readonly(self, device: str) -> bool:
        return blockdev.is_readonly(self._tree, self._kernel_name(device))

    def _size(self, device: str) -> int:
        return blockdev.size_bytes(self._tree, self._kernel_name(device))

    def _kernel_name(self, device: str) -> str:
        return blockdev.kernel_name(self._tree, device)

    def _number(self, device: str) -> str:
        return self._tree.device_number(device)

    def _device(self, volume_id: str) -> str:
        self._arrays.get(volume_id)
        return device_of(volume_id)

    @contextmanager
    def _alone(self, volume_id: str) -> Iterator[None]:
        """An act whose caller has given up goes on; its repeat waits here, or is told to come again."""
        lock = self._locks[volume_id]
        if not lock.acquire(timeout=PATIENCE):
            raise Conflict(f"another act on volume {volume_id} is under way on this node")
        try:
            yield
        finally:
            lock.release()


def _not_staged(spec: PublishSpec) -> FailedPrecondition:
    return FailedPrecondition(f"volume {spec.volume_id} is not staged at {spec.staging_path}")


def parse_kind(text: str) -> Kind:
    try:
        return Kind(text)
    except ValueError as error:
        raise InvalidRequest(f"file system {text!r} is not one of {', '.join(Kind)}") from error
