"""The store in Kubernetes does what every store does."""

from tests.unit.control.store_contract import StoreContract


class TestKubernetes(StoreContract):
    """With the fixture `store` of this folder."""
