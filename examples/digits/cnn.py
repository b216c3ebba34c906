"""A small convolutional network of the digits, exported by `torch.export`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from examples.digits.data import Split

EPOCHS = 20
BATCH = 64
LEARNING_RATE = 0.01
SIGNATURE = {
    "inputs": {"x": {"datatype": "FP32", "shape": [-1, 1, 8, 8]}},
    "outputs": {"probs": {"datatype": "FP32", "shape": [-1, 10]}},
}


class Network(nn.Module):
    """Two convolutions and a linear layer; `x` FP32 [-1, 1, 8, 8] → logits [-1, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(32 * 4 * 4, 10),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of each row."""
        logits: torch.Tensor = self.layers(x)
        return logits


class Probabilities(nn.Module):
    """What is served: the network with a softmax behind it."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Probabilities of each row."""
        return torch.softmax(self.network(x), dim=1)


def train(digits: Split, held_out: Split, folder: Path) -> float:
    """Train, write `model.pt2` and `signature.json` into `folder`, and give the accuracy on `held_out`."""
    with _reproducible():
        network = _fit(digits)
    model = Probabilities(network).eval()
    with torch.inference_mode():
        label = model(torch.from_numpy(held_out.x)).argmax(dim=1).numpy()
    _export(model, torch.from_numpy(held_out.x[:2]), folder)
    return float((label == held_out.label).mean())


@contextmanager
def _reproducible() -> Iterator[None]:
    """A fixed seed, and one thread: sums would come out otherwise on another number of cores."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _fit(digits: Split) -> Network:
    x, label = torch.from_numpy(digits.x), torch.from_numpy(digits.label)
    network = Network()
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE)
    steps = EPOCHS * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[rows]), label[rows]).backward()
            optimizer.step()
            schedule.step()
    return network


def _export(model: nn.Module, example: torch.Tensor, folder: Path) -> None:
    program = torch.export.export(model, (example,), dynamic_shapes={"x": {0: torch.export.Dim("rows")}})
    torch.export.save(program, folder / "model.pt2")
    # A .pt2 file does not name its outputs.
    (folder / "signature.json").write_text(json.dumps(SIGNATURE, indent=2) + "\n")
