// A thread of a program's, with a mirror open of its own: it writes once, and ends or goes on reading until it is ended.

import { parentPort, workerData } from 'node:worker_threads'
import { open } from '../../wasm/dist/node/index.js'

const marea = await open({ ...workerData.options, getAccessToken: () => null })
await marea.recordSession({ session_type: 'qa' })
if (workerData.goesOn) {
  setInterval(() => marea.progress(), 1)
  parentPort.postMessage('open')
}
