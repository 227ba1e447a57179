//! One circuit as a row, where there are too many for cards: the same words and figures, fewer of them.

use askama::Template;

use super::card::Card;
use crate::pages::view::chart::{self, Path};

/// Height of a row's sparkline, in whole units: one digit.
const SPARK_HEIGHT: u64 = 9;

/// A row of the wall.
#[derive(Debug, Template)]
#[template(path = "wall/row.html")]
pub(crate) struct Row<'a> {
    card: Card<'a>,
}

impl<'a> Row<'a> {
    /// Returns the row that says the most important of what a card says.
    pub(crate) fn new(card: Card<'a>) -> Self {
        Self { card }
    }

    fn spark(&self) -> Vec<Path> {
        chart::areas(&self.card.circuit().spark, SPARK_HEIGHT)
    }
}
