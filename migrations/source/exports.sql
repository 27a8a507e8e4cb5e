-- export_history: exports that a learner asked for, and how they went.

CREATE TABLE IF NOT EXISTS public.export_history (
    id                      UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id                 UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    export_type             VARCHAR(50) NOT NULL,
    export_format           VARCHAR(20) NOT NULL,
    status                  VARCHAR(20) NOT NULL DEFAULT 'pending' CONSTRAINT export_history_status_known
        CHECK (status IN ('pending', 'processing', 'completed', 'failed', 'expired')),
    records_count           INTEGER CONSTRAINT export_history_records_count_positive CHECK (records_count >= 0),
    file_size_bytes         BIGINT CONSTRAINT export_history_file_size_positive CHECK (file_size_bytes >= 0),
    file_url                TEXT,
    filters                 JSONB NOT NULL DEFAULT '{}',
    data                    JSONB,
    error_message           TEXT,
    retry_count             INTEGER NOT NULL DEFAULT 0 CONSTRAINT export_history_retry_count_positive CHECK (retry_count >= 0),
    started_at              TIMESTAMPTZ,
    completed_at            TIMESTAMPTZ,
    processing_time_seconds INTEGER CONSTRAINT export_history_processing_time_positive CHECK (processing_time_seconds >= 0),
    expires_at              TIMESTAMPTZ,
    created_at              TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at              TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS export_history_user_id_idx ON public.export_history (user_id);
CREATE INDEX IF NOT EXISTS export_history_status_idx ON public.export_history (status);
CREATE INDEX IF NOT EXISTS export_history_created_at_idx ON public.export_history (created_at DESC);
CREATE INDEX IF NOT EXISTS export_history_export_type_idx ON public.export_history (export_type);

COMMENT ON TABLE public.export_history IS
    'One row per export: asked for by a device, worked on by the backend (service_role).';
COMMENT ON COLUMN public.export_history.id IS 'Export id (UUIDv7), made by the device that asks; never changes (once).';
COMMENT ON COLUMN public.export_history.user_id IS 'Owner; from the token of the writer; never changes (once).';
COMMENT ON COLUMN public.export_history.export_type IS 'What is exported, up to 50 characters; device; never changes (once).';
COMMENT ON COLUMN public.export_history.export_format IS 'File format, up to 20 characters; device; never changes (once).';
COMMENT ON COLUMN public.export_history.status IS
    'pending, processing, completed, failed or expired; device and backend; register.';
COMMENT ON COLUMN public.export_history.records_count IS 'Records in the export, count; backend; register.';
COMMENT ON COLUMN public.export_history.file_size_bytes IS 'Size of the file, bytes; backend; register.';
COMMENT ON COLUMN public.export_history.file_url IS 'Where the file can be fetched; backend; register.';
COMMENT ON COLUMN public.export_history.filters IS 'What the learner chose to export; device; never changes (once).';
COMMENT ON COLUMN public.export_history.data IS 'A small export itself, instead of a file; backend; register.';
COMMENT ON COLUMN public.export_history.error_message IS 'Why the export failed, for people; backend; register.';
COMMENT ON COLUMN public.export_history.retry_count IS 'Attempts after the first, count; backend; register.';
COMMENT ON COLUMN public.export_history.started_at IS 'When work began; backend; register.';
COMMENT ON COLUMN public.export_history.completed_at IS 'When work ended; backend; register.';
COMMENT ON COLUMN public.export_history.processing_time_seconds IS 'How long the work took, seconds; backend; register.';
COMMENT ON COLUMN public.export_history.expires_at IS 'When the file may be thrown away; backend; register.';
COMMENT ON COLUMN public.export_history.created_at IS 'When the export was asked for; never changes (once).';
COMMENT ON COLUMN public.export_history.updated_at IS 'When the row was last written; set by trigger; not synced as a change.';
