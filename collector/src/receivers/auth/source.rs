//! The source of the tokens: the settings, and a file that is read again when it changes.

use std::path::{Path, PathBuf};

use super::tokens::{LineError, TokenError, Tokens};
use crate::secret::Secret;

/// Largest file; a hundred of the longest tokens with their roles are 400 KB.
const FILE_BYTES_MAX: u64 = 512 << 10;

#[derive(Debug)]
pub(crate) struct TokenSource {
    /// Valid for every role, whatever the file contains.
    token: Option<Secret>,
    /// Also valid, for sending only.
    sender: Option<Secret>,
    file: Option<PathBuf>,
    /// The contents of the file when last read.
    read: Option<Secret>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenFileError {
    #[error("could not read {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}: {source}")]
    Line { path: PathBuf, source: LineError },
}

impl TokenSource {
    /// `token` must be valid; the file is not read yet.
    pub(crate) fn new(token: Option<Secret>, file: Option<PathBuf>) -> Self {
        Self {
            token,
            sender: None,
            file,
            read: None,
        }
    }

    /// Adds a token for sending only, if tokens are required.
    pub(crate) fn with_sender(mut self, sender: Option<Secret>) -> Self {
        self.sender = sender.filter(|_| self.token.is_some() || self.file.is_some());
        self
    }

    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Returns the tokens; `None` if the file has not changed or there is none.
    ///
    /// # Errors
    /// When the file cannot be read or has an invalid line; the previous tokens stay valid.
    pub(crate) fn changed(&mut self) -> Result<Option<Tokens>, TokenFileError> {
        let Some(path) = &self.file else {
            return Ok(None);
        };
        let read = Secret::read_if_changed(path, FILE_BYTES_MAX, self.read.as_ref());
        let read = read.map_err(|source| TokenFileError::Read {
            path: path.clone(),
            source,
        })?;
        let Some(read) = read else { return Ok(None) };
        let tokens = Tokens::parse(read.expose());
        let mut tokens = tokens.map_err(|source| TokenFileError::Line {
            path: path.clone(),
            source,
        })?;
        self.read = Some(read);
        if let Some(token) = self.of_settings().ok().flatten() {
            tokens.add(token);
        }
        Ok(Some(tokens))
    }

    pub(crate) fn of_settings(&self) -> Result<Option<Tokens>, TokenError> {
        let token = self.token.as_ref().map(Tokens::one).transpose()?;
        let sender = self.sender.as_ref().map(Tokens::sender).transpose()?;
        Ok(match (token, sender) {
            (Some(mut tokens), Some(sender)) => {
                tokens.add(sender);
                Some(tokens)
            }
            (token, sender) => token.or(sender),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_when_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        let fixed = Some("fixed-fixed-fixed-1".into());
        let mut source = TokenSource::new(fixed, Some(path.clone()));
        assert!(source.changed().is_err(), "there is none yet");
        std::fs::write(&path, "first-first-first-1\n").unwrap();
        let tokens = source.changed().unwrap().unwrap();
        for token in ["fixed-fixed-fixed-1", "first-first-first-1"] {
            assert!(tokens.find(token.as_bytes()).is_some(), "{token}");
        }
        assert_eq!(source.changed().unwrap(), None);
        std::fs::write(&path, "short\n").unwrap();
        let error = source.changed().unwrap_err().to_string();
        assert!(
            error.contains("tokens: line 1: a token must be 16"),
            "{error}"
        );
        std::fs::write(&path, "second-second-second-2\n").unwrap();
        let tokens = source.changed().unwrap().unwrap();
        assert!(tokens.find(b"first-first-first-1").is_none());
        let shown = format!("{source:?} {tokens:?}");
        assert!(!shown.contains("second-"), "{shown}");
    }
}
