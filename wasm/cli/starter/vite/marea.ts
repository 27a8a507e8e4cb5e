import { createClient } from '@supabase/supabase-js'
import { openWithSupabase } from '@marea/client/supabase'
import { schema } from './marea.schema'

const url = import.meta.env.VITE_SUPABASE_URL
const publishableKey = import.meta.env.VITE_SUPABASE_PUBLISHABLE_KEY

export const supabase = createClient(url, publishableKey)
/** The mirror of whoever is signed in with `supabase`, now and after each sign-in. */
export const account = openWithSupabase(supabase, { url, publishableKey, schema })
