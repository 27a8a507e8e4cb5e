// Made by `cargo xtask types` from a migrated Postgres. Do not edit: change the migration, and run that again.
//
// Rows as PostgREST reads and writes them in `public`, for apps that use the tables beside the client. What the client
// itself hands out is in types.ts. Times and days are text. `sessions` and `users` are the app's own.

export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[]

export type Database = {
  public: {
    Tables: {
      export_history: {
        Row: {
          completed_at: string | null
          created_at: string
          data: Json | null
          error_message: string | null
          expires_at: string | null
          export_format: string
          export_type: string
          file_size_bytes: number | null
          file_url: string | null
          filters: Json
          id: string
          processing_time_seconds: number | null
          records_count: number | null
          retry_count: number
          started_at: string | null
          status: string
          updated_at: string
          user_id: string
        }
        Insert: {
          completed_at?: string | null
          created_at?: string
          data?: Json | null
          error_message?: string | null
          expires_at?: string | null
          export_format: string
          export_type: string
          file_size_bytes?: number | null
          file_url?: string | null
          filters?: Json
          id?: string
          processing_time_seconds?: number | null
          records_count?: number | null
          retry_count?: number
          started_at?: string | null
          status?: string
          updated_at?: string
          user_id: string
        }
        Update: {
          completed_at?: string | null
          created_at?: string
          data?: Json | null
          error_message?: string | null
          expires_at?: string | null
          export_format?: string
          export_type?: string
          file_size_bytes?: number | null
          file_url?: string | null
          filters?: Json
          id?: string
          processing_time_seconds?: number | null
          records_count?: number | null
          retry_count?: number
          started_at?: string | null
          status?: string
          updated_at?: string
          user_id?: string
        }
        Relationships: [
          {
            foreignKeyName: 'export_history_user_id_fkey'
            columns: ['user_id']
            isOneToOne: false
            referencedRelation: 'users'
            referencedColumns: ['id']
          },
        ]
      }
      user_api_keys: {
        Row: {
          anthropic_api_key: string | null
          created_at: string
          id: string
          last_validated_at: string | null
          openai_api_key: string | null
          unsplash_api_key: string | null
          updated_at: string
          user_id: string
        }
        Insert: {
          anthropic_api_key?: string | null
          created_at?: string
          id?: string
          last_validated_at?: string | null
          openai_api_key?: string | null
          unsplash_api_key?: string | null
          updated_at?: string
          user_id: string
        }
        Update: {
          anthropic_api_key?: string | null
          created_at?: string
          id?: string
          last_validated_at?: string | null
          openai_api_key?: string | null
          unsplash_api_key?: string | null
          updated_at?: string
          user_id?: string
        }
        Relationships: [
          {
            foreignKeyName: 'user_api_keys_user_id_fkey'
            columns: ['user_id']
            isOneToOne: true
            referencedRelation: 'users'
            referencedColumns: ['id']
          },
        ]
      }
      user_progress: {
        Row: {
          achievements: Json
          average_accuracy: number
          average_completion_time_seconds: number
          created_at: string
          current_streak_days: number
          id: string
          last_active_on: string | null
          last_activity_at: string | null
          last_description_at: string | null
          last_qa_session_at: string | null
          last_vocabulary_practice_at: string | null
          learning_words_count: number
          longest_streak_days: number
          mastered_words_count: number
          new_words_count: number
          total_descriptions: number
          total_images: number
          total_points: number
          total_questions_answered: number
          total_questions_correct: number
          total_sessions: number
          total_time_spent_minutes: number
          total_vocabulary_learned: number
          updated_at: string
          user_id: string
        }
        Insert: {
          achievements?: Json
          average_accuracy?: number
          average_completion_time_seconds?: number
          created_at?: string
          current_streak_days?: number
          id?: string
          last_active_on?: string | null
          last_activity_at?: string | null
          last_description_at?: string | null
          last_qa_session_at?: string | null
          last_vocabulary_practice_at?: string | null
          learning_words_count?: number
          longest_streak_days?: number
          mastered_words_count?: number
          new_words_count?: number
          total_descriptions?: number
          total_images?: number
          total_points?: number
          total_questions_answered?: number
          total_questions_correct?: number
          total_sessions?: number
          total_time_spent_minutes?: number
          total_vocabulary_learned?: number
          updated_at?: string
          user_id: string
        }
        Update: {
          achievements?: Json
          average_accuracy?: number
          average_completion_time_seconds?: number
          created_at?: string
          current_streak_days?: number
          id?: string
          last_active_on?: string | null
          last_activity_at?: string | null
          last_description_at?: string | null
          last_qa_session_at?: string | null
          last_vocabulary_practice_at?: string | null
          learning_words_count?: number
          longest_streak_days?: number
          mastered_words_count?: number
          new_words_count?: number
          total_descriptions?: number
          total_images?: number
          total_points?: number
          total_questions_answered?: number
          total_questions_correct?: number
          total_sessions?: number
          total_time_spent_minutes?: number
          total_vocabulary_learned?: number
          updated_at?: string
          user_id?: string
        }
        Relationships: [
          {
            foreignKeyName: 'user_progress_user_id_fkey'
            columns: ['user_id']
            isOneToOne: true
            referencedRelation: 'users'
            referencedColumns: ['id']
          },
        ]
      }
    }
    Views: { [_ in never]: never }
    Functions: {
      marea_catalogue: { Args: Record<PropertyKey, never>; Returns: Json }
      marea_pre_request: { Args: Record<PropertyKey, never>; Returns: undefined }
      marea_sync: { Args: { request: Json }; Returns: Json }
    }
    Enums: { [_ in never]: never }
    CompositeTypes: { [_ in never]: never }
  }
}
