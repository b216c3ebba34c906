"""The admin API over HTTP: who may use it, what bodies it takes, what it says when control is away."""

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator
from ray.exceptions import ActorDiedError

from configs.errors import Refused, Unauthorized
from deployments import admin as module
from deployments.admin import Admin
from deployments.http_door import HttpDoor
from deployments.operations import Action, Operation, ServableStatus, TransitionStatus, VersionStatus
from deployments.protocols import v2_proto as v2
from deployments.protocols.repository import Standing
from tests.support.grpc_client import rpc
from tests.unit.deployments.doors import MAX_BYTES, gateway
from tests.unit.deployments.grpc_server import serving

NAME = "g.cnn"
TOKEN = {"authorization": "Bearer s3cret"}
VERSION = VersionStatus(3, "ab", "routed", "", 0, 0.0, 5.0, True, True, True, False, False)
STATUS = ServableStatus(NAME, "latest 1", 0, 3, 3, None, [VERSION])
PAST = TransitionStatus(5.0, 3, "ab", None, "discovered", "")


class Control:
    """Remembers what it is asked, and answers what a test says."""

    def __init__(self) -> None:
        self.asked: list[Operation] = []
        self.answer: Callable[[Operation], Any] = lambda asked: [PAST] if asked.action is Action.HISTORY else [STATUS]
        self.operate = SimpleNamespace(remote=self._operate)

    async def _operate(self, token: str, asked: Operation) -> Any:
        self.asked.append(asked)
        return Unauthorized("not the token") if token != "s3cret" else self.answer(asked)


@pytest.fixture
def control() -> Control:
    return Control()


@pytest.fixture
def admin(control: Control) -> Admin:
    standing = [Standing(NAME, "3", "READY"), Standing(NAME, "4", "UNAVAILABLE", "broken")]
    return Admin(control, [NAME], lambda: standing)  # type: ignore[arg-type]


@pytest.fixture
def http(admin: Admin) -> TestClient:
    return TestClient(HttpDoor(gateway()[0], "millrace", "1", MAX_BYTES, admin=admin), headers=TOKEN)


def test_versions_and_history(http: TestClient, control: Control) -> None:
    [listed] = http.get("/admin/servables").json()["servables"]
    assert http.get(f"/admin/servables/{NAME}").json() == listed
    assert (listed["version"], listed["versions"][0]["phase"]) == (3, "routed")
    assert http.get(f"/admin/servables/{NAME}/history?limit=7").json()["history"][0]["after"] == "discovered"
    assert control.asked == [
        Operation(Action.LIST),
        Operation(Action.LIST, NAME),
        Operation(Action.HISTORY, NAME, limit=7),
    ]


@pytest.mark.parametrize(
    ("path", "body", "version"),
    [
        ("load", {"version": 3}, 3),
        ("load", {}, None),
        ("load", None, None),
        ("rollback", {"from": 3}, 3),
        ("unload", {"version": 0}, 0),
    ],
)
def test_changes(http: TestClient, control: Control, path: str, body: Any, version: int | None) -> None:
    answer = http.post(f"/admin/servables/{NAME}/{path}", json=body)
    assert (answer.status_code, answer.json()["servable"]) == (200, NAME)
    assert control.asked == [Operation(Action(path), NAME, version)]


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("load", '{"version": "3"}', "version is '3'; it must be a whole number"),
        ("load", '{"version": true}', "version is True"),
        ("load", '{"version": -1}', "version is -1"),
        ("load", '{"version": 9223372036854775808}', "from 0 to 2^63-1"),
        ("load", '{"versoin": 3}', "load does not take 'versoin', but nothing, or"),
        ("load", "[3]", "load takes nothing, or"),
        ("load", "{", "is not JSON"),
        ("rollback", '{"version": 3}', "rollback does not take 'version', but `{\"from\": 3}`"),
        ("rollback", '{"from": -1}', "from is -1; it must be a whole number"),
        ("rollback", "", 'rollback takes `{"from": 3}`, the version that shall lose the traffic; there is no'),
        ("unload", "{}", "there is no version in the body"),
        ("unload", "", "there is no version in the body"),
        ("history?limit=0", None, "limit is '0'"),
        ("history?limit=1001", None, "from 1 to 1000"),
        ("history?limit=²", None, "limit is"),
        ("history?limit=0000000011111", None, "from 1 to 1000"),
        (f"history?limit=000000001{'0' * 5000}", None, "from 1 to 1000"),
        ("history?last=3", None, "it takes `limit`"),
    ],
)
def test_what_it_does_not_take(http: TestClient, control: Control, path: str, body: str | None, words: str) -> None:
    method = "GET" if body is None else "POST"
    answer = http.request(method, f"/admin/servables/{NAME}/{path}", content=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert not control.asked


@pytest.mark.parametrize("header", ["", "s3cret", "Basic s3cret", "Bearer", "Bearer wrong"])
@pytest.mark.parametrize("path", ["", f"/{NAME}/rollback"])
def test_without_the_token_it_says_what_to_send(http: TestClient, header: str, path: str) -> None:
    shown, body = {"authorization": header}, {"from": 3}
    answer = http.request("POST" if path else "GET", f"/admin/servables{path}", headers=shown, json=body)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "wrong" not in answer.json()["error"]


@pytest.mark.parametrize("path", [f"/admin/servables/{NAME}/load", f"/v2/repository/models/{NAME}/load"])
def test_a_body_is_read_for_who_shows_a_token_and_only_a_short_one(
    http: TestClient, control: Control, path: str
) -> None:
    assert http.post(path, content="{", headers={"authorization": ""}).status_code == 401
    answer = http.post(path, content="[" * 4097)
    assert (answer.status_code, answer.json()["error"]) == (
        413,
        "the body has 4,097 bytes; an operator's has at most 4,096",
    )
    assert not control.asked


def test_a_history_is_for_who_shows_a_token(http: TestClient) -> None:
    answer = http.get(f"/admin/servables/{NAME}/history?limit=x", headers={"authorization": ""})
    assert answer.status_code == 401


def test_a_servable_that_there_is_not(http: TestClient) -> None:
    for path in ("/x", "/x/history"):
        answer = http.get(f"/admin/servables{path}")
        assert answer.status_code == 404
        assert answer.json()["error"] == "there is no servable 'x'; this server has g.cnn"
    assert http.get(f"/admin/servables/{NAME}/nope").status_code == 404


def test_what_control_refuses(http: TestClient, control: Control) -> None:
    control.answer = lambda asked: Refused("it is the last")
    answer = http.post(f"/admin/servables/{NAME}/unload", json={"version": 3})
    assert (answer.status_code, answer.json()) == (409, {"error": "it is the last"})


def test_a_control_that_is_away_or_hangs(http: TestClient, control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    def died(asked: Operation) -> Any:
        raise ActorDiedError

    control.answer = died
    answer = http.get("/admin/servables")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    monkeypatch.setattr(module, "DEADLINE_S", 0.01)
    cancelled = []

    async def hang(token: str, asked: Operation) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(token)

    class Response:
        def __init__(self) -> None:
            self.task = asyncio.ensure_future(hang("", Operation(Action.LIST)))

        def __await__(self) -> Any:
            return self.task.__await__()

        def cancel(self) -> None:
            self.task.cancel()

    control.operate = SimpleNamespace(remote=lambda token, asked: Response())
    answer = http.get("/admin/servables")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert cancelled


def test_only_so_many_wait_for_control(http: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 0)
    assert http.get("/admin/servables").status_code == 503


def test_servables_in_tritons_repository(http: TestClient, control: Control) -> None:
    index, repository = "/v2/repository/index", f"/v2/repository/models/{NAME}"
    assert [(each["name"], each["version"], each["state"], each["reason"]) for each in http.post(index).json()] == [
        ("g", "1", "READY", ""),
        (NAME, "3", "READY", ""),
        (NAME, "4", "UNAVAILABLE", "broken"),
    ]
    assert [each["version"] for each in http.post(index, json={"ready": True}).json()] == ["1", "3"]
    plain = {"unload_dependents": False}
    for path, parameters in (("load", {}), ("load", {"version": 3}), ("unload", plain), ("unload", {"version": 3})):
        assert http.post(f"{repository}/{path}", json={"parameters": parameters}).json() == {}
    assert control.asked == [
        Operation(Action.RESTORE, NAME),
        Operation(Action.LOAD, NAME, 3),
        Operation(Action.UNLOAD, NAME),
        Operation(Action.UNLOAD, NAME, 3),
    ]
    for parameters, status in (({"version": -1}, 400), ({"version": "3"}, 400), ({"config": "{}"}, 501)):
        assert http.post(f"{repository}/unload", json={"parameters": parameters}).status_code == status
    assert http.post(f"{repository}/load", headers={"authorization": ""}).status_code == 401


async def test_servables_in_tritons_repository_over_grpc(admin: Admin, control: Control) -> None:
    async with serving(gateway()[0], admin=admin) as channel:
        index = (await rpc(channel, "RepositoryIndex")(v2.RepositoryIndexRequest(ready=True))).models
        load, unload = rpc(channel, "RepositoryModelLoad"), rpc(channel, "RepositoryModelUnload")
        shown = [("authorization", "Bearer s3cret")]
        await load(v2.RepositoryModelLoadRequest(model_name=NAME), metadata=shown)
        asked = v2.RepositoryModelUnloadRequest(model_name=NAME)
        asked.parameters["version"].int64_param = 3
        await unload(asked, metadata=shown)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await unload(asked)
    assert [(each.name, each.version) for each in index] == [("g", "1"), (NAME, "3")]
    assert control.asked == [Operation(Action.RESTORE, NAME), Operation(Action.UNLOAD, NAME, 3)]
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_the_document_describes_the_answers(http: TestClient) -> None:
    document = http.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["adminToken"]["scheme"] == "bearer"
    paths = {path: item for path, item in document["paths"].items() if path.startswith("/admin")}
    assert len(paths) == 6
    for path, item in paths.items():
        for method, operation in ((method, item[method]) for method in ("get", "post") if method in item):
            assert operation["security"] == [{"adminToken": []}]
            body = {"from" if path.endswith("/rollback") else "version": 3} if method == "post" else None
            answer = http.request(method.upper(), path.replace("{servable}", NAME), json=body)
            schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
            validator = Draft202012Validator({**schema, "components": document["components"]})
            assert not [error.message for error in validator.iter_errors(answer.json())]
    assert "/admin" not in json.dumps(TestClient(HttpDoor(gateway()[0], "m", "1", 1)).get("/openapi.json").json())
