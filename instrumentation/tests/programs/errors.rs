//! Errors of calls and commands under `?`.

use std::error::Error;

use fusebox::circuit_breaker::{CallError, CommandError};

use crate::{BoxError, Report, StockError, boxed, breaker, cow, io_error, owned_text, stock, text};

#[tokio::test]
async fn io_error_goes_into_a_box() {
    async fn call() -> Result<u32, Box<dyn Error>> {
        Ok(breaker().call(io_error()).await?)
    }
    async fn command() -> Result<u32, BoxError> {
        Ok(breaker().command().run(io_error).execute().await?)
    }
    assert_eq!(call().await.unwrap_err().to_string(), "disk");
    let error = tokio::spawn(command()).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "disk (no fallback)");
}

#[tokio::test]
async fn text_goes_into_a_box() {
    async fn call() -> Result<u32, Box<dyn Error>> {
        Ok(breaker().call(text()).await?)
    }
    async fn command() -> Result<u32, BoxError> {
        Ok(breaker().command().run(text).execute().await?)
    }
    assert_eq!(call().await.unwrap_err().to_string(), "text");
    let error = tokio::spawn(command()).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "text (no fallback)");
}

#[tokio::test]
async fn owned_text_goes_into_a_box() {
    async fn call() -> Result<u32, Box<dyn Error>> {
        Ok(breaker().call(owned_text()).await?)
    }
    async fn command() -> Result<u32, BoxError> {
        Ok(breaker().command().run(owned_text).execute().await?)
    }
    assert_eq!(call().await.unwrap_err().to_string(), "owned");
    let error = tokio::spawn(command()).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "owned (no fallback)");
}

#[tokio::test]
async fn cow_goes_into_a_box() {
    async fn call() -> Result<u32, Box<dyn Error>> {
        Ok(breaker().call(cow()).await?)
    }
    async fn command() -> Result<u32, BoxError> {
        Ok(breaker().command().run(cow).execute().await?)
    }
    assert_eq!(call().await.unwrap_err().to_string(), "cow");
    let error = tokio::spawn(command()).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "cow (no fallback)");
}

#[tokio::test]
async fn boxed_goes_into_a_box() {
    async fn call() -> Result<u32, Box<dyn Error>> {
        Ok(breaker().call(boxed()).await?)
    }
    async fn command() -> Result<u32, BoxError> {
        Ok(breaker().command().run(boxed).execute().await?)
    }
    assert_eq!(call().await.unwrap_err().to_string(), "boxed");
    let error = tokio::spawn(command()).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "boxed (no fallback)");
}

#[tokio::test]
async fn stock_goes_into_a_box() {
    async fn call() -> Result<u32, Box<dyn Error>> {
        Ok(breaker().call(stock()).await?)
    }
    async fn command() -> Result<u32, BoxError> {
        Ok(breaker().command().run(stock).execute().await?)
    }
    assert_eq!(call().await.unwrap_err().to_string(), "warehouse is closed");
    let error = tokio::spawn(command()).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "warehouse is closed (no fallback)");
}

#[tokio::test]
async fn a_report_is_made_of_both() {
    async fn both() -> Result<u32, Report> {
        let first = breaker().call(stock()).await;
        if let Ok(first) = first {
            return Ok(first);
        }
        Ok(breaker().command().run(boxed).execute().await?)
    }
    assert_eq!(both().await.unwrap_err().to_string(), "boxed (no fallback)");
}

/// An error of an application that keeps those of calls as its sources.
#[derive(Debug, thiserror::Error)]
enum ShopError {
    #[error("stock is unknown")]
    Stock(#[from] CallError<StockError>),
    #[error("price is unknown")]
    Price(#[from] CommandError<BoxError>),
}

#[tokio::test]
async fn errors_of_calls_are_sources() {
    async fn stock_of_product() -> Result<u32, ShopError> {
        Ok(breaker().call(stock()).await?)
    }
    async fn price() -> Result<u32, ShopError> {
        Ok(breaker().command().run(boxed).execute().await?)
    }
    let error = stock_of_product().await.unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "warehouse is closed");
    let error = price().await.unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "boxed (no fallback)");
}

#[tokio::test]
async fn a_typed_error_is_matched_and_taken_out() {
    let error = breaker()
        .call(async { Err::<u32, _>(StockError::NotFound(7)) })
        .await
        .unwrap_err();
    assert!(matches!(&error, CallError::Failed(StockError::NotFound(7))));
    assert_eq!(error.into_failed(), Some(StockError::NotFound(7)));
}

#[tokio::test]
async fn a_blocking_call_goes_into_a_box() {
    fn call() -> Result<u32, Box<dyn Error>> {
        Ok(breaker().call_blocking(|| "7".parse())?)
    }
    assert_eq!(call().unwrap(), 7);
}

#[tokio::test]
async fn a_refusal_is_an_error_too() {
    fn acquire() -> Result<(), BoxError> {
        let breaker = breaker();
        breaker.open_for(std::time::Duration::from_secs(60), "test");
        drop(breaker.try_acquire()?);
        Ok(())
    }
    let error = acquire().unwrap_err();
    assert_eq!(
        error.to_string(),
        "circuit breaker program is open: call refused"
    );
}
