// Written by `npx marea-client schema` from the server's catalogue; write it again after a migration, do not edit it.
/* eslint-disable */

import type { Catalogue, Float, Json } from '@marea/client'

/** For `open({ schema })`. */
export const schema = { "version": 1,
  "hash": "0ce7825c3729f390",
  "tables": [
    { "name": "question_answers", "schema": "public", "key": "id", "owner": "user_id", "write": true, "indexes": [],
      "columns": [
        { "name": "id", "type": "text", "rule": "key" },
        { "name": "question", "type": "text", "rule": "register", "nullable": false },
        { "name": "answer", "type": "text", "rule": "register", "nullable": true },
        { "name": "is_correct", "type": "boolean", "rule": "register", "nullable": true },
        { "name": "confidence", "type": "double", "rule": "register", "nullable": true },
        { "name": "answered_at", "type": "timestamp", "rule": "register", "nullable": true }
      ] },
    { "name": "saved_descriptions", "schema": "public", "key": "id", "owner": "user_id", "write": true, "indexes": [],
      "columns": [
        { "name": "id", "type": "uuid", "rule": "key" },
        { "name": "image_url", "type": "text", "rule": "register", "nullable": false },
        { "name": "content", "type": "jsonb", "rule": "register", "nullable": false, "default": true },
        { "name": "phrases", "type": "text[]", "rule": "register", "nullable": true },
        { "name": "seen_at", "type": "jsonb", "rule": "union", "nullable": false, "default": true },
        { "name": "thumbnail", "type": "bytea", "rule": "register", "nullable": true },
        { "name": "created_at", "type": "timestamptz", "rule": "once", "nullable": false, "default": true }
      ] },
    { "name": "stock_parts", "schema": "stock", "key": "id", "owner": "owner", "write": true, "indexes": [["name"]],
      "columns": [
        { "name": "id", "type": "uuid", "rule": "key" },
        { "name": "place", "type": "text", "rule": "register", "nullable": true },
        { "name": "name", "type": "text", "rule": "register", "nullable": false, "max": 80 },
        { "name": "quantity", "type": "integer", "rule": "counter", "nullable": false, "default": true },
        { "name": "price", "type": "numeric", "rule": "register", "nullable": true, "precision": 12, "scale": 4 },
        { "name": "weight", "type": "numeric", "rule": "register", "nullable": true },
        { "name": "serials", "type": "integer[]", "rule": "register", "nullable": true },
        { "name": "related", "type": "uuid[]", "rule": "register", "nullable": true },
        { "name": "details", "type": "json", "rule": "register", "nullable": true },
        { "name": "photo", "type": "bytea", "rule": "register", "nullable": true },
        { "name": "lastSeen", "type": "timestamp", "rule": "register", "nullable": true }
      ] },
    { "name": "stock_places", "schema": "stock", "key": "code", "owner": "owner", "write": true, "indexes": [],
      "columns": [
        { "name": "code", "type": "text", "rule": "key" },
        { "name": "label", "type": "text", "rule": "register", "nullable": false },
        { "name": "moved", "type": "timestamptz", "rule": "register", "nullable": true }
      ] },
    { "name": "user_settings", "schema": "public", "key": "user_id", "owner": "user_id", "write": true, "indexes": [],
      "columns": [
        { "name": "user_id", "type": "uuid", "rule": "key" },
        { "name": "theme", "type": "text", "rule": "register", "nullable": false, "default": true },
        { "name": "daily_goal", "type": "integer", "rule": "register", "nullable": false, "default": true },
        { "name": "preferences", "type": "jsonb", "rule": "register", "nullable": false, "default": true }
      ] },
    { "name": "vocabulary_items", "schema": "public", "key": "id", "owner": "user_id", "write": true, "indexes": [["list_id"]],
      "columns": [
        { "name": "id", "type": "uuid", "rule": "key" },
        { "name": "list_id", "type": "uuid", "rule": "register", "nullable": true },
        { "name": "word", "type": "text", "rule": "register", "nullable": false },
        { "name": "translation", "type": "text", "rule": "register", "nullable": true },
        { "name": "level", "type": "enum", "rule": "register", "nullable": false, "default": true, "labels": ["a1","a2","b1","b2","c1","c2"] },
        { "name": "tags", "type": "text[]", "rule": "register", "nullable": false, "default": true },
        { "name": "source", "type": "text", "rule": "once", "nullable": true },
        { "name": "word_length", "type": "integer", "rule": "server", "nullable": true, "default": true },
        { "name": "updated_at", "type": "timestamptz", "rule": "server", "nullable": false, "default": true }
      ] },
    { "name": "word_lists", "schema": "public", "key": "id", "owner": "user_id", "write": true, "indexes": [],
      "columns": [
        { "name": "id", "type": "uuid", "rule": "key" },
        { "name": "title", "type": "text", "rule": "register", "nullable": false, "max": 200 },
        { "name": "language", "type": "text", "rule": "register", "nullable": false, "default": true },
        { "name": "position", "type": "integer", "rule": "register", "nullable": true },
        { "name": "created_at", "type": "timestamptz", "rule": "once", "nullable": false, "default": true },
        { "name": "updated_at", "type": "timestamptz", "rule": "server", "nullable": false, "default": true }
      ] },
    { "name": "word_of_the_day", "schema": "public", "key": "id", "owner": "user_id", "write": false, "indexes": [],
      "columns": [
        { "name": "id", "type": "uuid", "rule": "key" },
        { "name": "word", "type": "text", "rule": "server", "nullable": false },
        { "name": "day", "type": "date", "rule": "server", "nullable": false }
      ] },
    { "name": "word_reviews", "schema": "public", "key": "id", "owner": "user_id", "write": true, "indexes": [],
      "columns": [
        { "name": "id", "type": "uuid", "rule": "key" },
        { "name": "item_id", "type": "uuid", "rule": "register", "nullable": false },
        { "name": "interval_days", "type": "smallint", "rule": "register", "nullable": false, "default": true },
        { "name": "ease", "type": "real", "rule": "register", "nullable": false, "default": true },
        { "name": "due_on", "type": "date", "rule": "register", "nullable": true },
        { "name": "due_at", "type": "time", "rule": "register", "nullable": true },
        { "name": "times_seen", "type": "integer", "rule": "counter", "nullable": false, "default": true },
        { "name": "times_right", "type": "bigint", "rule": "counter", "nullable": false, "default": true },
        { "name": "score", "type": "numeric", "rule": "counter", "nullable": false, "default": true, "precision": 10, "scale": 2 }
      ] }
  ] } as const satisfies Catalogue

/**
 * What each table's rows hold, and what its operations take. What the server fills in (a default, a column of its own) is null in a row
 * that was made here, until the server has answered.
 */
export interface Schema {
  question_answers: {
    Row: {
      id: string
      question: string
      answer: string | null
      is_correct: boolean | null
      confidence: Float | null
      answered_at: string | null
    }
    Insert: {
      id: string
      question: string
      answer?: string | null
      is_correct?: boolean | null
      confidence?: Float | null
      answered_at?: string | null
    }
    Update: {
      question?: string
      answer?: string | null
      is_correct?: boolean | null
      confidence?: Float | null
      answered_at?: string | null
    }
    Add: never
  }
  saved_descriptions: {
    Row: {
      id: string
      image_url: string
      content: Json | null
      phrases: (string | null)[] | null
      seen_at: { [key: string]: Json } | null
      thumbnail: string | null
      created_at: string | null
    }
    Insert: {
      id?: string
      image_url: string
      content?: Json
      phrases?: readonly (string | null)[] | null
      seen_at?: { [key: string]: Json }
      thumbnail?: string | Uint8Array | null
      created_at?: string | Date
    }
    Update: {
      image_url?: string
      content?: Json
      phrases?: readonly (string | null)[] | null
      seen_at?: { [key: string]: Json }
      thumbnail?: string | Uint8Array | null
    }
    Add: never
  }
  stock_parts: {
    Row: {
      id: string
      place: string | null
      name: string
      quantity: number | null
      price: string | null
      weight: string | null
      serials: (number | null)[] | null
      related: (string | null)[] | null
      details: Json | null
      photo: string | null
      lastSeen: string | null
    }
    Insert: {
      id?: string
      place?: string | null
      name: string
      quantity?: number
      price?: string | number | null
      weight?: string | number | null
      serials?: readonly (number | null)[] | null
      related?: readonly (string | null)[] | null
      details?: Json | null
      photo?: string | Uint8Array | null
      lastSeen?: string | null
    }
    Update: {
      place?: string | null
      name?: string
      price?: string | number | null
      weight?: string | number | null
      serials?: readonly (number | null)[] | null
      related?: readonly (string | null)[] | null
      details?: Json | null
      photo?: string | Uint8Array | null
      lastSeen?: string | null
    }
    Add: {
      quantity?: number
    }
  }
  stock_places: {
    Row: {
      code: string
      label: string
      moved: string | null
    }
    Insert: {
      code: string
      label: string
      moved?: string | Date | null
    }
    Update: {
      label?: string
      moved?: string | Date | null
    }
    Add: never
  }
  user_settings: {
    Row: {
      user_id: string
      theme: string | null
      daily_goal: number | null
      preferences: Json | null
    }
    Insert: {
      user_id?: string
      theme?: string
      daily_goal?: number
      preferences?: Json
    }
    Update: {
      theme?: string
      daily_goal?: number
      preferences?: Json
    }
    Add: never
  }
  vocabulary_items: {
    Row: {
      id: string
      list_id: string | null
      word: string
      translation: string | null
      level: "a1" | "a2" | "b1" | "b2" | "c1" | "c2" | null
      tags: (string | null)[] | null
      source: string | null
      word_length: number | null
      updated_at: string | null
    }
    Insert: {
      id?: string
      list_id?: string | null
      word: string
      translation?: string | null
      level?: "a1" | "a2" | "b1" | "b2" | "c1" | "c2"
      tags?: readonly (string | null)[]
      source?: string | null
    }
    Update: {
      list_id?: string | null
      word?: string
      translation?: string | null
      level?: "a1" | "a2" | "b1" | "b2" | "c1" | "c2"
      tags?: readonly (string | null)[]
    }
    Add: never
  }
  word_lists: {
    Row: {
      id: string
      title: string
      language: string | null
      position: number | null
      created_at: string | null
      updated_at: string | null
    }
    Insert: {
      id?: string
      title: string
      language?: string
      position?: number | null
      created_at?: string | Date
    }
    Update: {
      title?: string
      language?: string
      position?: number | null
    }
    Add: never
  }
  word_of_the_day: {
    Row: {
      id: string
      word: string
      day: string
    }
    Insert: never
    Update: never
    Add: never
  }
  word_reviews: {
    Row: {
      id: string
      item_id: string
      interval_days: number | null
      ease: Float | null
      due_on: string | null
      due_at: string | null
      times_seen: number | null
      times_right: string | null
      score: string | null
    }
    Insert: {
      id?: string
      item_id: string
      interval_days?: number
      ease?: Float
      due_on?: string | null
      due_at?: string | null
      times_seen?: number
      times_right?: string | number | bigint
      score?: string | number
    }
    Update: {
      item_id?: string
      interval_days?: number
      ease?: Float
      due_on?: string | null
      due_at?: string | null
    }
    Add: {
      times_seen?: number
      times_right?: string | number | bigint
      score?: string | number
    }
  }
}

declare module '@marea/client' {
  interface Register {
    schema: Schema
  }
}
