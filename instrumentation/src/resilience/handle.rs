//! The methods that every handle to a policy has: constructors by name, name, settings and counts.

/// Defines the common methods of a handle.
macro_rules! policy {
    ($handle:ident $([$($param:ident: $bound:ident),+])?, $inner:ty, $settings:ty) => {
        impl$(<$($param: $crate::resilience::$bound),+>)? $handle$(<$($param),+>)? {
            /// Returns the process's policy of this name; creates it with default settings if it does not exist.
            pub fn new(name: &str) -> Self {
                Self::builder(name).build()
            }

            /// Starts a builder.
            pub fn builder(name: &str) -> $crate::resilience::Builder<Self> {
                $crate::resilience::Builder::start(name)
            }

            /// Returns the name.
            pub fn name(&self) -> &str {
                &self.inner.instrument.name
            }

            /// Returns the settings in force.
            pub fn settings(&self) -> std::sync::Arc<$settings> {
                self.inner.settings.get()
            }

            /// Replaces the settings, for future and waiting calls. Counts are kept.
            ///
            /// # Errors
            /// Returns the first invalid setting and changes nothing.
            pub fn update_settings(
                &self,
                settings: $settings,
            ) -> Result<(), $crate::resilience::SettingsError> {
                $crate::resilience::policy::update(&*self.inner, settings)
            }

            /// Returns the counts at this moment.
            pub fn snapshot(&self) -> $crate::resilience::Snapshot {
                $crate::resilience::policy::Registered::snapshot(&*self.inner)
            }
        }

        impl$(<$($param: $crate::resilience::$bound),+>)? $crate::resilience::policy::Handle
            for $handle$(<$($param),+>)?
        {
            type Inner = $inner;

            fn from_inner(inner: std::sync::Arc<$inner>) -> Self {
                Self { inner }
            }

            fn inner(&self) -> &$inner {
                &self.inner
            }
        }

        impl$(<$($param: $crate::resilience::$bound),+>)? $crate::resilience::Policy
            for $handle$(<$($param),+>)?
        {
            type Settings = $settings;
        }

        impl$(<$($param: $crate::resilience::$bound),+>)? std::fmt::Debug
            for $handle$(<$($param),+>)?
        {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($handle))
                    .field("name", &self.inner.instrument.name)
                    .field("settings", &self.inner.settings.get())
                    .finish_non_exhaustive()
            }
        }
    };
}
pub(super) use policy;
