//! A day since 1970, and its folder in a log.

use std::path::{Path, PathBuf};
use std::{fs, io};

use time::{Date, Duration, OffsetDateTime};

use super::StoreError;
use crate::files;
use crate::model::{DAY, UnixNanos};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Day(pub(crate) u64);

impl Day {
    pub(crate) fn of(time: UnixNanos) -> Self {
        Self(time.window(DAY))
    }

    pub(crate) fn end(self) -> UnixNanos {
        UnixNanos::of_window(self.0 + 1, DAY)
    }

    /// Returns its folder, such as `2026-11-23`.
    pub(crate) fn folder(self, root: &Path) -> PathBuf {
        let days = i64::try_from(self.0).unwrap_or(i64::MAX);
        let date = OffsetDateTime::UNIX_EPOCH
            .date()
            .checked_add(Duration::days(days.min(1_000_000)))
            .unwrap_or(Date::MAX);
        root.join(date.to_string())
    }

    /// Parses a folder name; `None` for a foreign one.
    fn parse(folder: &str) -> Option<Self> {
        let mut parts = folder.splitn(3, '-');
        let year = parts.next()?.parse().ok()?;
        let month: u8 = parts.next()?.parse().ok()?;
        let day = parts.next()?.parse().ok()?;
        let date = Date::from_calendar_date(year, month.try_into().ok()?, day).ok()?;
        let days = (date - OffsetDateTime::UNIX_EPOCH.date()).whole_days();
        u64::try_from(days).ok().map(Self)
    }

    /// Creates the folder of a log if it is missing; returns its days, oldest first.
    pub(crate) fn all(root: &Path) -> Result<Vec<Self>, StoreError> {
        files::create_private_dir_all(root)
            .map_err(|error| StoreError::io("create", root, error))?;
        let list = || -> io::Result<Vec<Self>> {
            let mut days = Vec::new();
            for entry in fs::read_dir(root)? {
                let entry = entry?;
                let day = entry.file_name().to_str().and_then(Self::parse);
                // `2026-1-3` is not one of our folders.
                let is_ours = |day: &Self| day.folder(root) == entry.path();
                days.extend(day.filter(is_ours).filter(|_| entry.path().is_dir()));
            }
            days.sort_unstable();
            Ok(days)
        };
        list().map_err(|error| StoreError::io("list", root, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_folders_are_passed_over() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["2026-1-3", "2026-11-23", "lost+found"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        let days = Day::all(root.path()).unwrap();
        assert_eq!(days, [Day::parse("2026-11-23").unwrap()]);
    }

    #[test]
    fn day_folders_come_back() {
        let day = Day::of(UnixNanos::new(1_795_397_646_700_000_000));
        let folder = day.folder(Path::new(""));
        assert_eq!(folder, Path::new("2026-11-23"));
        assert_eq!(Day::parse("2026-11-23"), Some(day));
        assert_eq!(Day::parse("lost+found"), None);
    }
}
