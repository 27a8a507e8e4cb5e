// What wake-ups add to the browser's download: the package as it is built (wasm/dist), beside one that is built in a copy of this checkout in
// which the socket does nothing. Takes minutes. node tests/bench-wakeups/download.mjs, after `cargo xtask package`.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, gzipSync } from 'node:zlib'

const root = fileURLToPath(new URL('../..', import.meta.url))
const FILES = ['index.js', 'worker.js', 'marea_wasm_bg.wasm']

const bytes = (folder) =>
  FILES.map((name) => readFileSync(join(folder, 'wasm/dist', name))).reduce(
    (sum, file) => ({ raw: sum.raw + file.length, gzip: sum.gzip + gzipSync(file, { level: 9 }).length, brotli: sum.brotli + brotliCompressSync(file).length }),
    { raw: 0, gzip: 0, brotli: 0 },
  )

/** Puts something in the place of what begins with one text and ends before another. */
function replace(folder, path, from, to, by) {
  const file = join(folder, path)
  const text = readFileSync(file, 'utf8')
  const begin = text.indexOf(from)
  // Without one it goes to the end of the file.
  const end = to === null ? text.length : text.indexOf(to, begin + from.length)
  if (begin < 0 || end < 0) throw new Error(`${path}: there is no ${JSON.stringify(from)} any more; bring this script up to date`)
  writeFileSync(file, text.slice(0, begin) + from + by + text.slice(end))
}

if (!existsSync(join(root, 'wasm/dist/worker.js'))) throw new Error('wasm/dist is missing. Run `cargo xtask package` first.')
const folder = mkdtempSync(join(tmpdir(), 'marea-without-wakeups-'))
try {
  execFileSync('git', ['worktree', 'add', '--detach', '--force', folder, 'HEAD'], { cwd: root, stdio: 'ignore' })
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  const socket = 'pub fn socket(&mut self, event: SocketEvent<\'_>, now: Now) -> Result<SocketStep, Error> {'
  replace(folder, 'core/src/engine/wakeups.rs', socket, '\n    /// Says whether a request is due', '\n        let _ = (event, now);\n        Ok(SocketStep::default())\n    }\n')
  replace(folder, 'wasm/js/wakeups.ts', 'export class WakeUps {', null, '\n  constructor(..._: unknown[]) {}\n  look(): void {}\n  seen(): void {}\n  stop(): void {}\n}\n')
  execFileSync('cargo', ['xtask', 'package'], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] })
  const [whole, without] = [bytes(root), bytes(folder)]
  const added = Object.fromEntries(Object.keys(whole).map((how) => [how, whole[how] - without[how]]))
  console.log(JSON.stringify({ whole, without, added }))
} finally {
  execFileSync('git', ['worktree', 'remove', '--force', folder], { cwd: root, stdio: 'ignore' })
  rmSync(folder, { recursive: true, force: true })
}
