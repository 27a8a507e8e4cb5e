-- What stands between this database and Marea. One statement, which only reads: any client will do, the SQL editor too.
--
-- Each row is a finding: severity, subject, finding, and the remedy as SQL to paste.
--   fact     what is here, and what the migrations will make
--   blocker  a migration would be refused, or nothing would sync
--   warning  it works, and learners would lose something, or something would be counted wrong
--   note     what devices meet here that they cannot know; nothing has to be done
-- The last row is the verdict. Run it as the role that will run the migrations, before and after each remedy. Marea need not
-- be here yet, and may.
--
-- Functions are judged by their text (comments left out), so what a function puts together with format() or || is not seen.

WITH RECURSIVE
-- By their names: to_regclass fails where a schema may not be used.
places AS MATERIALIZED (
    SELECT c.oid, n.nspname || '.' || c.relname AS name FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('public', 'auth', 'cron', 'marea') AND c.relkind <> 'i'
),
-- Text of a query over tables that may not be here, as JSON: a name in this statement itself would have to exist. The hex keeps
-- XML from changing anything.
asked AS MATERIALIZED (
    SELECT q.name, convert_from(decode(coalesce(substring(query_to_xml(format(
        'SELECT encode(convert_to(coalesce(json_agg(x), ''[]'')::text, ''UTF8''), ''hex'') AS h FROM (%s) AS x', q.query),
        false, true, '')::text FROM '<h>([0-9a-f]*)</h>'), '5b5d'), 'hex'), 'UTF8')::jsonb AS found
    FROM (
        SELECT 'users' AS name, 'SELECT count(*) AS n FROM public.users' AS query
        WHERE has_table_privilege((SELECT oid FROM places WHERE name = 'public.users'), 'SELECT')
        UNION ALL
        SELECT 'sessions', 'SELECT count(*) AS n, count(*) FILTER (WHERE ended_at IS NOT NULL) AS completed,
            count(*) FILTER (WHERE user_id IS NULL) AS ownerless, count(*) FILTER (WHERE user_id IS NOT NULL AND NOT EXISTS (
                SELECT FROM public.users AS u WHERE u.id = s.user_id)) AS strangers FROM public.sessions AS s'
        WHERE has_table_privilege((SELECT oid FROM places WHERE name = 'public.sessions'), 'SELECT') AND has_table_privilege((SELECT oid FROM places WHERE name = 'public.users'), 'SELECT')
          AND (SELECT count(*) FROM pg_attribute WHERE NOT attisdropped AND atttypid = 'uuid'::regtype
               AND (attrelid = (SELECT oid FROM places WHERE name = 'public.sessions') AND attname = 'user_id'
                    OR attrelid = (SELECT oid FROM places WHERE name = 'public.users') AND attname = 'id')) = 2
          AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = (SELECT oid FROM places WHERE name = 'public.sessions') AND attname = 'ended_at' AND NOT attisdropped)
        UNION ALL
        SELECT 'unknown learners', 'SELECT count(*) AS n FROM auth.users AS a
            WHERE NOT EXISTS (SELECT FROM public.users AS u WHERE u.id = a.id)'
        WHERE has_schema_privilege((SELECT oid FROM pg_namespace WHERE nspname = 'auth'), 'USAGE')
          AND has_table_privilege((SELECT oid FROM places WHERE name = 'auth.users'), 'SELECT') AND has_table_privilege((SELECT oid FROM places WHERE name = 'public.users'), 'SELECT')
          AND (SELECT count(*) FROM pg_attribute WHERE attname = 'id' AND NOT attisdropped AND atttypid = 'uuid'::regtype
               AND attrelid IN ((SELECT oid FROM places WHERE name = 'public.users'), (SELECT oid FROM places WHERE name = 'auth.users'))) = 2
        UNION ALL
        SELECT 'jobs', 'SELECT jobid, jobname, schedule, command FROM cron.job WHERE active'
        WHERE has_schema_privilege((SELECT oid FROM pg_namespace WHERE nspname = 'cron'), 'USAGE')
          AND has_table_privilege((SELECT oid FROM places WHERE name = 'cron.job'), 'SELECT')
        UNION ALL
        SELECT 'settings', 'SELECT name, value FROM marea.settings'
        WHERE has_schema_privilege((SELECT oid FROM pg_namespace WHERE nspname = 'marea'), 'USAGE')
          AND has_table_privilege((SELECT oid FROM places WHERE name = 'marea.settings'), 'SELECT')
    ) AS q
),
-- Types and columns that the migrations ask for.
needed (relation, name, type) AS (VALUES
    ('users', 'id', 'uuid'), ('sessions', 'id', 'uuid'), ('sessions', 'user_id', 'uuid'), ('sessions', 'session_type', 'text'),
    ('sessions', 'started_at', 'timestamp with time zone'), ('sessions', 'ended_at', 'timestamp with time zone'),
    ('sessions', 'duration_minutes', 'integer'), ('sessions', 'images_processed', 'integer'),
    ('sessions', 'descriptions_generated', 'integer'), ('sessions', 'qa_attempts', 'integer'), ('sessions', 'qa_correct', 'integer'),
    ('sessions', 'vocabulary_learned', 'integer'), ('sessions', 'phrases_saved', 'integer'), ('sessions', 'session_data', 'jsonb')
),
-- The tables of 001, column by column: others of these names are the app's.
made (relation, columns) AS (VALUES
    ('user_api_keys', 'anthropic_api_key text, created_at timestamp with time zone, id uuid, last_validated_at timestamp with time '
        'zone, openai_api_key text, unsplash_api_key text, updated_at timestamp with time zone, user_id uuid'),
    ('user_progress', 'achievements jsonb, average_accuracy numeric, average_completion_time_seconds integer, created_at timestamp '
        'with time zone, current_streak_days integer, id uuid, last_active_on date, last_activity_at timestamp with time zone, '
        'last_description_at timestamp with time zone, last_qa_session_at timestamp with time zone, last_vocabulary_practice_at '
        'timestamp with time zone, learning_words_count integer, longest_streak_days integer, mastered_words_count integer, '
        'new_words_count integer, total_descriptions integer, total_images integer, total_points integer, total_questions_answered '
        'integer, total_questions_correct integer, total_sessions integer, total_time_spent_minutes integer, '
        'total_vocabulary_learned integer, updated_at timestamp with time zone, user_id uuid'),
    ('export_history', 'completed_at timestamp with time zone, created_at timestamp with time zone, data jsonb, error_message text, '
        'expires_at timestamp with time zone, export_format character varying, export_type character varying, file_size_bytes '
        'bigint, file_url text, filters jsonb, id uuid, processing_time_seconds integer, records_count integer, retry_count integer, '
        'started_at timestamp with time zone, status character varying, updated_at timestamp with time zone, user_id uuid')
),
-- Which columns 003 reads of tables that give up their names (migrations/source/carry_over.sql).
carried (relation, names) AS (VALUES
    ('user_progress', '{accuracy,achievements,average_accuracy,best_streak,created_at,current_streak,current_streak_days,'
        'descriptions_generated,id,images_processed,last_active_at,last_active_date,last_active_on,last_activity_at,'
        'last_activity_date,last_description_at,last_qa_session_at,last_vocabulary_practice_at,learning_words,'
        'learning_words_count,longest_streak,longest_streak_days,mastered_words,mastered_words_count,minutes,new_words,'
        'new_words_count,points,questions_answered,questions_correct,sessions_completed,sessions_count,streak,'
        'streak_days,total_descriptions,total_images,total_minutes,total_points,total_questions_answered,'
        'total_questions_correct,total_sessions,total_time_spent_minutes,total_vocabulary_learned,total_xp,updated_at,'
        'user_id,vocabulary_learned,words_learned,xp}'::text[]),
    ('export_history', '{completed_at,created_at,data,download_url,error,error_message,expires_at,export_format,export_type,'
        'file_format,file_size,file_size_bytes,file_url,filters,finished_at,format,id,kind,processing_time_seconds,'
        'record_count,records_count,requested_at,retries,retry_count,row_count,rows,size_bytes,started_at,state,status,'
        'type,updated_at,url,user_id}'::text[])
),
standing AS MATERIALIZED (
    SELECT m.relation, c.oid, c.relkind, c.oid IS NOT NULL AS is_here, coalesce(c.relkind IN ('r', 'p') AND m.columns = (
               SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, NULL), ', ' ORDER BY a.attname COLLATE "C")
               FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), false) AS is_ours,
           (SELECT count(*) FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
    FROM made AS m LEFT JOIN pg_class AS c ON c.oid = (SELECT oid FROM places WHERE name = 'public.' || m.relation)
),
-- The four trigger functions of 001, by what theirs and nobody else's says.
functions_of_001 (name, mark) AS (VALUES
    ('user_api_keys_set_updated_at', 'NEW.updated_at := now();'), ('user_progress_set_updated_at', 'NEW.updated_at := now();'),
    ('export_history_set_updated_at', 'NEW.updated_at := now();'), ('sessions_fold_into_progress', 'isfinite')
),
-- The app's functions: not those of the system, of extensions and of Marea.
bodies AS MATERIALIZED (
    SELECT p.oid, p.proname, n.nspname, p.prokind, l.lanname,
           format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) AS signature,
           p.prorettype = 'trigger'::regtype AS is_trigger, p.prosecdef AS is_definer, p.prosrc,
           coalesce(array_to_string(p.proconfig, ' '), '') AS settings,
           regexp_replace(coalesce(nullif(p.prosrc, ''), pg_get_functiondef(p.oid)), '--[^\n]*|/\*.*?\*/', ' ', 'g') AS body
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace JOIN pg_language AS l ON l.oid = p.prolang
    WHERE p.prokind IN ('f', 'p') AND l.lanname NOT IN ('c', 'internal')
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'marea', 'marea_adopted') AND n.nspname NOT LIKE 'pg\_%'
      AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
      AND NOT (n.nspname = 'public' AND p.proname = 'marea_sync')
      AND NOT (n.nspname = 'public' AND EXISTS (
          SELECT FROM functions_of_001 AS f WHERE f.name = p.proname AND position(f.mark IN p.prosrc) > 0
            AND coalesce(array_to_string(p.proconfig, ' '), '') LIKE '%search_path=pg_catalog, pg_temp%'))
),
-- Who writes what the fold alone may write, directly or through another function.
writers AS (
    SELECT b.oid FROM bodies AS b
    -- That a learner without a row gets an empty one changes no total.
    WHERE regexp_replace(b.body, '\minsert\s+into\s+("?public"?\s*\.\s*)?"?user_progress"?\s*\(\s*"?user_id"?\s*\)\s*values\s*\(\s*new\s*\.\s*"?id"?\s*\)\s*on\s+conflict\s*(\(\s*"?user_id"?\s*\)\s*)?do\s+nothing', ' ', 'gi') ~* '\m(insert\s+into|update|delete\s+from|merge\s+into|truncate(\s+table)?)\s+(only\s+)?(("?public"?\s*\.\s*)?"?user_progress|"?marea"?\s*\.\s*"?(daily_activity|progress_events))"?(?![a-z0-9_$])'
      AND b.body !~* '\minsert\s+into\s+"?marea"?\s*\.\s*"?progress_events'
    UNION
    SELECT b.oid FROM bodies AS b JOIN writers AS w ON w.oid <> b.oid JOIN pg_proc AS p ON p.oid = w.oid
    WHERE p.prorettype <> 'trigger'::regtype
      AND b.body ~* ('\m' || regexp_replace(p.proname, '([^a-zA-Z0-9_])', '\\\1', 'g') || '"?\s*\(')
),
-- The app's triggers that are on.
triggers AS MATERIALIZED (
    SELECT t.tgname, t.tgrelid, t.tgtype, format('%I.%I', n.nspname, c.relname) AS relation, c.relname, n.nspname AS schema, b.oid, b.signature,
           b.settings, b.body
    FROM pg_trigger AS t JOIN bodies AS b ON b.oid = t.tgfoid
    JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND n.nspname <> 'marea_adopted'
      -- A trigger on an old table goes with it.
      AND NOT EXISTS (SELECT FROM standing AS s WHERE t.tgrelid = (SELECT oid FROM places WHERE name = 'public.' || s.relation) AND NOT s.is_ours)
),
facts (place, subject, finding) AS (
    SELECT 1, 'Postgres', format('%s, role %I%s, database %I', split_part(version(), ' on ', 1), current_user,
        CASE WHEN current_setting('is_superuser') = 'on' THEN ' (superuser)' ELSE ' (no superuser, and none is needed)' END, current_database())
    UNION ALL
    SELECT 2, 'public.users', format('%s rows', found -> 0 ->> 'n') FROM asked WHERE name = 'users'
    UNION ALL
    SELECT 3, 'public.sessions', format('%s rows, %s of them completed: these will count', found -> 0 ->> 'n', found -> 0 ->> 'completed')
    FROM asked WHERE name = 'sessions'
    UNION ALL
    SELECT 4, 'automatic grants', format('new tables in public are %s the API''s roles; the migrations give and take what is right by themselves',
        CASE WHEN EXISTS (
            SELECT FROM pg_default_acl AS d, aclexplode(d.defaclacl) AS a JOIN pg_roles AS r ON r.oid = a.grantee
            WHERE d.defaclobjtype = 'r' AND r.rolname = 'authenticated'
        ) THEN 'open to' ELSE 'not granted to' END)
    UNION ALL
    SELECT 5, 'to be made', CASE WHEN (SELECT oid FROM places WHERE name = 'marea.clocks') IS NULL
        THEN 'tables public.user_api_keys, public.user_progress, public.export_history; schema marea; function public.marea_sync; '
            'three triggers on public.sessions. No column of yours is changed.'
        ELSE 'nothing: Marea is here. Each file may be run again.' END
),
findings (place, severity, subject, finding, remedy) AS (
    -- The server and the one who runs it.
    SELECT 100, 'blocker', 'Postgres version', format('Postgres %s is older than 14', current_setting('server_version')),
           '-- Upgrade Postgres to 14 or later.'
    WHERE current_setting('server_version_num')::int < 140000
    UNION ALL
    SELECT 101, 'blocker', 'role ' || r.name, 'the role that PostgREST takes for ' || r.what || ' is missing',
           format('CREATE ROLE %I NOLOGIN NOINHERIT;', r.name)
    FROM (VALUES ('anon', 'nobody'), ('authenticated', 'a signed-in user'), ('service_role', 'the backend')) AS r (name, what)
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r.name)
    UNION ALL
    SELECT 102, 'blocker', 'auth.uid()', 'the function that says who is signed in is missing, or returns no uuid',
           E'CREATE SCHEMA IF NOT EXISTS auth;\nDROP FUNCTION IF EXISTS auth.uid();\nCREATE FUNCTION auth.uid() RETURNS UUID LANGUAGE sql STABLE AS '
           || E'$$\n    SELECT (nullif(current_setting(''request.jwt.claims'', true), '''')::jsonb ->> ''sub'')::uuid\n$$;'
    WHERE NOT EXISTS (
        SELECT FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE n.nspname = 'auth' AND p.proname = 'uid' AND p.pronargs = 0 AND p.prorettype = 'uuid'::regtype)
    UNION ALL
    SELECT 103, 'blocker', 'schema auth', format('role %I may not use schema auth, which has auth.uid()', r.rolname),
           format('GRANT USAGE ON SCHEMA auth TO %I;', r.rolname)
    FROM pg_namespace AS n, pg_roles AS r
    WHERE n.nspname = 'auth' AND r.rolname IN ('authenticated', current_user) AND NOT has_schema_privilege(r.oid, n.oid, 'USAGE')
    UNION ALL
    SELECT 104, 'blocker', 'schema public', 'role authenticated may not use schema public', 'GRANT USAGE ON SCHEMA public TO authenticated;'
    FROM pg_namespace AS n, pg_roles AS r
    WHERE n.nspname = 'public' AND r.rolname = 'authenticated' AND NOT has_schema_privilege(r.oid, n.oid, 'USAGE')
    UNION ALL
    SELECT 105, 'blocker', 'privileges', format('role %I may not create anything in schema public', current_user),
           format('-- As the owner of the schema:%sGRANT CREATE ON SCHEMA public TO %I;', E'\n', current_user)
    FROM pg_namespace AS n WHERE n.nspname = 'public' AND NOT has_schema_privilege(n.oid, 'CREATE')
    UNION ALL
    SELECT 106, 'blocker', 'privileges', format('role %I may not create the schema marea', current_user),
           format('-- As the owner of the database:%sGRANT CREATE ON DATABASE %I TO %I;', E'\n', current_database(), current_user)
    WHERE (SELECT oid FROM places WHERE name = 'marea.clocks') IS NULL AND NOT has_database_privilege(current_database(), 'CREATE')
    UNION ALL
    SELECT 107, 'blocker', 'owner of public.' || c.relname, format('role %I does not own public.%I, and only its owner may add triggers and references',
               current_user, c.relname),
           format('-- Run the migrations as %1$I, or as that role or a superuser:%2$sALTER TABLE public.%3$I OWNER TO %4$I;',
               pg_get_userbyid(c.relowner), E'\n', c.relname, current_user)
    FROM pg_class AS c
    WHERE c.oid IN ((SELECT oid FROM places WHERE name = 'public.users'), (SELECT oid FROM places WHERE name = 'public.sessions')) AND NOT pg_has_role(c.relowner, 'USAGE')
    UNION ALL
    SELECT 108, 'blocker', 'schema marea', 'a schema of this name is here that is not Marea''s', 'ALTER SCHEMA marea RENAME TO marea_of_the_app;'
    WHERE (SELECT oid FROM places WHERE name = 'marea.clocks') IS NULL AND EXISTS (SELECT FROM pg_namespace WHERE nspname = 'marea')

    -- users and sessions.
    UNION ALL
    SELECT 120, 'blocker', 'table public.' || t.name, 'is missing',
           CASE t.name WHEN 'users' THEN 'CREATE TABLE public.users (id UUID PRIMARY KEY, email TEXT, created_at TIMESTAMPTZ NOT NULL DEFAULT now());'
               || E'\nALTER TABLE public.users ENABLE ROW LEVEL SECURITY;'
               ELSE E'CREATE TABLE public.sessions (\n    id UUID PRIMARY KEY,\n    user_id UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,\n    session_type TEXT NOT NULL DEFAULT ''mixed'','
               || E'\n    started_at TIMESTAMPTZ NOT NULL DEFAULT now(),\n    ended_at TIMESTAMPTZ,\n    duration_minutes INTEGER,\n    images_processed INTEGER,\n    descriptions_generated INTEGER,\n    qa_attempts INTEGER,'
               || E'\n    qa_correct INTEGER,\n    vocabulary_learned INTEGER,\n    phrases_saved INTEGER,\n    session_data JSONB DEFAULT ''{}''\n);\nALTER TABLE public.sessions ENABLE ROW LEVEL SECURITY;' END
    FROM (VALUES ('users'), ('sessions')) AS t (name) WHERE (SELECT oid FROM places WHERE name = 'public.' || t.name) IS NULL
    UNION ALL
    SELECT 121, 'blocker', 'public.' || c.relname, 'is no table: triggers that count need one', '-- Make the table that is behind it public.' || c.relname || '.'
    FROM pg_class AS c WHERE c.oid IN ((SELECT oid FROM places WHERE name = 'public.users'), (SELECT oid FROM places WHERE name = 'public.sessions')) AND c.relkind NOT IN ('r', 'p')
    UNION ALL
    SELECT 122, 'blocker', format('column public.%s.%s', w.relation, w.name),
           coalesce('is ' || format_type(a.atttypid, NULL) || ' and must be ' || w.type, 'is missing; it must be ' || w.type),
           CASE WHEN a.attname IS NULL THEN format('ALTER TABLE public.%I ADD COLUMN %I %s;', w.relation, w.name, w.type)
               ELSE format('ALTER TABLE public.%1$I ALTER COLUMN %2$I TYPE %3$s USING %2$I::%3$s;', w.relation, w.name, w.type) END
    FROM needed AS w LEFT JOIN pg_attribute AS a
        ON a.attrelid = (SELECT oid FROM places WHERE name = 'public.' || w.relation) AND a.attname = w.name AND NOT a.attisdropped
    WHERE (SELECT oid FROM places WHERE name = 'public.' || w.relation) IS NOT NULL
      AND (a.attname IS NULL OR CASE w.name WHEN 'session_type' THEN NOT EXISTS (
               SELECT FROM pg_type AS t WHERE t.oid = a.atttypid AND (t.typtype IN ('e', 'd') OR t.typcategory = 'S'))
           ELSE format_type(a.atttypid, NULL) <> w.type END)
    UNION ALL
    SELECT 123, 'blocker', format('public.%s (id)', t.name), 'has no primary key or unique constraint',
           format('ALTER TABLE public.%I ADD PRIMARY KEY (id);', t.name)
    FROM (VALUES ('users'), ('sessions')) AS t (name)
    JOIN pg_attribute AS a ON a.attrelid = (SELECT oid FROM places WHERE name = 'public.' || t.name) AND a.attname = 'id' AND NOT a.attisdropped
    WHERE NOT EXISTS (
        SELECT FROM pg_index AS i WHERE i.indrelid = a.attrelid AND i.indisunique AND i.indnkeyatts = 1 AND i.indpred IS NULL
          AND i.indkey[0] = a.attnum)
    UNION ALL
    SELECT 124, 'blocker', 'column public.sessions.' || a.attname, 'is NOT NULL without a default, and devices do not send it: every session would be refused',
           format('ALTER TABLE public.sessions ALTER COLUMN %I DROP NOT NULL;', a.attname)
    FROM pg_attribute AS a
    WHERE a.attrelid = (SELECT oid FROM places WHERE name = 'public.sessions') AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef
      AND a.attidentity = '' AND a.attname NOT IN (SELECT w.name FROM needed AS w WHERE w.relation = 'sessions')
    UNION ALL
    SELECT 125, 'blocker', 'column public.sessions.' || a.attname, 'is generated, and devices send a value: every session would be refused',
           format('ALTER TABLE public.sessions ALTER COLUMN %I DROP EXPRESSION;', a.attname)
    FROM pg_attribute AS a JOIN needed AS w ON w.relation = 'sessions' AND w.name = a.attname
    WHERE a.attrelid = (SELECT oid FROM places WHERE name = 'public.sessions') AND NOT a.attisdropped AND a.attgenerated <> ''
    UNION ALL
    SELECT 126, 'blocker', 'public.' || c.relname || ' forces row level security', 'on its owner too, so that what counts sessions would see none',
           format('ALTER TABLE public.%I NO FORCE ROW LEVEL SECURITY;', c.relname)
    FROM pg_class AS c JOIN pg_roles AS r ON r.rolname = current_user
    WHERE c.oid IN ((SELECT oid FROM places WHERE name = 'public.users'), (SELECT oid FROM places WHERE name = 'public.sessions')) AND c.relrowsecurity AND c.relforcerowsecurity
      AND NOT r.rolsuper AND NOT r.rolbypassrls
    UNION ALL
    SELECT 127, 'warning', 'row level security of public.' || c.relname, 'is off: anybody with the public key may read and write all rows',
           format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY;', c.relname)
    FROM pg_class AS c
    WHERE c.oid IN ((SELECT oid FROM places WHERE name = 'public.users'), (SELECT oid FROM places WHERE name = 'public.sessions')) AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
    UNION ALL
    SELECT CASE p.command WHEN 'INSERT' THEN 110 ELSE 128 END, CASE p.command WHEN 'INSERT' THEN 'blocker' ELSE 'warning' END,
           'policies of public.sessions', format('no policy lets a learner %s sessions%s', p.verb, p.consequence),
           format('CREATE POLICY sessions_%s_own%s ON public.sessions FOR %s TO authenticated %s (user_id = (SELECT auth.uid()))%s;',
               lower(p.command), CASE WHEN EXISTS (SELECT FROM pg_policy AS y WHERE y.polrelid = c.oid
                   AND y.polname = format('sessions_%s_own', lower(p.command))) THEN '_learner' ELSE '' END, p.command, CASE p.command WHEN 'INSERT' THEN 'WITH CHECK' ELSE 'USING' END,
               CASE p.command WHEN 'UPDATE' THEN ' WITH CHECK (user_id = (SELECT auth.uid()))' ELSE '' END)
    FROM (VALUES ('INSERT', 'a', 'insert', ': nothing that a device records would be accepted'), ('SELECT', 'r', 'read', ''),
                 ('UPDATE', 'w', 'correct', ''), ('DELETE', 'd', 'delete', '')) AS p (command, code, verb, consequence)
    JOIN pg_class AS c ON c.oid = (SELECT oid FROM places WHERE name = 'public.sessions') AND c.relrowsecurity
    WHERE NOT EXISTS (
        SELECT FROM pg_policy AS y
        WHERE y.polrelid = c.oid AND y.polcmd::text IN (p.code, '*') AND y.polpermissive
          AND (0 = ANY (y.polroles) OR (SELECT oid FROM pg_roles WHERE rolname = 'authenticated') = ANY (y.polroles)))
    UNION ALL
    SELECT CASE p.command WHEN 'INSERT' THEN 111 ELSE 129 END, CASE p.command WHEN 'INSERT' THEN 'blocker' ELSE 'warning' END,
           'grants on public.sessions', format('role authenticated has no %s on it', p.command),
           format('GRANT %s ON public.sessions TO authenticated;', p.command)
    FROM unnest(ARRAY['INSERT', 'SELECT', 'UPDATE', 'DELETE']) AS p (command), pg_roles AS r
    WHERE r.rolname = 'authenticated' AND (SELECT oid FROM places WHERE name = 'public.sessions') IS NOT NULL
      AND NOT has_table_privilege(r.oid, (SELECT oid FROM places WHERE name = 'public.sessions'), p.command)

    -- What is in the way.
    UNION ALL
    SELECT 140, 'blocker', 'public.' || s.relation, format('is the app''s own (%s columns). It must give up its name; its rows come along', s.columns),
           '-- Run the file migrations/adopt.sql before 001. It moves it to marea_adopted.' || s.relation || ', and 003 carries its rows over.'
    FROM standing AS s WHERE s.is_here AND NOT s.is_ours
    UNION ALL
    SELECT 141, 'blocker', 'function ' || b.signature, 'is the app''s own, and 001 makes one of this name',
           '-- Run the file migrations/adopt.sql before 001. It moves the function to marea_adopted; its triggers go on using it.'
    FROM bodies AS b JOIN functions_of_001 AS f ON f.name = b.proname
    WHERE b.nspname = 'public' AND b.signature = 'public.' || f.name || '()'
    UNION ALL
    SELECT 142, 'blocker', 'index public.' || c.relname, 'is on ' || i.indrelid::regclass || ', and 001 makes one of this name',
           format('ALTER INDEX public.%I RENAME TO %I;', c.relname, c.relname || '_of_the_app')
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_class AS t ON t.oid = i.indrelid
    WHERE c.relnamespace = to_regnamespace('public') AND c.relname IN ('user_progress_last_activity_at_idx',
              'export_history_user_id_idx', 'export_history_status_idx', 'export_history_created_at_idx', 'export_history_export_type_idx')
      AND t.relname NOT IN (SELECT relation FROM made)
    UNION ALL
    SELECT 143, 'warning', format('trigger %I on %s', t.tgname, t.relation),
           format('writes progress by itself (%s), so that a session would count twice', t.signature),
           format('ALTER TABLE %s DISABLE TRIGGER %I; -- migrations/adopt.sql does it, and its rollback takes it back', t.relation, t.tgname)
    FROM triggers AS t WHERE t.oid IN (SELECT w.oid FROM writers AS w) AND t.relname <> 'users'
    UNION ALL
    SELECT 144, 'warning', format('trigger %I on %s', t.tgname, t.relation),
           format('makes a progress row for a new learner (%s): where the row is there already, or a column is one that 001 does not have, every sign-up fails from 001 on', t.signature),
           '-- Let it INSERT INTO public.user_progress (user_id) VALUES (NEW.id) ON CONFLICT (user_id) DO NOTHING, or leave that out: rows come by themselves.'
    FROM triggers AS t WHERE t.oid IN (SELECT w.oid FROM writers AS w) AND t.relname = 'users'
    UNION ALL
    SELECT 145, 'warning', 'function ' || b.signature, 'writes progress by itself; the next fold would take that back. Let it insert an award'
               || CASE WHEN NOT b.is_definer AND has_function_privilege((SELECT oid FROM pg_roles WHERE rolname = 'service_role'), b.oid, 'EXECUTE')
                   THEN '. Called by service_role (a backend with the secret key) it is refused: 42501' ELSE '' END,
           format('-- Let it INSERT INTO marea.progress_events (id, user_id, occurred_at, local_date, points, ...), or drop it:%sDROP %s %s;',
               E'\n', CASE b.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, b.signature)
    FROM bodies AS b
    WHERE b.oid IN (SELECT w.oid FROM writers AS w) AND NOT b.is_trigger
      -- What a trigger function calls is told with the trigger.
      AND NOT EXISTS (SELECT FROM bodies AS c WHERE c.is_trigger AND c.oid IN (SELECT w.oid FROM writers AS w)
          AND c.body ~* ('\m' || regexp_replace(b.proname, '([^a-zA-Z0-9_])', '\\\1', 'g') || '"?\s*\('))
    UNION ALL
    SELECT 147, 'warning', format('job %s of cron', coalesce(j.value ->> 'jobname', j.value ->> 'jobid')),
           'writes progress by itself; the next fold would take that back, and as service_role it is refused (42501): ' || (j.value ->> 'command'),
           format('-- Let it INSERT INTO marea.progress_events (id, user_id, occurred_at, local_date, points, ...), or stop it:%sSELECT cron.unschedule(%s);',
               E'\n', j.value ->> 'jobid')
    FROM asked AS a, jsonb_array_elements(a.found) AS j
    WHERE a.name = 'jobs' AND (
        j.value ->> 'command' ~* '\m(insert\s+into|update|delete\s+from|merge\s+into|truncate(\s+table)?)\s+(only\s+)?(("?public"?\s*\.\s*)?"?user_progress|"?marea"?\s*\.\s*"?daily_activity)"?(?![a-z0-9_$])'
        OR EXISTS (SELECT FROM bodies AS b WHERE b.oid IN (SELECT w.oid FROM writers AS w) AND NOT b.is_trigger
            AND j.value ->> 'command' ~* ('\m' || regexp_replace(b.proname, '([^a-zA-Z0-9_])', '\\\1', 'g') || '"?\s*\(')))
    UNION ALL
    SELECT 148, 'note', 'grants on public.user_progress', 'role service_role may write it today. Where a backend does so with the secret key, it is refused once '
               || 'Marea is here (42501): the fold alone writes totals',
           E'-- Let the backend call a function of yours (SECURITY DEFINER) that does INSERT INTO marea.progress_events (id, user_id, occurred_at,\n'
           || E'-- local_date, points, ...). A job that must write totals says first, in its transaction:\n-- SET LOCAL marea.allow_progress_writes = ''on'';'
    FROM standing AS s, pg_roles AS r
    WHERE s.relation = 'user_progress' AND s.is_here AND NOT s.is_ours AND s.relkind IN ('r', 'p') AND r.rolname = 'service_role'
      AND has_table_privilege(r.oid, s.oid, 'INSERT, UPDATE, DELETE')
    UNION ALL
    SELECT 146, 'note', format('view %s.%s', v.relnamespace::regnamespace, v.relname), format('reads public.%s, and will go on reading the old table', s.relation),
           format('-- Make it again when 001 is in, from: %s', replace(pg_get_viewdef(v.oid), E'\n', ' '))
    FROM standing AS s JOIN pg_depend AS d ON d.refobjid = (SELECT oid FROM places WHERE name = 'public.' || s.relation) AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite AS r ON r.oid = d.objid JOIN pg_class AS v ON v.oid = r.ev_class
    WHERE NOT s.is_ours AND v.oid <> d.refobjid
    GROUP BY v.oid, v.relnamespace, v.relname, s.relation

    -- What would not come along.
    UNION ALL
    SELECT 130, 'warning', 'column public.' || s.relation || '.user_id', 'is missing: 003 finds by it whose a row is, and would carry nothing over',
           CASE WHEN owner.name IS NULL THEN '-- Give it a column user_id that says whose a row is, before migrations/adopt.sql.'
               ELSE format('ALTER TABLE public.%I ADD COLUMN user_id uuid GENERATED ALWAYS AS (%I) STORED;', s.relation, owner.name) END
    FROM standing AS s JOIN carried AS c ON c.relation = s.relation
    CROSS JOIN LATERAL (
        SELECT min(a.attname::text) AS name
        FROM pg_attribute AS a LEFT JOIN pg_constraint AS k ON k.conrelid = s.oid AND k.contype = 'f' AND k.conkey = ARRAY[a.attnum]
            AND k.confrelid IN (SELECT p.oid FROM places AS p WHERE p.name IN ('public.users', 'auth.users'))
        WHERE a.attrelid = s.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.atttypid = 'uuid'::regtype
          AND (k.oid IS NOT NULL OR s.relation = 'user_progress' AND a.attname = 'id' AND NOT EXISTS (
              SELECT FROM pg_constraint AS o WHERE o.conrelid = s.oid AND o.contype = 'f' AND cardinality(o.conkey) = 1
                AND o.confrelid IN (SELECT p.oid FROM places AS p WHERE p.name IN ('public.users', 'auth.users'))))
    ) AS owner
    WHERE s.is_here AND NOT s.is_ours AND s.relkind IN ('r', 'p')
      AND NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = s.oid AND a.attname = 'user_id' AND NOT a.attisdropped)
    UNION ALL
    SELECT 131, 'warning', 'columns of public.' || s.relation, format('003 does not read %s: what they hold stays in marea_adopted',
               string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)),
           format('-- Where one holds what Marea keeps, let it be called as 003 reads it, before migrations/adopt.sql. It reads: %s.%s'
               '-- ALTER TABLE public.%I RENAME COLUMN ... TO ...;', array_to_string(c.names, ', '), E'\n', s.relation)
    FROM standing AS s JOIN carried AS c ON c.relation = s.relation
    JOIN pg_attribute AS a ON a.attrelid = s.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL (c.names)
    WHERE s.is_here AND NOT s.is_ours AND s.relkind IN ('r', 'p')
    GROUP BY s.relation, c.names
    UNION ALL
    SELECT 132, 'warning', 'function ' || b.signature, format('names %s, and meets a table with other columns there from 001 on',
               string_agg('public.' || s.relation, ', ' ORDER BY s.relation)),
           '-- Change it for the columns of 001. migrations/adopt.sql names it again, and so does marea.health until its text is another one.'
    FROM bodies AS b JOIN standing AS s ON s.is_here AND NOT s.is_ours AND b.body ~* ('\m' || s.relation || '\M')
    WHERE b.oid NOT IN (SELECT w.oid FROM writers AS w)
    GROUP BY b.signature

    -- Learners and rows that would not count.
    UNION ALL
    SELECT 150, 'warning', 'learners without a row in users', format('%s have signed up and have none; nothing of theirs syncs until it is there', a.found -> 0 ->> 'n'),
           format('INSERT INTO public.users (id%1$s) SELECT a.id%2$s FROM auth.users AS a ON CONFLICT (id) DO NOTHING;',
               CASE WHEN has_email.yes THEN ', email' ELSE '' END, CASE WHEN has_email.yes THEN ', a.email' ELSE '' END)
    FROM asked AS a, LATERAL (SELECT count(*) = 2 AS yes FROM pg_attribute WHERE attname = 'email' AND NOT attisdropped
        AND attrelid IN ((SELECT oid FROM places WHERE name = 'public.users'), (SELECT oid FROM places WHERE name = 'auth.users'))) AS has_email
    WHERE a.name = 'unknown learners' AND (a.found -> 0 ->> 'n')::bigint > 0
    UNION ALL
    SELECT 151, 'warning', 'new learners', 'nothing gives who signs up a row in users: no trigger on auth.users, and no policy that lets a learner insert it',
           E'CREATE OR REPLACE FUNCTION public.handle_new_user() RETURNS TRIGGER\nLANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$\nBEGIN\n'
           || format(E'    INSERT INTO public.users (id%s) VALUES (NEW.id%s) ON CONFLICT (id) DO NOTHING;\n',
               CASE WHEN has_email.yes THEN ', email' ELSE '' END, CASE WHEN has_email.yes THEN ', NEW.email' ELSE '' END)
           || E'    RETURN NEW;\nEND\n$$;\nREVOKE EXECUTE ON FUNCTION public.handle_new_user() FROM PUBLIC, anon, authenticated;\n'
           || E'CREATE TRIGGER on_auth_user_created AFTER INSERT ON auth.users\n    FOR EACH ROW EXECUTE FUNCTION public.handle_new_user();'
    FROM (SELECT count(*) = 2 AS yes FROM pg_attribute WHERE attname = 'email' AND NOT attisdropped
        AND attrelid IN ((SELECT oid FROM places WHERE name = 'public.users'), (SELECT oid FROM places WHERE name = 'auth.users'))) AS has_email
    WHERE (SELECT oid FROM places WHERE name = 'auth.users') IS NOT NULL AND (SELECT oid FROM places WHERE name = 'public.users') IS NOT NULL
      AND NOT EXISTS (
        SELECT FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
        WHERE t.tgrelid = (SELECT oid FROM places WHERE name = 'auth.users') AND NOT t.tgisinternal AND t.tgenabled <> 'D'
          AND p.prosrc ~* '\minsert\s+into\s+("?public"?\s*\.\s*)?"?users"?(?![a-z0-9_$])')
      AND NOT EXISTS (
        SELECT FROM pg_policy AS y WHERE y.polrelid = (SELECT oid FROM places WHERE name = 'public.users') AND y.polcmd::text IN ('a', '*')
          AND (0 = ANY (y.polroles) OR (SELECT oid FROM pg_roles WHERE rolname = 'authenticated') = ANY (y.polroles)))
    UNION ALL
    SELECT 152, 'warning', 'sessions of people without a row in users', format('%s rows would count for nobody', a.found -> 0 ->> 'strangers'),
           E'INSERT INTO public.users (id) SELECT DISTINCT user_id FROM public.sessions WHERE user_id IS NOT NULL ON CONFLICT (id) DO NOTHING;'
    FROM asked AS a WHERE a.name = 'sessions' AND (a.found -> 0 ->> 'strangers')::bigint > 0
    UNION ALL
    SELECT 153, 'note', 'column public.sessions.user_id', format('may be NULL: a guest''s session counts for nobody until it has an owner (%s rows now)',
               coalesce(s.found -> 0 ->> 'ownerless', '?')),
           E'-- Nothing has to be done. To have no more of them:\nDELETE FROM public.sessions WHERE user_id IS NULL;\nALTER TABLE public.sessions ALTER COLUMN user_id SET NOT NULL;'
    FROM pg_attribute AS a LEFT JOIN asked AS s ON s.name = 'sessions'
    WHERE a.attrelid = (SELECT oid FROM places WHERE name = 'public.sessions') AND a.attname = 'user_id' AND NOT a.attisdropped AND NOT a.attnotnull

    -- Sessions that go.
    UNION ALL
    SELECT 160, 'warning', 'function ' || b.signature, 'deletes sessions, and what they added to progress would go with them',
           CASE WHEN b.lanname = 'plpgsql' AND head.text !~* '[''"$]|--|/\*|<<|\m(cursor|select)\M' THEN replace(pg_get_functiondef(b.oid), b.prosrc, head.text
                   || E'\n    PERFORM set_config(''marea.keep_counting'', ''on'', true); /* what is deleted here goes on counting */'
                   || substr(b.prosrc, length(head.text) + 1)) || ';'
               WHEN b.lanname = 'sql' AND b.prosrc <> '' THEN replace(pg_get_functiondef(b.oid), b.prosrc,
                   ' SELECT set_config(''marea.keep_counting'', ''on'', true);' || b.prosrc) || ';'
               ELSE '-- Let it call set_config(''marea.keep_counting'', ''on'', true) first.' END
    FROM bodies AS b
    -- Up to its BEGIN, where nothing stands before it that could hold such a word itself.
    CROSS JOIN LATERAL (SELECT substring(b.prosrc FROM '(?i)^.*?\mbegin\M') AS text) AS head
    WHERE b.body ~* '\m(delete\s+from|truncate(\s+table)?)\s+(only\s+)?("?public"?\s*\.\s*)?"?sessions"?(?![a-z0-9_$])'
      AND b.body !~* 'marea\.(keep_counting|retire_sessions)' AND b.body !~* 'auth\s*\.\s*uid'
      AND NOT EXISTS (SELECT FROM asked AS a, jsonb_array_elements(a.found) AS one WHERE a.name = 'settings'
          AND one ->> 'name' = 'keep_counting' AND one ->> 'value' = 'on')
    UNION ALL
    SELECT 161, 'warning', format('job %s of cron', coalesce(j.value ->> 'jobname', j.value ->> 'jobid')),
           'deletes sessions, and what they added to progress would go with them: ' || (j.value ->> 'command'),
           format('SELECT cron.alter_job(%s, command => %L);', j.value ->> 'jobid',
               'SELECT set_config(''marea.keep_counting'', ''on'', true); ' || (j.value ->> 'command'))
    FROM asked AS a, jsonb_array_elements(a.found) AS j
    WHERE a.name = 'jobs' AND j.value ->> 'command' ~* '\m(delete\s+from|truncate(\s+table)?)\s+(only\s+)?("?public"?\s*\.\s*)?"?sessions"?(?![a-z0-9_$])'
      AND j.value ->> 'command' !~* 'marea\.(keep_counting|retire_sessions)'
      AND NOT EXISTS (SELECT FROM asked AS s, jsonb_array_elements(s.found) AS one WHERE s.name = 'settings'
          AND one ->> 'name' = 'keep_counting' AND one ->> 'value' = 'on')

    -- What devices meet.
    UNION ALL
    SELECT 170, 'warning', 'function ' || t.signature, format('is called by a trigger on %s and names %s without a schema: it fails wherever search_path is another one',
               string_agg(DISTINCT t.relation, ', '), string_agg(DISTINCT named.relation, ', ')),
           format('ALTER FUNCTION %s SET search_path = %s, pg_temp;', t.signature, string_agg(DISTINCT quote_ident(named.schema), ', '))
    FROM triggers AS t
    CROSS JOIN LATERAL (
        SELECT DISTINCT c.relname AS relation, n.nspname AS schema
        FROM regexp_matches(lower(t.body), '\m(?:from|join|into|update)\s+(?:only\s+)?"?([a-z_][a-z0-9_]*)"?(?!\s*\.|[a-z0-9_"(])', 'g') AS m
        JOIN pg_class AS c ON c.relname = m[1] AND c.relkind IN ('r', 'p', 'v', 'm')
        JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname !~ '^pg_|^information_schema$|^marea'
    ) AS named
    WHERE t.settings !~ 'search_path=' AND t.schema = 'public'
      AND t.relname IN ('users', 'sessions', 'user_progress', 'export_history', 'user_api_keys')
    GROUP BY t.signature
    UNION ALL
    SELECT 171, 'note', 'trigger ' || t.tgname || ' on public.sessions', 'overwrites what devices have counted (' || string_agg(DISTINCT m[1], ', ')
               || '): a device shows its own figure until it has synced',
           format('-- Nothing has to be done. To have the device''s own figures:%sALTER TABLE public.sessions DISABLE TRIGGER %I;', E'\n', t.tgname)
    FROM triggers AS t, regexp_matches(lower(t.body), '(?:^|;|\mthen|\melse|\mbegin)\s*new\s*\.\s*"?(duration_minutes|images_processed|descriptions_generated|qa_attempts|qa_correct|vocabulary_learned|ended_at|user_id|session_data)"?\s*:?=', 'g') AS m
    WHERE t.tgrelid = (SELECT oid FROM places WHERE name = 'public.sessions') AND t.tgtype & 2 = 2
    GROUP BY t.tgname
    UNION ALL
    SELECT 172, 'note', 'column public.sessions.session_type', format('is an enum: devices may send %s, and whatever else is refused', string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)),
           format('-- Nothing has to be done where the app sends no other. To take any text:%sALTER TABLE public.sessions ALTER COLUMN session_type DROP DEFAULT, ALTER COLUMN session_type TYPE text;', E'\n')
    FROM pg_attribute AS a JOIN pg_enum AS e ON e.enumtypid = a.atttypid
    WHERE a.attrelid = (SELECT oid FROM places WHERE name = 'public.sessions') AND a.attname = 'session_type' AND NOT a.attisdropped
    GROUP BY a.attname
    UNION ALL
    SELECT 173, 'note', 'constraint ' || k.conname || ' on public.sessions', 'refuses what a device has taken: ' || pg_get_constraintdef(k.oid),
           format('-- Nothing has to be done where the app checks it before it records. To take all that Marea takes:%sALTER TABLE public.sessions DROP CONSTRAINT %I;', E'\n', k.conname)
    FROM pg_constraint AS k WHERE k.conrelid = (SELECT oid FROM places WHERE name = 'public.sessions') AND k.contype = 'c'
    UNION ALL
    SELECT 174, 'note', 'pg_cron', 'is at hand and not installed; the jobs of docs/migrations/OPERATIONS.md need something that runs SQL on time',
           'CREATE EXTENSION pg_cron;'
    WHERE EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_cron' AND installed_version IS NULL)
),
counted AS (
    SELECT count(*) FILTER (WHERE severity = 'blocker') AS blockers, count(*) FILTER (WHERE severity = 'warning') AS warnings,
           bool_or(remedy LIKE '%adopt.sql%') AS adopts
    FROM findings
)
SELECT severity, subject, finding, remedy
FROM (
    SELECT 0 AS part, place, 'fact' AS severity, subject, finding, NULL AS remedy FROM facts
    UNION ALL
    SELECT CASE severity WHEN 'blocker' THEN 1 WHEN 'warning' THEN 2 ELSE 3 END, place, severity, subject, finding, remedy FROM findings
    UNION ALL
    SELECT 4, 0, 'verdict', CASE WHEN blockers > 0 THEN 'not ready' WHEN warnings > 0 THEN 'ready, with warnings' ELSE 'ready' END,
           format('%s blockers, %s warnings', blockers, warnings),
           CASE WHEN blockers > 0 THEN '-- Paste the remedies of the blockers, and run this again.'
               WHEN (SELECT oid FROM places WHERE name = 'marea.clocks') IS NOT NULL THEN '-- Marea is here.'
               ELSE CASE WHEN adopts THEN '-- migrations/adopt.sql, then ' ELSE '-- ' END || '001 to 005, in this order.' END
    FROM counted
) AS everything
ORDER BY part, place, subject, finding;
