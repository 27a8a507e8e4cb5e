// Opens a mirror that the native engine keeps in a folder. Which folder, and how calls get there, is the host's.

import { schemaText } from '../catalogue.js'
import { GUEST } from '../ids.js'
import { Marea, refresh } from '../marea.js'
import { tellOpened } from '../opened.js'
import type { GuestOptions, OpenOptions } from '../open.js'
import { checkOptions, keyOf, minutesOf } from '../options.js'
import { reportErrors } from '../report.js'
import type { Addon } from './addon.js'
import { NativeAccess } from './native.js'

/** What only a browser has a use for. */
type Browsers = 'onLoading' | 'persist' | 'storage' | 'trustedTypesPolicy' | 'workerUrl'

export type NativeOptions = Omit<OpenOptions, Browsers>
export type NativeGuestOptions = Omit<GuestOptions, Browsers>

export interface Host {
  /** Asked once the options are known to be right. */
  addon(): Addon
  /** The folder, where it is not the addon's to choose. */
  dir?: string
  /** Whether there may be a guest's mirror. */
  hasGuest(): boolean
}

export async function openNative<S>(options: NativeOptions | NativeGuestOptions, host: Host): Promise<Marea<S>> {
  const marea = await openMirror<S>(options, host)
  tellOpened(marea as Marea)
  return marea
}

/** The same, of which nobody is told: a guest's mirror is opened in passing too. */
async function openMirror<S>(options: NativeOptions | NativeGuestOptions, host: Host): Promise<Marea<S>> {
  checkOptions(options)
  const begunAt = Date.now()
  const asked = {
    ...(host.dir !== undefined && { dir: host.dir }),
    userId: options.userId ?? GUEST,
    schema: schemaText(options.schema),
    url: new URL(options.url).href,
    publishableKey: keyOf(options),
    allowHttp: options.allowHttp === true,
    online: options.online !== false,
    wakeups: options.wakeups !== false,
    dayStartsAt: options.dayStartsAt === undefined ? null : minutesOf(options.dayStartsAt),
    fileQuotaBytes: options.files?.quotaBytes ?? null,
  }
  let marea: Marea<S> | null = null
  let token: string | null = ''
  const access = await NativeAccess.open(host.addon(), asked, {
    tokenWanted: async (fresh) => (token = (await options.getAccessToken?.(fresh)) ?? null),
    changed: (topics) => marea?.[refresh](topics),
  })
  marea = new Marea<S>(access, options.schema, () => openMirror(asGuest(options), host), options.files?.quotaBytes)
  if (options.onError) reportErrors(marea as Marea, options.onError.bind(options), begunAt, () => token === null)
  if (options.claimGuest && !marea.isGuest && host.hasGuest()) await marea.claim().catch(() => undefined)
  return marea
}

/** The same place for who has not signed in. */
function asGuest({ schema, ...options }: NativeOptions | NativeGuestOptions): NativeGuestOptions {
  return { ...options, ...(schema && { schema }), userId: null, claimGuest: false }
}
