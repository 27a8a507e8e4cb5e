//! Reading a struct from JSON, by its fields' names alone. Serde reads it from a list of its fields as well, in their order, which
//! nobody writes: for all structs together that is 8 kB more for a browser to download.

use serde::de::{Deserialize, Deserializer, Visitor};
use serde_json::Value;

/// Reads JSON as `serde_json::from_str` does, but no struct from a list.
///
/// # Errors
/// That of `serde_json`.
pub fn from_json<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = T::deserialize(Object(&mut deserializer))?;
    deserializer.end()?;
    Ok(read)
}

/// Reads a value as `serde_json::from_value` does, but no struct from a list.
pub(crate) fn from_value<'de, T: Deserialize<'de>>(value: Value) -> Result<T, serde_json::Error> {
    T::deserialize(Object(value))
}

/// A deserializer that takes a struct for a map.
pub(crate) struct Object<D>(pub(crate) D);

/// Has structs that stand within others read so too: those with `#[serde(remote = "Self")]`, whose own functions serde then makes.
macro_rules! read_by_names {
    ($($name:ident),*) => {$(
        impl<'de> serde::Deserialize<'de> for $name {
            #[inline(never)]
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<$name, D::Error> {
                $name::deserialize($crate::model::object::Object(from))
            }
        }
    )*};
}

/// The same for those that are written too.
macro_rules! read_by_names_and_written {
    ($($name:ident),*) => {$(
        crate::model::object::read_by_names!($name);
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                $name::serialize(self, to)
            }
        }
    )*};
}
pub(crate) use {read_by_names, read_by_names_and_written};

macro_rules! pass_on {
    ($($method:ident($($argument:ident: $kind:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $kind,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($argument,)* visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Object<D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    pass_on! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(serde::Deserialize, PartialEq, Debug)]
    struct Pair {
        one: u8,
        two: Option<String>,
    }

    #[test]
    fn a_struct_is_read_by_its_fields_names_alone() {
        let pair = Pair { one: 1, two: None };
        assert_eq!(from_json::<Pair>(r#"{"one": 1}"#).unwrap(), pair);
        assert_eq!(from_value::<Pair>(json!({"two": null, "one": 1})).unwrap(), pair);
        assert!(from_json::<Pair>(r#"[1, null]"#).is_err());
        assert!(from_value::<Pair>(json!([1, null])).is_err());
        assert!(from_json::<Pair>(r#"{"one": 1} x"#).is_err());
        assert_eq!(from_json::<Vec<u8>>("[1, 2]").unwrap(), [1, 2]);
        assert_eq!(from_json::<Option<Pair>>(r#"{"one": 1}"#).unwrap(), Some(pair));
    }
}
