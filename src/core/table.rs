//! Values by ids that are never used twice, in the order of the configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Index, IndexMut};

/// Values by their ids.
///
/// Their order is that of the configuration file, and has nothing to do with the ids: these are given
/// when something is configured for the first time, and kept by it over every reload.
#[derive(Clone, PartialEq, Eq)]
pub struct Table<I, T> {
    rows: Vec<T>,
    ids: Vec<I>,
    places: BTreeMap<I, usize>,
}

impl<I, T> Default for Table<I, T> {
    fn default() -> Self {
        Self { rows: Vec::new(), ids: Vec::new(), places: BTreeMap::new() }
    }
}

impl<I, T: fmt::Debug> fmt::Debug for Table<I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.rows).finish()
    }
}

impl<I: Copy + Ord, T> Table<I, T> {
    /// Adds a value at the end. One that has this id already keeps its place and is replaced.
    pub fn insert(&mut self, id: I, row: T) {
        if let Some(known) = self.get_mut(id) {
            *known = row;
            return;
        }
        self.places.insert(id, self.rows.len());
        self.rows.push(row);
        self.ids.push(id);
    }

    /// The value with this id.
    pub fn get(&self, id: I) -> Option<&T> {
        self.places.get(&id).and_then(|&place| self.rows.get(place))
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: I) -> Option<&mut T> {
        self.places.get(&id).and_then(|&place| self.rows.get_mut(place))
    }

    /// Is there one with this id?
    pub fn contains(&self, id: I) -> bool {
        self.places.contains_key(&id)
    }

    /// All values, in order.
    pub fn as_slice(&self) -> &[T] {
        &self.rows
    }

    /// All values, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.rows.iter()
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.rows.iter_mut()
    }

    /// All ids, in order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = I> + ExactSizeIterator + '_ {
        self.ids.iter().copied()
    }

    /// All values with their ids, in order.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = (I, &T)> + ExactSizeIterator {
        self.ids.iter().copied().zip(&self.rows)
    }

    /// The same, to be changed.
    pub fn entries_mut(&mut self) -> impl DoubleEndedIterator<Item = (I, &mut T)> {
        self.ids.iter().copied().zip(&mut self.rows)
    }

    /// The first value.
    pub fn first(&self) -> Option<&T> {
        self.rows.first()
    }

    /// The same, to be changed.
    pub fn first_mut(&mut self) -> Option<&mut T> {
        self.rows.first_mut()
    }

    /// Leaves out those of which this is not true.
    pub fn retain(&mut self, is_kept: impl Fn(I, &T) -> bool) {
        let all = std::mem::take(self).into_iter();
        *self = all.filter(|(id, row)| is_kept(*id, row)).collect();
    }

    /// The id of the first value of which this is true.
    pub fn find(&self, is_it: impl Fn(&T) -> bool) -> Option<I> {
        self.entries().find(|(_, row)| is_it(row)).map(|(id, _)| id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl<I: Copy + Ord + From<usize>, T> Table<I, T> {
    /// Adds a value at the end under the number of its place: while a configuration is being read,
    /// nothing has an id yet.
    pub fn push(&mut self, row: T) -> I {
        let id = I::from(self.rows.len());
        self.insert(id, row);
        id
    }
}

/// For ids that come from this table.
impl<I: Copy + Ord, T> Index<I> for Table<I, T> {
    type Output = T;

    fn index(&self, id: I) -> &T {
        &self.rows[self.places[&id]]
    }
}

impl<I: Copy + Ord, T> IndexMut<I> for Table<I, T> {
    fn index_mut(&mut self, id: I) -> &mut T {
        &mut self.rows[self.places[&id]]
    }
}

impl<I: Copy + Ord, T> FromIterator<(I, T)> for Table<I, T> {
    fn from_iter<A: IntoIterator<Item = (I, T)>>(all: A) -> Self {
        let mut table = Self::default();
        all.into_iter().for_each(|(id, row)| table.insert(id, row));
        table
    }
}

impl<I, T> IntoIterator for Table<I, T> {
    type Item = (I, T);
    type IntoIter = std::iter::Zip<std::vec::IntoIter<I>, std::vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.ids.into_iter().zip(self.rows)
    }
}

impl<'a, I: Copy + Ord, T> IntoIterator for &'a Table<I, T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, I: Copy + Ord, T> IntoIterator for &'a mut Table<I, T> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

/// Numbered by their places.
impl<I: Copy + Ord + From<usize>, T> From<Vec<T>> for Table<I, T> {
    fn from(rows: Vec<T>) -> Self {
        let mut table = Self::default();
        for row in rows {
            table.push(row);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::spec::CheckId;

    #[test]
    fn order_is_that_of_insertion_and_ids_find_it() {
        let mut table: Table<CheckId, char> =
            [(CheckId(7), 'a'), (CheckId(3), 'b')].into_iter().collect();
        assert_eq!(table.as_slice(), ['a', 'b']);
        assert_eq!((table[CheckId(3)], table.get(CheckId(0))), ('b', None));
        assert_eq!(table.find(|row| *row == 'a'), Some(CheckId(7)));
        table.insert(CheckId(7), 'c');
        assert_eq!(table.entries().collect::<Vec<_>>(), [(CheckId(7), &'c'), (CheckId(3), &'b')]);
    }
}
