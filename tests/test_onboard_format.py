"""FORMAT.md is enough to write another reader: this one is written from it, and from nothing in onboard."""

from __future__ import annotations

import hashlib
import itertools
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

KEPT = Path(__file__).parent / "data"
F = np.float32
ZERO, ONE = F(0), F(1)
MAPS = {
    "opportunity": ("context", "slot", "gru_input", "gru_hidden", "query", "key", "fixed"),
    "recurrent": ("encoder", "gru_input", "gru_hidden", "head"),
}
Vector = list[np.float32]


def flush(x: np.float32, below: str = "1e-16") -> np.float32:
    return ZERO if abs(x) < F(below) else x


def relu(x: np.float32) -> np.float32:
    return ZERO if x < F("1e-16") else x


def exp(x: np.float32) -> np.float32:
    n = (x * F("1.44269504088896341") + F(12582912)) - F(12582912)
    r = (x - n * F("0.693359375")) - n * F("-2.12194440e-4")
    p = F("1.9875691500e-4")
    for c in ("1.3981999507e-3", "8.3334519073e-3", "4.1665795894e-2", "1.6666665459e-1", "5.0000001201e-1"):
        p = p * r + F(c)
    return F(((p * (r * r) + r) + ONE) * F(2.0 ** int(n)))


def sigmoid(x: np.float32) -> np.float32:
    return ONE / (ONE + exp(-max(F(-30), min(F(30), x))))


def tanh(x: np.float32) -> np.float32:
    x = max(F(-15), min(F(15), x))
    if abs(x) < F("0.625"):
        z, p = x * x, F("-5.70498872745e-3")
        for c in ("2.06390887954e-2", "-5.37397155531e-2", "1.33314422036e-1", "-3.33332819422e-1"):
            p = p * z + F(c)
        return F((p * z) * x + x)
    far = ONE - F(2) / (exp(F(2) * abs(x)) + ONE)
    return -far if x < 0 else far


class Table:
    def __init__(self, data: bytes) -> None:
        def u32(at: int) -> int:
            return int.from_bytes(data[at : at + 4], "little")

        assert data[:4] == b"KDWT" and u32(4) == 1 and u32(8) == len(data) and u32(12) == zlib.crc32(data[16:])
        self.architecture = {1: "opportunity", 2: "recurrent"}[u32(16)]
        self.int8, self.tanh = u32(20) == 2, u32(24) == 2
        self.h, self.k, self.m, blocks = u32(28), u32(32), u32(36), u32(40)
        assert u32(44) == 0
        pairs = [int.from_bytes(data[48 + 2 * i : 50 + 2 * i], "little") for i in range(2 * blocks)]
        self.blocks = list(zip(pairs[::2], pairs[1::2], strict=True))
        c, f = (sum(size for size, slots in self.blocks if (slots > 0) == slotted) for slotted in (False, True))
        o = c + self.k * f
        h = self.h
        shapes = {
            "context": (h, c, True),
            "slot": (h, f, False),
            "gru_input": (3 * h, h, True),
            "gru_hidden": (3 * h, h, True),
            "query": (h, h, True),
            "key": (h, h, False),
            "fixed": (self.m, h, True),
            "encoder": (h, o, True),
            "head": (self.m + self.k, h, True),
        }
        at = 48 + 4 * blocks

        def floats(count: int) -> Vector:
            nonlocal at
            values = [F(v) for v in np.frombuffer(data, "<f4", count, at)]
            at += 4 * count
            return [flush(v, "1e-12") for v in values]

        self.map: dict[str, tuple[Vector, list[Any], Vector]] = {}
        for name in MAPS[self.architecture]:
            outputs, inputs, bias = shapes[name]
            scale = floats(outputs) if self.int8 else []
            if self.int8:
                flat: list[Any] = [int(v) for v in np.frombuffer(data, np.int8, outputs * inputs, at)]
                at += -(-outputs * inputs // 4) * 4
            else:
                flat = floats(outputs * inputs)
            rows = [flat[i * inputs : (i + 1) * inputs] for i in range(outputs)]
            self.map[name] = scale, rows, floats(outputs) if bias else [ZERO] * outputs
        if self.architecture == "opportunity":
            self.score, (self.score_bias,) = floats(h), floats(1)
        assert at == len(data)

    def linear(self, name: str, x: Vector) -> Vector:
        scale, rows, bias = self.map[name]
        y = []
        if self.int8:
            m = max((abs(v) for v in x), default=ZERO)
            m = ZERO if m < F("1e-13") else m
            k = F(2047) / m if m > 0 else ZERO
            v = [min(each * k, F(2047)) for each in x]
            q = [int(each + F(0.5)) if each >= 0 else int(each - F(0.5)) for each in v]
            for j, row in enumerate(rows):
                exact = sum(w * n for w, n in zip(row, q, strict=True))
                y.append(F(exact) * (scale[j] * (m / F(2047))) + bias[j])
            return y
        for row, total in zip(rows, bias, strict=True):
            for w, each in zip(row, x, strict=True):
                total = total + w * each
            y.append(total)
        return y

    def gru(self, x: Vector, hidden: Vector) -> Vector:
        a, b, h = self.linear("gru_input", x), self.linear("gru_hidden", hidden), self.h
        after = []
        for j in range(h):
            r, z = sigmoid(a[j] + b[j]), sigmoid(a[h + j] + b[h + j])
            n = tanh(flush(a[2 * h + j] + r * flush(b[2 * h + j])))
            after.append(flush((ONE - z) * n + z * hidden[j]))
        return after

    def step(self, obs: Vector, mask: list[bool], hidden: Vector) -> tuple[Vector, Vector]:
        o = [flush(v) for v in obs]
        if self.architecture == "recurrent":
            e = self.linear("encoder", o)
            e = [flush(tanh(flush(v))) for v in e] if self.tanh else [relu(v) for v in e]
            hidden = self.gru(e, hidden)
            return self.linear("head", hidden), hidden
        c: Vector = []
        x: list[Vector] = [[] for _ in range(self.k)]
        column = iter(o)
        for size, slots in self.blocks:
            for target in x if slots else [c]:
                target += itertools.islice(column, size)
        u = self.linear("context", c)
        e_0 = [relu(v) for v in u]
        e_j = [[relu(a + b) for a, b in zip(u, self.linear("slot", each), strict=True)] for each in x]
        g, legal = e_0, [each for each, allowed in zip(e_j, mask[self.m :], strict=True) if allowed]
        if legal:
            share = ONE / F(len(legal))
            g = [a + sum(rest, first) * share for a, first, *rest in zip(e_0, *legal, strict=True)]
        hidden = self.gru(g, hidden)
        q = self.linear("query", hidden)
        s = [[relu(a + b) for a, b in zip(self.linear("key", each), q, strict=True)] for each in [e_0, *e_j]]
        logits = self.linear("fixed", s[0])
        for each in s[1:]:
            p = [ZERO] * 8
            for i, (w, v) in enumerate(zip(self.score, each, strict=True)):
                p[i % 8] = p[i % 8] + w * v
            pairs = ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]))
            logits.append(pairs + self.score_bias)
        return logits, hidden


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize("name", ["scout", "relay-1", "probe"])
def test_another_reader_gives_the_golden_answers_to_the_bit(name: str, version: int) -> None:
    folder = KEPT / f"bundle_v{version}"
    content = (folder / "manifest.json").read_bytes()
    assert (folder / "manifest.sha256").read_text() == f"{hashlib.sha256(content).hexdigest()}  manifest.json\n"
    manifest = json.loads(content)
    assert (manifest["format"], manifest["version"]) == ("kdmarl_sat bundle", version)
    entry = next(each for each in manifest["satellites"] if each["spec"]["name"] == name)
    if version > 2:  # what a decision may send, and what this satellite sends
        assert 0 <= entry["bits_per_decision"] <= entry["budget"]["max_bits_per_decision"]
    files = {role: (folder / entry[role]["file"]).read_bytes() for role in ("weights", "golden")}
    for role, data in files.items():
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry[role]["bytes"], entry[role]["sha256"])
    table = Table(files["weights"])
    assert (table.h, table.architecture) == (entry["network"]["hidden"], entry["network"]["architecture"])
    assert (table.int8, table.tanh) == (entry["network"]["dtype"] == "int8", entry["network"]["activation"] == "tanh")
    golden = np.load(folder / entry["golden"]["file"], allow_pickle=False)
    hidden: Vector = [ZERO] * table.h
    for obs, mask, logits, action in zip(*(golden[each] for each in ("obs", "mask", "logits", "action")), strict=True):
        answer, hidden = table.step(list(obs), list(mask), hidden)
        np.testing.assert_array_equal(np.array(answer, F), logits)
        legal = [i for i in range(len(mask)) if mask[i]]
        assert action == max(legal, key=lambda i: (answer[i], -i))
