//! Build information of a program, for `/actuator/info`.

use serde_json::{Map, Value, json};

/// Build information of a program; [`build_info!`](crate::build_info) reads it when the program is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildInfo {
    /// The name of the crate.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The commit it was built from.
    pub commit: Option<&'static str>,
    /// The branch it was built from.
    pub branch: Option<&'static str>,
    /// When it was built.
    pub time: Option<&'static str>,
    /// The version of the compiler.
    pub rustc: Option<&'static str>,
}

/// Returns the [`BuildInfo`](crate::actuator::BuildInfo) of the crate that calls it. Commit, branch, time and compiler
/// are set if the crate's build script sets the variables of `vergen`: `VERGEN_GIT_SHA`, `VERGEN_GIT_BRANCH`,
/// `VERGEN_BUILD_TIMESTAMP` and `VERGEN_RUSTC_SEMVER`.
#[macro_export]
macro_rules! build_info {
    () => {
        $crate::actuator::BuildInfo {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("VERGEN_GIT_SHA"),
            branch: option_env!("VERGEN_GIT_BRANCH"),
            time: option_env!("VERGEN_BUILD_TIMESTAMP"),
            rustc: option_env!("VERGEN_RUSTC_SEMVER"),
        }
    };
}

impl BuildInfo {
    /// Adds the known values under Spring Boot's keys.
    pub(super) fn add_to(self, info: &mut Map<String, Value>) {
        let mut build = json!({ "name": self.name, "version": self.version });
        if let Some(time) = self.time {
            build["time"] = time.into();
        }
        info.insert("build".to_owned(), build);
        if self.commit.is_some() || self.branch.is_some() {
            let git = json!({ "branch": self.branch, "commit": { "id": self.commit } });
            info.insert("git".to_owned(), git);
        }
        if let Some(version) = self.rustc {
            info.insert("rustc".to_owned(), json!({ "version": version }));
        }
    }
}
