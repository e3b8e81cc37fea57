"""Everything that the pages of Open WebUI do with an Ollama, through a router in front of several servers.

Usage: open_webui.py MODEL EMBEDDER TALKER ROUTER SERVER..., with the address of a new Open WebUI in OPEN_WEBUI that
was told the address of the router.

MODEL is on at least two of the servers. TALKER answers for long. Leaves the servers as they were.

Its pages name the Ollama by its number, which is the one there is: 0.
"""

import asyncio
import json
import os
import sys
import time
import uuid

import httpx
import socketio

from herd import Herd, Report, named, watched

MESSAGES = [{"role": "user", "content": "Why is the sky blue?"}]
PULLED, MADE, DERIVED, COPIED = (f"webui-{what}:latest" for what in ("pulled", "made", "derived", "copied"))
# It loads much before it listens, and upgrades its database.
STARTS_IN = 100


class Page:
    """A browser that is logged in, with the connection on which answers come."""

    def __init__(self, address):
        self.address = address
        self.http = httpx.AsyncClient(base_url=address, timeout=60)
        self.socket, self.events = socketio.AsyncClient(), asyncio.Queue()
        self.socket.on("events", self.heard)

    async def heard(self, event, *_):
        self.events.put_nowait(event)

    async def open(self):
        """Waits until it is there, and makes the first account, which is an administrator's."""
        until = time.monotonic() + STARTS_IN
        while True:
            try:
                (await self.http.get("/health")).raise_for_status()
                break
            except httpx.HTTPError:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.1)
        account = {"name": "a", "email": "a@example.com", "password": "a"}
        token = (await self.post("/api/v1/auths/signup", account))["token"]
        self.http.headers["Authorization"] = f"Bearer {token}"
        await self.socket.connect(
            self.address, socketio_path="/ws/socket.io", auth={"token": token}, transports=["websocket"]
        )

    async def close(self):
        await self.socket.disconnect()
        await self.http.aclose()

    async def get(self, path):
        return answer(await self.http.get(path))

    async def post(self, path, body=None, **more):
        return answer(await self.http.post(path, json=body, **more))

    async def lines(self, path, **more):
        """The objects of a stream, of lines or of events."""
        async with self.http.stream("POST", path, **more) as stream:
            assert stream.status_code == 200, f"{path}: {stream.status_code} {await stream.aread()}"
            lines = [line.removeprefix("data: ") async for line in stream.aiter_lines()]
            return [json.loads(line) for line in lines if line.startswith("{")]

    async def say(self, model):
        """Sends a message as the page of a chat does; says what its answer is known by."""
        me = self.socket.get_sid()
        message = {"id": str(uuid.uuid4()), "parentId": None, "childrenIds": [], "timestamp": 1, **MESSAGES[0]}
        asked = {
            "model": model,
            "messages": MESSAGES,
            "stream": True,
            "session_id": me,
            "chat_id": f"local:{me}",
            "id": str(uuid.uuid4()),
            "parent_id": None,
            "user_message": message,
        }
        [task] = (await self.post("/api/chat/completions", asked))["task_ids"]
        return task

    async def next(self, kind):
        """The next event of this kind."""
        while True:
            event = (await asyncio.wait_for(self.events.get(), 20))["data"]
            assert "error" not in event["type"], event
            if event["type"] == kind:
                return event["data"]


def answer(response):
    assert response.status_code == 200, f"{response.url.path}: {response.status_code} {response.text}"
    return response.json()


class Calls:
    def __init__(self, page, model, embedder, talker, router, servers):
        self.page, self.herd, self.router = page, Herd(servers), router
        self.model, self.embedder, self.talker = model, embedder, talker

    async def version(self):
        versions = [
            await self.page.get("/ollama/api/version/0"),
            await self.page.post("/ollama/verify", {"url": self.router, "key": ""}),
        ]
        assert versions == [{"version": self.herd.version()}] * 2, versions

    async def list(self):
        expected = set().union(*self.herd.names())
        named([model["model"] for model in (await self.page.get("/ollama/api/tags/0"))["models"]], expected)
        named([model["model"] for model in (await self.page.get("/ollama/api/tags"))["models"]], expected)
        models = (await self.page.get("/api/models?refresh=true"))["data"]
        named([model["id"] for model in models if model["owned_by"] == "ollama"], expected)

    async def show(self):
        shown = await self.page.post("/ollama/api/show", {"model": self.model})
        assert "completion" in shown["capabilities"] and shown["model_info"] and shown["details"]["family"], shown

    async def pull(self):
        watched(await self.page.lines("/ollama/api/pull/0", json={"model": PULLED}), self.herd, PULLED)

    async def create(self):
        name = MADE.removesuffix(":latest")
        file = {"file": (f"{name}.gguf", b"GGUF" + os.urandom(3 << 20))}
        steps = await self.page.lines("/ollama/models/upload/0", files=file)
        assert steps[-1].get("done") and steps[-1]["model_created"] == name, steps[-1]
        derived = {"model": DERIVED, "from": MADE, "system": "Be brief."}
        steps = [step.get("status") for step in await self.page.lines("/ollama/api/create/0", json=derived)]
        assert steps[-1] == "success" and steps.count("success") == 1, steps
        for model in (MADE, DERIVED):
            assert self.herd.having(model) == len(self.herd.servers), self.herd.names()

    async def copy(self):
        assert await self.page.post("/ollama/api/copy/0", {"source": MADE, "destination": COPIED}) is True
        assert self.herd.having(COPIED) == len(self.herd.servers), self.herd.names()

    async def chat(self):
        asked = {"model": self.model, "messages": MESSAGES, "stream": False}
        said = await self.page.post("/api/chat/completions", asked)
        assert said["choices"][0]["message"]["content"] and said["usage"]["completion_tokens"] > 0, said
        said = await self.page.post("/ollama/api/chat", asked)
        assert said["done"] and said["message"]["content"] and said["eval_count"] > 0, said

    async def chat_streamed(self):
        asked = {"model": self.model, "messages": MESSAGES, "stream": True}
        parts = await self.page.lines("/ollama/api/chat", json=asked)
        assert [part["done"] for part in parts] == [False] * (len(parts) - 1) + [True], parts
        assert len(parts) > 3 and parts[-1]["eval_count"] == len(parts) - 1, parts[-1]
        await self.page.say(self.model)
        pieces = [(await self.page.next("response:completion"))["type"] for _ in range(3)]
        assert "response.output_text.delta" in pieces, pieces
        while not (last := await self.page.next("chat:completion")).get("done"):
            pass
        assert last["output"][-1]["status"] == "completed", last

    async def embed(self):
        asked = {"model": self.embedder, "input": ["first", "second"]}
        vectors = (await self.page.post("/ollama/api/embed", asked))["embeddings"]
        assert len(vectors) == 2 and vectors[0] != vectors[1]
        asked = {"model": self.embedder, "prompt": "first"}
        assert len((await self.page.post("/ollama/api/embeddings", asked))["embedding"]) == len(vectors[0])
        await self.document()

    async def document(self):
        """A file that is made searchable by its vectors, and a search."""
        file = {"file": ("sky.txt", b"The sky is blue because air scatters blue light more than red.", "text/plain")}
        uploaded = answer(await self.page.http.post("/api/v1/files/?process_in_background=false", files=file))
        asked = {"collection_name": f"file-{uploaded['id']}", "query": "blue sky", "k": 1}
        found = await self.page.post("/api/v1/retrieval/query/doc", asked)
        assert "scatters" in json.dumps(found), found

    async def unload(self):
        loaded = self.herd.load(self.model)
        assert loaded > 1
        shown = [model["model"] for model in (await self.page.get("/ollama/api/ps"))["models"]]
        assert self.model in shown, shown
        assert await self.page.post("/ollama/api/unload", {"model": self.model}) == {"status": True}
        assert self.herd.running(self.model) == 0
        shown = [model["model"] for model in (await self.page.get("/ollama/api/ps"))["models"]]
        assert self.model not in shown, shown

    async def abort(self):
        task = await self.page.say(self.talker)
        await self.page.next("response:completion")
        stopped = await self.page.post(f"/api/tasks/stop/{task}")
        assert stopped["status"] is True, stopped
        await self.page.next("chat:tasks:cancel")
        await self.chat()

    async def delete(self):
        made = {PULLED, MADE, DERIVED, COPIED}
        for model in made:
            asked = {"model": model}
            assert answer(await self.page.http.request("DELETE", "/ollama/api/delete/0", json=asked)) is True
        assert not made & set().union(*self.herd.names()), self.herd.names()
        # It keeps its own list for a second.
        await asyncio.sleep(1)
        await self.list()


async def main(model, embedder, talker, router, *servers):
    page, report = Page(os.environ["OPEN_WEBUI"]), Report()
    await page.open()
    calls = Calls(page, model, embedder, talker, router, servers)
    order = (
        "version", "list", "show", "pull", "create", "copy", "chat", "chat_streamed", "embed", "unload", "abort", "delete"
    )
    for name in order:
        try:
            await getattr(calls, name)()
            report.done(name)
        except Exception as error:
            report.done(name, error)
    version = (await page.get("/api/version"))["version"]
    await page.close()
    report.print(version)


asyncio.run(main(*sys.argv[1:]))
