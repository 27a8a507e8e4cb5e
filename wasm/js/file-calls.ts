// The calls about files of exports, at the leader.

import { filesUnavailable } from './files.js'
import type { LeaderContext } from './handlers.js'
import type { FileChange, NewFile } from './protocol.js'
import type { FileView, Recorded } from './types.js'
import { MareaError } from './errors.js'

/** Records an export with its file, or gives one that is there its file (`input` null). */
export async function keepFile(context: LeaderContext, asked: NewFile, file: Blob): Promise<Recorded | null> {
  const { engine, bytes } = context
  const { id, input, extension, content_type, quota } = asked
  try {
    if (!bytes.kept) {
      const [outcome] = input ? engine.write([{ kind: 'create_export', id, input }]) : []
      throw outcome instanceof Error ? outcome : filesUnavailable()
    }
    return await bytes.add(id, extension, file, (sha256, fits) => {
      // Of what there is no room for, the engine notes the export all the same.
      const room = fits ? (quota ?? undefined) : 0
      return (engine.keepFile(id, input, sha256, extension, content_type, file.size, room) as Recorded | undefined) ?? null
    })
  } finally {
    moved(context)
  }
}

export const files = ({ engine }: LeaderContext): FileView[] => engine.files()

export async function changeFile(context: LeaderContext, id: string, what: FileChange): Promise<void> {
  context.engine.changeFile(id, what)
  moved(context)
  await context.bytes.sweep()
}

export async function exportFile({ engine, bytes, transfers }: LeaderContext, id: string): Promise<Blob> {
  const [name = '', sha256 = '', type, isRemote] = engine.fileSource(id, false)
  if (name && isRemote === undefined) {
    const file = await bytes.openChecked(name, sha256)
    if (file) return file.slice(0, file.size, type)
  }
  const [path, , hash = ''] = engine.fileSource(id, true)
  if (path) return transfers.download(path, hash)
  throw new MareaError('invalid_input', 'id: this export has no file', false)
}

export async function exportUrl({ engine, transfers }: LeaderContext, id: string, expiresIn: number): Promise<string> {
  const [, link] = engine.fileSource(id, true)
  if (link) return transfers.link(link, expiresIn)
  throw new MareaError('invalid_input', 'id: this export has no file at the server yet', false)
}

function moved({ changed, loop, transfers }: LeaderContext): void {
  changed('exports', 'files', 'queue', 'status')
  loop.poke()
  transfers.poke()
}
