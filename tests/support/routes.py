"""Routes of a user's own for tests with a server."""

from typing import Annotated

from fastapi import APIRouter, WebSocket

from deployments.routes import LocalGraph, graph

router = APIRouter(prefix="/ours")
shadowed = APIRouter()


@shadowed.get("/{page}")
async def page(page: str) -> str:
    """A route that also has the paths of graphs."""
    return page


@router.get("/way")
async def way(client: Annotated[LocalGraph, graph("way")]) -> list[str]:
    """Which file of ours called the gateway's door."""
    return [word.decode() for word in (await client.predict_async(x=[[1, 2]]))["called_by"].flat]


@router.get("/failing")
async def failing(client: Annotated[LocalGraph, graph("failing")]) -> None:
    """Lets the graph's error pass."""
    await client.predict_async(x=[[1, 2]])


@router.websocket("/socket")
async def messages(socket: WebSocket, client: Annotated[LocalGraph, graph("cascade")]) -> None:
    """Answers one message, in part from a placed node."""
    await socket.accept()
    outputs = await client.predict_async(**await socket.receive_json())
    await socket.send_json(outputs["y"].tolist())
    await socket.close()
