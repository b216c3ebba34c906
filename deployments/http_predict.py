"""TensorFlow Serving's and KServe v1's REST form: what answers below `/v1/models`."""

from collections.abc import Iterator

from configs.tensors import Rows
from deployments.answering import GRAPH_VERSION, Answering
from deployments.http_infer import infer_handler
from deployments.http_messages import JSON, PREDICT, Handler, Headers, Request, Route, document
from deployments.http_models import described, for_its_model
from deployments.protocols import predict
from deployments.protocols.request import InferRequest
from deployments.service import GraphService


class PredictCodec:
    """`:predict` of one graph."""

    protocol = PREDICT

    def __init__(self, service: GraphService) -> None:
        self._name, self._signature = service.asked_as, service.signature

    def decode(self, http: Request) -> InferRequest:
        """A checked request, in rows or in columns."""
        return predict.decode(http.body, self._signature, self._name, GRAPH_VERSION)

    def encode(self, request: InferRequest, outputs: Rows) -> tuple[bytes, Headers]:
        """Predictions, in the form of the request."""
        return predict.encode(request, outputs), [JSON]


def predict_routes(answering: Answering) -> Iterator[Route]:
    """Every route below `/v1/models`."""
    yield document("/v1/models", {"models": sorted(answering.services)})
    for service in answering.services.values():
        yield from _graph_routes(answering, service)


def _graph_routes(answering: Answering, service: GraphService) -> Iterator[Route]:
    def handler(chosen: GraphService) -> Handler:
        return infer_handler(answering, chosen, PredictCodec(chosen))

    of = (answering, service, PREDICT)
    for base in (f"/v1/models/{service.name}", f"/v1/models/{service.name}/versions/{GRAPH_VERSION}"):
        yield described(*of, base, lambda chosen: predict.status(chosen.asked_as, GRAPH_VERSION))
        yield described(
            *of, f"{base}/metadata", lambda chosen: predict.metadata(chosen.asked_as, GRAPH_VERSION, chosen.signature)
        )
        yield Route("POST", f"{base}:predict", for_its_model(*of, handler))
