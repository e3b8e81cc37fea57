"""What the scripts of `make compat` share: the servers behind the router, and a report of calls.

The servers are asked directly, without the client that is tried: what a client was told through the router must be
true on each of them.
"""

import json
import urllib.request


class Report:
    """What became of each call: true, null where the client has no such call, or what went wrong."""

    def __init__(self):
        self.calls = {}

    def done(self, name, error=None):
        self.calls[name] = True if error is None else f"{type(error).__name__}: {error}"

    def absent(self, name):
        self.calls[name] = None

    def print(self, version):
        print(json.dumps({"version": version, "calls": self.calls}))


class Herd:
    """The servers themselves, by their addresses."""

    def __init__(self, servers):
        self.servers = servers

    def each(self, path):
        return [ask(f"{server}{path}") for server in self.servers]

    def names(self):
        """The models of each server."""
        return [{model["name"] for model in listed["models"]} for listed in self.each("/api/tags")]

    def having(self, model):
        """How many servers have a model."""
        return sum(model in names for names in self.names())

    def size(self, model):
        """Its bytes on one of them."""
        models = [entry for listed in self.each("/api/tags") for entry in listed["models"]]
        return next(entry["size"] for entry in models if entry["name"] == model)

    def running(self, model):
        """How many servers have it in memory."""
        return sum(model in {entry["name"] for entry in listed["models"]} for listed in self.each("/api/ps"))

    def load(self, model):
        """Into the memory of every server that has it; says of how many."""
        having = [at for at, names in enumerate(self.names()) if model in names]
        for at in having:
            ask(f"{self.servers[at]}/api/generate", {"model": model})
        return len(having)

    def version(self):
        """The oldest."""
        said = [answer["version"] for answer in self.each("/api/version")]
        return min(said, key=lambda version: [int(part) for part in version.split(".")])


def ask(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def watched(lines, herd, model):
    """A pull by its lines: a client can draw a bar by them, and every server has the model afterwards."""
    said = [line.get("status") for line in lines]
    assert said[-1] == "success" and said.count("success") == 1, f"the end is {lines[-1]}"
    layers = {}
    for line in lines:
        if line.get("digest"):
            layers.setdefault(line["digest"], []).append((line["total"], line.get("completed") or 0))
    assert layers, "no layer"
    for digest, steps in layers.items():
        totals, done = {total for total, _ in steps}, [completed for _, completed in steps]
        assert len(totals) == 1, f"{digest} has the sizes {totals}"
        assert done == sorted(done) and done[-1] in totals, f"{digest} goes {done}"
    largest = max(layers.values(), key=lambda steps: steps[0][0])
    assert len(largest) > 3, f"only {len(largest)} lines of the largest layer"
    assert herd.having(model) == len(herd.servers), f"{herd.having(model)} servers have it"
    copies = largest[0][0] / herd.size(model)
    assert copies == len(herd.servers), f"{copies} copies were counted"


def named(models, expected):
    """Every model once."""
    assert sorted(models) == sorted(expected), f"{sorted(models)} for {sorted(expected)}"
