"""Health, metadata, configuration, statistics, repository, reflection over gRPC."""

from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from messages import message
from rest import SUM
from rpc import SERVICE, Rpc, request, simple, values
from wire import EACH, SAMPLES

pytestmark = pytest.mark.model("simple")

SERVING = 1
"""HealthCheckResponse.ServingStatus."""
TYPE_INT32 = 8
"""inference.DataType."""


def asked(method: str, **fields: Any) -> Any:
    """A request message."""
    return message(f"{method}Request")(**fields)


def test_live(rpc: Rpc) -> None:
    """OIP gRPC, "Server Live"."""
    assert rpc.call("ServerLive").live is True


def test_ready(rpc: Rpc) -> None:
    """OIP gRPC, "Server Ready"."""
    assert rpc.call("ServerReady").ready is True


def test_model_ready(rpc: Rpc) -> None:
    """OIP gRPC, "Model Ready"."""
    assert rpc.call("ModelReady", asked("ModelReady", name="simple")).ready is True


def test_unknown_model_is_not_ready(rpc: Rpc) -> None:
    """OIP gRPC, "Model Ready": `ready` is false, or the call fails with NOT_FOUND."""
    try:
        ready = rpc.call("ModelReady", asked("ModelReady", name="no_such_model")).ready
    except grpc.RpcError as error:
        ready = error.code() != grpc.StatusCode.NOT_FOUND
    assert ready is False


def test_server_metadata(rpc: Rpc) -> None:
    """OIP gRPC, "Server Metadata"."""
    answer = rpc.call("ServerMetadata")
    assert answer.name
    assert answer.version


def test_model_metadata(rpc: Rpc) -> None:
    """OIP gRPC, "Model Metadata"."""
    answer = rpc.call("ModelMetadata", asked("ModelMetadata", name="simple"))
    assert answer.name == "simple"
    for tensors, names in ((answer.inputs, ["INPUT0", "INPUT1"]), (answer.outputs, ["OUTPUT0", "OUTPUT1"])):
        assert sorted(tensor.name for tensor in tensors) == names
        assert {tensor.datatype for tensor in tensors} == {"INT32"}
        assert {tuple(tensor.shape) for tensor in tensors} == {(-1, 16)}
    for version in answer.versions:
        assert rpc.call("ModelReady", asked("ModelReady", name="simple", version=version)).ready
        assert rpc.call("ModelMetadata", asked("ModelMetadata", name="simple", version=version)).name == "simple"


@pytest.mark.parametrize("name", ["no_such_model", ""])
def test_metadata_of_an_unknown_model(rpc: Rpc, name: str) -> None:
    """OIP gRPC, "Model Metadata": "The OK code indicates success and other codes indicate failure"."""
    rpc.refused("ModelMetadata", asked("ModelMetadata", name=name))


def test_metadata_of_an_unknown_version(rpc: Rpc) -> None:
    """OIP gRPC, "Model Metadata": a version that the model does not have."""
    rpc.refused("ModelMetadata", asked("ModelMetadata", name="simple", version="987654"))


def test_unknown_method(rpc: Rpc) -> None:
    """gRPC, "Status codes": UNIMPLEMENTED for a method that the service does not have."""
    with pytest.raises(grpc.RpcError) as caught:
        rpc.bytes_call("NoSuchMethod", b"")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.needs("config")
def test_config(rpc: Rpc) -> None:
    """Triton, "Model Configuration Extension", "GRPC": the ModelConfig message; `dims` without the batch."""
    config = rpc.call("ModelConfig", asked("ModelConfig", name="simple")).config
    assert config.name == "simple"
    assert sorted(item.name for item in config.input) == ["INPUT0", "INPUT1"]
    assert sorted(item.name for item in config.output) == ["OUTPUT0", "OUTPUT1"]
    for item in (*config.input, *config.output):
        assert item.data_type == TYPE_INT32
        assert list(item.dims) == ([16] if config.max_batch_size else [-1, 16])


@pytest.mark.needs("config")
@pytest.mark.parametrize("datatype", EACH)
def test_config_of_each_datatype(rpc: Rpc, datatype: str) -> None:
    """Triton, "Model Configuration Extension": the DataType enum, in which BYTES are TYPE_STRING."""
    numbers = [*(name for name in SAMPLES if name not in ("BF16", "BYTES")), "BYTES", "BF16"]
    config = rpc.call("ModelConfig", asked("ModelConfig", name=f"identity_{datatype.lower()}")).config
    assert config.input[0].data_type == numbers.index(datatype) + 1


@pytest.mark.needs("config")
def test_config_of_an_unknown_model(rpc: Rpc) -> None:
    """Triton, "Model Configuration Extension", "GRPC"."""
    rpc.refused("ModelConfig", asked("ModelConfig", name="no_such_model"))


@pytest.mark.needs("statistics")
def test_statistics(rpc: Rpc) -> None:
    """Triton, "Statistics Extension", "GRPC": counts of successful inferences, durations, batches."""

    def now() -> Any:
        [found] = rpc.call("ModelStatistics", asked("ModelStatistics", name="simple")).model_stats
        return found

    before = now()
    assert values(rpc.call("ModelInfer", simple()), "OUTPUT0") == SUM
    after = now()
    assert after.name == "simple"
    assert after.inference_count - before.inference_count == 1
    assert after.execution_count - before.execution_count == 1
    assert after.inference_stats.success.count - before.inference_stats.success.count == 1
    assert after.inference_stats.success.ns > before.inference_stats.success.ns
    assert after.last_inference > 1_500_000_000_000, "milliseconds since the epoch"
    assert all(batch.batch_size for batch in after.batch_stats)


@pytest.mark.needs("statistics")
def test_statistics_count_failures(rpc: Rpc) -> None:
    """Triton, "Statistics Extension": a request that is refused is no successful inference."""

    def successes() -> int:
        [found] = rpc.call("ModelStatistics", asked("ModelStatistics", name="simple")).model_stats
        return int(found.inference_stats.success.count)

    before = successes()
    rpc.refused("ModelInfer", request("simple", ("INPUT0", "INT32", [1, 16], list(range(16)))))
    assert successes() == before


@pytest.mark.needs("statistics")
def test_statistics_of_all_models(rpc: Rpc) -> None:
    """Triton, "Statistics Extension", "GRPC": "If not given returns statistics for all models"."""
    answer = rpc.call("ModelStatistics", asked("ModelStatistics"))
    assert "simple" in {item.name for item in answer.model_stats}


@pytest.mark.needs("statistics")
def test_statistics_of_an_unknown_model(rpc: Rpc) -> None:
    """Triton, "Statistics Extension", "GRPC"."""
    rpc.refused("ModelStatistics", asked("ModelStatistics", name="no_such_model"))


@pytest.mark.needs("repository")
@pytest.mark.parametrize("ready", [False, True])
def test_repository_index(rpc: Rpc, ready: bool) -> None:
    """Triton, "Model Repository Extension", "Index"."""
    answer = rpc.call("RepositoryIndex", asked("RepositoryIndex", ready=ready))
    [found] = [item for item in answer.models if item.name == "simple"]
    assert found.state == "READY"


@pytest.mark.needs("load")
def test_unload_and_load(rpc: Rpc) -> None:
    """Triton, "Load" and "Unload"."""
    rpc.call("RepositoryModelUnload", asked("RepositoryModelUnload", model_name="simple"))
    try:
        # tritonclient's is_model_ready says False only if the call succeeds
        assert rpc.call("ModelReady", asked("ModelReady", name="simple")).ready is False
    finally:
        rpc.call("RepositoryModelLoad", asked("RepositoryModelLoad", model_name="simple"))
    assert values(rpc.call("ModelInfer", simple()), "OUTPUT0") == SUM


@pytest.mark.needs("repository")
def test_load_of_an_unknown_model(rpc: Rpc) -> None:
    """Triton, "Load": other codes than OK indicate failure."""
    codes = [grpc.StatusCode[name] for name in ("INVALID_ARGUMENT", "NOT_FOUND", "INTERNAL", "UNAVAILABLE")]
    asked_ = asked("RepositoryModelLoad", model_name="no_such_model")
    rpc.refused("RepositoryModelLoad", asked_, *codes, grpc.StatusCode.UNIMPLEMENTED)


@pytest.mark.needs("grpc_health")
@pytest.mark.parametrize("service", ["", SERVICE])
def test_health_service(rpc: Rpc, service: str) -> None:
    """gRPC, "GRPC Health Checking Protocol": Check of the server and of the service."""
    check = message("HealthCheckRequest", "grpc.health.v1")(service=service)
    answer = rpc.unary("/grpc.health.v1.Health/Check", check, message("HealthCheckResponse", "grpc.health.v1"))
    assert answer.status == SERVING


@pytest.mark.needs("grpc_health")
def test_health_of_an_unknown_service(rpc: Rpc) -> None:
    """gRPC, "GRPC Health Checking Protocol": NOT_FOUND for a service that is not registered."""
    check = message("HealthCheckRequest", "grpc.health.v1")(service="no.such.Service")
    with pytest.raises(grpc.RpcError) as caught:
        rpc.unary("/grpc.health.v1.Health/Check", check, message("HealthCheckResponse", "grpc.health.v1"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


@pytest.fixture(params=["v1", "v1alpha"])
def reflect(request: pytest.FixtureRequest, rpc: Rpc) -> Any:
    """Asks the reflection service of one version."""
    package = f"grpc.reflection.{request.param}"

    def ask(**fields: str) -> Any:
        question = message("ServerReflectionRequest", package)(**fields)
        path = f"/{package}.ServerReflection/ServerReflectionInfo"
        [answer] = rpc.streaming(path, [question], message("ServerReflectionResponse", package))
        return answer

    return ask


@pytest.mark.needs("reflection")
def test_reflection_lists_the_service(reflect: Any) -> None:
    """gRPC, "GRPC Server Reflection Protocol": list_services."""
    services = {item.name for item in reflect(list_services="*").list_services_response.service}
    assert SERVICE in services


@pytest.mark.needs("reflection")
@pytest.mark.parametrize("symbol", [SERVICE, f"{SERVICE}.ModelInfer", "inference.ModelInferRequest"])
def test_reflection_describes_the_service(reflect: Any, symbol: str) -> None:
    """gRPC, "GRPC Server Reflection Protocol": file_containing_symbol, of a service, a method, a message."""
    found = reflect(file_containing_symbol=symbol).file_descriptor_response.file_descriptor_proto
    files = [descriptor_pb2.FileDescriptorProto.FromString(content) for content in found]
    [service] = [item for file in files for item in file.service if item.name == "GRPCInferenceService"]
    assert {"ModelInfer", "ModelStreamInfer", "ServerLive"} <= {method.name for method in service.method}


@pytest.mark.needs("reflection")
def test_reflection_of_an_unknown_symbol(reflect: Any) -> None:
    """gRPC, "GRPC Server Reflection Protocol": an error response, with NOT_FOUND's number."""
    number, _ = grpc.StatusCode.NOT_FOUND.value
    assert reflect(file_containing_symbol="no.such.Symbol").error_response.error_code == number
