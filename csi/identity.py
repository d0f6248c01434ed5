"""The Identity service: what this plugin is, and what it can do as a whole."""

from collections.abc import Callable
from importlib import metadata

import grpc
from google.protobuf import wrappers_pb2

from csi.v1 import csi_pb2, csi_pb2_grpc

NAME = "csi.trilith.io"

SERVICE = csi_pb2.PluginCapability.Service
EXPANSION = csi_pb2.PluginCapability.VolumeExpansion


class Identity(csi_pb2_grpc.IdentityServicer):
    """The same answers from every instance, as the specification wants; only readiness is its own."""

    def __init__(self, is_ready: Callable[[], bool]) -> None:
        self._is_ready = is_ready

    def GetPluginInfo(
        self, request: csi_pb2.GetPluginInfoRequest, context: grpc.ServicerContext
    ) -> csi_pb2.GetPluginInfoResponse:
        return csi_pb2.GetPluginInfoResponse(name=NAME, vendor_version=_find_version())

    def GetPluginCapabilities(
        self, request: csi_pb2.GetPluginCapabilitiesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.GetPluginCapabilitiesResponse:
        services = (SERVICE.CONTROLLER_SERVICE, SERVICE.VOLUME_ACCESSIBILITY_CONSTRAINTS)
        capabilities = [csi_pb2.PluginCapability(service=SERVICE(type=kind)) for kind in services]
        online = csi_pb2.PluginCapability(volume_expansion=EXPANSION(type=EXPANSION.ONLINE))
        return csi_pb2.GetPluginCapabilitiesResponse(capabilities=[*capabilities, online])

    def Probe(self, request: csi_pb2.ProbeRequest, context: grpc.ServicerContext) -> csi_pb2.ProbeResponse:
        return csi_pb2.ProbeResponse(ready=wrappers_pb2.BoolValue(value=self._is_ready()))


def _find_version() -> str:
    """Of the installed distribution; a checkout that runs in place has none."""
    try:
        return metadata.version("trilith")
    except metadata.PackageNotFoundError:
        return "0+checkout"
