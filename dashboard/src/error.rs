//! The error of every subcommand.

/// Why a subcommand could not start or run, in words for the person at the terminal.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
