//! The TypeScript types of Marea's tables, in the shape of Supabase's `Database`, from a live migrated Postgres. Tables of
//! the app itself (`users`, `sessions`) are not here: the app has its own types for them.

use std::fmt::Write as _;
use std::path::PathBuf;

use tokio_postgres::Client;

use crate::catalogue::{Column, columns, relationships, typescript_type};
use crate::cluster::root;

/// The tables, by name, as Supabase's generator orders them.
pub const TABLES: [&str; 3] = ["export_history", "user_api_keys", "user_progress"];

const HEAD: &str = "\
// Made by `cargo xtask types` from a migrated Postgres. Do not edit: change the migration, and run that again.
//
// Rows as PostgREST reads and writes them in `public`, for apps that use the tables beside the client. What the client
// itself hands out is in types.ts. Times and days are text. `sessions` and `users` are the app's own.

export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[]

";

/// The file, in the repository.
pub const NAME: &str = "wasm/js/database.types.ts";

/// Where the file lies.
pub fn file() -> PathBuf {
    root().join(NAME)
}

/// The whole file.
pub async fn database_types(client: &Client) -> String {
    let mut text = HEAD.to_owned();
    text.push_str("export type Database = {\n  public: {\n    Tables: {\n");
    for table in TABLES {
        let qualified = format!("public.{table}");
        let columns = columns(client, &qualified).await;
        let _ = writeln!(text, "      {table}: {{");
        fields(&mut text, "Row", &columns, |column| (false, !column.not_null));
        fields(&mut text, "Insert", &columns, |column| {
            (column.has_default || !column.not_null, !column.not_null)
        });
        fields(&mut text, "Update", &columns, |column| (true, !column.not_null));
        text.push_str("        Relationships: [\n");
        for found in relationships(client, &qualified).await {
            let _ = write!(
                text,
                "          {{\n            foreignKeyName: '{}'\n            columns: [{}]\n            isOneToOne: {}\n            \
                 referencedRelation: '{}'\n            referencedColumns: [{}]\n          }},\n",
                found.name,
                quoted(&found.columns),
                found.is_one_to_one,
                found.referred,
                quoted(&found.referred_columns),
            );
        }
        text.push_str("        ]\n      }\n");
    }
    text.push_str("    }\n    Views: { [_ in never]: never }\n    Functions: {\n");
    functions(&mut text, client).await;
    text.push_str(
        "    }\n    Enums: { [_ in never]: never }\n    CompositeTypes: { [_ in never]: never }\n  }\n}\n",
    );
    text
}

/// One of the three faces of a table; `face` says whether a column may be left out, and whether it may be null.
fn fields(text: &mut String, name: &str, columns: &[Column], face: impl Fn(&Column) -> (bool, bool)) {
    let mut sorted: Vec<&Column> = columns.iter().collect();
    sorted.sort_by(|one, other| one.name.cmp(&other.name));
    let _ = writeln!(text, "        {name}: {{");
    for column in sorted {
        let (may_miss, may_be_null) = face(column);
        let mark = if may_miss { "?" } else { "" };
        let null = if may_be_null { " | null" } else { "" };
        let _ = writeln!(text, "          {}{mark}: {}{null}", column.name, typescript_type(&column.kind));
    }
    text.push_str("        }\n");
}

/// The functions that a signed-in user may call.
async fn functions(text: &mut String, client: &Client) {
    let query = "
        SELECT p.proname::text, coalesce(p.proargnames, '{}'), ARRAY(SELECT t.typname::text
                   FROM unnest(p.proargtypes) WITH ORDINALITY AS a (oid, n) JOIN pg_type AS t ON t.oid = a.oid ORDER BY a.n),
               r.typname::text
        FROM pg_proc AS p JOIN pg_type AS r ON r.oid = p.prorettype
        WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'marea%'
          AND has_function_privilege('authenticated', p.oid, 'EXECUTE')
        ORDER BY p.proname";
    for row in client.query(query, &[]).await.expect("the functions") {
        let (names, kinds): (Vec<String>, Vec<String>) = (row.get(1), row.get(2));
        let arguments: Vec<String> = names
            .iter()
            .zip(&kinds)
            .map(|(name, kind)| format!("{name}: {}", typescript_type(kind)))
            .collect();
        let (name, returned): (String, String) = (row.get(0), row.get(3));
        let (arguments, returned) = (arguments.join("; "), typescript_type(&returned));
        let arguments = match names.is_empty() {
            true => "Record<PropertyKey, never>".to_owned(),
            false => format!("{{ {arguments} }}"),
        };
        let _ = writeln!(text, "      {name}: {{ Args: {arguments}; Returns: {returned} }}");
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}
