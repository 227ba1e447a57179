//! A column of attributes under a test: what can be answered by number is, before any value is printed.

use super::super::super::block::schema::{ColumnKind, Schema};
use super::super::super::block::{BlockReader, PartKind, ints};
use super::super::super::lists::List;
use super::super::super::segment::Segment;
use crate::codec::otlp::ValueView;
use crate::codec::otlp::decode::value_of_view;
use crate::model::{Test, Value};
use crate::store::StoreError;
use crate::store::cancel;

/// How a column's values are tested.
#[derive(Debug)]
pub(super) enum ColumnTest {
    /// The number of a value in the dictionary, an int, a bool or the bits of a double are this number.
    Number(PartKind, u64),
    /// Values of the dictionary for which the list says so.
    Among(Vec<bool>),
    /// Any NaN.
    NotANumber,
    /// Ints, bools or doubles, each tested as a value.
    Numeric(ColumnKind),
    /// Texts, each tested.
    Text,
    /// Lists and maps, each decoded and tested.
    Encoded,
    /// Every occurrence passes.
    Always,
}

impl ColumnTest {
    /// Translates a test for a column; `None` when none of its values can pass.
    pub(super) fn compile(
        kind: ColumnKind,
        column: u32,
        test: &Test,
        segment: &Segment,
    ) -> Result<Option<Self>, StoreError> {
        Ok(match (kind, test) {
            (ColumnKind::Encoded, _) => Some(Self::Encoded),
            (_, Test::IsList) => None,
            (ColumnKind::Dictionary, Test::Equals(text)) => {
                let found = segment.find(List::Values(column), text.as_bytes())?;
                found.map(|id| Self::Number(PartKind::DictionaryIds, u64::from(id)))
            }
            (ColumnKind::Dictionary, test) => {
                let values = List::Values(column);
                let passing = segment.passing(values, |text| passes(text, test))?;
                passing.contains(&true).then_some(Self::Among(passing))
            }
            (ColumnKind::Literal, _) => Some(Self::Text),
            (ColumnKind::Empty, test) => test.matches(&Value::Empty).then_some(Self::Always),
            (kind, Test::Equals(text)) => Self::number(kind, text),
            (kind, _) => Some(Self::Numeric(kind)),
        })
    }

    /// Returns the number whose value prints as that text.
    fn number(kind: ColumnKind, text: &str) -> Option<Self> {
        let number = match kind {
            ColumnKind::Bool => text.parse::<bool>().ok().map(u64::from),
            ColumnKind::Int => {
                let parsed = text.parse::<i64>().ok();
                parsed.filter(|n| n.to_string() == text).map(ints::ordered)
            }
            _ => match text.parse::<f64>() {
                Ok(double) if double.is_nan() => {
                    return (text == "NaN").then_some(Self::NotANumber);
                }
                Ok(double) => (double.to_string() == text).then(|| double.to_bits()),
                Err(_) => None,
            },
        };
        number.map(|number| Self::Number(PartKind::Numbers, number))
    }

    /// Marks the rows that have a passing value in the column.
    pub(super) fn mark(
        &self,
        reader: &BlockReader<'_>,
        schema: &Schema,
        column: u32,
        test: &Test,
        found: &mut [bool],
    ) -> Result<(), StoreError> {
        let hits = self.hits(reader, column, test)?;
        let always = matches!(self, Self::Always);
        if always || hits.contains(&true) {
            let shapes = reader.row_numbers(PartKind::Shapes)?;
            let counts = schema.shapes_with(&shapes, &[column]);
            spread(found, &shapes, &counts, &hits, always);
        }
        Ok(())
    }

    /// Returns, per occurrence in the column, whether it passes.
    fn hits(
        &self,
        reader: &BlockReader<'_>,
        column: u32,
        test: &Test,
    ) -> Result<Vec<bool>, StoreError> {
        let numbers = |kind, passes: &dyn Fn(u64) -> bool| {
            let numbers = reader.numbers(kind, column)?.into_iter();
            let hits = numbers.map(|number| {
                cancel::spend(size_of::<u64>())?;
                Ok(passes(number))
            });
            hits.collect()
        };
        let blobs = |passes: &dyn Fn(&[u8]) -> bool| {
            let mut hits = Vec::new();
            reader.visit_blobs(column, None, usize::MAX, |blob, _| {
                hits.push(passes(blob));
                true
            })?;
            Ok(hits)
        };
        match self {
            Self::Number(kind, wanted) => {
                let numbers = reader.numbers(*kind, column)?;
                Ok(numbers.iter().map(|number| number == wanted).collect())
            }
            Self::Among(passing) => numbers(PartKind::DictionaryIds, &|id| {
                passing.get(id as usize) == Some(&true)
            }),
            Self::NotANumber => numbers(PartKind::Numbers, &|bits| f64::from_bits(bits).is_nan()),
            Self::Numeric(kind) => numbers(PartKind::Numbers, &|number| {
                test.matches(&match kind {
                    ColumnKind::Bool => Value::Bool(number != 0),
                    ColumnKind::Double => Value::Double(f64::from_bits(number)),
                    _ => Value::Int(ints::from_ordered(number)),
                })
            }),
            Self::Text => blobs(&|text| passes(text, test)),
            Self::Encoded => blobs(&|blob| test.matches(&value_of_view(&ValueView::Encoded(blob)))),
            Self::Always => Ok(Vec::new()),
        }
    }
}

/// Returns whether a stored text passes.
fn passes(text: &[u8], test: &Test) -> bool {
    match test {
        // Without a look at its characters: this runs for every value of a column.
        Test::Equals(wanted) => text == wanted.as_bytes(),
        test => test.matches_text(std::str::from_utf8(text).unwrap_or_default()),
    }
}

/// Carries hits by occurrence to the rows that have the column.
fn spread(found: &mut [bool], shapes: &[u64], counts: &[u8], hits: &[bool], always: bool) {
    let mut at = 0;
    for (found, &shape) in found.iter_mut().zip(shapes) {
        let count = usize::from(counts.get(shape as usize).copied().unwrap_or(0));
        if count > 0 {
            let here = hits.get(at..at + count).unwrap_or_default();
            *found |= always || here.contains(&true);
            at += count;
        }
    }
}
