//! A test on an attribute column; decided by number where possible, before any value is formatted.

use super::super::super::block::schema::{ColumnKind, Schema};
use super::super::super::block::{BlockReader, PartKind, ints};
use super::super::super::lists::List;
use super::super::super::segment::Segment;
use crate::codec::otlp::ValueView;
use crate::codec::otlp::decode::value_of_view;
use crate::model::{Test, Value};
use crate::store::StoreError;
use crate::store::cancel;

#[derive(Debug)]
pub(super) enum ColumnTest {
    /// Equal to this dictionary number, int, bool, or double bits.
    Number(PartKind, u64),
    /// One of the flagged dictionary values.
    Among(Vec<bool>),
    /// Any NaN.
    NotANumber,
    /// Ints, bools or doubles, each tested by value.
    Numeric(ColumnKind),
    Text,
    /// Lists and maps; each is decoded and tested.
    Encoded,
    /// Every value passes.
    Always,
}

impl ColumnTest {
    /// Compiles a test for a column; `None` if no value of the column can pass.
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

    /// Parses the number that is formatted as this text.
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

    /// Marks the rows with a passing value in the column.
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

    /// Returns per value of the column whether it passes.
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

fn passes(text: &[u8], test: &Test) -> bool {
    match test {
        // Compares bytes without checking UTF-8: this runs for every value of a column.
        Test::Equals(wanted) => text == wanted.as_bytes(),
        test => test.matches_text(std::str::from_utf8(text).unwrap_or_default()),
    }
}

/// Maps results by occurrence to rows.
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
