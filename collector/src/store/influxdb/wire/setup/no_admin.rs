//! Stands for `admin` in a build without the crate `influxdb2`: nothing is made on an InfluxDB 2, its bucket must be
//! there.

use std::convert::Infallible;
use std::marker::PhantomData;

use super::super::client::Client;
use super::{Retention, SetupError};

/// There is none.
pub(super) struct Admin<'a>(Infallible, PhantomData<&'a ()>);

impl<'a> Admin<'a> {
    pub(super) fn new(_client: &'a Client) -> Option<Self> {
        None
    }

    pub(super) async fn is_onboarding_allowed(&self) -> Result<bool, SetupError> {
        match self.0 {}
    }

    pub(super) async fn onboard(&self, _retention: Retention) -> Result<String, SetupError> {
        match self.0 {}
    }

    pub(super) async fn organisation_id(&self) -> Result<Option<String>, SetupError> {
        match self.0 {}
    }

    pub(super) async fn create_bucket(
        &self,
        _organisation: String,
        _retention: Retention,
    ) -> Result<(), String> {
        match self.0 {}
    }
}
