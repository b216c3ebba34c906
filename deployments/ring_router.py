"""Serve's request router for many models: each goes to the replica that has it, popular ones to more of them."""

from collections import Counter
from collections.abc import Mapping
from itertools import islice
from typing import Any

from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter
from ray.serve.request_router import PendingRequest, ReplicaID, RunningReplica

from servables.ring import Ring

OTHERS = 2
"""Replicas that are asked after the first, should that one not take the request."""

Ranks = list[list[RunningReplica]]


class RingRouter(ConsistentHashRouter):  # type: ignore[misc]
    """Consistent hashing with bounded loads, by the session of a request, which is its model's name.

    Serve's own router of this kind always takes the same replica, however busy. The loads are those that this process
    knows of: what it sent itself, and what replicas told it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ring: Ring | None = None
        self._chosen: Counter[ReplicaID] = Counter()
        """Requests that are about to go to a replica: one turn of the loop may choose for hundreds before any goes."""

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> Ranks:
        """The replica whose turn it is, then others in the order of the ring."""
        if pending_request is None or not pending_request.metadata.session_id or not candidate_replicas:
            ranks: Ranks = await super().choose_replicas(candidate_replicas, pending_request)
            return ranks
        pending_request.routing_context.should_backoff = True
        replicas = {replica.replica_id.unique_id: replica for replica in candidate_replicas}
        if self._ring is None or self._ring.replicas != replicas.keys():
            self._ring = Ring(replicas.keys())
        loads = {name: self._load(replica.replica_id) for name, replica in replicas.items()}
        ranks = _ranked(replicas, self._ring, pending_request.metadata.session_id, loads)
        self._chosen[ranks[0][0].replica_id] += 1
        return ranks

    def on_send_request(self, replica_id: ReplicaID) -> None:
        """Called by Serve when a request goes out: from now on its own count has it."""
        super().on_send_request(replica_id)
        if not self.num_pending_requests:
            self._chosen.clear()  # whatever became of requests that went elsewhere, or nowhere
        elif self._chosen[replica_id]:
            self._chosen[replica_id] -= 1

    def _load(self, replica: ReplicaID) -> int:
        known: int | None = self.replica_queue_len_cache.get(replica)
        return (known or 0) + self._chosen[replica]


def _ranked(replicas: Mapping[str, RunningReplica], ring: Ring, model: str, loads: Mapping[str, int]) -> Ranks:
    first = ring.choose(model, loads)
    others = (name for name in ring.order(model) if name != first)
    return [[replicas[name]] for name in (first, *islice(others, OTHERS))]
