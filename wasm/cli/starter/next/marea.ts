import { createClient } from '@supabase/supabase-js'
import { openWithSupabase } from '@marea/client/supabase'
import { schema } from './marea.schema'

const url = process.env.NEXT_PUBLIC_SUPABASE_URL!
const publishableKey = process.env.NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY!

export const supabase = createClient(url, publishableKey)
/** The mirror of whoever is signed in with `supabase`, now and after each sign-in. A server renders without one. */
export const account = typeof window === 'undefined' ? null : openWithSupabase(supabase, { url, publishableKey, schema })
