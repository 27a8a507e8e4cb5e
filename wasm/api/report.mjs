// Writes what an app's author can name, entry by entry, from the built declarations; with `--check` it only compares.
//
// A change of the package's face is a change of a file in this folder, seen by whoever reviews it.

import { Extractor, ExtractorConfig } from '@microsoft/api-extractor'
import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const project = fileURLToPath(new URL('..', import.meta.url))
const kept = fileURLToPath(new URL('../../target/api', import.meta.url))
const ENTRIES = {
  client: 'dist/index.d.ts',
  react: 'dist/react/index.d.ts',
  supabase: 'dist/supabase.d.ts',
  devtools: 'dist/devtools/index.d.ts',
  vite: 'dist/vite.d.ts',
  vue: 'dist/vue.d.ts',
  svelte: 'dist/svelte.d.ts',
  solid: 'dist/solid.d.ts',
  kysely: 'dist/kysely.d.ts',
  opentelemetry: 'dist/opentelemetry.d.ts',
  'tanstack-db': 'dist/tanstack-db/index.d.ts',
  testing: 'dist/testing/index.d.ts',
  'testing-react': 'dist/testing/react.d.ts',
  writers: 'dist/writers.d.ts',
  node: 'dist/node/index.d.ts',
  tauri: 'dist/tauri/index.d.ts',
}
const check = process.argv.includes('--check')

const compilerOptions = {
  target: 'ES2022',
  module: 'ESNext',
  moduleResolution: 'bundler',
  lib: ['ES2022', 'DOM', 'ESNext.Disposable'],
  strict: true,
  types: [],
  skipLibCheck: true,
}

function report(name, entry) {
  const config = ExtractorConfig.prepare({
    configObjectFullPath: undefined,
    packageJsonFullPath: `${project}package.json`,
    configObject: {
      projectFolder: project,
      mainEntryPointFilePath: `${project}${entry}`,
      compiler: { overrideTsconfig: { compilerOptions, files: [entry, 'js/frameworks.d.ts'] } },
      apiReport: { enabled: true, reportFolder: here, reportTempFolder: kept, reportFileName: `${name}.api.md` },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      messages: {
        compilerMessageReporting: { default: { logLevel: 'error' } },
        // Its own taste in comments and in what must be exported beside what; ours is in the report.
        extractorMessageReporting: { default: { logLevel: 'none' } },
        tsdocMessageReporting: { default: { logLevel: 'none' } },
      },
    },
  })
  const quiet = (message) => {
    if (message.logLevel !== 'error') message.handled = true
  }
  const result = Extractor.invoke(config, { localBuild: !check, messageCallback: quiet })
  if (result.errorCount > 0) throw new Error(`${entry} cannot be read`)
  return result.apiReportChanged
}

rmSync(kept, { recursive: true, force: true })
const changed = Object.entries(ENTRIES).filter(([name, entry]) => report(name, entry))
if (check && changed.length > 0) {
  const names = changed.map(([name]) => `wasm/api/${name}.api.md`).join(', ')
  console.error(`The package's face has changed: ${names}. Look at \`npm run api -w @marea/client\` and commit it.`)
  process.exit(1)
}
