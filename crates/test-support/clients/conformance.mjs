// What the official JavaScript client sees of a server, as one JSON report.
//
// Usage: conformance.mjs HOST MODEL [--pull NAME], with the client's own folder in OLLAMA_JS.
//
// Run it against a server and through a router: the two reports must be equal. So nothing that
// depends on time or on which server answered is in it: times and durations become true when they
// are there and sensible, and a token's text `node-request-index` becomes `#index` (for node names
// of letters and digits).

import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import path from 'node:path'

const resolved = createRequire(path.join(process.env.OLLAMA_JS, 'index.js')).resolve('ollama')
const { Ollama } = await import(pathToFileURL(resolved))

const steady = (text) => text?.replace(/[A-Za-z0-9]+-\d+-(\d+) /g, '#$1 ')

const metrics = (part) => {
  const parts = [part.load_duration, part.prompt_eval_duration, part.eval_duration]
  return {
    done_reason: part.done_reason,
    prompt_eval_count: part.prompt_eval_count,
    eval_count: part.eval_count,
    durations: [part.total_duration, ...parts].every((span) => span > 0),
    total_covers_parts: part.total_duration >= parts.reduce((sum, span) => sum + span, 0),
  }
}

const chatPart = (part) => ({
  model: part.model,
  role: part.message.role,
  text: steady(part.message.content),
})

const generatePart = (part) => ({ model: part.model, text: steady(part.response) })

const streamed = async (stream, shape) => {
  const parts = []
  for await (const part of stream) parts.push(part)
  return {
    parts: parts.map(shape),
    done: parts.map((part) => part.done),
    last: metrics(parts.at(-1)),
    created: parts.every((part) => part.created_at),
  }
}

const whole = (part, shape) => ({ ...shape(part), done: part.done, last: metrics(part) })

const refused = async (call) => {
  try {
    await call()
  } catch (error) {
    return { status: error.status_code, error: error.error ?? error.message }
  }
  return null
}

// Leaves in the middle of a stream, then asks again with the same client. Whether the client then
// throws depends on how much it had already received, so that is not reported.
const aborted = async (client, model) => {
  const stream = await client.generate({ model, prompt: 'leave me', stream: true })
  let first
  try {
    for await (const part of stream) {
      if (first === undefined) {
        first = steady(part.response)
        stream.abort()
      }
    }
  } catch (error) {
    if (error.name !== 'AbortError') throw error
  }
  const options = { num_predict: 1 }
  const again = await client.generate({ model, prompt: 'still there?', options })
  return { first, again: steady(again.response) }
}

const byModel = (a, b) => (a.model < b.model ? -1 : a.model > b.model ? 1 : 0)

const listed = (models) =>
  models
    .map(({ model, digest, size, details, modified_at }) => ({
      model,
      digest,
      size,
      family: details.family,
      modified: Boolean(modified_at),
    }))
    .sort(byModel)

// Of every server that has it loaded there may be one entry; what they say must agree.
const loaded = (models, name) => {
  const said = models
    .filter((entry) => entry.model === name)
    .map((m) => JSON.stringify([m.model, m.digest, m.size, m.size_vram, m.context_length]))
  return [...new Set(said)].sort().map((text) => JSON.parse(text))
}

const report = async (host, model, pull) => {
  const client = new Ollama({ host })
  const messages = [
    { role: 'system', content: 'Answer <briefly> & well.' },
    { role: 'user', content: 'Why is the sky blue?' },
  ]
  const unknown = { model: 'no-such-model', messages }
  const shown = await client.show({ model })
  const { models } = await client.list()
  const name = models.find((m) => [model, `${model}:latest`].includes(m.model)).model
  const result = {
    list: listed(models),
    show: {
      family: shown.details.family,
      capabilities: shown.capabilities,
      template: shown.template,
      info: shown.model_info,
    },
    chat_stream: await streamed(await client.chat({ model, messages, stream: true }), chatPart),
    chat: whole(await client.chat({ model, messages }), chatPart),
    chat_limited: whole(
      await client.chat({ model, messages, options: { num_predict: 5 } }),
      chatPart,
    ),
    generate_stream: await streamed(
      await client.generate({ model, prompt: 'Why?', stream: true }),
      generatePart,
    ),
    generate: whole(
      await client.generate({ model, prompt: 'Why?', system: 'Be kind.' }),
      generatePart,
    ),
    load: (await client.generate({ model, prompt: '' })).done_reason,
    ps: loaded((await client.ps()).models, name),
    embed: (await client.embed({ model, input: ['first', 'second'] })).embeddings,
    embed_count: (await client.embed({ model, input: 'first' })).prompt_eval_count,
    embeddings: (await client.embeddings({ model, prompt: 'first' })).embedding,
    abort: await aborted(client, model),
    unknown_chat: await refused(() => client.chat(unknown)),
    unknown_stream: await refused(() => client.chat({ ...unknown, stream: true })),
    unknown_show: await refused(() => client.show({ model: 'no-such-model' })),
    unknown_embed: await refused(() => client.embed({ model: 'no-such-model', input: 'first' })),
  }
  if (pull) {
    const statuses = []
    for await (const part of await client.pull({ model: pull, stream: true })) {
      statuses.push(part.status)
    }
    result.pull = {
      first: statuses[0],
      last: statuses.at(-1),
      successes: statuses.filter((status) => status === 'success').length,
      shown: (await client.show({ model: pull })).details.family,
      deleted: (await client.delete({ model: pull })).status,
      gone: await refused(() => client.show({ model: pull })),
    }
  }
  return result
}

const given = process.argv.slice(2)
const at = given.indexOf('--pull')
const pull = at < 0 ? undefined : given.splice(at, 2)[1]
const [host, model] = given
process.stdout.write(JSON.stringify(await report(host, model, pull)))
