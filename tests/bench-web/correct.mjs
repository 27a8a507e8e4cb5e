// What becomes of a learner's words when things go wrong: Marea and its peers, as observed. Each case says in one number
// what is right; what a device shows and what Postgres has are both looked at.

import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { makeProfile, startChromium } from '../../demo/tools/chromium.mjs'

const DEVICES = ['marea', 'rxdb', 'legend', 'tanstack']
const SYNC_PATHS = { marea: '/rest/v1/rpc/marea_sync', rxdb: '/rest/v1/peer_words', legend: '/rest/v1/peer_words', tanstack: '/rest/v1/peer_words' }

// The table in the shape that the peers' documents ask for: the server sets `_modified` with each change.
const PEER_TABLE = `
  CREATE TABLE public.peer_words (
    id TEXT PRIMARY KEY, user_id UUID NOT NULL DEFAULT auth.uid(), words INTEGER NOT NULL CHECK (words >= 0),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(), _deleted BOOLEAN NOT NULL DEFAULT false, _modified TIMESTAMPTZ NOT NULL DEFAULT now());
  CREATE FUNCTION public.peer_modified() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN NEW._modified := now(); RETURN NEW; END $$;
  CREATE TRIGGER peer_modified BEFORE INSERT OR UPDATE ON public.peer_words FOR EACH ROW EXECUTE FUNCTION public.peer_modified();
  GRANT SELECT, INSERT, UPDATE ON public.peer_words TO authenticated;
  ALTER TABLE public.peer_words ENABLE ROW LEVEL SECURITY;
  CREATE POLICY own ON public.peer_words FOR ALL TO authenticated USING (user_id = auth.uid()) WITH CHECK (user_id = auth.uid());
  ALTER TABLE public.sessions ADD CONSTRAINT not_forbidden CHECK (session_type <> 'forbidden');
  NOTIFY pgrst, 'reload schema';`

export async function correctness({ stores = DEVICES, backend, server, signUp, fault, clearFaults, say }) {
  const connect = async () => {
    const client = new pg.Client({ connectionString: backend.ready.database_url })
    await client.connect()
    return client
  }
  const database = await connect()
  await database.query(PEER_TABLE)
  const seen = {}
  for (const [name, { run, right }] of Object.entries(CASES)) {
    seen[name] = { right }
    for (const store of stores) {
      const world = await makeWorld({ store, backend, server, database, connect, signUp, fault, clearFaults })
      try {
        seen[name][store] = await run(world)
      } catch (error) {
        seen[name][store] = `failed: ${String(error.message).split('\n')[0]}`
      } finally {
        await clearFaults()
        await world.end()
        say(`  ${name}: ${store}: ${seen[name][store]} (right: ${right})`)
      }
    }
  }
  await database.end()
  return seen
}

/** One learner, and the browsers that stand for devices. */
async function makeWorld({ store, backend, server, database, connect, signUp, fault, clearFaults }) {
  const learner = await signUp(backend.ready)
  const browsers = []
  const options = { url: backend.ready.url, anonKey: backend.ready.anon_key, userId: learner.id, token: learner.token }
  const openPage = async (browser) => {
    const page = await browser.running.context.newPage()
    await page.goto(`${server.url}/${store}-device.html`)
    await page.waitForFunction(() => window.ready === true)
    await page.evaluate((options) => window.device.open(options), options)
    return page
  }
  const world = {
    store,
    fault: (kind, times) => fault({ kind, path: SYNC_PATHS[store], ...(times && { times }) }),
    clearFaults,
    connect,
    /** Words that other code of the app's writes. */
    async addBySql(client, words) {
      if (store === 'marea') {
        await client.query(
          `INSERT INTO public.sessions (user_id, session_type, started_at, ended_at, duration_minutes, vocabulary_learned)
           VALUES ($1, 'vocabulary', now(), now(), 1, $2)`,
          [learner.id, words],
        )
      } else {
        await client.query('INSERT INTO public.peer_words (id, user_id, words) VALUES ($1, $2, $3)', [randomUUID(), learner.id, words])
      }
    },
    /** The row that a counter is, where a counter is a row. */
    async makeCounter() {
      const values = [`counter-${learner.id}`, learner.id]
      if (store !== 'marea') await database.query('INSERT INTO public.peer_words (id, user_id, words) VALUES ($1, $2, 0)', values)
    },
    async device() {
      const browser = { profile: makeProfile() }
      browser.running = await startChromium(browser.profile, { ownGroup: true })
      browsers.push(browser)
      const device = {
        page: await openPage(browser),
        call: (method, ...args) => device.page.evaluate(([method, args]) => window.device[method](...args), [method, args]),
        /** Adds to what devices share. */
        count: (words) => device.call(store === 'marea' ? 'add' : 'count', words),
        secondTab: async () => ({ ...device, page: await openPage(browser) }),
        async killAndRestart() {
          await browser.running.kill()
          browser.running = await startChromium(browser.profile, { ownGroup: true })
          device.page = await openPage(browser)
        },
      }
      return device
    },
    async inPostgres() {
      const words = store === 'marea' ? 'vocabulary_learned' : 'words'
      const table = store === 'marea' ? 'sessions' : 'peer_words'
      const { rows } = await database.query(`SELECT COALESCE(sum(${words}), 0)::int AS sum FROM public.${table} WHERE user_id = $1`, [learner.id])
      return rows[0].sum
    },
    many: (count) =>
      database.query(
        store === 'marea'
          ? `INSERT INTO public.sessions (user_id, session_type, started_at, ended_at, duration_minutes, vocabulary_learned)
             SELECT $1, 'vocabulary', now(), now(), 1, 1 FROM generate_series(1, $2::int)`
          : `INSERT INTO public.peer_words (id, user_id, words) SELECT gen_random_uuid(), $1, 1 FROM generate_series(1, $2::int)`,
        [learner.id, count],
      ),
    async end() {
      for (const browser of browsers) {
        await browser.running.stop()
        browser.profile.remove()
      }
    },
  }
  return world
}

/** What a device shows, and what Postgres has, when they differ. */
async function shown(world, ...devices) {
  const totals = await Promise.all(devices.map((device) => device.call('total')))
  const there = await world.inPostgres()
  const all = [...totals, there]
  return all.every((total) => total === there) ? String(there) : `device ${totals.join(', ')}; Postgres ${there}`
}

const CASES = {
  'a row whose transaction commits late': {
    right: '8',
    async run(world) {
      const [slow, quick] = [await world.connect(), await world.connect()]
      const device = await world.device()
      await slow.query('BEGIN')
      await world.addBySql(slow, 5)
      // The other one starts later and commits first. Where rows of a user wait for each other, it waits, and nothing is late.
      await quick.query("SET lock_timeout = '500ms'")
      const waited = await world.addBySql(quick, 3).then(() => false, () => true)
      await device.call('sync')
      await slow.query('COMMIT')
      if (waited) await world.addBySql(quick, 3)
      await device.call('sync')
      await Promise.all([slow.end(), quick.end()])
      return shown(world, device)
    },
  },
  'more than 1,000 rows at once': {
    right: '2500',
    async run(world) {
      await world.many(2500)
      const device = await world.device()
      await device.call('sync')
      return shown(world, device)
    },
  },
  'an answer that is lost': {
    right: '5',
    async run(world) {
      const device = await world.device()
      await device.call('sync')
      await device.call('add', 5)
      await world.fault('drop_answer', 2)
      await device.call('sync')
      await world.clearFaults()
      await device.call('sync')
      return shown(world, device)
    },
  },
  '+5 and +3 on two devices': {
    right: '8',
    async run(world) {
      await world.makeCounter()
      const [phone, laptop] = [await world.device(), await world.device()]
      await phone.call('sync')
      await laptop.call('sync')
      await phone.count(5)
      await laptop.count(3)
      for (const device of [phone, laptop, phone]) await device.call('sync')
      return shown(world, phone, laptop)
    },
  },
  'a write that the server refuses, before good ones': {
    right: '10',
    async run(world) {
      const device = await world.device()
      await device.call('sync')
      await device.call('poison')
      for (let count = 0; count < 10; count++) await device.call('add', 1)
      await device.call('sync')
      return shown(world, device)
    },
  },
  'the browser killed after a write': {
    right: '5',
    async run(world) {
      const device = await world.device()
      await device.call('sync')
      await device.call('add', 5)
      await device.killAndRestart()
      await device.call('sync')
      return shown(world, device)
    },
  },
  'a write in a second tab without a network, before all is killed': {
    right: '5',
    async run(world) {
      const tab = await world.device()
      await tab.call('sync')
      const other = await tab.secondTab()
      await world.fault('offline')
      await other.page.evaluate(() => window.device.add(5))
      await tab.killAndRestart()
      await world.clearFaults()
      await tab.call('sync')
      return shown(world, tab)
    },
  },
  'two tabs, each with a write': {
    right: '8',
    async run(world) {
      const tab = await world.device()
      await tab.call('sync')
      const other = await tab.secondTab()
      const call = (method, ...args) => other.page.evaluate(([method, args]) => window.device[method](...args), [method, args])
      await Promise.all([tab.call('add', 5), call('add', 3)])
      await tab.call('sync')
      await call('sync')
      return shown(world, tab, { call })
    },
  },
}
