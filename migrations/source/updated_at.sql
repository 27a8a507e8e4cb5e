-- updated_at of the three tables: when a row was last written, whoever writes it.

CREATE OR REPLACE FUNCTION public.user_api_keys_set_updated_at() RETURNS TRIGGER
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION public.user_api_keys_set_updated_at() IS 'Trigger: sets updated_at.';

CREATE OR REPLACE FUNCTION public.user_progress_set_updated_at() RETURNS TRIGGER
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION public.user_progress_set_updated_at() IS 'Trigger: sets updated_at.';

CREATE OR REPLACE FUNCTION public.export_history_set_updated_at() RETURNS TRIGGER
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION public.export_history_set_updated_at() IS 'Trigger: sets updated_at.';

REVOKE EXECUTE ON FUNCTION public.user_api_keys_set_updated_at(), public.user_progress_set_updated_at(),
    public.export_history_set_updated_at() FROM PUBLIC, anon, authenticated, service_role;

CREATE OR REPLACE TRIGGER user_api_keys_set_updated_at BEFORE UPDATE ON public.user_api_keys
    FOR EACH ROW EXECUTE FUNCTION public.user_api_keys_set_updated_at();
CREATE OR REPLACE TRIGGER user_progress_set_updated_at BEFORE UPDATE ON public.user_progress
    FOR EACH ROW EXECUTE FUNCTION public.user_progress_set_updated_at();
CREATE OR REPLACE TRIGGER export_history_set_updated_at BEFORE UPDATE ON public.export_history
    FOR EACH ROW EXECUTE FUNCTION public.export_history_set_updated_at();
