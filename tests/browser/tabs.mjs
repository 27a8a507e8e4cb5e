// What tests with several tabs share: opening them, finding the one that leads, and the ways in which it can go.

import { openMarea } from './harness.mjs'

/** Opens tabs of one learner, one after the other. */
export async function openTabs(test, browser, stage, learner, count, options) {
  const tabs = []
  for (let made = 0; made < count; made++) {
    const page = await browser.newPage(test)
    await openMarea(page, stage, learner, options)
    tabs.push(page)
  }
  return tabs
}

/** The page that leads; null when none of these does. */
export async function leadingPage(pages) {
  for (const page of pages) {
    if (await page.evaluate(() => window.marea.leads)) return page
  }
  return null
}

/** The ways in which a leader goes, each with what does it. */
export const takeOver = {
  closed: (_browser, page) => page.close(),
  frozen: async (browser, page) => {
    const devtools = await browser.context.newCDPSession(page)
    await devtools.send('Page.setWebLifecycleState', { state: 'frozen' })
  },
  killed: async (browser, page) => {
    const devtools = await browser.context.newCDPSession(page)
    // The renderer's process goes at once; the answer to this never comes.
    void devtools.send('Page.crash').catch(() => undefined)
    await page.waitForEvent('crash')
  },
}
