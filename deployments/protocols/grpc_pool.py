"""The gRPC descriptors of this server in a descriptor pool of its own, and messages made of them.

Clients' libraries register the same message names in protobuf's default pool, which refuses a second definition;
the private pool lets both live in one process. `open_inference.desc` is every `.proto` file of this folder compiled
by the command at the head of `open_inference.proto`.
"""

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

INFERENCE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"
REFLECTION = "grpc.reflection.v1.ServerReflection"
REFLECTION_ALPHA = "grpc.reflection.v1alpha.ServerReflection"
SERVICES = (INFERENCE, HEALTH, REFLECTION, REFLECTION_ALPHA)
"""Full names of the services that this server answers."""

_DESCRIPTORS = Path(__file__).with_name("open_inference.desc")
_REFLECTION_FILE = "reflection.proto"


def _load_pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(_DESCRIPTORS.read_bytes()).file:
        pool.Add(file)
        if file.name == _REFLECTION_FILE:
            pool.Add(_alpha(file))
    return pool


def _alpha(reflection: descriptor_pb2.FileDescriptorProto) -> descriptor_pb2.FileDescriptorProto:
    """The same file in the package that most clients still ask for."""
    text = str(reflection).replace("grpc.reflection.v1", "grpc.reflection.v1alpha")
    alpha: descriptor_pb2.FileDescriptorProto = text_format.Parse(text, descriptor_pb2.FileDescriptorProto())
    alpha.name = f"v1alpha/{_REFLECTION_FILE}"
    return alpha


POOL = _load_pool()


def message(name: str) -> Any:
    """The class of the message with this full name."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))


def service(name: str) -> Any:
    """The descriptor of the service with this full name."""
    return POOL.FindServiceByName(name)
