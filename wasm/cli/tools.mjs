// How each migration tool wants its files. A tool that runs a file in a transaction of its own gets it without BEGIN and COMMIT, and the
// backfill as one batch; what it leaves is said in the file.

const ONE_BATCH = `-- In this transaction, so for at most 10,000 learners. Where there are more, repeat it until it returns less:
--   SELECT marea.backfill_batch(10000);
SELECT marea.backfill_batch(10000);
`

const inOne = (text) =>
  text.replace(/^(BEGIN|COMMIT);\n/gm, '').replace(/^CALL marea\.run_backfill\(\);\n/m, ONE_BATCH)

export const TOOLS = {
  supabase: {
    folder: 'supabase/migrations',
    signs: ['supabase/config.toml', 'supabase/migrations'],
    file: (stamp, { name, up }) => ({ name: `${stamp}_marea_${name}.sql`, text: inOne(up) }),
    next: () => 'Next: supabase db push (or supabase migration up).',
  },
  dbmate: {
    folder: 'db/migrations',
    signs: ['db/migrations'],
    file: (stamp, { name, up, down }) => ({
      name: `${stamp}_marea_${name}.sql`,
      text: `-- migrate:up\n${inOne(up)}\n-- migrate:down\n${inOne(down)}`,
    }),
    next: () => 'Next: dbmate up.',
  },
  flyway: {
    folder: 'sql',
    signs: ['flyway.toml', 'flyway.conf', 'conf/flyway.conf'],
    file: (stamp, { name, up }) => ({ name: `V${stamp}__marea_${name}.sql`, text: inOne(up) }),
    next: () => 'Next: flyway migrate.',
  },
  sqlx: {
    folder: 'migrations',
    signs: ['sqlx.toml', '.sqlx', 'Cargo.toml'],
    file: (stamp, { name, up }) => ({ name: `${stamp}_marea_${name}.sql`, text: inOne(up) }),
    next: () => 'Next: sqlx migrate run.',
  },
  psql: {
    folder: 'marea',
    signs: ['marea'],
    file: (_, { name, up }) => ({ name: `${name}.sql`, text: up }),
    next: (steps) => `Next: (set -e; for file in ${steps.map(({ name }) => name).join(' ')}; do
  psql -X -q -v ON_ERROR_STOP=1 -f "marea/$file.sql" "$DATABASE_URL"
done)`,
  },
}

/** The files that `present` lacks, numbered after all that is there. A step is known by its name, whatever its number. */
export function migrationFiles(tool, steps, present, now) {
  const missing = steps.filter(({ name }) => !present.some((file) => file.replace(/^V/, '').replace(/^\d+_+marea_/, '') === `${name}.sql`))
  const latest = Math.max(0, ...present.map((file) => Number(/^V?(\d{14})_/.exec(file)?.[1] ?? 0)))
  const first = Math.max(latest + 1, Number(now.toISOString().replace(/\D/g, '').slice(0, 14)))
  return missing.map((step, place) => TOOLS[tool].file(String(first + place), step))
}
