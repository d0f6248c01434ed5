"""What the certificates of a cluster are called in Kubernetes: the chart and csi/certificates agree on it."""

from dataclasses import dataclass

SIGNER = "trilith.io/agent"
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
NAME = "trilith-ca"  # of the Secret, which is the authority, and of the ConfigMap, which says whom to trust
CERTIFICATE, KEY = "tls.crt", "tls.key"  # in the Secret
TRUST = "ca.crt"  # in the ConfigMap
NODE_ACCOUNT = "trilith-node"
WEBHOOK = "trilith-webhook"
WEBHOOK_CONFIGURATIONS = tuple(
    f"/apis/admissionregistration.k8s.io/v1/{plural}/trilith"
    for plural in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
)
DAYS = 90
"""That a certificate is good for: a third of them are left when it is renewed."""


@dataclass(frozen=True, slots=True)
class Places:
    """Those of one installation."""

    namespace: str

    @property
    def secrets(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/secrets"

    @property
    def secret(self) -> str:
        return f"{self.secrets}/{NAME}"

    @property
    def config_maps(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/configmaps"

    @property
    def config_map(self) -> str:
        return f"{self.config_maps}/{NAME}"

    @property
    def node_account(self) -> str:
        """The user that a pod of the DaemonSet is to the API server."""
        return f"system:serviceaccount:{self.namespace}:{NODE_ACCOUNT}"

    @property
    def webhook(self) -> str:
        """The name by which the API server calls the webhooks."""
        return f"{WEBHOOK}.{self.namespace}.svc"
