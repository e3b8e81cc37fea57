"""What the official Python client sees of a server, as one JSON report.

Usage: conformance.py HOST MODEL [--pull NAME]

Run it against a server and through a router: the two reports must be equal. So nothing that depends
on time or on which server answered is in it: times and durations become true when they are there
and sensible, and a token's text `node-request-index` becomes `#index` (for node names of
letters and digits).
"""

import json
import re
import sys

import ollama

DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
TOKEN = re.compile(r"[A-Za-z0-9]+-\d+-(\d+) ")


def steady(text):
    return TOKEN.sub(r"#\1 ", text) if text else text


def metrics(part):
    spans = [getattr(part, key) for key in DURATIONS]
    return {
        "done_reason": part.done_reason,
        "prompt_eval_count": part.prompt_eval_count,
        "eval_count": part.eval_count,
        "durations": all(span and span > 0 for span in spans),
        "total_covers_parts": spans[0] >= sum(spans[1:]),
    }


def chat_part(part):
    return {"model": part.model, "role": part.message.role, "text": steady(part.message.content)}


def generate_part(part):
    return {"model": part.model, "text": steady(part.response)}


def streamed(parts, shape):
    parts = list(parts)
    return {
        "parts": [shape(part) for part in parts],
        "done": [part.done for part in parts],
        "last": metrics(parts[-1]),
        "created": all(part.created_at for part in parts),
    }


def whole(part, shape):
    return {**shape(part), "done": part.done, "last": metrics(part)}


def refused(call):
    try:
        call()
    except ollama.ResponseError as error:
        return {"status": error.status_code, "error": error.error}
    return None


def aborted(client, model):
    """Leaves in the middle of a stream, then asks again with the same client."""
    stream = client.generate(model, "leave me", stream=True)
    first = next(stream)
    stream.close()
    again = client.generate(model, "still there?", options={"num_predict": 1})
    return {"first": steady(first.response), "again": steady(again.response)}


def listed(models):
    return sorted(
        (
            {
                "model": model.model,
                "digest": model.digest,
                "size": model.size,
                "family": model.details.family,
                "modified": model.modified_at is not None,
            }
            for model in models
        ),
        key=lambda model: model["model"],
    )


def loaded(models, name):
    """Of every server that has it loaded there may be one entry; what they say must agree."""
    found = {(m.model, m.digest, m.size, m.size_vram, m.context_length) for m in models if m.model == name}
    return sorted(map(list, found))


def report(host, model, pull):
    client = ollama.Client(host)
    messages = [
        {"role": "system", "content": "Answer <briefly> & well."},
        {"role": "user", "content": "Why is the sky blue?"},
    ]
    limited = {"num_predict": 5}
    shown = client.show(model)
    name = next(m.model for m in client.list().models if m.model in (model, f"{model}:latest"))
    result = {
        "list": listed(client.list().models),
        "show": {
            "family": shown.details.family,
            "capabilities": shown.capabilities,
            "template": shown.template,
            "info": dict(sorted(shown.modelinfo.items())),
        },
        "chat_stream": streamed(client.chat(model, messages, stream=True), chat_part),
        "chat": whole(client.chat(model, messages), chat_part),
        "chat_limited": whole(client.chat(model, messages, options=limited), chat_part),
        "generate_stream": streamed(client.generate(model, "Why?", stream=True), generate_part),
        "generate": whole(client.generate(model, "Why?", system="Be kind."), generate_part),
        "load": client.generate(model, "").done_reason,
        "ps": loaded(client.ps().models, name),
        "embed": [list(vector) for vector in client.embed(model, ["first", "second"]).embeddings],
        "embed_count": client.embed(model, "first").prompt_eval_count,
        "embeddings": list(client.embeddings(model, "first").embedding),
        "abort": aborted(client, model),
        "unknown_chat": refused(lambda: client.chat("no-such-model", messages)),
        "unknown_stream": refused(lambda: list(client.chat("no-such-model", messages, stream=True))),
        "unknown_show": refused(lambda: client.show("no-such-model")),
        "unknown_embed": refused(lambda: client.embed("no-such-model", "first")),
    }
    if pull:
        statuses = [part.status for part in client.pull(pull, stream=True)]
        result["pull"] = {
            "first": statuses[0],
            "last": statuses[-1],
            "successes": statuses.count("success"),
            "shown": client.show(pull).details.family,
            "deleted": client.delete(pull).status,
            "gone": refused(lambda: client.show(pull)),
        }
    return result


def main(arguments):
    pull = None
    if "--pull" in arguments:
        at = arguments.index("--pull")
        pull = arguments[at + 1]
        arguments = arguments[:at] + arguments[at + 2:]
    host, model = arguments
    json.dump(report(host, model, pull), sys.stdout, sort_keys=True)


main(sys.argv[1:])
