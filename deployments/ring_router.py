"""Serve's request router for many models: each goes to the replica that has it, popular ones to more of them."""

from collections.abc import Sequence

from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter
from ray.serve.request_router import PendingRequest, ReplicaID, RunningReplica

from servables.ring import Ring


class RingRouter(ConsistentHashRouter):  # type: ignore[misc]
    """Consistent hashing with bounded loads, by the session of a request, which is its model's name.

    Serve's own router of this kind always takes the same replica, however busy. The loads are those that this process
    knows of: what it sent itself, and what replicas told it.
    """

    _ring: Ring | None = None

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Make the ring anew when replicas came or went."""
        super().update_replicas(replicas)
        names = {replica.replica_id.unique_id for replica in replicas}
        if self._ring is None or names != self._ring.replicas:
            self._ring = Ring(names) if names else None

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """The replica whose turn it is, then the others in the order of the ring."""
        if pending_request is None or not pending_request.metadata.session_id or self._ring is None:
            ranks: list[list[RunningReplica]] = await super().choose_replicas(candidate_replicas, pending_request)
            return ranks
        pending_request.routing_context.should_backoff = True
        replicas = {replica.replica_id.unique_id: replica for replica in candidate_replicas}
        loads = {name: self._load(replica.replica_id) for name, replica in replicas.items()}
        return _ranked(replicas, self._ring, pending_request.metadata.session_id, loads)

    def _load(self, replica: ReplicaID) -> int:
        return self.replica_queue_len_cache.get(replica) or 0


def _ranked(
    replicas: dict[str, RunningReplica], ring: Ring, model: str, loads: dict[str, int]
) -> list[list[RunningReplica]]:
    first = ring.choose(model, loads)
    names: Sequence[str] = [first, *(name for name in ring.order(model) if name != first)]
    return [[replicas[name]] for name in names if name in replicas]
