"""Everything the official Python client can do, through a router in front of several servers.

Usage: ollama_python.py MODEL EMBEDDER TALKER ROUTER SERVER...

MODEL is on at least two of the servers. TALKER answers for long. Leaves the servers as they were.
"""

import importlib.metadata
import os
import sys
import tempfile

import ollama

from herd import Herd, Report, named, watched

MESSAGES = [{"role": "user", "content": "Why is the sky blue?"}]
PULLED, MADE, COPIED = (f"python-{what}:latest" for what in ("pulled", "made", "copied"))


class Calls:
    def __init__(self, model, embedder, talker, router, servers):
        self.model, self.embedder, self.talker = model, embedder, talker
        self.client, self.herd = ollama.Client(router), Herd(servers)

    def list(self):
        named([model.model for model in self.client.list().models], set().union(*self.herd.names()))

    def show(self):
        shown = self.client.show(self.model)
        assert "completion" in shown.capabilities and shown.modelinfo and shown.details.family, shown

    def pull(self):
        lines = [line.model_dump() for line in self.client.pull(PULLED, stream=True)]
        watched(lines, self.herd, PULLED)

    def create(self):
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"GGUF" + os.urandom(3 << 20))
            file.flush()
            digest = self.client.create_blob(file.name)
        steps = [step.status for step in self.client.create(MADE, files={"model.gguf": digest}, stream=True)]
        assert steps[-1] == "success" and steps.count("success") == 1, steps
        assert self.herd.having(MADE) == len(self.herd.servers), self.herd.names()

    def copy(self):
        assert self.client.copy(MADE, COPIED).status == "success"
        assert self.herd.having(COPIED) == len(self.herd.servers), self.herd.names()

    def chat(self):
        answer = self.client.chat(self.model, MESSAGES)
        assert answer.done and answer.message.content and answer.eval_count > 0, answer

    def chat_streamed(self):
        parts = list(self.client.chat(self.model, MESSAGES, stream=True))
        assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True], parts
        assert len(parts) > 3 and parts[-1].eval_count == len(parts) - 1, parts[-1]

    def embed(self):
        vectors = self.client.embed(self.embedder, ["first", "second"]).embeddings
        assert len(vectors) == 2 and vectors[0] != vectors[1]
        old = self.client.embeddings(self.embedder, "first").embedding
        # Not of length one.
        assert len(old) == len(vectors[0]) and abs(old[0] / old[1] - vectors[0][0] / vectors[0][1]) < 1e-3

    def unload(self):
        loaded = self.herd.load(self.model)
        shown = [model.model for model in self.client.ps().models]
        assert loaded > 1 and self.model in shown, (loaded, shown)
        assert self.client.generate(self.model, keep_alive=0).done_reason == "unload"
        assert self.herd.running(self.model) == 0, f"{self.herd.running(self.model)} have it in memory"
        shown = [model.model for model in self.client.ps().models]
        assert self.model not in shown, shown

    def abort(self):
        stream = self.client.chat(self.talker, MESSAGES, stream=True)
        assert next(stream).message.content
        stream.close()
        assert self.client.chat(self.model, MESSAGES).done

    def delete(self):
        for model in (PULLED, MADE, COPIED):
            assert self.client.delete(model).status == "success"
        assert not {PULLED, MADE, COPIED} & set().union(*self.herd.names()), self.herd.names()
        self.list()


def main(model, embedder, talker, router, *servers):
    calls, report = Calls(model, embedder, talker, router, servers), Report()
    report.absent("version")
    for name in ("list", "show", "pull", "create", "copy", "chat", "chat_streamed", "embed", "unload", "abort", "delete"):
        try:
            getattr(calls, name)()
            report.done(name)
        except Exception as error:
            report.done(name, error)
    report.print(importlib.metadata.version("ollama"))


main(*sys.argv[1:])
