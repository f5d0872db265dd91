"""A small model trained by several workers together (PyTorch, gloo), with Headway.

Each worker computes gradients on its own part of the data; all of them apply the mean. The first
worker reports progress and writes checkpoints; every worker begins from the same one.
"""

import headway
import torch
import torch.distributed as dist
from torch import nn

EPOCHS = 20


def main() -> None:
    """Train, as one of the workers."""
    dist.init_process_group("gloo")  # RANK, WORLD_SIZE, MASTER_ADDR: Headway has set them
    rank, workers = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    inputs = torch.randn(4096, 8)
    wanted = inputs.sum(dim=1, keepdim=True).sin()
    mine = slice(rank, None, workers)

    def any_of(wish: bool) -> bool:
        flag = torch.tensor(float(wish))
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag)

    with headway.operation("Distributed") as op:
        op.together(any_of)  # all stop at the same batch
        if saved := op.resume():
            state = torch.load(saved.folder / "state.pt", weights_only=True)
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])

        def save(folder):
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, folder / "state.pt")

        op.checkpoint(save)
        for _ in op.epochs(EPOCHS):
            loss = torch.zeros(())
            parts = zip(inputs[mine].split(64), wanted[mine].split(64), strict=True)
            for batch, target in op.batches(list(parts)):
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(model(batch), target)
                loss.backward()
                for parameter in model.parameters():
                    dist.all_reduce(parameter.grad)
                    parameter.grad /= workers
                optimizer.step()
            op.metrics(loss=loss)
        op.result(workers=workers, weights=float(sum(p.sum() for p in model.parameters())))
    dist.destroy_process_group()


main()
