// What this page keeps in localStorage beside the mirror, and under which names.
//
// The page of two devices opens this app twice; each copy says which device it is, and keeps its own sign-in.

const asked = new URLSearchParams(location.search).get('device')

/** The device that the page of two devices gave this copy; null for the app on its own. */
export const device = asked !== null && /^[a-z]{1,20}$/.test(asked) ? asked : null

const nameOf = (name: string): string => (device ? `marea-demo.${device}.${name}` : `marea-demo.${name}`)

export function readKept(name: string): string | null {
  return localStorage.getItem(nameOf(name))
}

export function keep(name: string, value: string | null): void {
  if (value === null) localStorage.removeItem(nameOf(name))
  else localStorage.setItem(nameOf(name), value)
}
