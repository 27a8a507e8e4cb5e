-- 008: what real apps, clocks and clients do to the sync layer, one section for each kind. Functions are replaced whole; what they were
-- before is kept in marea.replaced, under names that begin with "008", so that the rollback puts back exactly that.
--
-- Needs 007. One transaction; run twice, the second run changes nothing. Taken back by 008_sturdy_rollback.sql, counted by
-- validate_008.sql. Run it again whenever 002, 005 or 007 was run again.

BEGIN;

DO $$
DECLARE
    -- Every function that this file replaces. A function that it makes new stands in the rollback.
    replaced CONSTANT TEXT[] := ARRAY[]::text[];
BEGIN
    IF to_regprocedure('marea.page(uuid, bigint, integer, boolean)') IS NULL
        OR position('(r.table_name || '''') IN (' IN pg_get_functiondef('marea.page(uuid, bigint, integer, boolean)'::regprocedure)) = 0 THEN
        RAISE EXCEPTION 'Marea 008 cannot be applied; nothing was changed. Missing: marea.page as migration 007 leaves it'
            USING HINT = 'Apply 007_steady_pages.sql first.';
    END IF;
    IF EXISTS (SELECT FROM marea.replaced WHERE name LIKE '008 %') THEN
        RAISE NOTICE 'Marea 008 stands already: this run changes nothing.';
    END IF;
    INSERT INTO marea.replaced (name, definition)
    SELECT '008 ' || old, pg_get_functiondef(old::regprocedure) FROM unnest(replaced) AS old
    ON CONFLICT DO NOTHING;
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Sealed keys: envelopes of format 2 (docs/VAULT.md) come in, those of format 1 go on coming in
--
-- A client of before can neither read nor make format 2, so apply this before the clients are brought up to date. The constraints of 006
-- keep their names; the rollback puts back what they were, unless envelopes of format 2 stand already.
-- ---------------------------------------------------------------------------------------------------------------------

DO $$
DECLARE
    provider TEXT;
    standing TEXT;
BEGIN
    FOREACH provider IN ARRAY ARRAY['openai', 'unsplash', 'anthropic'] LOOP
        SELECT pg_get_constraintdef(oid) INTO standing FROM pg_catalog.pg_constraint
        WHERE conrelid = to_regclass('public.user_api_keys') AND conname = format('user_api_keys_%s_envelope', provider);
        IF standing IS NULL THEN
            RAISE EXCEPTION 'Marea 008 cannot be applied; nothing was changed. Missing: constraint user_api_keys_%_envelope (migration 006)', provider
                USING HINT = 'Apply 006_sealed_keys.sql first.';
        END IF;
        CONTINUE WHEN position('^marea2' IN standing) > 0;
        EXECUTE format($replace$
            ALTER TABLE public.user_api_keys DROP CONSTRAINT user_api_keys_%1$s_envelope, ADD CONSTRAINT user_api_keys_%1$s_envelope CHECK (
                length(%1$s_api_key) <= 1715 AND %1$s_api_key ~
                '^marea1\.[A-Za-z0-9_-]{16}\.pbkdf2-sha256-[1-9][0-9]{5,6}\.[0-9]{13}\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{80}\.[A-Za-z0-9_-]{20}\.(0|[0-9]{13}[A-Za-z0-9_-]{100})\.[A-Za-z0-9_-]{39,}\.[A-Za-z0-9_-]{12}$'
                OR length(%1$s_api_key) <= 2790 AND %1$s_api_key ~
                '^marea2\.[A-Za-z0-9_-]{16}\.pbkdf2-sha256-[1-9][0-9]{5,6}\.[0-9]{13}\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{80}\.[A-Za-z0-9_-]{20}\.(0|[0-9]{13}[A-Za-z0-9_-]{100})\.[A-Za-z0-9_-]{20,}\.[0-9]{13}-[0-9a-f]{4}\.[A-Za-z0-9_-]{39,}\.[A-Za-z0-9_-]{12}$'
                -- The list of superseded data keys: at most 8 entries of 129 characters, and a MAC. The key itself, padded.
                AND length(split_part(%1$s_api_key, '.', 9)) %% 129 = 20 AND length(split_part(%1$s_api_key, '.', 9)) <= 1052
                AND length(split_part(%1$s_api_key, '.', 11)) IN (382, 723, 1406))
        $replace$, provider);
        EXECUTE format(
            'COMMENT ON CONSTRAINT user_api_keys_%1$s_envelope ON public.user_api_keys IS %2$L',
            provider, 'An envelope of format 1 or 2 (docs/VAULT.md), part by part; NULL = none.');
    END LOOP;
END
$$;

COMMIT;
