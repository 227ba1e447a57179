//! Calls and commands in spawned tasks: their futures are `Send` and own what they need.

use crate::{boxed, breaker, cow, io_error, nothing, owned_text, report, stock, text};

#[tokio::test]
async fn a_call_of_io_error_is_spawned() {
    let breaker = breaker();
    let task = tokio::spawn(async move { breaker.call(io_error()).await.is_err() });
    assert!(task.await.unwrap());
}

#[tokio::test]
async fn a_command_of_io_error_is_spawned() {
    let command = breaker().command().run(io_error);
    assert!(tokio::spawn(command.execute()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_command_of_io_error_with_a_fallback_is_spawned_within_a_task() {
    let breaker = breaker();
    let task = tokio::spawn(async move {
        let command = breaker.command().run(io_error).bad_request_if(|_| false);
        let command = command.fallback(|_| async { Ok(7) });
        let (result, execution) = command.execute_observed().await;
        (result.ok(), execution.events().count())
    });
    assert_eq!(task.await.unwrap(), (Some(7), 2));
}

#[tokio::test]
async fn a_call_of_text_is_spawned() {
    let breaker = breaker();
    let task = tokio::spawn(async move { breaker.call(text()).await.is_err() });
    assert!(task.await.unwrap());
}

#[tokio::test]
async fn a_command_of_text_is_spawned() {
    let command = breaker().command().run(text);
    assert!(tokio::spawn(command.execute()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_command_of_text_with_a_fallback_is_spawned_within_a_task() {
    let breaker = breaker();
    let task = tokio::spawn(async move {
        let command = breaker.command().run(text).bad_request_if(|_| false);
        let command = command.fallback(|_| async { Ok(7) });
        let (result, execution) = command.execute_observed().await;
        (result.ok(), execution.events().count())
    });
    assert_eq!(task.await.unwrap(), (Some(7), 2));
}

#[tokio::test]
async fn a_call_of_owned_text_is_spawned() {
    let breaker = breaker();
    let task = tokio::spawn(async move { breaker.call(owned_text()).await.is_err() });
    assert!(task.await.unwrap());
}

#[tokio::test]
async fn a_command_of_owned_text_is_spawned() {
    let command = breaker().command().run(owned_text);
    assert!(tokio::spawn(command.execute()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_command_of_owned_text_with_a_fallback_is_spawned_within_a_task() {
    let breaker = breaker();
    let task = tokio::spawn(async move {
        let command = breaker.command().run(owned_text).bad_request_if(|_| false);
        let command = command.fallback(|_| async { Ok(7) });
        let (result, execution) = command.execute_observed().await;
        (result.ok(), execution.events().count())
    });
    assert_eq!(task.await.unwrap(), (Some(7), 2));
}

#[tokio::test]
async fn a_call_of_cow_is_spawned() {
    let breaker = breaker();
    let task = tokio::spawn(async move { breaker.call(cow()).await.is_err() });
    assert!(task.await.unwrap());
}

#[tokio::test]
async fn a_command_of_cow_is_spawned() {
    let command = breaker().command().run(cow);
    assert!(tokio::spawn(command.execute()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_command_of_cow_with_a_fallback_is_spawned_within_a_task() {
    let breaker = breaker();
    let task = tokio::spawn(async move {
        let command = breaker.command().run(cow).bad_request_if(|_| false);
        let command = command.fallback(|_| async { Ok(7) });
        let (result, execution) = command.execute_observed().await;
        (result.ok(), execution.events().count())
    });
    assert_eq!(task.await.unwrap(), (Some(7), 2));
}

#[tokio::test]
async fn a_call_of_boxed_is_spawned() {
    let breaker = breaker();
    let task = tokio::spawn(async move { breaker.call(boxed()).await.is_err() });
    assert!(task.await.unwrap());
}

#[tokio::test]
async fn a_command_of_boxed_is_spawned() {
    let command = breaker().command().run(boxed);
    assert!(tokio::spawn(command.execute()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_command_of_boxed_with_a_fallback_is_spawned_within_a_task() {
    let breaker = breaker();
    let task = tokio::spawn(async move {
        let command = breaker.command().run(boxed).bad_request_if(|_| false);
        let command = command.fallback(|_| async { Ok(7) });
        let (result, execution) = command.execute_observed().await;
        (result.ok(), execution.events().count())
    });
    assert_eq!(task.await.unwrap(), (Some(7), 2));
}

#[tokio::test]
async fn a_call_of_report_is_spawned() {
    let breaker = breaker();
    let task = tokio::spawn(async move { breaker.call(report()).await.is_err() });
    assert!(task.await.unwrap());
}

#[tokio::test]
async fn a_command_of_report_is_spawned() {
    let command = breaker().command().run(report);
    assert!(tokio::spawn(command.execute()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_command_of_report_with_a_fallback_is_spawned_within_a_task() {
    let breaker = breaker();
    let task = tokio::spawn(async move {
        let command = breaker.command().run(report).bad_request_if(|_| false);
        let command = command.fallback(|_| async { Ok(7) });
        let (result, execution) = command.execute_observed().await;
        (result.ok(), execution.events().count())
    });
    assert_eq!(task.await.unwrap(), (Some(7), 2));
}

#[tokio::test]
async fn a_call_of_stock_is_spawned() {
    let breaker = breaker();
    let task = tokio::spawn(async move { breaker.call(stock()).await.is_err() });
    assert!(task.await.unwrap());
}

#[tokio::test]
async fn a_command_of_stock_is_spawned() {
    let command = breaker().command().run(stock);
    assert!(tokio::spawn(command.execute()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_command_of_stock_with_a_fallback_is_spawned_within_a_task() {
    let breaker = breaker();
    let task = tokio::spawn(async move {
        let command = breaker.command().run(stock).bad_request_if(|_| false);
        let command = command.fallback(|_| async { Ok(7) });
        let (result, execution) = command.execute_observed().await;
        (result.ok(), execution.events().count())
    });
    assert_eq!(task.await.unwrap(), (Some(7), 2));
}

#[tokio::test]
async fn a_call_of_nothing_is_spawned() {
    let breaker = breaker();
    let task = tokio::spawn(async move { breaker.call(nothing()).await.is_err() });
    assert!(task.await.unwrap());
}

#[tokio::test]
async fn a_command_of_nothing_is_spawned() {
    let command = breaker().command().run(nothing);
    assert!(tokio::spawn(command.execute()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_command_of_nothing_with_a_fallback_is_spawned_within_a_task() {
    let breaker = breaker();
    let task = tokio::spawn(async move {
        let command = breaker.command().run(nothing).bad_request_if(|_| false);
        let command = command.fallback(|_| async { Ok(7) });
        let (result, execution) = command.execute_observed().await;
        (result.ok(), execution.events().count())
    });
    assert_eq!(task.await.unwrap(), (Some(7), 2));
}
