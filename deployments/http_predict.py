"""TensorFlow Serving's and KServe v1's REST form: what answers below `/v1/models`."""

from collections.abc import Iterator

from configs.tensors import Rows
from deployments.answering import GRAPH_VERSION, Answering
from deployments.http_infer import infer_handler
from deployments.http_messages import JSON, PREDICT, Headers, Request, Route, document
from deployments.protocols import predict
from deployments.protocols.request import InferRequest
from deployments.service import GraphService


class PredictCodec:
    """`:predict` of one graph."""

    protocol = PREDICT

    def __init__(self, service: GraphService) -> None:
        self._name, self._signature = service.name, service.signature

    def decode(self, http: Request) -> InferRequest:
        """A checked request, in rows or in columns."""
        return predict.decode(http.body, self._signature, self._name, GRAPH_VERSION)

    def encode(self, request: InferRequest, outputs: Rows) -> tuple[bytes, Headers]:
        """Predictions, in the form of the request."""
        return predict.encode(request, outputs), [JSON]


def predict_routes(answering: Answering) -> Iterator[Route]:
    """Every route below `/v1/models`."""
    yield document("/v1/models", {"models": sorted(answering.services)})
    for name, service in answering.services.items():
        handler = infer_handler(answering, service, PredictCodec(service))
        for base in (f"/v1/models/{name}", f"/v1/models/{name}/versions/{GRAPH_VERSION}"):
            yield document(base, predict.status(name, GRAPH_VERSION))
            yield document(f"{base}/metadata", predict.metadata(name, GRAPH_VERSION, service.signature))
            yield Route("POST", f"{base}:predict", handler)
