//! The query service: everything that pages, the JSON API and the event stream read.

mod admission;
mod changes;
mod hub;
mod instances;
mod kept;
mod service;
mod stream;
mod trace_id;
mod uploads;

pub(crate) use crate::live::peer_name;
pub(crate) use crate::store::cancel::READ_TIME_MAX;
pub(crate) use crate::store::fitting::{TRACE_BYTES_MAX, bytes_of};
pub use crate::store::{Missing, MissingPart, Partial};
pub(crate) use admission::circuits_bytes;
pub use admission::{Admission, Admitted, Busy, Cost};
pub use hub::Hub;
pub use instances::{InstanceView, Instances, Liveness, RegistrationView};
pub use kept::{
    KEPT_MAX, KEPT_TRACE_BYTES_MAX, KeepError, KeepOrder, Kept, KeptTrace, NOTE_CHARS_MAX,
};
pub use service::{QueryService, ServicesPage};
pub(crate) use stream::Greeting;
pub use stream::{CLIENTS_MAX, CircuitsEvent, StatsEvent, StreamEvent, TooManyClients, Topic};
pub(crate) use trace_id::fuzz_trace_id;
pub use trace_id::{is_trace_id, read_trace_id};
pub(crate) use uploads::read_file;
pub use uploads::{
    UPLOAD_BYTES_MAX, UPLOAD_KEPT, UPLOAD_TIME_MAX, UPLOADS_MAX, UploadError, UploadedTrace,
    Uploads, read_upload,
};

use std::path::Path;

use crate::store::StoreError;
use crate::store::cancel::off_worker;

/// Runs slow work of an answer on a blocking thread. It keeps the request's share of the memory budget until it has
/// ended, also if the client leaves.
///
/// # Errors
/// When the work panics.
pub async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    off_worker(Path::new("an answer"), move || Ok(work())).await
}

/// Why a query failed.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// A parameter is invalid: 400.
    #[error("{parameter}: {problem}")]
    Invalid {
        /// The parameter's name, as given by the caller.
        parameter: String,
        /// What is wrong, and what would be valid.
        problem: String,
    },
    /// The store failed: 500.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl QueryError {
    /// Returns the public text: the path of a file is for the collector's log, not for clients.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Store(error @ StoreError::Remote { .. }) => {
                format!("InfluxDB does not answer: {error}")
            }
            Self::Invalid { .. } | Self::Store(StoreError::TimeOver) => self.to_string(),
            Self::Store(_) => {
                "the store could not be read; the collector's log says more".to_owned()
            }
        }
    }
}
