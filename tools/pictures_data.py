"""The pictures that models/pictures is about: a few coloured shapes on a pale ground, and questions with short answers.

A scene is plain data drawn from a random.Random; what is asked and answered follows from it. `render` draws many scenes
of one size at once, on any device.
"""
import collections
import math
import random

import torch

SHAPES = ["circle", "square", "triangle", "star", "cross", "ring"]
COLORS = {"red": (215, 40, 40), "orange": (245, 140, 25), "yellow": (240, 215, 35), "green": (45, 165, 70),
          "blue": (40, 85, 220), "purple": (140, 55, 180), "pink": (245, 140, 190), "black": (30, 30, 30)}
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six"]
MOST = 5  # shapes of a scene
MARGIN = 0.1  # of the picture: how much further left is left

Shape = collections.namedtuple("Shape", "shape color x y radius angle rgb")  # x, y: 0..1 of the picture; radius: pixels
Scene = collections.namedtuple("Scene", "width height ground shapes")


def draw_scene(rng, width, height):
    shapes = []
    kinds = rng.sample(SHAPES, rng.choice([1, 2, 3, 6, 6]))
    colors = rng.sample(list(COLORS), rng.choice([2, 3, 4, 8, 8]))
    side = min(width, height)
    for _ in range(rng.choice([1, 2, 2, 3, 3, 4, 4, MOST, MOST])):
        for _ in range(40):
            radius = side * rng.uniform(0.08, 0.19)
            edge = radius + 2
            x, y = rng.uniform(edge, width - edge), rng.uniform(edge, height - edge)
            clear = abs(x / width - 0.5) > 0.05 and abs(y / height - 0.5) > 0.05
            if clear and all(math.hypot(x - s.x * width, y - s.y * height) > radius + s.radius + 3 for s in shapes):
                color = rng.choice(colors)
                rgb = tuple(min(255, max(0, c + rng.randint(-12, 12))) for c in COLORS[color])
                kind, angle = rng.choice(kinds), rng.uniform(-0.15, 0.15)
                shapes.append(Shape(kind, color, x / width, y / height, radius, angle, rgb))
                break
    pale = rng.randint(200, 255)
    ground = tuple(min(255, max(190, pale + rng.randint(-15, 15))) for _ in range(3))
    return Scene(width, height, ground, shapes)


def plural(shape):
    return shape + ("es" if shape.endswith("s") else "s")


def a(s):
    return f"{'an' if s.color[0] == 'o' else 'a'} {s.color} {s.shape}"


def the(s):
    return f"the {s.color} {s.shape}"


def quadrant(s):
    return f"{'top' if s.y < 0.5 else 'bottom'} {'left' if s.x < 0.5 else 'right'}"


SIDES = {"left of": lambda s, t: t.x - s.x, "right of": lambda s, t: s.x - t.x, "above": lambda s, t: t.y - s.y,
         "below": lambda s, t: s.y - t.y}


def alone(scene, key):
    counts = collections.Counter(key(s) for s in scene.shapes)
    return [s for s in scene.shapes if counts[key(s)] == 1]


def distinct(scene):
    """Shapes that "the red circle" names."""
    return alone(scene, lambda s: (s.color, s.shape))


# Each: a question and its answer about a scene, or None where it has none.

def ask_color(rng, scene):
    known = alone(scene, lambda s: s.shape)
    if known:
        s = rng.choice(known)
        ask = rng.choice(["What color is the {}?", "What colour is the {}?", "Which color does the {} have?"])
        return ask.format(s.shape), s.color


def ask_shape(rng, scene):
    known = alone(scene, lambda s: s.color)
    if known:
        s = rng.choice(known)
        return rng.choice(["What shape is {}?", "Which shape is {}?", "What is the {} shape?"]).format(s.color), s.shape


def ask_count(rng, scene):
    if rng.random() < 0.4:
        ask = ["How many shapes are there?", "How many shapes do you see?", "How many shapes are in the picture?"]
        return rng.choice(ask), NUMBERS[len(scene.shapes)]
    key, names = rng.choice([("shape", SHAPES), ("color", list(COLORS))])
    present = [getattr(s, key) for s in scene.shapes]
    many = [name for name in names if present.count(name) > 1]
    what = rng.choice(names if (luck := rng.random()) < 0.15 else many if many and luck < 0.7 else present)
    ask = rng.choice(["How many {} are there?", "How many {} do you see?"])
    return ask.format(plural(what) if key == "shape" else f"{what} shapes"), NUMBERS[present.count(what)]


def ask_where(rng, scene):
    if distinct(scene):
        s = rng.choice(distinct(scene))
        ask = rng.choice(["Where is {}?", "In which corner is {}?", "Where do you see {}?"])
        return ask.format(the(s)), quadrant(s)


def ask_corner(rng, scene):
    corner = f"{rng.choice(['top', 'bottom'])} {rng.choice(['left', 'right'])}"
    if rng.random() < 0.8:
        corner = quadrant(rng.choice(scene.shapes))
    there = [s for s in scene.shapes if quadrant(s) == corner]
    if len(there) < 2:
        ask = rng.choice(["What is in the {}?", "Which shape is in the {}?"])
        return ask.format(corner), a(there[0]) if there else "nothing"


def two(rng, scene):
    return rng.sample(distinct(scene), 2) if len(distinct(scene)) > 1 else None


def ask_side(rng, scene):
    pair, side = two(rng, scene), rng.choice(list(SIDES))
    if pair and abs(far := SIDES[side](*pair)) > MARGIN:
        return f"Is {the(pair[0])} {side} {the(pair[1])}?", "yes" if far > 0 else "no"


def ask_neighbour(rng, scene):
    if distinct(scene):
        s, side = rng.choice(distinct(scene)), rng.choice(list(SIDES))
        far = [(SIDES[side](t, s), t) for t in scene.shapes if t is not s]
        there = [t for f, t in far if f > MARGIN]
        if len(there) == 1 and all(abs(f) > MARGIN for f, _ in far):
            return f"What is {side} {the(s)}?", a(there[0])


def ask_bigger(rng, scene):
    pair = two(rng, scene)
    if pair:
        small, big = sorted(pair, key=lambda s: s.radius)
        if big.radius > 1.3 * small.radius:
            word = rng.choice(["bigger", "smaller"])
            return f"Which is {word}, {the(pair[0])} or {the(pair[1])}?", the(big if word == "bigger" else small)


def ask_presence(rng, scene):
    s = rng.choice(scene.shapes)
    have = {(t.color, t.shape) for t in scene.shapes}
    if rng.random() < 0.5:
        s = s._replace(**rng.choice([{"color": rng.choice(list(COLORS))}, {"shape": rng.choice(SHAPES)}]))
    answer = "yes" if (s.color, s.shape) in have else "no"
    return rng.choice(["Is there {}?", "Do you see {}?"]).format(a(s)), answer


def ask_all(rng, scene):
    names = [a(s) for s in sorted(scene.shapes, key=lambda s: s.x)]
    text = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
    return rng.choice(["Describe the picture.", "What do you see from left to right?", "What is in the picture?"]), text


KINDS = {"color": ask_color, "shape": ask_shape, "count": ask_count, "where": ask_where, "corner": ask_corner,
         "side": ask_side, "neighbour": ask_neighbour, "bigger": ask_bigger, "presence": ask_presence}


def draw_question(rng, scene):
    """(kind, question, answer)"""
    while True:
        kind = rng.choice(list(KINDS))
        if asked := KINDS[kind](rng, scene):
            return kind, *asked


def held_out(count, seed=2026):
    """count x (scene, kind, question, answer), the kinds in turn."""
    rng, out, kinds = random.Random(seed), [], list(KINDS)
    while len(out) < count:
        scene = draw_scene(rng, rng.randint(144, 240), rng.randint(144, 240))
        kind = kinds[len(out) % len(kinds)]
        if asked := KINDS[kind](rng, scene):
            out.append((scene, kind, *asked))
    return out


# Signed distances in pixels, negative inside. p: offsets from the centre, turned; r: radius.

def polygon(x, y, normals, far):
    return torch.stack([x * nx + y * ny for nx, ny in normals]).amax(0) - far


def star(x, y, r):
    fifth = 2 * math.pi / 5
    angle = torch.remainder(torch.atan2(x, -y) + fifth / 2, fifth) - fifth / 2
    length = torch.hypot(x, y)
    u, v = length * angle.cos(), (length * angle.sin()).abs()  # a ray with its tip on the u axis
    inner = 0.45
    tip, notch = (1.0, 0.0), (inner * math.cos(fifth / 2), inner * math.sin(fifth / 2))
    nx, ny = notch[1] - tip[1], tip[0] - notch[0]
    norm = math.hypot(nx, ny)
    return ((u - r) * nx + v * ny) / norm


def distance(name, x, y, r):
    if name == "circle":
        return torch.hypot(x, y) - r
    if name == "square":
        return torch.maximum(x.abs(), y.abs()) - 0.85 * r
    if name == "triangle":
        up = [(math.cos(t), math.sin(t)) for t in (math.pi / 2, math.pi * 7 / 6, -math.pi / 6)]
        return polygon(x, y, up, 0.5 * r)
    if name == "star":
        return star(x, y, r)
    if name == "cross":
        x, y = x.abs(), y.abs()
        return torch.minimum(torch.maximum(x - 0.3 * r, y - r), torch.maximum(x - r, y - 0.3 * r))
    return (torch.hypot(x, y) - 0.72 * r).abs() - 0.28 * r  # ring


def pack(scene):
    """Numbers of a scene for `render`: ground (3), then MOST x (kind or -1, x, y, radius, angle, rgb)."""
    out = [*scene.ground]
    for s in scene.shapes:
        out += [SHAPES.index(s.shape), s.x * scene.width, s.y * scene.height, s.radius, s.angle, *s.rgb]
    return out + [-1.0, 0, 0, 1, 0, 0, 0, 0] * (MOST - len(scene.shapes))


def render(packed, width, height):
    """[B, 3 + MOST * 8] -> uint8 [B, 3, height, width]"""
    shape = packed[:, 3:].reshape(len(packed), MOST, 8, 1, 1)
    kind, cx, cy, r, angle = shape[:, :, :5].unbind(2)
    dy = torch.arange(height, device=packed.device)[:, None] + 0.5 - cy
    dx = torch.arange(width, device=packed.device)[None, :] + 0.5 - cx
    x, y = dx * angle.cos() + dy * angle.sin(), dy * angle.cos() - dx * angle.sin()
    far = torch.full_like(x, 1e3)
    for i, name in enumerate(SHAPES):
        far = torch.where(kind == i, distance(name, x, y, r), far)
    picture = packed[:, :3, None, None].expand(-1, 3, height, width)
    for cover, rgb in zip((0.5 - far).clamp(0, 1).unbind(1), shape[:, :, 5:].unbind(1)):
        picture = torch.lerp(picture, rgb, cover[:, None])
    return picture.round().clamp(0, 255).to(torch.uint8)
