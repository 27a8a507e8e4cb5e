// Every frozen vector opens with nothing but WebCrypto, by the module that was written from docs/VAULT.md. Node's WebCrypto here.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { make, open } from './page/envelope.js'

const VECTORS = fileURLToPath(new URL('../../core/src/vault/vectors/', import.meta.url))
const frozen = readdirSync(VECTORS).flatMap((name) => JSON.parse(readFileSync(VECTORS + name, 'utf8')))

test('every frozen vector opens, with its own passphrase and in its own place only', async () => {
  assert.ok(frozen.length >= 7)
  for (const { name, user, provider, passphrase, key, envelope } of frozen) {
    assert.equal(await open(user, provider, envelope, passphrase), key, name)
    await assert.rejects(open(user, provider, envelope, 'another passphrase'), /wrong_passphrase/, name)
    const elsewhere = provider === 'openai' ? 'unsplash' : 'openai'
    await assert.rejects(open(user, elsewhere, envelope, passphrase), /key_damaged/, name)
  }
})

test('what the module makes has the form that Postgres asks for', async () => {
  const sql = readFileSync(fileURLToPath(new URL('../../migrations/source/api_keys.sql', import.meta.url)), 'utf8')
  const form = new RegExp(/'(\^marea2.*\$)'/.exec(sql)[1])
  const [{ user }] = frozen
  const made = await make(user, 'openai', 'sk-made-here', 'some sentence of words', 100_000, 1_763_899_200_000)
  const second = frozen.map((vector) => vector.envelope).filter((envelope) => envelope.startsWith('marea2.'))
  assert.ok(second.length >= 7)
  for (const envelope of [made, ...second]) assert.match(envelope, form)
  assert.doesNotMatch('sk-proj-0123456789', form)
})
