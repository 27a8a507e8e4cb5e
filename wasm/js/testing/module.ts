// In the place of `../module.js`: the module is on this machine, and was compiled already.

import type { Loading } from '../module.js'

declare const MAREA_MODULE: WebAssembly.Module

const download = {
  async wait(heard: (loading: Loading) => void): Promise<WebAssembly.Module> {
    heard({ loaded: 1, total: 1 })
    return MAREA_MODULE
  },
}

export const downloadModule = (): typeof download => download
