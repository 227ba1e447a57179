//! Log lines and log records in one layer, which costs spans nothing. A filter of tracing-subscriber for each layer would
//! look up every span when it is entered, left and closed.

use std::fmt;

use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Filter};

/// The layers of events. Spans, and events in spans, are enabled up to `span_level`, for the layer of spans.
pub(super) struct Outputs<S> {
    span_level: LevelFilter,
    all: Vec<Output<S>>,
}

struct Output<S> {
    layer: Box<dyn Layer<S> + Send + Sync>,
    filter: Box<dyn Filter<S> + Send + Sync>,
}

impl<S: Subscriber> Outputs<S> {
    pub(super) fn new(span_level: LevelFilter) -> Self {
        let all = Vec::new();
        Self { span_level, all }
    }

    /// Adds a layer that receives the events that pass its filter.
    pub(super) fn with(
        mut self,
        layer: impl Layer<S> + Send + Sync,
        filter: impl Filter<S> + Send + Sync + 'static,
    ) -> Self {
        self.all.push(Output {
            layer: Box::new(layer),
            filter: Box::new(filter),
        });
        self
    }

    fn in_span(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.span_level
    }
}

impl<S: Subscriber> Layer<S> for Outputs<S> {
    fn on_layer(&mut self, subscriber: &mut S) {
        for output in &mut self.all {
            output.layer.on_layer(subscriber);
        }
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let in_span = match self.in_span(metadata) {
            true => Interest::always(),
            false => Interest::never(),
        };
        let filters = self.all.iter().map(|output| &output.filter);
        let interests = filters.map(|filter| filter.callsite_enabled(metadata));
        interests.fold(in_span, |all, one| match () {
            () if all.is_never() && one.is_never() => all,
            () if all.is_always() && one.is_always() => all,
            () => Interest::sometimes(),
        })
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        let passes = |output: &Output<S>| output.filter.enabled(metadata, &context);
        self.in_span(metadata) || metadata.is_event() && self.all.iter().any(passes)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let hints = self.all.iter().map(|output| output.filter.max_level_hint());
        let most = hints.map(|hint| hint.unwrap_or(LevelFilter::TRACE)).max();
        most.max(Some(self.span_level))
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        for Output { layer, filter } in &self.all {
            if filter.enabled(event.metadata(), &context) && filter.event_enabled(event, &context) {
                layer.on_event(event, context.clone());
            }
        }
    }
}

impl<S> fmt::Debug for Outputs<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} outputs", self.all.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing::{Level, debug, debug_span, info_span, warn};
    use tracing_subscriber::filter::EnvFilter;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::sync::Mutex;

    /// Notes the level and the target of each event.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Seen {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let metadata = event.metadata();
            let seen = format!("{} {}", metadata.level(), metadata.target());
            self.0.lock().push(seen);
        }
    }

    /// Guarantees: each output receives what its own filter passes; nothing is enabled that neither an output nor the
    /// layer of spans wants, and no span for the sake of an output.
    #[test]
    fn outputs_have_their_own_filters() {
        let (lines, records) = (Seen::default(), Seen::default());
        let outputs = Outputs::new(LevelFilter::INFO)
            .with(lines.clone(), LevelFilter::WARN)
            .with(records.clone(), EnvFilter::new("shop=debug"));
        let subscriber = tracing_subscriber::registry().with(outputs);
        tracing::subscriber::with_default(subscriber, || {
            debug!(target: "shop", "a detail");
            debug!(target: "mail", "a detail");
            warn!(target: "mail", "a problem");
            assert!(!tracing::enabled!(target: "mail", Level::DEBUG));
            assert!(debug_span!(target: "shop", "detail").is_disabled());
            assert!(!info_span!(target: "mail", "send").is_disabled());
        });
        assert_eq!(*lines.0.lock(), ["WARN mail"]);
        assert_eq!(*records.0.lock(), ["DEBUG shop"]);
    }
}
