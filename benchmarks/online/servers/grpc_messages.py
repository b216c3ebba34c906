"""One ModelInfer of the peers, with the messages that tritonclient brings along."""

import numpy as np
from tritonclient.grpc.service_pb2 import ModelInferRequest, ModelInferResponse

from benchmarks.online.servers import v2_networks


def infer(request: ModelInferRequest) -> ModelInferResponse:
    """Decode the raw contents, run the model, encode."""
    x = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(request.inputs[0].shape)
    name, y = v2_networks.run(request.model_name, x)
    response = ModelInferResponse(model_name=request.model_name, raw_output_contents=[y.tobytes()])
    response.outputs.add(name=name, datatype="FP32", shape=y.shape)
    return response
