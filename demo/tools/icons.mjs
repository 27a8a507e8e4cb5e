// Draws the icons of the installed app from public/icon.svg: `node demo/tools/icons.mjs`.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { makeProfile, startChromium } from './chromium.mjs'

const folder = fileURLToPath(new URL('../public/', import.meta.url))
const svg = readFileSync(`${folder}icon.svg`, 'utf8')
// What a system cuts to its own shape fills its square, with the mark inside of the middle four fifths.
const maskable = svg.replace('viewBox="0 0 32 32"', 'viewBox="-3 -3 38 38"').replace(/<rect[^>]*>/, '<rect x="-3" y="-3" width="38" height="38" fill="#0d6a78"/>')

const profile = makeProfile()
const browser = await startChromium(profile)
try {
  const page = await browser.context.newPage()
  for (const [name, picture, size] of [['icon-192', svg, 192], ['icon-512', svg, 512], ['icon-maskable-512', maskable, 512]]) {
    await page.setViewportSize({ width: size, height: size })
    await page.setContent(`<style>body{margin:0}svg{display:block;width:100vw;height:100vh}</style>${picture}`)
    await page.screenshot({ path: `${folder}${name}.png`, omitBackground: true })
  }
} finally {
  await browser.stop()
  profile.remove()
}
