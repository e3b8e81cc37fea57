// Everything the official JavaScript client can do, through a router in front of several servers.
//
// Usage: ollama_js.mjs MODEL EMBEDDER TALKER ROUTER SERVER..., with the client's own folder in OLLAMA_JS.
//
// MODEL is on at least two of the servers. TALKER answers for long. Leaves the servers as they were.

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import path from 'node:path'

const home = process.env.OLLAMA_JS
const { Ollama } = await import(pathToFileURL(createRequire(path.join(home, 'index.js')).resolve('ollama')))

const [model, embedder, talker, router, ...servers] = process.argv.slice(2)
const client = new Ollama({ host: router })
const messages = [{ role: 'user', content: 'Why is the sky blue?' }]
const [pulled, made, copied] = ['pulled', 'made', 'copied'].map((what) => `js-${what}:latest`)

// The servers themselves, asked without the client: what it was told must be true on each of them.
const ask = async (url, body) => {
  const answer = await fetch(url, body && { method: 'POST', body: JSON.stringify(body) })
  assert.equal(answer.status, 200, url)
  return answer.json()
}
const each = (path) => Promise.all(servers.map((server) => ask(server + path)))
const names = async () => (await each('/api/tags')).map(({ models }) => models.map(({ name }) => name))
const having = async (name) => (await names()).filter((found) => found.includes(name)).length
const running = async (name) =>
  (await each('/api/ps')).filter(({ models }) => models.some((entry) => entry.name === name)).length

const all = async (stream) => {
  const parts = []
  for await (const part of stream) parts.push(part)
  return parts
}

// A client can draw a bar by these lines.
const watched = async (lines, name) => {
  const ends = lines.filter(({ status }) => status === 'success')
  assert.ok(ends.length === 1 && lines.at(-1) === ends[0], `the end is ${JSON.stringify(lines.at(-1))}`)
  const layers = {}
  for (const line of lines.filter(({ digest }) => digest)) (layers[line.digest] ??= []).push(line)
  for (const [digest, steps] of Object.entries(layers)) {
    const totals = new Set(steps.map(({ total }) => total))
    assert.equal(totals.size, 1, `${digest} has the sizes ${[...totals]}`)
    const done = steps.map(({ completed }) => completed ?? 0)
    assert.deepEqual(done, done.toSorted((a, b) => a - b), `${digest} goes ${done}`)
    assert.ok(totals.has(done.at(-1)), `${digest} ends at ${done.at(-1)}`)
  }
  const [largest] = Object.values(layers).sort((a, b) => b[0].total - a[0].total)
  assert.ok(largest.length > 3, `only ${largest.length} lines of the largest layer`)
  assert.equal(await having(name), servers.length)
  const [{ models }] = await each('/api/tags')
  assert.equal(largest[0].total, servers.length * models.find((entry) => entry.name === name).size)
}

const calls = {
  async list() {
    const listed = (await client.list()).models.map(({ model }) => model)
    assert.deepEqual(listed.toSorted(), [...new Set((await names()).flat())].toSorted())
  },
  async show() {
    const shown = await client.show({ model })
    assert.ok(shown.capabilities.includes('completion') && shown.model_info && shown.details.family)
  },
  async pull() {
    await watched(await all(await client.pull({ model: pulled, stream: true })), pulled)
  },
  // The client has no call that sends a blob, and hands on what it does not know.
  async create() {
    const file = Buffer.concat([Buffer.from('GGUF'), randomBytes(3 << 20)])
    const digest = `sha256:${createHash('sha256').update(file).digest('hex')}`
    const blob = `${router}/api/blobs/${digest}`
    assert.equal((await fetch(blob, { method: 'HEAD' })).status, 404)
    assert.equal((await fetch(blob, { method: 'POST', body: file })).status, 201)
    assert.equal((await fetch(blob, { method: 'HEAD' })).status, 200)
    const files = { 'model.gguf': digest }
    const steps = (await all(await client.create({ model: made, files, stream: true }))).map(({ status }) => status)
    assert.equal(steps.indexOf('success'), steps.length - 1, steps.join())
    assert.equal(await having(made), servers.length)
  },
  async copy() {
    assert.equal((await client.copy({ source: made, destination: copied })).status, 'success')
    assert.equal(await having(copied), servers.length)
  },
  async chat() {
    const answer = await client.chat({ model, messages })
    assert.ok(answer.done && answer.message.content && answer.eval_count > 0)
  },
  async chat_streamed() {
    const parts = await all(await client.chat({ model, messages, stream: true }))
    assert.equal(parts.findIndex(({ done }) => done), parts.length - 1)
    assert.ok(parts.length > 3 && parts.at(-1).eval_count === parts.length - 1)
  },
  async embed() {
    const { embeddings } = await client.embed({ model: embedder, input: ['first', 'second'] })
    assert.equal(embeddings.length, 2)
    assert.notDeepEqual(embeddings[0], embeddings[1])
    const { embedding } = await client.embeddings({ model: embedder, prompt: 'first' })
    assert.equal(embedding.length, embeddings[0].length)
  },
  async unload() {
    const found = await names()
    const loading = servers.filter((_, at) => found[at].includes(model))
    for (const server of loading) await ask(`${server}/api/generate`, { model })
    const shown = async () => (await client.ps()).models.some((entry) => entry.model === model)
    assert.ok(loading.length > 1 && (await shown()))
    assert.equal((await client.generate({ model, keep_alive: 0 })).done_reason, 'unload')
    assert.equal(await running(model), 0)
    assert.ok(!(await shown()))
  },
  async abort() {
    const stream = await client.chat({ model: talker, messages, stream: true })
    let first
    try {
      for await (const part of stream) {
        first ??= part.message.content
        stream.abort()
      }
    } catch (error) {
      if (error.name !== 'AbortError') throw error
    }
    assert.ok(first)
    assert.ok((await client.chat({ model, messages })).done)
  },
  async delete() {
    for (const name of [pulled, made, copied]) {
      assert.equal((await client.delete({ model: name })).status, 'success')
      assert.equal(await having(name), 0)
    }
    await calls.list()
  },
}

const report = { version: null }
for (const [name, call] of Object.entries(calls)) {
  report[name] = await call().then(
    () => true,
    (error) => `${error.name}: ${error.message}`,
  )
}
const { version } = JSON.parse(readFileSync(path.join(home, 'package.json')))
process.stdout.write(JSON.stringify({ version, calls: report }))
