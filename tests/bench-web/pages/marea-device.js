// Marea as a device: words learnt are sessions; what it shows is its progress.

import { open } from '@marea/client'

let marea

window.device = {
  async open({ url, anonKey, userId, token }) {
    marea = await open({ url, anonKey, userId, getAccessToken: () => token, online: false })
  },
  add: (words) => marea.recordSession({ session_type: 'vocabulary', vocabulary_learned: words }),
  /** Something that the server refuses. */
  poison: () => marea.recordSession({ session_type: 'forbidden', vocabulary_learned: 1000 }),
  async sync() {
    await marea.setOnline(true)
    await marea.sync()
    await marea.setOnline(false)
  },
  total: async () => (await marea.progress()).total_vocabulary_learned,
}
window.ready = true
