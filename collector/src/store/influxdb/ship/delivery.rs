//! Sends one request's lines until every one of them is settled: written, or refused for good and counted.
//!
//! The same bytes are sent again however often, which is safe: a point sent twice is one point. What a server
//! cannot read is found by the lines that it names, else by halving, and no good line is lost on the way: halving ends
//! at single lines, so a request costs at most two requests a line, and a few where the server names them.
//!
//! Somebody between us and the server (a proxy, or the server itself when it is in trouble) may answer 400 or 413 to
//! anything. So a line that is refused without being named is only let go of if the server, right after, takes a line
//! that it took before (`witness`). If it does not, the fault is its own: the line is kept and sent again later.
//!
//! What is refused with an answer that says nothing of its content (403, 500, ...) waits, as the journal can. Only where
//! it lasts while the server takes a probe of ours (`refusal`), the request is halved too, down to lines that are
//! refused alone; these are tried over minutes, after all others, and then set aside, so that the lane goes on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::link::Link;
use super::outcome::{Backoff, Outcome, outcome_of};
use super::piece::{Piece, Pieces};
use super::refusal::{Likeness, Refusal, Refusals, Suspicion, probe_of};
use crate::model::now_unix_nanos;
use crate::store::StoreError;
use crate::store::influxdb::seldom::Seldom;
use crate::store::influxdb::wire::client::Generation;

/// After so many lost connections in a row, on a server that answers pings, a request is taken to be too large: some
/// servers and proxies hang up in the middle of a large body, and a slow line does not carry one in time.
const LOST_MAX: u32 = 3;

/// Delivers the parcels of one lane, one after the other.
#[derive(Debug)]
pub(crate) struct Delivery {
    link: Arc<Link>,
    lane: &'static str,
    backoff: Backoff,
    pieces: Pieces,
    /// Lines kept for later since something was taken.
    kept: usize,
    suspicion: Suspicion,
    warnings: Seldom,
    set_aside_warnings: Seldom,
}

/// What came of lines that were answered.
enum Settled {
    /// They are written, or counted as refused.
    Done,
    /// They are too many bytes together.
    TooLarge,
    /// Some of them cannot be read.
    BadLines(String),
    /// Something in them is refused, while the server takes what it should.
    Refused(Refusal),
}

impl Delivery {
    /// Begins.
    pub(crate) fn new(link: Arc<Link>, lane: &'static str) -> Self {
        Self {
            link,
            lane,
            backoff: Backoff::default(),
            pieces: Pieces::default(),
            kept: 0,
            suspicion: Suspicion::default(),
            warnings: Seldom::default(),
            set_aside_warnings: Seldom::default(),
        }
    }

    /// Returns once every line is settled; given up in the middle, it can be begun anew.
    pub(crate) async fn settle(&mut self, lines: Bytes, points: u64) {
        self.pieces.begin(Piece::new(lines, points));
        self.suspicion.begin();
        while let Some(mut piece) = self.pieces.next() {
            match self.send(&mut piece).await {
                Settled::Done => {}
                Settled::TooLarge => self.make_smaller(piece).await,
                Settled::BadLines(said) => self.take_apart(piece, &said).await,
                Settled::Refused(refusal) => self.narrow_down(piece, &refusal).await,
            }
        }
    }

    /// Sends the same lines until there is an answer that settles them or asks for others.
    async fn send(&mut self, piece: &mut Piece) -> Settled {
        let mut lost = 0;
        loop {
            match self.write(&piece.lines).await {
                Ok(outcome) => match self.conclude(piece, outcome).await {
                    Some(settled) => return settled,
                    None => lost = 0,
                },
                Err(error) => {
                    lost += 1;
                    if self.link.client.ping().await.is_err() {
                        lost = 0;
                    }
                    if lost >= LOST_MAX && piece.is_large() {
                        return Settled::TooLarge;
                    }
                    self.pause(None, &error.to_string()).await;
                }
            }
            self.link.status.counts().retries.add(1);
        }
    }

    /// Sends lines once.
    async fn write(&self, lines: &Bytes) -> Result<Outcome, StoreError> {
        let counts = self.link.status.counts();
        counts.requests.add(1);
        let answer = self.link.client.write(lines.clone()).await?;
        counts.bytes.add(lines.len() as u64);
        let generation = self.link.client.generation().await?;
        let now = (now_unix_nanos() / 1_000_000_000) as i64;
        Ok(outcome_of(generation, &answer, now))
    }

    /// Does what an answer asks for; `None` means to send the same again.
    async fn conclude(&mut self, piece: &mut Piece, outcome: Outcome) -> Option<Settled> {
        if let Some(refusal) = outcome.refusal()
            && self.is_for_its_content(piece, &refusal).await
        {
            return Some(Settled::Refused(refusal));
        }
        match outcome {
            Outcome::Written => self.taken(piece),
            Outcome::Partial {
                refused,
                reason,
                said,
            } => self.taken_in_part(piece, refused, reason, &said),
            Outcome::TooLarge => return Some(Settled::TooLarge),
            Outcome::BadLines(said) => return Some(Settled::BadLines(said)),
            Outcome::Retry { after, message, .. } => {
                self.pause(after, &message).await;
                return None;
            }
            Outcome::Unauthorized(message) => {
                self.ask_for_entry(message).await;
                return None;
            }
            Outcome::Missing(message) => {
                self.set_up_again(message).await;
                return None;
            }
        }
        Some(Settled::Done)
    }

    fn taken(&mut self, piece: &Piece) {
        self.link.took(piece.first_line());
        self.pieces.taken();
        self.get_on(piece.points);
    }

    fn taken_in_part(&mut self, piece: &Piece, refused: u64, reason: &'static str, said: &str) {
        // Some count the fields of a point one by one.
        let refused = refused.min(piece.points);
        self.refuse(reason, refused, said);
        self.get_on(piece.points - refused);
    }

    fn get_on(&mut self, points: u64) {
        self.link.status.counts().points.add(points);
        self.backoff.reset();
        self.suspicion.taken();
        self.kept = 0;
        self.link.status.well(self.lane);
    }

    /// Waits before the next try. The first failure may be over with it: only the second is called trouble.
    async fn pause(&mut self, wish: Option<Duration>, message: &str) {
        match self.backoff.is_waiting() || wish.is_some() {
            true => self.link.status.trouble(self.lane, &message),
            false => self.link.status.stumble(&message),
        }
        sleep(self.backoff.next(wish)).await;
    }

    /// The token is refused: another one may be in its file; else the server may be a new one.
    async fn ask_for_entry(&mut self, message: String) {
        match self.link.client.reload_token().await {
            Ok(true) => {}
            Ok(false) => self.set_up_again(message).await,
            Err(error) => self.pause(None, &format!("{message}; {error}")).await,
        }
    }

    /// The bucket is gone, or the server is another one. If that cannot be mended, the journal waits.
    async fn set_up_again(&mut self, message: String) {
        let problem = match self.link.set_up_again().await {
            Ok(()) => message,
            Err(error) => error.to_string(),
        };
        self.pause(None, &problem).await;
    }

    /// Halves what is too large.
    async fn make_smaller(&mut self, piece: Piece) {
        if self.pieces.halve(&piece) {
            self.pieces.too_large(&piece);
            self.link.status.counts().bisections.add(1);
        } else {
            self.give_up(piece, "too_large", "a single line is too large")
                .await;
        }
    }

    /// Puts aside the lines that the server named, else halves what it refused.
    async fn take_apart(&mut self, piece: Piece, said: &str) {
        if let Some(rest) = piece.without_named(said) {
            self.refuse("unparsable", piece.points.saturating_sub(rest.points), said);
            self.pieces.put_next(rest);
        } else if self.pieces.halve(&piece) {
            self.link.status.counts().bisections.add(1);
        } else {
            self.give_up(piece, "unparsable", said).await;
        }
    }

    /// Lets go of a line if the server is in its right mind, else keeps it for later.
    async fn give_up(&mut self, line: Piece, reason: &'static str, said: &str) {
        if self.takes_what_it_took().await {
            return self.refuse(reason, 1, said);
        }
        // The others go first: one that is taken speaks for the server.
        if self.keep_for_later(line) || self.link.witness().is_some() {
            self.link.status.counts().retries.add(1);
            let problem = format!("it refuses what it took before, and now this: {said}");
            self.pause(None, &problem).await;
        }
    }

    /// Puts a line behind all others; returns whether a round without success is over: as many came back as there are.
    fn keep_for_later(&mut self, line: Piece) -> bool {
        self.kept += 1;
        let is_round = self.kept >= self.pieces.put_last(line);
        if is_round {
            self.kept = 0;
        }
        is_round
    }

    /// Returns whether a refusal is meant for what is in a piece; it costs a probe, once that is suspected.
    async fn is_for_its_content(&mut self, piece: &mut Piece, refusal: &Refusal) -> bool {
        if !self.suspicion.arises(refusal) {
            return false;
        }
        let is_taken = self.takes_a_probe(piece, refusal).await;
        if is_taken {
            self.suspicion.is_confirmed();
        } else {
            self.suspicion.is_dispelled();
            piece.refusals = Refusals::default();
        }
        is_taken
    }

    /// Writes a point of ours that is like the first of a piece in all but the content; whether it is kept or not, the
    /// server takes it. An answer of a server in trouble may be that of one node alone: then it goes to the same.
    async fn takes_a_probe(&self, piece: &Piece, refusal: &Refusal) -> bool {
        // InfluxDB 3 fixes a measurement's tags with its first point, which a probe without any must not be.
        let is_third = matches!(self.link.client.generation().await, Ok(Generation::V3));
        let likeness = match refusal.by_rule && !is_third {
            true => Likeness::Bare,
            false => Likeness::SameSeries,
        };
        match probe_of(piece.first_line(), likeness) {
            Some(probe) => matches!(
                self.write(&probe).await,
                Ok(Outcome::Written | Outcome::Partial { .. })
            ),
            None => self.takes_what_it_took().await,
        }
    }

    /// Halves what is refused for its content; a single line is tried again after the others, and set aside in the end.
    async fn narrow_down(&mut self, mut piece: Piece, refusal: &Refusal) {
        if self.pieces.halve(&piece) {
            self.link.status.counts().bisections.add(1);
        } else if self.suspicion.convicts(&mut piece.refusals, refusal) {
            self.set_aside(&piece, &refusal.said);
        } else if self.keep_for_later(piece) {
            self.link.status.counts().retries.add(1);
            let problem = format!("it refuses a point and takes others: {}", refusal.said);
            self.pause(None, &problem).await;
        }
    }

    /// Lets go of a line that the server refuses alone, again and again, while it takes others.
    fn set_aside(&mut self, line: &Piece, said: &str) {
        let (said, text) = (cut(said), String::from_utf8_lossy(&line.lines));
        self.link.status.refused("refused_alone", line.points, said);
        if self.set_aside_warnings.is_due() {
            tracing::warn!(
                said,
                sample = cut(&text),
                lane = self.lane,
                "InfluxDB refuses a point for its content; it is set aside"
            );
        }
        self.get_on(0);
    }

    /// Sends a line again that the server took once. Without one, nothing speaks for the server.
    async fn takes_what_it_took(&self) -> bool {
        let Some(witness) = self.link.witness() else {
            return false;
        };
        let answer = self.write(&witness).await;
        matches!(answer, Ok(Outcome::Written | Outcome::Partial { .. }))
    }

    fn refuse(&mut self, reason: &'static str, points: u64, said: &str) {
        let said = cut(said);
        self.link.status.refused(reason, points, said);
        if self.warnings.is_due() {
            tracing::warn!(
                reason,
                points,
                said,
                lane = self.lane,
                "InfluxDB will never take points of ours"
            );
        }
    }
}

/// Cuts a text to what a log can show: a server may repeat every line.
fn cut(said: &str) -> &str {
    crate::model::cut(said, 300)
}
