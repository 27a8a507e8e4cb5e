//! A map of a few entries: a list in the order of the keys. The standard library's tree is fast for many, and comes once more with
//! each type that is kept in it: 5 kB of code for each, which a browser would download
//! (docs/adr/0050-what-the-browser-downloads.md).

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// More than Postgres lets a table have columns. Putting many in any order takes a square of steps.
const MAX_READ: usize = 2_000;

/// For the columns of a row, the tables of a catalogue: tens, not thousands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FewMap<K, V>(Vec<(K, V)>);

impl<K, V> Default for FewMap<K, V> {
    fn default() -> FewMap<K, V> {
        FewMap(Vec::new())
    }
}

impl<K: Ord, V> FewMap<K, V> {
    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(other, _)| other.borrow().cmp(key))
    }

    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|at| &self.0[at].1)
    }

    pub(crate) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|at| &mut self.0[at].1)
    }

    /// The entry of a key, made where there is none.
    pub(crate) fn get_or_insert(&mut self, key: K, value: impl FnOnce() -> V) -> &mut V {
        let at = self.place(&key).unwrap_or_else(|at| {
            self.0.insert(at, (key, value()));
            at
        });
        &mut self.0[at].1
    }

    /// Puts an entry, in place of one that was there.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        match self.place(&key) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (key, value)),
        }
    }

    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|at| self.0.remove(at).1)
    }
}

impl<K, V> FewMap<K, V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }
}

impl<K, V> IntoIterator for FewMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<K: Serialize, V: Serialize> Serialize for FewMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Deserialize<'de> for FewMap<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FewMap<K, V>, D::Error> {
        let pairs = Pairs::deserialize(deserializer)?.0;
        if pairs.len() > MAX_READ {
            return Err(D::Error::custom("more entries than there may be"));
        }
        let mut map = FewMap::default();
        pairs.into_iter().for_each(|(key, value)| map.insert(key, value));
        Ok(map)
    }
}

/// The entries of a map as they come, in any number.
pub(crate) struct Pairs<K, V>(pub(crate) Vec<(K, V)>);

impl<K, V> Default for Pairs<K, V> {
    fn default() -> Pairs<K, V> {
        Pairs(Vec::new())
    }
}

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Pairs<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs<K, V>, D::Error> {
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

struct Entries<K, V>(PhantomData<(K, V)>);

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for Entries<K, V> {
    type Value = Pairs<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Pairs<K, V>, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = entries.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_the_standard_librarys_map(steps in prop::collection::vec((0..4_u8, "[a-d]{1,2}", 0..9_u8), 0..40)) {
            let (mut few, mut tree) = (FewMap::default(), BTreeMap::new());
            for (step, key, value) in steps {
                match step {
                    0 => prop_assert_eq!(few.remove(&*key), tree.remove(&*key)),
                    1 => prop_assert_eq!(few.get(&*key), tree.get(&*key)),
                    2 => *few.get_or_insert(key.clone(), || value) = *tree.entry(key.clone()).or_insert(value),
                    _ => {
                        few.insert(key.clone(), value);
                        tree.insert(key, value);
                    }
                }
                prop_assert!(few.iter().eq(tree.iter()));
            }
            let json = serde_json::to_string(&few).unwrap();
            prop_assert_eq!(&json, &serde_json::to_string(&tree).unwrap());
            prop_assert_eq!(serde_json::from_str::<FewMap<String, u8>>(&json).unwrap(), few);
        }
    }

    #[test]
    fn what_is_read_is_bounded() {
        let json = |entries: usize| {
            serde_json::to_string(&BTreeMap::from_iter((0..entries).map(|n| (n, n)))).unwrap()
        };
        assert!(serde_json::from_str::<FewMap<String, usize>>(&json(MAX_READ)).is_ok());
        assert!(serde_json::from_str::<FewMap<String, usize>>(&json(MAX_READ + 1)).is_err());
        assert_eq!(
            serde_json::from_str::<Pairs<String, usize>>(&json(MAX_READ + 1)).unwrap().0.len(),
            MAX_READ + 1
        );
    }
}
