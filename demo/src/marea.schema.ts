// Written by `npx marea-client schema` from the server's catalogue; write it again after a migration, do not edit it.
/* eslint-disable */

import type { Catalogue, Json } from '@marea/client'

/** For `open({ schema })`. */
export const schema = { "version": 1,
  "hash": "fa3ac5648415b3bf",
  "tables": [
    { "name": "descriptions", "schema": "public", "key": "id", "owner": "user_id", "write": true, "indexes": [],
      "columns": [
        { "name": "id", "type": "uuid", "rule": "key" },
        { "name": "picture", "type": "text", "rule": "once", "nullable": false, "max": 40 },
        { "name": "body", "type": "text", "rule": "register", "nullable": false, "max": 2000 },
        { "name": "written_at", "type": "timestamptz", "rule": "once", "nullable": false, "default": true }
      ] },
    { "name": "learner_settings", "schema": "public", "key": "user_id", "owner": "user_id", "write": true, "indexes": [],
      "columns": [
        { "name": "user_id", "type": "uuid", "rule": "key" },
        { "name": "daily_minutes", "type": "smallint", "rule": "register", "nullable": false, "default": true }
      ] },
    { "name": "sessions", "schema": "public", "key": "id", "owner": "user_id", "write": true, "indexes": [],
      "columns": [
        { "name": "id", "type": "uuid", "rule": "key" },
        { "name": "session_type", "type": "text", "rule": "register", "nullable": false, "default": true },
        { "name": "started_at", "type": "timestamptz", "rule": "register", "nullable": false, "default": true },
        { "name": "ended_at", "type": "timestamptz", "rule": "register", "nullable": true },
        { "name": "duration_minutes", "type": "integer", "rule": "register", "nullable": true },
        { "name": "images_processed", "type": "integer", "rule": "register", "nullable": true },
        { "name": "descriptions_generated", "type": "integer", "rule": "register", "nullable": true },
        { "name": "qa_attempts", "type": "integer", "rule": "register", "nullable": true },
        { "name": "qa_correct", "type": "integer", "rule": "register", "nullable": true },
        { "name": "vocabulary_learned", "type": "integer", "rule": "register", "nullable": true },
        { "name": "phrases_saved", "type": "integer", "rule": "register", "nullable": true },
        { "name": "session_data", "type": "jsonb", "rule": "register", "nullable": true, "default": true },
        { "name": "created_at", "type": "timestamptz", "rule": "register", "nullable": false, "default": true }
      ] },
    { "name": "word_lists", "schema": "public", "key": "id", "owner": "user_id", "write": true, "indexes": [],
      "columns": [
        { "name": "id", "type": "uuid", "rule": "key" },
        { "name": "title", "type": "text", "rule": "register", "nullable": false, "max": 80 },
        { "name": "language", "type": "text", "rule": "once", "nullable": false, "max": 5 },
        { "name": "created_at", "type": "timestamptz", "rule": "once", "nullable": false, "default": true }
      ] },
    { "name": "words", "schema": "public", "key": "id", "owner": "user_id", "write": true, "indexes": [["list_id"]],
      "columns": [
        { "name": "id", "type": "uuid", "rule": "key" },
        { "name": "list_id", "type": "uuid", "rule": "register", "nullable": false },
        { "name": "word", "type": "text", "rule": "register", "nullable": false, "max": 120 },
        { "name": "meaning", "type": "text", "rule": "register", "nullable": false, "default": true, "max": 200 },
        { "name": "picture", "type": "text", "rule": "once", "nullable": true, "max": 40 },
        { "name": "times_seen", "type": "integer", "rule": "counter", "nullable": false, "default": true },
        { "name": "times_right", "type": "integer", "rule": "counter", "nullable": false, "default": true },
        { "name": "interval_days", "type": "smallint", "rule": "register", "nullable": false, "default": true },
        { "name": "due_on", "type": "date", "rule": "register", "nullable": true },
        { "name": "created_at", "type": "timestamptz", "rule": "once", "nullable": false, "default": true }
      ] }
  ] } as const satisfies Catalogue

/**
 * What each table's rows hold, and what its operations take. What the server fills in (a default, a column of its own) is null in a row
 * that was made here, until the server has answered.
 */
export interface Schema {
  descriptions: {
    Row: {
      id: string
      picture: string
      body: string
      written_at: string | null
    }
    Insert: {
      id?: string
      picture: string
      body: string
      written_at?: string | Date
    }
    Update: {
      body?: string
    }
    Add: never
  }
  learner_settings: {
    Row: {
      user_id: string
      daily_minutes: number | null
    }
    Insert: {
      user_id?: string
      daily_minutes?: number
    }
    Update: {
      daily_minutes?: number
    }
    Add: never
  }
  sessions: {
    Row: {
      id: string
      session_type: string | null
      started_at: string | null
      ended_at: string | null
      duration_minutes: number | null
      images_processed: number | null
      descriptions_generated: number | null
      qa_attempts: number | null
      qa_correct: number | null
      vocabulary_learned: number | null
      phrases_saved: number | null
      session_data: Json | null
      created_at: string | null
    }
    Insert: {
      id?: string
      session_type?: string
      started_at?: string | Date
      ended_at?: string | Date | null
      duration_minutes?: number | null
      images_processed?: number | null
      descriptions_generated?: number | null
      qa_attempts?: number | null
      qa_correct?: number | null
      vocabulary_learned?: number | null
      phrases_saved?: number | null
      session_data?: Json | null
      created_at?: string | Date
    }
    Update: {
      session_type?: string
      started_at?: string | Date
      ended_at?: string | Date | null
      duration_minutes?: number | null
      images_processed?: number | null
      descriptions_generated?: number | null
      qa_attempts?: number | null
      qa_correct?: number | null
      vocabulary_learned?: number | null
      phrases_saved?: number | null
      session_data?: Json | null
      created_at?: string | Date
    }
    Add: never
  }
  word_lists: {
    Row: {
      id: string
      title: string
      language: string
      created_at: string | null
    }
    Insert: {
      id?: string
      title: string
      language: string
      created_at?: string | Date
    }
    Update: {
      title?: string
    }
    Add: never
  }
  words: {
    Row: {
      id: string
      list_id: string
      word: string
      meaning: string | null
      picture: string | null
      times_seen: number | null
      times_right: number | null
      interval_days: number | null
      due_on: string | null
      created_at: string | null
    }
    Insert: {
      id?: string
      list_id: string
      word: string
      meaning?: string
      picture?: string | null
      times_seen?: number
      times_right?: number
      interval_days?: number
      due_on?: string | null
      created_at?: string | Date
    }
    Update: {
      list_id?: string
      word?: string
      meaning?: string
      interval_days?: number
      due_on?: string | null
    }
    Add: {
      times_seen?: number
      times_right?: number
    }
  }
}

declare module '@marea/client' {
  interface Register {
    schema: Schema
  }
}
