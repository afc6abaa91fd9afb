"""An LSTM layer of its own, with the weights of a trained one.

The task: train `nn.LSTM` to continue a text, then compute the same loss with `lstm` from the same
weights. The two losses should be equal.
"""

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim


def lstm(x, W_ih, W_hh, b_ih, b_hh):
    """An LSTM over x (T, B, I), with weights as in `nn.LSTM`; returns the output (T, B, H)."""
    h = c = mg.tensor(np.zeros((x.shape[1], W_hh.shape[1]), x.dtype))
    output = []
    for x_t in mg.unbind(x):
        a = F.linear(x_t, W_ih, b_ih) + F.linear(h, W_hh, b_hh)
        a_i, a_f, a_o, a_g = a.chunk(4, axis=1)
        i, f, g, o = a_i.sigmoid(), a_f.sigmoid(), a_g.tanh(), a_o.sigmoid()
        c = f * c + i * g
        h = o * c.tanh()
        output.append(h)
    return mg.stack(output)


def main():
    mg.manual_seed(1)
    text = np.array([ord(letter) - ord("a") for letter in "backpropagationthroughtime" * 4])
    embed, layer, decode = nn.Embedding(26, 16), nn.LSTM(16, 32), nn.Linear(32, 26)
    optimizer = optim.Adam(nn.ModuleList([embed, layer, decode]).parameters(), lr=0.02)
    for _ in range(60):
        output, _ = layer(embed(text[:-1, None]))
        loss = F.cross_entropy(decode(output[:, 0]), text[1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = embed(text[:-1, None])
    for name, output in (("nn.LSTM", layer(x)[0]), ("lstm", lstm(x, *layer.weights(0)))):
        loss = F.cross_entropy(decode(output[:, 0]), text[1:])
        print(f"{name:8} loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
