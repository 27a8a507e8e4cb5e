// The service worker: lets the page start offline, from a cold browser.
//
// It keeps the page and nothing else. A learner's data is Marea's affair and never passes through here.

const CACHE = '__CACHE_NAME__'
const FILES = ['__PRECACHE__']
const CONFIG = '/config.json'

self.addEventListener('install', (event) => {
  event.waitUntil(
    caches
      .open(CACHE)
      .then((cache) => cache.addAll([...FILES, CONFIG]))
      .then(() => self.skipWaiting()),
  )
})

self.addEventListener('activate', (event) => {
  event.waitUntil(
    caches
      .keys()
      .then((names) => names.filter((name) => name.startsWith('marea-demo-') && name !== CACHE))
      .then((old) => Promise.all(old.map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  )
})

self.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url)
  if (event.request.method !== 'GET' || url.origin !== self.location.origin) return
  // The page of two devices names both of their addresses, which change from one start of the demo to the next.
  if (url.pathname === '/two.html') return
  event.respondWith(url.pathname === CONFIG ? networkFirst(event.request) : cacheFirst(event.request, url))
})

// The backend's address changes from one start of the demo to the next.
async function networkFirst(request) {
  const cache = await caches.open(CACHE)
  try {
    const answer = await fetch(request)
    if (answer.ok) await cache.put(CONFIG, answer.clone())
    return answer
  } catch (error) {
    const kept = await cache.match(CONFIG)
    if (kept) return kept
    throw error
  }
}

// Built files carry a hash in their name, so what is in the cache is never out of date.
async function cacheFirst(request, url) {
  const path = request.mode === 'navigate' ? '/index.html' : url.pathname
  const kept = await (await caches.open(CACHE)).match(path)
  return kept ?? fetch(request)
}
