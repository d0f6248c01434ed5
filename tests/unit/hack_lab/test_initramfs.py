from hack.lab.initramfs import order_modules

_DEP = """kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/netfs/netfs.ko.xz
kernel/net/9p/9pnet.ko.xz:
kernel/net/9p/9pnet_virtio.ko.xz: kernel/net/9p/9pnet.ko.xz
kernel/fs/netfs/netfs.ko.xz:
kernel/drivers/nvme/host/nvme.ko.xz: kernel/drivers/nvme/host/nvme-core.ko.xz kernel/nvme-auth.ko.xz
kernel/drivers/nvme/host/nvme-core.ko.xz: kernel/nvme-auth.ko.xz
kernel/nvme-auth.ko.xz:
"""


def _names(*wanted: str) -> list[str]:
    return [path.rpartition("/")[2].removesuffix(".ko.xz") for path in order_modules(_DEP, wanted)]


def test_what_a_module_needs_is_loaded_before_it() -> None:
    assert _names("nvme") == ["nvme-auth", "nvme-core", "nvme"]


def test_each_module_is_loaded_once() -> None:
    assert _names("9pnet_virtio", "9p") == ["9pnet", "9pnet_virtio", "netfs", "9p"]


def test_a_module_without_a_file_is_built_in() -> None:
    assert _names("virtio_pci", "nvme_core") == ["nvme-auth", "nvme-core"]
