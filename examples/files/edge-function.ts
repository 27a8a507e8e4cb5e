// delete-files.mjs as a Supabase Edge Function: this is supabase/functions/marea-delete-files/index.ts, and that lies beside it. Supabase
// gives it both variables. Only who has the secret key may call it; what calls it every few minutes is the project's choice.

import { deleteFiles } from './delete-files.mjs'

Deno.serve(async (request) => {
  const key = Deno.env.get('SUPABASE_SERVICE_ROLE_KEY')
  if (!key || request.headers.get('authorization') !== `Bearer ${key}`) return new Response(null, { status: 401 })
  const said = await deleteFiles({ url: Deno.env.get('SUPABASE_URL') ?? '', key })
  return Response.json(said, { status: said.error ? 502 : 200 })
})
