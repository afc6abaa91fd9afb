"""Draw a map from a table of distances.

The task: find points in the plane whose distances are those of the table. The loss should fall
below 0.001, but after one step it is NaN.
"""

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import optim


def distances(points):
    """The distance between each pair of points (N, 2), as an array (N, N)."""
    difference = points.unsqueeze(0) - points.unsqueeze(1)
    return mg.sqrt((difference * difference).sum(axis=2))


def main():
    rng = np.random.default_rng(1)
    towns = rng.normal(size=(8, 2)).astype(np.float32)
    table = distances(mg.tensor(towns))
    points = mg.tensor(rng.normal(size=(8, 2)).astype(np.float32), requires_grad=True)
    optimizer = optim.Adam([points], lr=0.05)
    for step in range(401):
        loss = F.mse_loss(distances(points), table)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in (0, 1, 10, 100, 400):
            print(f"step {step:3}  loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
