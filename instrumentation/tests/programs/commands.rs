//! Commands whose closures and fallbacks borrow, move and nest.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use fusebox::circuit_breaker::{Cause, CircuitBreaker, CommandError, FallbackFuture};
use tokio::sync::Mutex;

use crate::{BoxError, StockError, boxed, breaker, io_error, local_box, stock, text};

/// Awaits something while the cause is borrowed.
async fn describe<E: std::fmt::Display>(cause: &Cause<E>) -> usize {
    tokio::task::yield_now().await;
    cause.to_string().len()
}

#[tokio::test]
async fn a_fallback_borrows_the_cause_across_an_await() {
    let command = breaker().command().run(io_error);
    let command = command
        .fallback_borrowing(|cause| Box::pin(async move { Ok(describe(cause).await as u32) }));
    assert_eq!(tokio::spawn(command.execute()).await.unwrap().unwrap(), 4);
}

#[tokio::test]
async fn a_fallback_borrows_a_cause_of_text_across_an_await() {
    let breaker = breaker();
    let task = tokio::spawn(async move {
        let command = breaker.command().run(text);
        let command = command
            .fallback_borrowing(|cause| Box::pin(async move { Ok(describe(cause).await as u32) }));
        command.execute().await
    });
    assert_eq!(task.await.unwrap().unwrap(), 4);
}

#[tokio::test]
async fn a_fallback_borrows_a_boxed_cause_across_an_await() {
    let breaker = breaker();
    let task = tokio::spawn(async move {
        let command = breaker.command().run(boxed).fallback_target("length");
        let command = command
            .fallback_borrowing(|cause| Box::pin(async move { Ok(describe(cause).await as u32) }));
        command.execute().await.map_err(|error| error.to_string())
    });
    assert_eq!(task.await.unwrap().unwrap(), 5);
}

fn length<'a>(cause: &'a Cause<StockError>) -> FallbackFuture<'a, u32, StockError> {
    Box::pin(async move { Ok(describe(cause).await as u32) })
}

#[tokio::test]
async fn a_function_is_a_borrowing_fallback() {
    let command = breaker().command().run(stock).fallback_borrowing(length);
    assert_eq!(command.execute().await.unwrap(), 19);
}

#[tokio::test]
async fn a_function_is_a_fallback() {
    async fn cached() -> Result<u32, StockError> {
        Ok(3)
    }
    fn instead(_: &Cause<StockError>) -> impl Future<Output = Result<u32, StockError>> + use<> {
        cached()
    }
    let command = breaker().command().run(stock).fallback(instead);
    assert_eq!(command.execute().await.unwrap(), 3);
}

#[tokio::test]
async fn the_protected_code_borrows_from_its_caller() {
    let shelf = BTreeMap::from([(7, "nut".to_owned())]);
    let command = breaker().command().run(|| async {
        tokio::task::yield_now().await;
        shelf.get(&7).map(String::as_str).ok_or("empty")
    });
    assert_eq!(command.execute().await.unwrap(), "nut");
}

#[tokio::test]
async fn the_fallback_borrows_from_its_caller() {
    let cache = Arc::new(Mutex::new(5));
    let command = breaker().command().run(stock).fallback(|_| async {
        let mut cache = cache.lock().await;
        *cache += 1;
        Ok(*cache)
    });
    assert_eq!(command.execute().await.unwrap(), 6);
}

#[tokio::test]
async fn errors_that_are_not_send_are_awaited_in_place() {
    let command = breaker().command().run(local_box);
    assert!(command.execute().await.is_err());
    assert!(breaker().call(local_box()).await.is_err());
}

#[tokio::test]
async fn a_command_falls_back_to_a_command() {
    let (first, second) = (breaker(), breaker());
    let task = tokio::spawn(async move {
        let command = first.command().run(text);
        let command = command.fallback(|_| async move {
            let command = second
                .command()
                .run(|| async { Ok::<u32, &'static str>(2) });
            command.execute().await.map_err(|_| "both failed")
        });
        command.execute().await
    });
    assert_eq!(task.await.unwrap().unwrap(), 2);
}

/// A function of a library, generic over the error.
async fn protected<E: Send + 'static>(
    breaker: &CircuitBreaker,
    run: impl Future<Output = Result<u32, E>> + Send,
) -> Result<u32, CommandError<E>> {
    breaker.command().run(|| run).execute().await
}

#[tokio::test]
async fn a_generic_function_wraps_a_command() {
    let task = tokio::spawn(async { protected(&breaker(), text()).await.is_err() });
    assert!(task.await.unwrap());
    assert!(protected(&breaker(), boxed()).await.is_err());
}

#[tokio::test]
async fn commands_run_side_by_side() {
    let breaker = breaker();
    let one = breaker.command().run(text).fallback(|_| async { Ok(1) });
    let two = breaker.command().run(text).fallback(|_| async { Ok(2) });
    let (one, two) = tokio::join!(one.execute(), two.execute());
    assert_eq!(one.unwrap() + two.unwrap(), 3);
}

#[tokio::test]
async fn a_boxed_future_holds_a_command() {
    type Boxed = std::pin::Pin<Box<dyn Future<Output = Result<u32, BoxError>> + Send>>;
    let command = breaker().command().run(boxed).fallback(|_| async { Ok(4) });
    let future: Boxed = Box::pin(async { Ok(command.execute().await?) });
    assert_eq!(future.await.unwrap(), 4);
}

#[tokio::test]
async fn a_command_is_observed_from_a_task() {
    let (events, seen) = std::sync::mpsc::channel();
    let command = breaker().command().run(stock);
    let command = command.observe(move |execution| {
        execution
            .events()
            .for_each(|event| events.send(event.as_str()).unwrap());
    });
    tokio::spawn(command.execute()).await.unwrap().unwrap_err();
    assert_eq!(
        seen.iter().collect::<Vec<_>>(),
        ["FAILURE", "FALLBACK_MISSING"]
    );
}

#[tokio::test]
async fn a_disabled_fallback_is_spawned() {
    let command = breaker().command().run(text).fallback(|_| async { Ok(1) });
    let result = tokio::spawn(command.without_fallback().execute())
        .await
        .unwrap();
    let error: Box<dyn Error> = result.unwrap_err().into();
    assert_eq!(error.to_string(), "text (fallback disabled)");
}
