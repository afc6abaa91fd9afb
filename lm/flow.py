"""Draw where the time of training goes: a flow chart in Mermaid or SVG, coloured by share.

Both read what `examples/profile_lm.py` measured: a mapping from a component's name to its share of
the time in percent. The recurrent layers are "forward layer 1", "backward layer 1" and so on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

Shares = Mapping[str, float]

BEFORE = ("read corpus", "batchify", "build model")
CHUNK = ("init_hidden", "get_batch", "repackage_hidden", "zero_grad")
AFTER = ("validation", "saving", "test", "other")

# A few words about each component, short enough for its box.
WORDS = {
    "read corpus": "text to word ids, and the vocabulary",
    "batchify": "one long text cut into columns, read in parallel",
    "build model": "draw the first weights",
    "init_hidden": "zeros, once per epoch",
    "get_batch": "words and targets",
    "repackage_hidden": "truncates BPTT",
    "zero_grad": "forget gradients",
    "embedding": "word vectors",
    "dropout": "random masks",
    "layer": "step by step",
    "decoder + loss": "scores and loss",
    "clipping": "limit the norm",
    "update": "w ← w − lr · dw",
    "validation": "loss on unseen text, after each epoch",
    "saving": "a checkpoint, after each epoch",
    "test": "loss on the last split, once",
    "other": "Python between the components",
}
BACKWARD = {
    "embedding": "sum equal words",
    "dropout": "the same masks",
    "layer": "back through time",
    "decoder + loss": "softmax − target",
}


def parts(nlayers: int) -> list[str]:
    """The parts of the model in the order of the forward pass."""
    layers = [f"layer {layer}" for layer in range(1, nlayers + 1)]
    return ["embedding", "dropout", *layers, "decoder + loss"]


def components(nlayers: int) -> list[str]:
    """All components in the order of a run."""
    forward = [f"forward {part}" for part in parts(nlayers)]
    backward = [f"backward {part}" for part in reversed(parts(nlayers))]
    return [*BEFORE, *CHUNK, *forward, *backward, "clipping", "update", *AFTER]


def count_layers(shares: Shares) -> int:
    return sum(name.startswith("forward layer") for name in shares)


def words(name: str) -> str:
    """A few words about a component."""
    direction, _, part = name.partition(" ")
    if direction not in ("forward", "backward"):
        return WORDS[name]
    key = part.partition(" ")[0] if part.startswith("layer") else part
    return BACKWARD[key] if direction == "backward" else WORDS[key]


def percent(share: float) -> str:
    return f"{share:.1f} %" if share >= 0.05 or share == 0 else "< 0.1 %"


# -------------------------------------------------------------------- colours

# ColorBrewer's YlGnBu: it darkens evenly, so that it can be read without seeing its hues.
SCALE = ("#ffffd9", "#edf8b1", "#c7e9b4", "#7fcdbb", "#41b6c4", "#1d91c0", "#225ea8", "#0c2c84")


def colours(share: float, largest: float) -> tuple[str, str]:
    """The fill for a share, and black or white, whichever is easier to read on it."""
    place = min(max(share / (largest or 1), 0), 1) * (len(SCALE) - 1)
    low = min(int(place), len(SCALE) - 2)
    a, b = _rgb(SCALE[low]), _rgb(SCALE[low + 1])
    mixed = [x + (y - x) * (place - low) for x, y in zip(a, b, strict=True)]
    linear = [((x / 255 + 0.055) / 1.055) ** 2.4 for x in mixed]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]  # WCAG 2
    fill = "#" + "".join(f"{round(x):02x}" for x in mixed)
    return fill, "#000000" if luminance > 0.179 else "#ffffff"


def _rgb(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


# -------------------------------------------------------------------- Mermaid


def mermaid(shares: Shares) -> str:
    """The flow chart as Mermaid text, which code hosts draw."""
    nlayers, largest = count_layers(shares), max(shares.values())
    names = components(nlayers)
    key = {name: f"c{i}" for i, name in enumerate(names)}
    step = names[names.index("get_batch") : names.index("update") + 1]

    def box(name: str) -> str:
        share = percent(shares[name]).replace("<", "#lt;")  # a label is HTML
        return f'{key[name]}["<b>{name}</b> {share}<br>{words(name)}"]'

    lines = ["flowchart TD"]
    lines += [f"    {box(name)}" for name in names if name not in step]
    lines += ['    subgraph chunk["every chunk"]', *(f"        {box(name)}" for name in step)]
    lines.append("    end")
    order = [name for name in names if name != "other"]  # it has no place of its own
    order.remove("test")
    lines += [f"    {key[a]} --> {key[b]}" for a, b in itertools.pairwise(order)]
    lines += [
        f"    {key['update']} -->|next chunk| {key['get_batch']}",
        f"    {key['saving']} -->|next epoch| {key['init_hidden']}",
        f"    {key['saving']} --> {key['test']}",
    ]
    for name in names:
        fill, ink = colours(shares[name], largest)
        lines.append(f"    style {key[name]} fill:{fill},color:{ink},stroke:#6e7781")
    return "\n".join(lines) + "\n"


# -------------------------------------------------------------------- SVG

WIDTH, MARGIN, HEIGHT, GAP = 360, 6, 40, 16  # a box is as high as its two lines
INNER = 12  # where the boxes of a chunk begin, inside the frame
NARROW = (WIDTH - 2 * INNER - 8) / 2
STYLE = """
    .ground { fill: #ffffff } .ink { fill: #1f2328 } .pale { fill: #59636e }
    .line { stroke: #59636e; fill: none; stroke-width: 1.5 } .tip { fill: #59636e }
    .frame { stroke: #818b98; fill: none; stroke-dasharray: 4 3 }
    .box { stroke: #818b98 }
    text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
    text { font-size: 12px } .small { font-size: 10.5px } .bold { font-weight: 600 }
    @media (prefers-color-scheme: dark) {
      .ground { fill: #0d1117 } .ink { fill: #f0f6fc } .pale { fill: #9198a1 }
      .line { stroke: #9198a1 } .tip { fill: #9198a1 }
    }
"""


@dataclass
class Box:
    """A component's box, by its left upper corner."""

    name: str
    x: float
    y: float
    width: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    def svg(self, share: float, largest: float) -> str:
        fill, ink = colours(share, largest)
        label = self.name.removeprefix("forward ").removeprefix("backward ")
        right = self.x + self.width - 7
        return (
            f"<g><title>{escape(self.name)}: {share:.2f} %</title>"
            f'<rect class="box" x="{self.x:g}" y="{self.y:g}" width="{self.width:g}" '
            f'height="{HEIGHT}" rx="5" fill="{fill}"/>'
            f'<text class="bold" x="{self.x + 7:g}" y="{self.y + 16:g}" fill="{ink}">'
            f"{escape(label)}</text>"
            f'<text class="small bold" x="{right:g}" y="{self.y + 32:g}" text-anchor="end" '
            f'fill="{ink}">{escape(percent(share))}</text>'
            f'<text class="small" x="{self.x + 7:g}" y="{self.y + 32:g}" fill="{ink}">'
            f"{escape(words(self.name))}</text></g>"
        )


def svg(shares: Shares, heading: str = "Where the time of a training run goes") -> str:
    """The flow chart as an SVG that needs nothing else: down through the model, and back up."""
    largest = max(shares.values())
    boxes, frame = _layout(count_layers(shares))
    bottom = max(box.y for box in boxes.values()) + HEIGHT
    height = bottom + 46
    body = [box.svg(shares[name], largest) for name, box in boxes.items()]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" '
            f'width="{1.5 * WIDTH:g}" style="max-width: 100%" role="img">',
            f"<title>{escape(heading)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="ground" width="{WIDTH}" height="{height:g}" rx="8"/>',
            f'<text class="ink bold" x="{MARGIN}" y="24">{escape(heading)}</text>',
            f'<rect class="frame" x="{MARGIN}" y="{frame[0]:g}" width="{WIDTH - 2 * MARGIN}" '
            f'height="{frame[1] - frame[0]:g}" rx="8"/>',
            *_arrows(boxes, frame),
            *body,
            *_legend(bottom + 14, largest),
            "</svg>\n",
        ]
    )


def _layout(nlayers: int) -> tuple[dict[str, Box], tuple[float, float]]:
    """The boxes by name, and the upper and lower end of the frame around a chunk."""
    boxes: dict[str, Box] = {}
    pitch, y = HEIGHT + GAP, 38.0

    def wide(name: str) -> None:
        nonlocal y
        boxes[name] = Box(name, MARGIN, y, WIDTH - 2 * MARGIN)
        y += pitch

    for name in (*BEFORE, "init_hidden"):
        wide(name)
    top = y
    y += 28
    down = [*CHUNK[1:], *(f"forward {part}" for part in parts(nlayers))]
    up = ["", "update", "clipping", *(f"backward {part}" for part in parts(nlayers))]
    for left, right in zip(down, up, strict=True):
        boxes[left] = Box(left, INNER, y, NARROW)
        if right:
            boxes[right] = Box(right, WIDTH - INNER - NARROW, y, NARROW)
        y += pitch
    end = y - 2
    y = end + GAP + 4
    for name in AFTER:
        wide(name)
    return boxes, (top, end)


def _arrows(boxes: Mapping[str, Box], frame: tuple[float, float]) -> Iterator[str]:
    """Arrows down the left and up the right, the turns at both ends, and the two captions."""
    top, end = frame
    for a, b in zip((*BEFORE, "init_hidden"), (*BEFORE[1:], "init_hidden"), strict=False):
        yield _arrow(boxes[a].middle, boxes[a].y + HEIGHT, boxes[b].y)
    down = [box for box in boxes.values() if box.x == INNER]
    up = [box for box in boxes.values() if box.x > INNER]
    yield _arrow(WIDTH / 2, boxes["init_hidden"].y + HEIGHT, top)
    for upper, lower in itertools.pairwise(down):
        yield _arrow(upper.middle, upper.y + HEIGHT, lower.y)
    for upper, lower in itertools.pairwise(up):
        yield _arrow(upper.middle, lower.y, upper.y + HEIGHT)
    last, back, update, first = down[-1], up[-1], up[0], down[0]
    low = last.y + HEIGHT
    yield (
        f'<path class="line" d="M{last.middle:g} {low:g}v8H{back.middle:g}v-3"/>'
        f'<path class="tip" d="M{back.middle:g} {low:g}l-4 6h8z"/>'
    )
    mid = first.y + HEIGHT / 2
    yield (
        f'<path class="line" d="M{update.middle:g} {update.y:g}V{mid:g}H{first.x + NARROW + 5:g}"/>'
        f'<path class="tip" d="M{first.x + NARROW:g} {mid:g}l6 -4v8z"/>'
        f'<text class="pale small" x="{update.middle + 6:g}" y="{mid + 4:g}">next chunk</text>'
    )
    for x, text in ((INNER, "every chunk: forward ↓"), (update.x, "backward ↑")):
        yield f'<text class="ink small bold" x="{x:g}" y="{top + 18:g}">{text}</text>'
    yield _arrow(WIDTH / 2, end, boxes["validation"].y)
    for a, b in (("validation", "saving"), ("saving", "test")):
        yield _arrow(boxes[a].middle, boxes[a].y + HEIGHT, boxes[b].y)


def _arrow(x: float, start: float, stop: float) -> str:
    """A vertical arrow, down or up."""
    back = -6 if stop > start else 6
    return (
        f'<path class="line" d="M{x:g} {start:g}V{stop + back / 2:g}"/>'
        f'<path class="tip" d="M{x:g} {stop:g}l-4 {back}h8z"/>'
    )


def _legend(y: float, largest: float) -> Iterator[str]:
    """The scale of colours, with its ends."""
    steps, width = 40, 200
    yield f'<text class="pale small" x="{MARGIN}" y="{y + 11:g}">0 %</text>'
    for i in range(steps):
        fill, _ = colours(i, steps - 1)
        x, wide = MARGIN + 28 + i * width / steps, width / steps + 0.3  # no gaps between them
        yield f'<rect x="{x:g}" y="{y:g}" width="{wide:g}" height="14" fill="{fill}"/>'
    x = MARGIN + 34 + width
    yield (
        f'<text class="pale small" x="{x:g}" y="{y + 11:g}">{percent(largest)} of the time</text>'
    )
