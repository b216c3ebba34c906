"""Server reflection: tells a gRPC client which services there are, and their descriptors.

Spec: gRPC Server Reflection Protocol, v1; v1alpha has the same messages under another name.
"""

from typing import Any

import grpc
from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError

from deployments.protocols.grpc_pool import POOL, SERVICES, message
from deployments.protocols.request import shown

Request = message("grpc.reflection.v1.ServerReflectionRequest")
Response = message("grpc.reflection.v1.ServerReflectionResponse")


def reflect(request: bytes) -> Any:
    """The ServerReflectionResponse to one request of the stream; what cannot be answered is an error in it."""
    try:
        asked = Request.FromString(request)
    except DecodeError as error:
        return _error(Response(), grpc.StatusCode.INVALID_ARGUMENT, f"not a ServerReflectionRequest: {error}")
    response = Response(valid_host=asked.host, original_request=asked)
    kind = asked.WhichOneof("message_request")
    value: Any = getattr(asked, kind) if kind else None
    try:
        match kind:
            case "list_services":
                for name in SERVICES:
                    response.list_services_response.service.add(name=name)
            case "file_by_filename":
                response.file_descriptor_response.file_descriptor_proto.extend(_files(POOL.FindFileByName(value)))
            case "file_containing_symbol":
                response.file_descriptor_response.file_descriptor_proto.extend(_files(_file_with(value)))
            case "all_extension_numbers_of_type":
                POOL.FindMessageTypeByName(value)
                response.all_extension_numbers_response.base_type_name = value
            case "file_containing_extension":  # proto3 has none
                raise KeyError(value.containing_type)
            case _:
                return _error(response, grpc.StatusCode.INVALID_ARGUMENT, "the request asks for nothing")
    except KeyError:
        return _error(response, grpc.StatusCode.NOT_FOUND, f"{shown(value)} is not known here")
    return response


def _file_with(symbol: str) -> Any:
    """The file that declares a message, an enumeration, a service or a call. Raises KeyError."""
    try:
        return POOL.FindFileContainingSymbol(symbol)
    except KeyError:  # the pool does not look into services
        service, _, call = symbol.rpartition(".")
        return POOL.FindServiceByName(service).methods_by_name[call].containing_service.file


def _files(file: Any) -> list[bytes]:
    """A file and all that it imports: clients need not ask again."""
    found: dict[str, bytes] = {}
    waiting = [file]
    while waiting:
        descriptor = waiting.pop()
        if descriptor.name not in found:
            proto = descriptor_pb2.FileDescriptorProto()
            descriptor.CopyToProto(proto)
            found[descriptor.name] = proto.SerializeToString()
            waiting += descriptor.dependencies
    return list(found.values())


def _error(response: Any, code: Any, text: str) -> Any:
    response.error_response.error_code, response.error_response.error_message = code.value[0], text
    return response
