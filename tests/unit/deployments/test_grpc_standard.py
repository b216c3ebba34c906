"""Health and reflection, asked over a real channel."""

from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from deployments.protocols import grpc_pool
from tests.support.grpc_client import rpc
from tests.unit.deployments.doors import gateway
from tests.unit.deployments.grpc_server import serving

HealthRequest = grpc_pool.message("grpc.health.v1.HealthCheckRequest")
Ask = grpc_pool.message("grpc.reflection.v1.ServerReflectionRequest")
SERVING, SERVICE_UNKNOWN = 1, 3


@pytest.mark.parametrize("service", ["", "g", "inference.GRPCInferenceService"])
async def test_what_serves(service: str) -> None:
    async with serving(gateway()[0]) as channel:
        assert (await rpc(channel, "grpc.health.v1.Health/Check")(HealthRequest(service=service))).status == SERVING
        watch = rpc(channel, "grpc.health.v1.Health/Watch")(HealthRequest(service=service))
        assert (await watch.read()).status == SERVING
        watch.cancel()


async def test_what_is_not_known() -> None:
    async with serving(gateway()[0]) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await rpc(channel, "grpc.health.v1.Health/Check")(HealthRequest(service="made up"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        watch = rpc(channel, "grpc.health.v1.Health/Watch")(HealthRequest(service="made up"))
        assert (await watch.read()).status == SERVICE_UNKNOWN
        watch.cancel()


async def reflect(version: str, *questions: Any) -> list[Any]:
    async with serving(gateway()[0]) as channel:
        call = rpc(channel, f"grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")(iter(questions))
        return [answer async for answer in call]


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_services_and_their_files(version: str) -> None:
    listed, *files = await reflect(
        version,
        Ask(host="h", list_services="*"),
        *(Ask(file_containing_symbol=service) for service in grpc_pool.SERVICES),
        Ask(file_containing_symbol="inference.GRPCInferenceService.ModelInfer"),
        Ask(file_by_filename="health.proto"),
    )
    assert (listed.valid_host, listed.original_request.list_services) == ("h", "*")
    assert [service.name for service in listed.list_services_response.service] == list(grpc_pool.SERVICES)
    pool = descriptor_pool.DescriptorPool()
    for answer in files:
        protos = list(answer.file_descriptor_response.file_descriptor_proto)
        assert protos, answer
        for serialised in reversed(protos):  # what is imported comes behind
            pool.Add(descriptor_pb2.FileDescriptorProto.FromString(serialised))
    for service in grpc_pool.SERVICES:
        assert pool.FindServiceByName(service).methods_by_name


async def test_questions_without_an_answer() -> None:
    wrong = [
        Ask(file_containing_symbol="made.up"),
        Ask(file_by_filename="made_up.proto"),
        Ask(all_extension_numbers_of_type="made.up"),
        Ask(file_containing_extension={"containing_type": "inference.ModelInferRequest", "extension_number": 7}),
        Ask(),
        b"\xff\xff",
        Ask(all_extension_numbers_of_type="inference.ModelInferRequest"),
    ]
    *errors, none = await reflect("v1", *wrong)
    assert [error.error_response.error_code for error in errors] == [5, 5, 5, 5, 3, 3]
    assert none.all_extension_numbers_response.base_type_name == "inference.ModelInferRequest"
