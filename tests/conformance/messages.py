"""The gRPC messages, in a descriptor pool of their own: a client's generated code may live in the same process.

Field numbers: `grpc_service.proto` and `model_config.proto` (Triton; a superset of `open_inference_grpc.proto`),
`grpc/health/v1/health.proto`, `grpc/reflection/v1/reflection.proto`. Enums are int32, as on the wire. Fields that
no test reads are left out: protobuf skips them.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

INFERENCE = """
ServerLiveRequest
ServerLiveResponse: bool live=1
ServerReadyRequest
ServerReadyResponse: bool ready=1
ModelReadyRequest: string name=1, string version=2
ModelReadyResponse: bool ready=1
ServerMetadataRequest
ServerMetadataResponse: string name=1, string version=2, *string extensions=3
ModelMetadataRequest: string name=1, string version=2
TensorMetadata: string name=1, string datatype=2, *int64 shape=3
ModelMetadataResponse: string name=1, *string versions=2, string platform=3, *TensorMetadata inputs=4, \
  *TensorMetadata outputs=5
InferParameter: |bool bool_param=1, |int64 int64_param=2, |string string_param=3, |double double_param=4, \
  |uint64 uint64_param=5
InferTensorContents: *bool bool_contents=1, *int32 int_contents=2, *int64 int64_contents=3, *uint32 uint_contents=4, \
  *uint64 uint64_contents=5, *float fp32_contents=6, *double fp64_contents=7, *bytes bytes_contents=8
Tensor: string name=1, string datatype=2, *int64 shape=3, %InferParameter parameters=4, InferTensorContents contents=5
RequestedOutput: string name=1, %InferParameter parameters=2
ModelInferRequest: string model_name=1, string model_version=2, string id=3, %InferParameter parameters=4, \
  *Tensor inputs=5, *RequestedOutput outputs=6, *bytes raw_input_contents=7
ModelInferResponse: string model_name=1, string model_version=2, string id=3, %InferParameter parameters=4, \
  *Tensor outputs=5, *bytes raw_output_contents=6
ModelStreamInferResponse: string error_message=1, ModelInferResponse infer_response=2
ModelConfigRequest: string name=1, string version=2
ModelInput: string name=1, int32 data_type=2, *int64 dims=4
ModelOutput: string name=1, int32 data_type=2, *int64 dims=3
ModelConfig: string name=1, string platform=2, int32 max_batch_size=4, *ModelInput input=5, *ModelOutput output=6
ModelConfigResponse: ModelConfig config=1
ModelStatisticsRequest: string name=1, string version=2
StatisticDuration: uint64 count=1, uint64 ns=2
InferStatistics: StatisticDuration success=1, StatisticDuration fail=2, StatisticDuration queue=3, \
  StatisticDuration compute_input=4, StatisticDuration compute_infer=5, StatisticDuration compute_output=6
InferBatchStatistics: uint64 batch_size=1, StatisticDuration compute_input=2, StatisticDuration compute_infer=3, \
  StatisticDuration compute_output=4
ModelStatistics: string name=1, string version=2, uint64 last_inference=3, uint64 inference_count=4, \
  uint64 execution_count=5, InferStatistics inference_stats=6, *InferBatchStatistics batch_stats=7
ModelStatisticsResponse: *ModelStatistics model_stats=1
RepositoryIndexRequest: string repository_name=1, bool ready=2
ModelIndex: string name=1, string version=2, string state=3, string reason=4
RepositoryIndexResponse: *ModelIndex models=1
RepositoryModelLoadRequest: string repository_name=1, string model_name=2
RepositoryModelLoadResponse
RepositoryModelUnloadRequest: string repository_name=1, string model_name=2
RepositoryModelUnloadResponse
"""
HEALTH = """
HealthCheckRequest: string service=1
HealthCheckResponse: int32 status=1
"""
REFLECTION = """
ServerReflectionRequest: string host=1, |string file_by_filename=3, |string file_containing_symbol=4, \
  |string list_services=7
FileDescriptorResponse: *bytes file_descriptor_proto=1
ServiceResponse: string name=1
ListServiceResponse: *ServiceResponse service=1
ErrorResponse: int32 error_code=1, string error_message=2
ServerReflectionResponse: string valid_host=1, |FileDescriptorResponse file_descriptor_response=4, \
  |ListServiceResponse list_services_response=6, |ErrorResponse error_response=7
"""
"""One line a message; before a type `*` is repeated, `%` a map from string, `|` a member of the message's one oneof."""

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = ("bool", "int32", "int64", "uint32", "uint64", "float", "double", "string", "bytes")
_POOL = descriptor_pool.DescriptorPool()


def message(name: str, package: str = "inference") -> Any:
    """The class of a message."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{package}.{name}"))


def _add(package: str, text: str) -> None:
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for line in text.strip().splitlines():
        name, _, fields = line.partition(":")
        declared = file.message_type.add(name=name)
        for field in filter(None, map(str.strip, fields.split(","))):
            _add_field(declared, f".{package}", field)
    _POOL.Add(file)


def _add_field(declared: descriptor_pb2.DescriptorProto, scope: str, text: str) -> None:
    kind, _, rest = text.partition(" ")
    name, _, number = rest.strip().partition("=")
    flag, kind = (kind[0], kind[1:]) if kind[0] in "*%|" else ("", kind)
    if flag == "%":
        entry = declared.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        _add_field(entry, scope, "string key=1")
        _add_field(entry, scope, f"{kind} value=2")
        kind, scope = entry.name, f"{scope}.{declared.name}"
    field = declared.field.add(name=name, number=int(number))
    field.label = _Field.LABEL_REPEATED if flag in ("*", "%") else _Field.LABEL_OPTIONAL
    if kind in _SCALARS:
        field.type = getattr(_Field, f"TYPE_{kind.upper()}")
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f"{scope}.{kind}"
    if flag == "|":
        if not declared.oneof_decl:
            declared.oneof_decl.add(name="choice")
        field.oneof_index = 0


_add("inference", INFERENCE)
_add("grpc.health.v1", HEALTH)
_add("grpc.reflection.v1", REFLECTION)
_add("grpc.reflection.v1alpha", REFLECTION)
