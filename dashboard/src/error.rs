//! The error of every subcommand.

/// Why a subcommand could not start or continue, as a message for the terminal.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
