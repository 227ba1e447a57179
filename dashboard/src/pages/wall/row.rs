//! One circuit as a row, if there are too many for cards: fewer words and figures of the card.

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
    /// Returns the row with the most important content of a card.
    pub(crate) fn new(card: Card<'a>) -> Self {
        Self { card }
    }

    fn spark(&self) -> Vec<Path> {
        chart::areas(&self.card.circuit().spark, SPARK_HEIGHT)
    }
}
